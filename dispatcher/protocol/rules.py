"""What FCM asks of a message beyond names and types (v1 wire rules, sections 2 to 5).

Each refusal names the field, what was found and the mend. Where sources dispute a limit, only what all of them
refuse is refused here: the server has the last word. `Checks` are the settings that decide the disputed ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from dispatcher.model import ErrorCode, Refusal
from dispatcher.protocol import condition
from dispatcher.protocol.schema import (
    AndroidConfig,
    AndroidNotification,
    ApnsConfig,
    LightSettings,
    Message,
    WebpushConfig,
)

PAYLOAD_LIMIT = 4096
"""Bytes of a payload, by every source."""

DISPUTED_TOPIC_LIMIT = 2048
"""Bytes of a payload to a topic or a condition by some of FCM's pages; by others 4096 as for all."""

TTL_LIMIT = 2_419_200
"""Seconds, four weeks."""

_LONGEST_DURATION = 24  # characters, of 12 digits, a point, 9 digits and an s
_INT32 = 2**31 - 1
_LABEL = re.compile(r"[a-zA-Z0-9\-_.~%]{1,50}", re.ASCII)
_RGB = re.compile(r"#[0-9a-fA-F]{6}", re.ASCII)
_DURATION = re.compile(r"(\d{1,12})(\.\d{1,9})?s", re.ASCII)
_NUMERAL = re.compile(r"-?\d{1,20}(\.\d{1,20})?([eE][+-]?\d{1,2})?", re.ASCII)
_TIMESTAMP = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)", re.ASCII
)

_SUSPECT = "fmg"  # what a reserved key begins with, if it is not empty
_RESERVED_KEYS = frozenset({"from", "message_type", "gcm", ""})
_RESERVED_PREFIXES = ("google", "gcm")  # what any edition of the rules reserves
_NARROW_KEYS = frozenset({"from", "message_type", ""})
_NARROW_PREFIXES = ("google.", "gcm.notification.")  # what the newest schema still does

_PRIORITIES = ("NORMAL", "HIGH")
_PRIORITY_SPELLINGS = frozenset({None, "normal", "NORMAL", "high", "HIGH"})
# Each in the order of its numbers.
_NOTIFICATION_CHOICES = {
    "notification_priority": tuple(
        f"PRIORITY_{name}" for name in ("UNSPECIFIED", "MIN", "LOW", "DEFAULT", "HIGH", "MAX")
    ),
    "visibility": ("VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"),
    "proxy": ("PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"),
}


class Checks(msgspec.Struct, frozen=True):
    """How the disputed rules are read.

    Attributes:
        topic_payload_limit: bytes of a payload to a topic or a condition; more is refused.
        narrow_keys: reserve only the data keys that the newest schema does (`from`, `message_type`, `google.*`,
            `gcm.notification.*`) and not all that any edition did (`gcm`, `google*`, `gcm*`).
    """

    topic_payload_limit: int = PAYLOAD_LIMIT
    narrow_keys: bool = False


DEFAULTS = Checks()


def refuse(code: ErrorCode, field: str, found: Any, mend: str) -> Refusal:
    """A refusal in the one form all have: field, what was found, what to do instead."""
    return Refusal(code, sentence(field, found, mend))


def sentence(field: str, found: Any, mend: str) -> str:
    """What is to be said of a field."""
    shown = found if isinstance(found, str) else repr(found)
    return f"{field}: found {shown if len(shown) <= 80 else shown[:77] + '...'}; {mend}"


def seconds_of(duration: str) -> float:
    """Seconds of a duration as `3.5s`; -1 if it is none."""
    return _seconds_of(duration) if len(duration) < _LONGEST_DURATION else -1.0


@lru_cache(1024)  # a producer has a handful of them
def _seconds_of(duration: str) -> float:
    match = _DURATION.fullmatch(duration)
    return float(duration[:-1]) if match else -1.0


def fault_of(message: Message, checks: Checks = DEFAULTS) -> Refusal | None:
    """The first rule that the content of a decoded message breaks, its target apart."""
    fault = _keys(message.data, "message.data", checks) if message.data else None
    if message.android is not None:
        fault = fault or _android(message.android, checks)
    if message.webpush is not None:
        fault = fault or _webpush(message.webpush, checks)
    if message.apns is not None and message.apns.fcm_options is not None:
        fault = fault or _apns(message.apns)
    if message.fcm_options is not None:
        fault = fault or _label(message.fcm_options.analytics_label, "message.fcm_options")
    return fault


def topic_fault(topic: str) -> Refusal | None:
    """What is wrong with a topic's name (without `/topics/`)."""
    if condition.TOPIC_NAME.fullmatch(topic):
        return None
    mend = "a topic has 1 to 900 characters of a-z A-Z 0-9 - _ . ~ %"
    return refuse(ErrorCode.INVALID_RECIPIENT, "message.topic", repr(topic), mend)


def condition_fault(text: str) -> Refusal | None:
    """What is wrong with a condition."""
    read = condition.parse(text)
    if isinstance(read, condition.Condition):
        return None
    return refuse(ErrorCode.INVALID_RECIPIENT, "message.condition", read.found, read.allowed)


def payload_fault(message: Message, limit: int = PAYLOAD_LIMIT) -> Refusal | None:
    """Refuses a payload that is too large for every reading of the limit."""
    field, size = largest_payload(message)
    if size <= limit:
        return None
    mend = f"FCM takes at most {limit}: send a reference and let the app fetch the rest"
    if limit < PAYLOAD_LIMIT:
        mend = (
            f"DISPATCHER_TOPIC_PAYLOAD_LIMIT is {limit} for topics and conditions: send a reference instead"
        )
    found = f"a payload of {size} bytes (keys and values)"
    return refuse(ErrorCode.PAYLOAD_SIZE_LIMIT_EXCEEDED, field, found, mend)


def largest_payload(message: Message) -> tuple[str, int]:
    """The largest payload that a platform is effectively sent, and the field it comes from.

    Counted are keys and string values in UTF-8, JSON syntax is not; no exact rule is published (v1 wire rules,
    section 3). A platform's `data` replaces the common one as a whole, its notification field by field.
    """
    common = _size(_set_fields(message.notification))
    data = _size(message.data)
    sizes = {"message": common + data}
    if message.android is not None:
        own = message.android
        template = {**_set_fields(message.notification), **_set_fields(own.notification)}
        sizes["message.android"] = _size(template) + (data if own.data is None else _size(own.data))
    if message.webpush is not None:
        web = message.webpush
        sizes["message.webpush"] = (_size(web.notification) if web.notification else common) + (
            data if web.data is None else _size(web.data)
        )
    if message.apns is not None and message.apns.payload is not None:
        # Apple's block has no data of its own: the common data comes on top.
        sizes["message.apns"] = _size(message.apns.payload) + data
    return max(sizes.items(), key=lambda item: item[1])


def _set_fields(block: msgspec.Struct | None) -> dict[str, Any]:
    found: dict[str, Any] = {} if block is None else msgspec.to_builtins(block)
    return found


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, Mapping):
        return sum(len(k.encode()) + _size(v) for k, v in value.items() if v is not None)
    if isinstance(value, list):
        return sum(map(_size, value))
    return 0


def _keys(data: dict[str, str] | None, field: str, checks: Checks) -> Refusal | None:
    for key in data or ():
        if not key or key[0] in _SUSPECT:
            exact, prefixes = (
                (_NARROW_KEYS, _NARROW_PREFIXES)
                if checks.narrow_keys
                else (_RESERVED_KEYS, _RESERVED_PREFIXES)
            )
            if key in exact or key.startswith(prefixes):
                return _reserved(field, key, checks)
    return None


def _reserved(field: str, key: str, checks: Checks) -> Refusal:
    if not key:
        return refuse(ErrorCode.INVALID_DATA_PAYLOAD_KEY, field, "an empty key", "name every key")
    own = "google. or gcm.notification. are" if checks.narrow_keys else "google or gcm are"
    mend = f"from, message_type and what begins with {own} FCM's own: rename it"
    return refuse(ErrorCode.INVALID_DATA_PAYLOAD_KEY, f"{field}.{key}", "a reserved key", mend)


def _label(label: str | None, field: str) -> Refusal | None:
    if label is None or _LABEL.fullmatch(label):
        return None
    mend = "use 1 to 50 characters of a-z A-Z 0-9 - _ . ~ %"
    return refuse(ErrorCode.INVALID_OPTIONS, f"{field}.analytics_label", repr(label), mend)


def _choice(value: str | int | None, names: tuple[str, ...], field: str) -> Refusal | None:
    if value is None or (value.upper() in names if isinstance(value, str) else 0 <= value < len(names)):
        return None
    return refuse(ErrorCode.INVALID_OPTIONS, field, repr(value), f"use one of {', '.join(names)}")


def _android(android: AndroidConfig, checks: Checks) -> Refusal | None:
    # A fraction is rounded down.
    if android.ttl is not None and not 0 <= seconds_of(android.ttl) < TTL_LIMIT + 1:
        mend = f'write seconds with an s, "0s" to "{TTL_LIMIT}s" (four weeks)'
        return refuse(ErrorCode.INVALID_OPTIONS, "message.android.ttl", repr(android.ttl), mend)
    fault = None
    if android.priority not in _PRIORITY_SPELLINGS:
        fault = _choice(android.priority, _PRIORITIES, "message.android.priority")
    if android.data:
        fault = fault or _keys(android.data, "message.android.data", checks)
    if android.notification is not None:
        fault = fault or _android_notification(android.notification)
    if android.fcm_options is not None:
        fault = fault or _label(android.fcm_options.analytics_label, "message.android.fcm_options")
    return fault


def _android_notification(shown: AndroidNotification) -> Refusal | None:
    field = "message.android.notification"
    if shown.notification_priority is not None or shown.visibility is not None or shown.proxy is not None:
        for name, names in _NOTIFICATION_CHOICES.items():
            fault = _choice(getattr(shown, name), names, f"{field}.{name}")
            if fault:
                return fault
    if shown.color is not None and not _RGB.fullmatch(shown.color):
        return refuse(ErrorCode.INVALID_PAYLOAD, f"{field}.color", repr(shown.color), "write it as #RRGGBB")
    for part, keyless in (
        ("title", shown.title_loc_args and not shown.title_loc_key),
        ("body", shown.body_loc_args and not shown.body_loc_key),
    ):
        if keyless:
            mend = f"set {part}_loc_key too"
            return refuse(ErrorCode.INVALID_PAYLOAD, f"{field}.{part}_loc_args", "no key for them", mend)
    if shown.notification_count is not None and not _is_count(shown.notification_count):
        found = repr(shown.notification_count)
        mend = f"use a whole number from 0 to {_INT32}"
        return refuse(ErrorCode.INVALID_PAYLOAD, f"{field}.notification_count", found, mend)
    if shown.event_time is not None and not _is_timestamp(shown.event_time):
        mend = 'write it as RFC 3339 does, in UTC, as "2026-01-31T08:00:00Z"'
        return refuse(ErrorCode.INVALID_PAYLOAD, f"{field}.event_time", repr(shown.event_time), mend)
    for place, text in enumerate(shown.vibrate_timings or ()):
        if seconds_of(text) < 0:
            return _no_duration(f"{field}.vibrate_timings[{place}]", text)
    return _light(shown.light_settings) if shown.light_settings is not None else None


def _light(light: LightSettings) -> Refusal | None:
    field = "message.android.notification.light_settings"
    for name in ("light_on_duration", "light_off_duration"):
        text = getattr(light, name)
        if seconds_of(text) < 0:
            return _no_duration(f"{field}.{name}", text)
    for name in ("red", "green", "blue", "alpha"):
        part = getattr(light.color, name)
        if part is not None and not 0 <= _number(part, -1.0) <= 1:
            mend = "use a number from 0 to 1"
            return refuse(ErrorCode.INVALID_PAYLOAD, f"{field}.color.{name}", repr(part), mend)
    return None


def _no_duration(field: str, text: str) -> Refusal:
    return refuse(ErrorCode.INVALID_PAYLOAD, field, repr(text), 'write seconds with an s, as "0.5s"')


def _number(value: float | str, otherwise: float) -> float:
    """A number that may be written as text; `otherwise` if it is none."""
    if isinstance(value, str) and not _NUMERAL.fullmatch(value):
        return otherwise
    try:
        return float(value)
    except OverflowError:
        return otherwise


def _is_count(value: float | str) -> bool:
    number = _number(value, -1.0)
    return number.is_integer() and 0 <= number <= _INT32


def _is_timestamp(text: str) -> bool:
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return False
    try:
        datetime.fromisoformat(match[1])
    except ValueError:
        return False
    return True


def _webpush(webpush: WebpushConfig, checks: Checks) -> Refusal | None:
    fault = _keys(webpush.data, "message.webpush.data", checks)
    options = webpush.fcm_options
    if fault or options is None:
        return fault
    if options.link is not None and not options.link.lower().startswith("https://"):
        field = "message.webpush.fcm_options.link"
        mend = "the link must begin with https://"
        return refuse(ErrorCode.INVALID_OPTIONS, field, repr(options.link), mend)
    return _label(options.analytics_label, "message.webpush.fcm_options")


def _apns(apns: ApnsConfig) -> Refusal | None:
    if apns.fcm_options is None:
        return None
    return _label(apns.fcm_options.analytics_label, "message.apns.fcm_options")

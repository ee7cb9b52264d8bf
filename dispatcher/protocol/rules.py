"""What FCM asks of a message beyond names and types (v1 wire rules, sections 2 to 5).

Each refusal names the field, what was found and the mend. Where sources dispute a limit, only what all of them
refuse is refused here: the server has the last word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from dispatcher.model import ErrorCode, Refusal
from dispatcher.protocol.schema import (
    AndroidConfig,
    AndroidNotification,
    ApnsConfig,
    Message,
    WebpushConfig,
)

PAYLOAD_LIMIT = 4096  # bytes; 2048 for topics is in dispute
TTL_LIMIT = 2_419_200  # seconds, four weeks
TOPICS_IN_CONDITION = 5

_TOPIC = re.compile(r"[a-zA-Z0-9\-_.~%]{1,900}", re.ASCII)
_LABEL = re.compile(r"[a-zA-Z0-9\-_.~%]{1,50}", re.ASCII)
_RGB = re.compile(r"#[0-9a-fA-F]{6}", re.ASCII)
_DURATION = re.compile(r"(\d{1,12})(\.\d{1,9})?s", re.ASCII)
_TOPIC_REFERENCE = re.compile(r"'([^']*)'\s+in\s+topics", re.IGNORECASE)
_RESERVED_KEYS = frozenset({"from", "message_type", "gcm", ""})
_RESERVED_PREFIXES = ("google", "gcm")  # the wide rule: what any edition of the rules reserves

_PRIORITIES = frozenset({"NORMAL", "HIGH"})
_NOTIFICATION_CHOICES = {
    "notification_priority": frozenset(
        f"PRIORITY_{name}" for name in ("UNSPECIFIED", "MIN", "LOW", "DEFAULT", "HIGH", "MAX")
    ),
    "visibility": frozenset({"VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"}),
    "proxy": frozenset({"PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"}),
}


def refuse(code: ErrorCode, field: str, found: Any, mend: str) -> Refusal:
    """A refusal in the one form all have: field, what was found, what to do instead."""
    shown = found if isinstance(found, str) else repr(found)
    return Refusal(code, f"{field}: found {shown if len(shown) <= 80 else shown[:77] + '...'}; {mend}")


def seconds_of(duration: str) -> float:
    """Seconds of a duration as `3.5s`; -1 if it is none."""
    match = _DURATION.fullmatch(duration)
    return float(duration[:-1]) if match else -1.0


def fault_of(message: Message) -> Refusal | None:
    """The first rule that the content of a decoded message breaks, its target apart."""
    if message.data:
        for key in message.data:
            if key in _RESERVED_KEYS or key.startswith(_RESERVED_PREFIXES):
                return _reserved("message.data", key)
    fault = None
    if message.android is not None:
        fault = _android(message.android)
    if message.webpush is not None:
        fault = fault or _webpush(message.webpush)
    if message.apns is not None:
        fault = fault or _apns(message.apns)
    if message.fcm_options is not None:
        fault = fault or _label(message.fcm_options.analytics_label, "message.fcm_options")
    return fault


def topic_fault(topic: str) -> Refusal | None:
    """What is wrong with a topic's name (without `/topics/`)."""
    if _TOPIC.fullmatch(topic):
        return None
    mend = "a topic has 1 to 900 characters of a-z A-Z 0-9 - _ . ~ %"
    return refuse(ErrorCode.INVALID_RECIPIENT, "message.topic", repr(topic), mend)


def condition_fault(condition: str) -> Refusal | None:
    """What is wrong with a condition, as far as is checked here: its topics, not its operators."""
    topics = _TOPIC_REFERENCE.findall(condition)
    if not topics:
        mend = "name at least one topic, as in \"'news' in topics\""
        return refuse(ErrorCode.INVALID_RECIPIENT, "message.condition", repr(condition), mend)
    if len(topics) > TOPICS_IN_CONDITION:
        mend = f"FCM takes at most {TOPICS_IN_CONDITION} in a condition"
        return refuse(ErrorCode.INVALID_RECIPIENT, "message.condition", f"{len(topics)} topics", mend)
    for topic in topics:
        if not _TOPIC.fullmatch(topic):
            mend = "a topic has 1 to 900 characters of a-z A-Z 0-9 - _ . ~ %, and no /topics/ before it"
            return refuse(ErrorCode.INVALID_RECIPIENT, "message.condition", repr(topic), mend)
    return None


def payload_fault(message: Message) -> Refusal | None:
    """Refuses a payload that is too large for every reading of the limit; its exact size is not published.

    Counted are keys and string values in UTF-8, of what each platform is effectively sent; JSON syntax is not.
    """
    common = _size(msgspec.to_builtins(message.notification)) if message.notification else 0
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
        sizes["message.apns"] = _size(message.apns.payload)
    for field, size in sizes.items():
        if size > PAYLOAD_LIMIT:
            mend = f"FCM takes at most {PAYLOAD_LIMIT}: send a reference and let the app fetch the rest"
            return refuse(
                ErrorCode.PAYLOAD_SIZE_LIMIT_EXCEEDED,
                field,
                f"a payload of {size} bytes (keys and values)",
                mend,
            )
    return None


def _set_fields(block: msgspec.Struct | None) -> dict[str, Any]:
    if block is None:
        return {}
    return {k: v for k, v in msgspec.to_builtins(block).items() if v is not None}


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, Mapping):
        return sum(len(k.encode()) + _size(v) for k, v in value.items() if v is not None)
    if isinstance(value, list):
        return sum(map(_size, value))
    return 0


def _reserved(field: str, key: str) -> Refusal:
    if not key:
        return refuse(ErrorCode.INVALID_DATA_PAYLOAD_KEY, field, "an empty key", "name every key")
    mend = "from, message_type, gcm and what begins with google or gcm are FCM's own: rename it"
    return refuse(ErrorCode.INVALID_DATA_PAYLOAD_KEY, f"{field}.{key}", "a reserved key", mend)


def _keys(data: dict[str, str] | None, field: str) -> Refusal | None:
    for key in data or ():
        if key in _RESERVED_KEYS or key.startswith(_RESERVED_PREFIXES):
            return _reserved(field, key)
    return None


def _label(label: str | None, field: str) -> Refusal | None:
    if label is None or _LABEL.fullmatch(label):
        return None
    mend = "use 1 to 50 characters of a-z A-Z 0-9 - _ . ~ %"
    return refuse(ErrorCode.INVALID_OPTIONS, f"{field}.analytics_label", repr(label), mend)


def _choice(value: str | int | None, names: frozenset[str], field: str) -> Refusal | None:
    if value is None or (value.upper() in names if isinstance(value, str) else 0 <= value < len(names) + 1):
        return None
    return refuse(ErrorCode.INVALID_OPTIONS, field, repr(value), f"use one of {', '.join(sorted(names))}")


def _android(android: AndroidConfig) -> Refusal | None:
    if android.ttl is not None and not 0 <= seconds_of(android.ttl) <= TTL_LIMIT:
        mend = f'write seconds with an s, "0s" to "{TTL_LIMIT}s" (four weeks)'
        return refuse(ErrorCode.INVALID_OPTIONS, "message.android.ttl", repr(android.ttl), mend)
    fault = _choice(android.priority, _PRIORITIES, "message.android.priority")
    if android.data:
        fault = fault or _keys(android.data, "message.android.data")
    if android.notification is not None:
        fault = fault or _android_notification(android.notification)
    if android.fcm_options is not None:
        fault = fault or _label(android.fcm_options.analytics_label, "message.android.fcm_options")
    return fault


def _android_notification(shown: AndroidNotification) -> Refusal | None:
    field = "message.android.notification"
    for name, names in _NOTIFICATION_CHOICES.items():
        fault = _choice(getattr(shown, name), names, f"{field}.{name}")
        if fault:
            return fault
    if shown.color is not None and not _RGB.fullmatch(shown.color):
        return refuse(ErrorCode.INVALID_PAYLOAD, f"{field}.color", repr(shown.color), "write it as #RRGGBB")
    for part in ("title", "body"):
        if getattr(shown, f"{part}_loc_args") and not getattr(shown, f"{part}_loc_key"):
            mend = f"set {part}_loc_key too"
            return refuse(ErrorCode.INVALID_PAYLOAD, f"{field}.{part}_loc_args", "no key for them", mend)
    if shown.notification_count is not None and shown.notification_count < 0:
        found = repr(shown.notification_count)
        return refuse(ErrorCode.INVALID_PAYLOAD, f"{field}.notification_count", found, "use 0 or more")
    durations = {f"vibrate_timings[{i}]": text for i, text in enumerate(shown.vibrate_timings or ())}
    if shown.light_settings is not None:
        durations["light_settings.light_on_duration"] = shown.light_settings.light_on_duration
        durations["light_settings.light_off_duration"] = shown.light_settings.light_off_duration
    for name, text in durations.items():
        if seconds_of(text) < 0:
            return refuse(
                ErrorCode.INVALID_PAYLOAD, f"{field}.{name}", repr(text), 'write seconds with an s, as "0.5s"'
            )
    return None


def _webpush(webpush: WebpushConfig) -> Refusal | None:
    fault = _keys(webpush.data, "message.webpush.data")
    options = webpush.fcm_options
    if fault or options is None:
        return fault
    if options.link is not None and not options.link.lower().startswith("https://"):
        field = "message.webpush.fcm_options.link"
        return refuse(
            ErrorCode.INVALID_OPTIONS, field, repr(options.link), "the link must begin with https://"
        )
    return _label(options.analytics_label, "message.webpush.fcm_options")


def _apns(apns: ApnsConfig) -> Refusal | None:
    if apns.fcm_options is None:
        return None
    return _label(apns.fcm_options.analytics_label, "message.apns.fcm_options")

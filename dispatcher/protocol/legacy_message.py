"""The v1 Message of a job in the keys of the legacy protocols, which HTTP and XMPP share (legacy wire rules, section 2).

A legacy message has no blocks for platforms: one title, one priority, one `data` for all. What a platform's block says
is therefore said to all of them, and two blocks that say different things of the same key cannot be translated. Neither
can what has no legacy key at all. Both are refused with the JSON path and the mend: nothing is left out in silence.
Lifetimes are the exception: of several the shortest holds, so that no platform shows a message after its time.

A translation does not depend on the target or the time, so that equal messages to many tokens are translated once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import msgspec
import orjson

from dispatcher.model import ErrorCode, Job, Refusal
from dispatcher.protocol import leisure
from dispatcher.protocol.legacy_keys import Keys, UntranslatableError, no_key, wrong
from dispatcher.protocol.lifetimes import DIGITS, seconds_left
from dispatcher.protocol.rules import refuse, seconds_of
from dispatcher.protocol.schema import (
    AndroidConfig,
    AndroidNotification,
    ApnsConfig,
    Message,
    Notification,
    WebpushConfig,
)

LegacyWire = Literal["legacy", "xmpp"]

_CACHED = 16 << 10
"""Bytes of the longest message whose translation is kept: well above what FCM takes, well below what a job may hold."""

_GAP = b"\0"  # stands for the target; no JSON holds this byte
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decode = msgspec.json.Decoder(Message).decode

# Android's own names, and what they are called in a legacy message.
_ANDROID_NOTIFICATION = {
    "title": "title",
    "body": "body",
    "icon": "icon",
    "color": "color",
    "sound": "sound",
    "tag": "tag",
    "click_action": "click_action",
    "body_loc_key": "body_loc_key",
    "body_loc_args": "body_loc_args",
    "title_loc_key": "title_loc_key",
    "title_loc_args": "title_loc_args",
    "channel_id": "android_channel_id",
}
_APNS_ALERT = {
    "title": "title",
    "subtitle": "subtitle",
    "body": "body",
    "loc-key": "body_loc_key",
    "loc-args": "body_loc_args",
    "title-loc-key": "title_loc_key",
    "title-loc-args": "title_loc_args",
}
_WEB_NOTIFICATION = {"title": "title", "body": "body", "icon": "icon"}
_PRIORITY_NUMBERS = ("normal", "high")
_APNS_PRIORITIES = {"10": "high", "5": "normal"}
_URGENCIES = {"high": "high", "normal": "normal", "low": "normal", "very-low": "normal"}
# FCM sets this header itself, from what is in the message.
_PUSH_TYPES = ("alert", "background")


def translate(job: Job, wire: LegacyWire) -> bytes | Refusal:
    """What a job's message is in legacy keys: all but its target, its lifetime and its options.

    Args:
        job: decoded and not refused.
        wire: which legacy protocol; XMPP lacks one key.

    Returns:
        The members of a JSON object, without its braces (so b"" if there are none); or why it has none.
    """
    if job.kind == "fid":
        mend = "legacy protocols know registration tokens only: use token, or send it over v1"
        return refuse(ErrorCode.INVALID_RECIPIENT, "message.fid", "an installation id", mend)
    message = job.message
    if not job.multicast and job.kind != "group":
        # Equal bytes but for the target say the same; wherever the target stands, it is the same place in both.
        quoted = orjson.dumps(job.values[0])
        # What stands between two strings of JSON, as `":"`, begins with no letter or digit; a target mostly does.
        if job.values[0][:1].isalnum() and message.count(quoted) == 1:
            message = message.replace(quoted, b'"' + _GAP + b'"')
        else:
            return _translated(message, wire)
    if len(message) > _CACHED:
        return _translated(message.replace(_GAP, b""), wire)
    return _remembered(message, wire)


def options(job: Job, now: float) -> bytes:
    """The members that depend on the time and on the job's own fields; each followed by a comma.

    Args:
        job: to be sent.
        now: the time of the send.
    """
    found = b""
    if job.lifetimes is not None:
        seconds = seconds_left(job, job.lifetimes, now)
        if seconds is not None:
            found = b'"time_to_live":%d,' % seconds
    return found + b'"dry_run":true,' if job.validate_only else found


def object_of(recipient: bytes, options: bytes, members: bytes) -> bytes:
    """A legacy message as JSON.

    Args:
        recipient: one member, as `"to":"..."`, or several.
        options: as `options` returns them.
        members: as `translate` returns them.
    """
    text = options + members
    return b"{" + recipient + b"," + text.removesuffix(b",") + b"}" if text else b"{" + recipient + b"}"


@lru_cache(256)  # a campaign's message is that of all its jobs
def _remembered(message: bytes, wire: LegacyWire) -> bytes | Refusal:
    return _translated(message.replace(_GAP, b""), wire)


def _translated(raw: bytes, wire: LegacyWire) -> bytes | Refusal:
    try:
        message = _decode(raw)
    except _UNREADABLE:
        read = leisure.reread(raw)
        if isinstance(read, Refusal):
            return read
        message = read[1]
    keys = Keys()
    try:
        _common(message, keys)
        if message.android is not None:
            _android(message.android, keys, wire)
        if message.apns is not None:
            _apns(message.apns, keys)
        if message.webpush is not None:
            _webpush(message.webpush, keys)
        return orjson.dumps(keys.document())[1:-1]
    except UntranslatableError as cannot:
        return cannot.refusal


def _common(message: Message, keys: Keys) -> None:
    if message.android_v2:
        raise no_key("message.android_v2", "a block")
    if message.fcm_options is not None:
        _no_label(message.fcm_options.analytics_label, "message.fcm_options")
    shown = message.notification or Notification()
    for name in ("title", "body"):
        if (text := getattr(shown, name)) is not None:
            keys.put("notification", name, text, f"message.notification.{name}")
    if shown.image:
        raise no_key("message.notification.image", shown.image)
    keys.data(message.data, "message.data")


def _android(android: AndroidConfig, keys: Keys, wire: LegacyWire) -> None:
    path = "message.android"
    if android.collapse_key:
        keys.put("", "collapse_key", android.collapse_key, f"{path}.collapse_key")
    if android.priority is not None:
        keys.put("", "priority", _priority(android.priority, f"{path}.priority"), f"{path}.priority")
    if android.restricted_package_name:
        if wire == "xmpp":
            raise no_key(f"{path}.restricted_package_name", android.restricted_package_name)
        keys.put(
            "",
            "restricted_package_name",
            android.restricted_package_name,
            f"{path}.restricted_package_name",
        )
    if android.ttl is not None and seconds_of(android.ttl) < 0:
        raise wrong(f"{path}.ttl", android.ttl, 'write seconds with an s, as "3600s"')
    keys.data(android.data, f"{path}.data")
    for name in ("direct_boot_ok", "bandwidth_constrained_ok", "restricted_satellite_ok"):
        if getattr(android, name):
            raise no_key(f"{path}.{name}", "true")
    if android.fcm_options is not None:
        _no_label(android.fcm_options.analytics_label, f"{path}.fcm_options")
    if android.notification is not None:
        _android_notification(android.notification, keys)


def _android_notification(shown: AndroidNotification, keys: Keys) -> None:
    for name in AndroidNotification.__struct_fields__:
        value = getattr(shown, name)
        path = f"message.android.notification.{name}"
        if value is None:
            continue
        if name in _ANDROID_NOTIFICATION:
            keys.put("notification", _ANDROID_NOTIFICATION[name], value, path)
        elif value and name == "default_sound":
            keys.put("notification", "sound", "default", path)
        elif value:  # else it is what it would be without being set
            raise no_key(path, value)


def _apns(apns: ApnsConfig, keys: Keys) -> None:
    path = "message.apns"
    if apns.live_activity_token:
        raise no_key(f"{path}.live_activity_token", "a token")
    if apns.fcm_options is not None:
        _no_label(apns.fcm_options.analytics_label, f"{path}.fcm_options")
        if apns.fcm_options.image:
            raise no_key(f"{path}.fcm_options.image", apns.fcm_options.image)
    for name, value in (apns.headers or {}).items():
        field = f"{path}.headers.{name}"
        match name:
            case "apns-expiration":
                if not _is_number(value):
                    raise wrong(field, value, "write it as Unix seconds")
            case "apns-priority":
                keys.put("", "priority", _one_of(value, _APNS_PRIORITIES, field), field)
            case "apns-collapse-id":
                keys.put("", "collapse_key", value, field)
            case "apns-push-type" if value in _PUSH_TYPES:
                pass
            case _:
                raise no_key(field, value)
    for name, value in (apns.payload or {}).items():
        if name != "aps":
            keys.custom(name, value, f"{path}.payload.{name}")
        elif isinstance(value, dict):
            _aps(value, keys)
        else:
            raise wrong(f"{path}.payload.aps", value, "make it an object")


def _aps(aps: dict[str, Any], keys: Keys) -> None:
    for name, value in aps.items():
        path = f"message.apns.payload.aps.{name}"
        match name, value:
            case "alert", str():
                keys.put("notification", "body", value, path)
            case "alert", dict():
                _alert(value, keys)
            case "badge", int() | str() if not isinstance(value, bool):
                keys.put("notification", "badge", str(value), path)
            case "sound", str():
                keys.put("notification", "sound", value, path)
            case "category", str():
                keys.put("notification", "click_action", value, path)
            case "content-available" | "mutable-content", 0 | 1:  # also true and false
                if value:
                    keys.put("", name.replace("-", "_"), bool(value), path)
            case _:
                raise no_key(path, value)


def _alert(alert: dict[str, Any], keys: Keys) -> None:
    for name, value in alert.items():
        path = f"message.apns.payload.aps.alert.{name}"
        if name not in _APNS_ALERT:
            raise no_key(path, value)
        if name.endswith("-args"):
            if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
                raise wrong(path, value, "make it an array of strings")
        elif not isinstance(value, str):
            raise wrong(path, value, "make it a string")
        keys.put("notification", _APNS_ALERT[name], value, path)


def _webpush(web: WebpushConfig, keys: Keys) -> None:
    path = "message.webpush"
    for name, value in (web.headers or {}).items():
        field = f"{path}.headers.{name}"
        match name.lower():
            case "ttl":
                if not _is_number(value):
                    raise wrong(field, value, "write it as whole seconds")
            case "urgency":
                keys.put("", "priority", _one_of(value, _URGENCIES, field), field)
            case "topic":
                keys.put("", "collapse_key", value, field)
            case _:
                raise no_key(field, value)
    keys.data(web.data, f"{path}.data")
    for name, value in (web.notification or {}).items():
        field = f"{path}.notification.{name}"
        if name not in _WEB_NOTIFICATION:
            raise no_key(field, value)
        if not isinstance(value, str):
            raise wrong(field, value, "make it a string")
        keys.put("notification", _WEB_NOTIFICATION[name], value, field)
    if web.fcm_options is not None:
        _no_label(web.fcm_options.analytics_label, f"{path}.fcm_options")
        if web.fcm_options.link:
            keys.put("notification", "click_action", web.fcm_options.link, f"{path}.fcm_options.link")


def _priority(value: str | int, path: str) -> str:
    if isinstance(value, int):
        if 0 <= value < len(_PRIORITY_NUMBERS):
            return _PRIORITY_NUMBERS[value]
    elif value.lower() in _PRIORITY_NUMBERS:
        return value.lower()
    raise wrong(path, value, "use NORMAL or HIGH")


def _one_of(value: str, table: dict[str, str], path: str) -> str:
    if value not in table:
        raise wrong(path, value, f"legacy messages know these only: use one of {', '.join(table)}")
    return table[value]


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= DIGITS


def _no_label(label: str | None, path: str) -> None:
    if label:
        raise no_key(f"{path}.analytics_label", label)

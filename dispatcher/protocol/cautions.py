"""What looks wrong where JSON is free: `apns.payload`, `webpush.notification` and the two blocks' headers.

FCM hands these on as they are, and Apple and the browsers add names to them every year. So nothing here refuses a
message: it is sent, and its author is told. The usual slips are a badge as text, `contentAvailable` for
`content-available`, and a header's value in a form that its reader ignores (v1 wire rules, sections 2 and 9).
"""

from __future__ import annotations

import re
from typing import Any

from dispatcher.model import Caution, CautionCode
from dispatcher.protocol.rules import DISPUTED_TOPIC_LIMIT, TTL_LIMIT, sentence
from dispatcher.protocol.schema import ApnsConfig, Message, WebpushConfig

_MOST = 10  # cautions for one message; who ignores ten ignores the eleventh

_TEXT, _FLAG, _NUMBER, _LIST, _OBJECT = (
    frozenset(types) for types in ([str], [bool], [int, float], [list], [dict])
)
_WANTED = {
    _TEXT: "a string",
    _FLAG: "true or false",
    _NUMBER: "a number",
    _LIST: "an array",
    _OBJECT: "an object",
}
_APS: dict[str, frozenset[type]] = {
    "alert": _TEXT | _OBJECT,
    "badge": _NUMBER,
    "sound": _TEXT | _OBJECT,
    "content-available": _NUMBER,
    "mutable-content": _NUMBER,
    "category": _TEXT,
    "thread-id": _TEXT,
    "target-content-id": _TEXT,
    "interruption-level": _TEXT,
    "relevance-score": _NUMBER,
    "filter-criteria": _TEXT,
    "stale-date": _NUMBER,
    "dismissal-date": _NUMBER,
    "timestamp": _NUMBER,
    "event": _TEXT,
    "content-state": _OBJECT,
    "attributes-type": _TEXT,
    "attributes": _OBJECT,
}
_ALERT: dict[str, frozenset[type]] = {
    **dict.fromkeys(("title", "subtitle", "body", "launch-image", "summary-arg"), _TEXT),
    **dict.fromkeys(("loc-key", "title-loc-key", "subtitle-loc-key", "action-loc-key"), _TEXT),
    **dict.fromkeys(("loc-args", "title-loc-args", "subtitle-loc-args"), _LIST),
    "summary-arg-count": _NUMBER,
}
_SOUND: dict[str, frozenset[type]] = {"name": _TEXT, "volume": _NUMBER, "critical": _NUMBER}
_WEB: dict[str, frozenset[type]] = {
    **dict.fromkeys(("title", "body", "icon", "badge", "image", "lang", "tag", "dir"), _TEXT),
    **dict.fromkeys(("renotify", "requireInteraction", "silent"), _FLAG),
    "timestamp": _NUMBER,
    "vibrate": _LIST | _NUMBER,
    "actions": _LIST,
    "data": frozenset([str, bool, int, float, list, dict, type(None)]),
}
_WEB_ACTION: dict[str, frozenset[type]] = dict.fromkeys(("action", "title", "icon"), _TEXT)
_PLAIN: dict[int, dict[str, str]] = {
    id(names): {re.sub("[-_]", "", name).lower(): name for name in names}
    for names in (_APS, _ALERT, _SOUND, _WEB, _WEB_ACTION)
}

_WHOLE = re.compile(r"\d{1,12}", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_PUSH_TYPES = (
    "alert",
    "background",
    *("complication", "controls", "fileprovider", "liveactivity", "location"),
    *("mdm", "pushtotalk", "voip", "widgets"),
)
_APNS_HEADERS = {
    "apns-expiration": (_WHOLE, 'write Unix seconds, as "1767225600"'),
    "apns-priority": (re.compile("10|5|1"), 'use "10", "5" or "1"'),
    "apns-push-type": (
        re.compile("|".join(_PUSH_TYPES)),
        f"APNs knows {', '.join(_PUSH_TYPES)}",
    ),
    "apns-id": (_UUID, "APNs takes a UUID"),
}
_WEB_HEADERS = {
    "ttl": (_WHOLE, 'write seconds, as "3600"'),
    "urgency": (re.compile("very-low|low|normal|high"), "use very-low, low, normal or high"),
    "topic": (re.compile(r"[A-Za-z0-9_-]{1,32}"), "use 1 to 32 characters of a-z A-Z 0-9 - _"),
}
_USUAL = frozenset({"10", "5", "alert", "background"})
_COLLAPSE_ID_LIMIT = 64  # bytes

Cautions = list[Caution]

COLLAPSE_KEY = "collapse_key"
"""A name in `data` that is not refused, and does not arrive; of what is in `data`, the only one that earns a caution."""


def cautions_of(message: Message) -> tuple[Caution, ...]:
    """All that looks wrong in a message whose types and rules are in order; mostly nothing."""
    found: Cautions = []
    apns, webpush = message.apns, message.webpush
    if apns is not None:
        if apns.payload is not None:
            _payload(apns.payload, found)
            _background(message, apns, apns.payload, found)
        if apns.headers:
            _apns_headers(apns.headers, found)
    if webpush is not None:
        if webpush.notification is not None:
            _web_notification(webpush, found)
        if webpush.headers:
            _web_headers(webpush.headers, found)
    if message.data and COLLAPSE_KEY in message.data:
        mend = "on the device FCM's own value takes its place: name it otherwise"
        _add(found, "data-collapse-key", f"message.data.{COLLAPSE_KEY}", "a key that FCM sets itself", mend)
    return tuple(found[:_MOST])


def large_topic_payload(field: str, size: int) -> Caution:
    """A payload to a topic between the limits of FCM's own pages."""
    mend = (
        f"some of FCM's pages allow {DISPUTED_TOPIC_LIMIT} for topics and conditions, others 4096: send less"
    )
    return Caution("topic-payload-size", sentence(field, f"a payload of {size} bytes", mend))


def _payload(payload: dict[str, Any], found: Cautions) -> None:
    field = "message.apns.payload"
    aps = payload.get("aps")
    if aps is None:
        stray = [name for name in payload if name in _APS or name.lower() == "aps"]
        if stray:
            mend = "what Apple reads stands in aps, written so; beside it stand only the app's own keys"
            _add(found, "apns-aps", f"{field}.{stray[0]}", "a name of Apple's outside of aps", mend)
        return
    field = "message.apns.payload.aps"
    if type(aps) is not dict:
        _add(found, "apns-aps", field, _kind(aps), "aps is an object")
        return
    for name, value in aps.items():
        types = _APS.get(name)
        if types is None:
            _slip(found, "apns-name", field, name, _APS)
        elif type(value) not in types:
            code: CautionCode = "apns-value"
            if name in ("badge", "sound", "alert"):
                code = "apns-badge" if name == "badge" else "apns-sound" if name == "sound" else "apns-alert"
            _wrong_type(found, code, f"{field}.{name}", value, types)
        elif type(value) is dict:
            if name == "alert":
                _members(found, "apns-alert", f"{field}.alert", value, _ALERT)
            elif name == "sound":
                _sound(value, found)
        elif name == "badge" and value < 0:
            _add(found, "apns-badge", f"{field}.badge", repr(value), "use 0 to take the badge away, or more")
        elif name in ("content-available", "mutable-content") and value not in (0, 1):
            _add(found, "apns-value", f"{field}.{name}", repr(value), "APNs knows the value 1")


def _sound(sound: dict[str, Any], found: Cautions) -> None:
    field = "message.apns.payload.aps.sound"
    _members(found, "apns-sound", field, sound, _SOUND)
    volume: Any = sound.get("volume")
    critical = sound.get("critical")
    if type(volume) in _NUMBER and not 0 <= volume <= 1:
        _add(found, "apns-sound", f"{field}.volume", repr(volume), "use a number from 0 to 1")
    if type(critical) in _NUMBER and critical not in (0, 1):
        _add(found, "apns-sound", f"{field}.critical", repr(critical), "use 1 or 0")


def _background(message: Message, apns: ApnsConfig, payload: dict[str, Any], found: Cautions) -> None:
    """A message that only wakes the app must not claim to be urgent, or APNs drops it."""
    aps = payload.get("aps")
    if type(aps) is not dict or aps.get("content-available") != 1:
        return
    if message.notification is not None or "alert" in aps or "sound" in aps or "badge" in aps:
        return
    priority = (apns.headers or {}).get("apns-priority", "10")
    if priority == "10":
        mend = 'set the header apns-priority to "5", which APNs requires for a background message'
        _add(found, "apns-background", "message.apns.headers.apns-priority", 'the priority "10"', mend)


def _apns_headers(headers: dict[str, str], found: Cautions) -> None:
    for name, value in headers.items():
        rule = _APNS_HEADERS.get(name)
        if rule is not None:
            if value not in _USUAL and not rule[0].fullmatch(value):
                _add(found, "apns-header", f"message.apns.headers.{name}", repr(value), rule[1])
        elif name == "apns-collapse-id":
            if len(value.encode()) > _COLLAPSE_ID_LIMIT:
                size = f"{len(value.encode())} bytes"
                mend = f"APNs takes at most {_COLLAPSE_ID_LIMIT}"
                _add(found, "apns-header", "message.apns.headers.apns-collapse-id", size, mend)
        elif name != "apns-topic":
            plain = name.replace("_", "-").lower()
            if plain in _APNS_HEADERS or plain in ("apns-collapse-id", "apns-topic"):
                mend = f"did you mean {plain}?"
                _add(found, "apns-header", f"message.apns.headers.{name}", "an unknown name", mend)


def _web_notification(webpush: WebpushConfig, found: Cautions) -> None:
    field = "message.webpush.notification"
    shown = webpush.notification or {}
    _members(found, "webpush-value", field, shown, _WEB)
    direction = shown.get("dir")
    if type(direction) is str and direction not in ("auto", "ltr", "rtl"):
        _add(found, "webpush-value", f"{field}.dir", repr(direction), "use auto, ltr or rtl")
    pattern = shown.get("vibrate")
    for place, value in enumerate(pattern if type(pattern) is list else ()):
        if type(value) not in _NUMBER:
            _wrong_type(found, "webpush-value", f"{field}.vibrate[{place}]", value, _NUMBER)
            break
    actions = shown.get("actions")
    for place, action in enumerate(actions[:_MOST] if type(actions) is list else ()):
        if type(action) is dict:
            _members(found, "webpush-value", f"{field}.actions[{place}]", action, _WEB_ACTION)
        else:
            _wrong_type(found, "webpush-value", f"{field}.actions[{place}]", action, _OBJECT)


def _web_headers(headers: dict[str, str], found: Cautions) -> None:
    for name, value in headers.items():
        rule = _WEB_HEADERS.get(name.lower())
        if rule is not None and not rule[0].fullmatch(value):
            _add(found, "webpush-header", f"message.webpush.headers.{name}", repr(value), rule[1])
        elif name.lower() == "ttl" and int(value) > TTL_LIMIT:
            mend = f"FCM keeps messages for at most {TTL_LIMIT} seconds (four weeks)"
            _add(found, "webpush-header", f"message.webpush.headers.{name}", repr(value), mend)


def _members(
    found: Cautions, code: CautionCode, field: str, block: dict[str, Any], names: dict[str, frozenset[type]]
) -> None:
    """Looks at the names and types of an object whose other names are the producer's own."""
    for name, value in block.items():
        types = names.get(name)
        if types is None:
            _slip(found, "webpush-name" if code == "webpush-value" else "apns-name", field, name, names)
        elif type(value) not in types:
            _wrong_type(found, code, f"{field}.{name}", value, types)


def _slip(
    found: Cautions, code: CautionCode, field: str, name: str, names: dict[str, frozenset[type]]
) -> None:
    """An unknown name is nobody's mistake, unless it is a known one spelt in another way."""
    meant = _PLAIN[id(names)].get(name.replace("-", "").replace("_", "").lower())
    if meant is not None:
        _add(found, code, f"{field}.{name}", "a name that its reader does not know", f"did you mean {meant}?")


def _wrong_type(found: Cautions, code: CautionCode, field: str, value: Any, types: frozenset[type]) -> None:
    wanted = " or ".join(text for kind, text in _WANTED.items() if kind <= types)
    _add(found, code, field, _kind(value), f"its reader takes {wanted}")


def _kind(value: Any) -> str:
    """What a value is, with the value if it is short; long text may be anybody's."""
    kinds = {str: "the string", bool: "the truth value", list: "an array", dict: "an object"}
    if value is None or isinstance(value, list | dict):
        return kinds.get(type(value), "null")
    if isinstance(value, str):
        return f'the string "{value}"' if len(value) <= 12 else "a string"
    return f"{kinds.get(type(value), 'the number')} {str(value).lower()}"


def _add(found: Cautions, code: CautionCode, field: str, what: str, mend: str) -> None:
    found.append(Caution(code, sentence(field, what, mend)))

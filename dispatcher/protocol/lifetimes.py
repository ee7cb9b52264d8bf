"""How long a message is worth delivering, by its own word, and what is left of that when it is sent.

FCM keeps a message for a device that is offline for as long as the message says: `android.ttl` and the web header
`TTL` in seconds from the send, `apns-expiration` as a moment. A message that is sent again has lived for a while, so
the first two are shortened by the time passed since it was due; and none of the three may outlive the job's
`expires_at`. They are only ever shortened: where a message says nothing, nothing is put in, and FCM's own default
(four weeks) holds.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dispatcher.model import Job, Lifetimes
from dispatcher.protocol.rules import TTL_LIMIT, seconds_of
from dispatcher.protocol.schema import Message

DIGITS = 12
"""Of a number of seconds; more are no time that anybody means."""

_NOTHING = Lifetimes()
_EXPIRATION = "apns-expiration"
decode_layer = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
"""The values of one JSON object by name, each as its bytes."""

_encode = msgspec.json.Encoder().encode


def lifetimes_of(message: Message) -> Lifetimes | None:
    """What a decoded message says; None: nothing, as most do not."""
    android, apns, webpush = message.android, message.apns, message.webpush
    v2 = message.android_v2
    if apns is None and webpush is None and v2 is None and (android is None or android.ttl is None):
        return None
    found = Lifetimes(
        seconds_of(android.ttl) if android is not None and android.ttl is not None else -1.0,
        _seconds(v2.get("ttl")) if v2 is not None else -1.0,
        _whole(webpush.headers.get(_ttl_name(webpush.headers))) if webpush and webpush.headers else -1.0,
        _whole(apns.headers.get(_EXPIRATION)) if apns and apns.headers else -1.0,
    )
    return None if found == _NOTHING else found


def lifetimes_in(document: dict[str, Any]) -> Lifetimes | None:
    """The same of a message that nobody has checked."""
    android = document.get("android")
    second = next((document[name] for name in ("android_v2", "androidV2") if name in document), None)
    web, apns = (_headers(document.get(name)) for name in ("webpush", "apns"))
    found = Lifetimes(
        _seconds(android.get("ttl")) if isinstance(android, dict) else -1.0,
        _seconds(second.get("ttl")) if isinstance(second, dict) else -1.0,
        _whole(web.get(_ttl_name(web))),
        _whole(apns.get(_EXPIRATION)),
    )
    return None if found == _NOTHING else found


def in_time(job: Job, lifetimes: Lifetimes, now: float) -> bytes:
    """The message of a job with its lifetimes shortened where they have to be; all other bytes stay.

    Args:
        job: to be sent.
        lifetimes: its own.
        now: the time of the send.
    """
    passed = max(0.0, now - max(job.enqueued_at, job.deliver_at)) if job.sends else 0.0
    most = job.expires_at - now
    message = job.message
    if lifetimes.android >= 0 and (passed or lifetimes.android > most):
        message = replace(message, ["android", "ttl"], b'"%ds"' % _left(lifetimes.android, passed, most))
    if lifetimes.web >= 0 and (passed or lifetimes.web > most):
        path = ["webpush", "headers", _ttl_header(message)]
        message = replace(message, path, b'"%d"' % _left(lifetimes.web, passed, most))
    if lifetimes.apns_until > job.expires_at:
        message = replace(message, ["apns", "headers", _EXPIRATION], b'"%d"' % int(job.expires_at))
    if lifetimes.android_v2 >= 0 and (passed or lifetimes.android_v2 > most):
        name = next(name for name in ("android_v2", "androidV2") if name in decode_layer(message))
        message = replace(message, [name, "ttl"], b'"%ds"' % _left(lifetimes.android_v2, passed, most))
    return message


def seconds_left(job: Job, lifetimes: Lifetimes, now: float) -> int | None:
    """The same for a wire that knows one lifetime for all platforms: the shortest of what is left; None: nothing said.

    Args:
        job: to be sent.
        lifetimes: its own.
        now: the time of the send.
    """
    passed = max(0.0, now - max(job.enqueued_at, job.deliver_at)) if job.sends else 0.0
    most = job.expires_at - now
    least = float("inf")
    for seconds in (lifetimes.android, lifetimes.web, lifetimes.android_v2):
        if 0 <= seconds < least:
            least = seconds
    # Seconds pass for these; a moment stands where it is.
    least -= passed
    if 0 <= lifetimes.apns_until < least + now:
        least = lifetimes.apns_until - now
    return int(max(0.0, min(least, most, TTL_LIMIT))) if least != float("inf") else None


def _left(seconds: float, passed: float, most: float) -> int:
    """Whole seconds that are left; FCM rounds fractions down too."""
    return int(max(0.0, min(seconds - passed, most)))


def replace(raw: bytes, path: list[str], value: bytes) -> bytes:
    """A JSON object with one of its values replaced and all others byte for byte as they were.

    Args:
        raw: the object.
        path: names from its outermost object to the value, which is there.
        value: JSON.
    """
    layer = decode_layer(raw)
    name = path[0]
    layer[name] = msgspec.Raw(value if len(path) == 1 else replace(bytes(layer[name]), path[1:], value))
    return _encode(layer)


def _headers(block: Any) -> dict[str, Any]:
    headers = block.get("headers") if isinstance(block, dict) else None
    return headers if isinstance(headers, dict) else {}


def _seconds(duration: Any) -> float:
    return seconds_of(duration) if isinstance(duration, str) else -1.0


def _whole(text: Any) -> float:
    fits = isinstance(text, str) and text.isdecimal() and text.isascii() and len(text) <= DIGITS
    return float(text) if fits else -1.0


def _ttl_header(message: bytes) -> str:
    return _ttl_name(decode_layer(decode_layer(decode_layer(message)["webpush"])["headers"]))


def _ttl_name(headers: dict[str, Any]) -> str:
    """How these headers spell TTL: names of HTTP headers are the same in any case."""
    if "TTL" in headers:
        return "TTL"
    return next((name for name in headers if name.lower() == "ttl"), "TTL")

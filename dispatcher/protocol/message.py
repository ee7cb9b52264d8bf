"""The v1 Message of a job: read and checked once, then made into one request body per target.

The producer's bytes go out as they came (v1 wire rules, sections 1 to 5), so what is checked here is what FCM
sees. They are touched in four places only: a wrapper or a `/topics/` prefix is taken off, the target of a multicast is
spliced in, and a ttl is shortened; the rest of the bytes stays even then.

Almost every message is plain and right: `_decode` reads it in one typed pass. Whatever that pass refuses is read
again at leisure (leisure.py), either because it is spelt in another way or to say exactly what is wrong.
"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from dispatcher.model import ErrorCode, Job, Refusal, TargetKind
from dispatcher.protocol import leisure, rules
from dispatcher.protocol.rules import refuse
from dispatcher.protocol.schema import Message

_decode = msgspec.json.Decoder(Message).decode
_decode_layer = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_KINDS: tuple[TargetKind, ...] = ("token", "topic", "condition", "fid")
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Content(msgspec.Struct, gc=False):
    """A message fit to be sent.

    Attributes:
        raw: the Message object as JSON, without wrapper; the producer's bytes.
        kind: of its target; `token` if the target is not in it.
        value: its target; "" if the target is not in it.
        ttl: seconds of `android.ttl`; -1: none.
    """

    raw: bytes
    kind: TargetKind
    value: str
    ttl: float = -1.0


def read_message(raw: bytes, *, strict: bool = True, targetless: bool = False) -> Content | Refusal:
    """Reads and checks the field `message` of a job.

    Args:
        raw: JSON of a Message in snake_case or camelCase, bare or wrapped as {"message": {...}}.
        strict: refuse what FCM would; otherwise only what cannot be sent or has not exactly one target.
        targetless: the job has its targets elsewhere (`tokens`, `group`), so there must be none in the message.
    """
    if not strict:
        return _read_loosely(raw, targetless=targetless)
    try:
        message = _decode(raw)
    except _UNREADABLE:
        read = leisure.reread(raw)
        if isinstance(read, Refusal):
            return read
        raw, message = read
    token = message.token
    if (
        not token
        or targetless
        or message.topic
        or message.condition
        or message.fid
        or raw.count(b'"token"') != 1
    ):
        return _checked(raw, message, targetless=targetless)
    if (
        message.data
        or message.android
        or message.webpush
        or message.apns
        or message.fcm_options
        or message.android_v2
    ):
        fault = rules.fault_of(message) or leisure.depth_fault(raw)
        if fault is not None:
            return fault
    # Escapes only make JSON longer than the text they stand for: short bytes cannot hold a long payload.
    if len(raw) > rules.PAYLOAD_LIMIT:
        fault = rules.payload_fault(message)
        if fault is not None:
            return fault
    return Content(raw, "token", token, _ttl_of(message))


def target_of(raw: bytes) -> tuple[TargetKind, str] | None:
    """The one target of a message that may be wrong otherwise, for the outcome of its refusal; None if there is none."""
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if isinstance(document, dict) and isinstance(document.get("message"), dict):
        document = document["message"]
    found = _targets(document.get) if isinstance(document, dict) else []
    return found[0] if len(found) == 1 and isinstance(found[0][1], str) else None


def _checked(raw: bytes, message: Message, *, targetless: bool) -> Content | Refusal:
    """The rest of `read_message` for all that is not one plain token."""
    targets = _targets(lambda kind: getattr(message, kind))
    fault = _target_fault(targets, targetless=targetless) or _twice(raw, targets)
    if fault is None:
        fault = rules.fault_of(message) or (
            rules.payload_fault(message) if len(raw) > rules.PAYLOAD_LIMIT else None
        )
    if fault is not None:
        return fault
    if not targets:
        return Content(raw, "token", "", _ttl_of(message))
    return _with_target(raw, *targets[0], _ttl_of(message), strict=True)


def _with_target(raw: bytes, kind: TargetKind, value: str, ttl: float, *, strict: bool) -> Content | Refusal:
    fault = None
    if kind == "topic":
        if value.startswith("/topics/"):
            value = value.removeprefix("/topics/")
            raw = _replace(raw, "topic", _encode(value))
        fault = rules.topic_fault(value) if strict else None
    elif kind == "condition" and strict:
        fault = rules.condition_fault(value)
    return fault or Content(raw, kind, value, ttl)


def _targets(get: Any) -> list[tuple[TargetKind, Any]]:
    return [(kind, value) for kind in _KINDS if (value := get(kind)) not in (None, "")]


def _target_fault(targets: list[tuple[TargetKind, Any]], *, targetless: bool) -> Refusal | None:
    if targetless:
        if not targets:
            return None
        mend = "take it out: the job's own field names the targets"
        return refuse(ErrorCode.INVALID_RECIPIENT, f"message.{targets[0][0]}", "a target", mend)
    if len(targets) == 1:
        return None
    found = " and ".join(kind for kind, _ in targets) if targets else "no target"
    mend = "give exactly one of token, topic, condition and fid"
    return refuse(
        ErrorCode.INVALID_RECIPIENT, "message", found, mend + ("" if targets else ", or the job field tokens")
    )


def _twice(raw: bytes, targets: list[tuple[TargetKind, Any]]) -> Refusal | None:
    """Refuses a target that is given twice: two readers of the same bytes might not choose the same one."""
    if all(raw.count(b'"%b"' % kind.encode()) == 1 for kind, _ in targets):
        return None
    return leisure.repeated_name(raw)


def _ttl_of(message: Message) -> float:
    android = message.android
    return -1.0 if android is None or android.ttl is None else rules.seconds_of(android.ttl)


def _read_loosely(raw: bytes, *, targetless: bool) -> Content | Refusal:
    """Reads only what we need to know ourselves; whether FCM takes the rest is for FCM to say."""
    read = leisure.unwrapped(raw)
    if isinstance(read, Refusal):
        return read
    raw, document = read
    targets = _targets(document.get)
    fault = _target_fault(targets, targetless=targetless) or _twice(raw, targets)
    if fault is not None:
        return fault
    android = document.get("android")
    ttl = android.get("ttl") if isinstance(android, dict) else None
    seconds = rules.seconds_of(ttl) if isinstance(ttl, str) else -1.0
    if not targets:
        return Content(raw, "token", "", seconds)
    kind, value = targets[0]
    if not isinstance(value, str):
        return refuse(ErrorCode.INVALID_RECIPIENT, f"message.{kind}", repr(value), "a target is a string")
    return _with_target(raw, kind, value, seconds, strict=False)


# What is sent.


def bodies(job: Job, now: float) -> list[bytes]:
    """The request body of each message of a job, in the order of `job.values`.

    Args:
        job: decoded and not refused.
        now: the time of the send; a ttl ends no later than `job.expires_at`, and on a retry as much earlier as
            has passed since the message was due.
    """
    message = job.message
    if job.ttl >= 0:
        message = _in_time(job, now)
    head = b'{"validate_only":true,"message":' if job.validate_only else b'{"message":'
    if not job.multicast and job.kind != "group":
        return [head + message + b"}"]
    rest = message[message.index(b"{") + 1 :]
    # A device group's key goes where a token goes.
    head += b'{"token":'
    tail = (b"," if not rest.lstrip().startswith(b"}") else b"") + rest + b"}"
    return [head + orjson.dumps(value) + tail for value in job.values]


def _in_time(job: Job, now: float) -> bytes:
    """The message with its ttl shortened, if it has to be."""
    left = job.ttl
    if job.sends:
        left -= max(0.0, now - max(job.enqueued_at, job.deliver_at))
    left = max(0.0, min(left, job.expires_at - now))
    if left >= job.ttl:
        return job.message
    android = _decode_layer(_decode_layer(job.message)["android"])
    android["ttl"] = msgspec.Raw(b'"%ds"' % int(left))  # FCM rounds fractions down too
    return _replace(job.message, "android", _encode(android))


def _replace(raw: bytes, name: str, value: bytes) -> bytes:
    """A JSON object with one of its values replaced and all other values byte for byte as they were."""
    layer = _decode_layer(raw)
    layer[name] = msgspec.Raw(value)
    return _encode(layer)

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

from dispatcher.model import Caution, ErrorCode, Job, Lifetimes, Refusal, TargetKind
from dispatcher.protocol import leisure, rules
from dispatcher.protocol.cautions import COLLAPSE_KEY, cautions_of, large_topic_payload
from dispatcher.protocol.lifetimes import decode_layer, in_time, lifetimes_in, lifetimes_of, replace
from dispatcher.protocol.rules import Checks, refuse
from dispatcher.protocol.schema import Message

_decode = msgspec.json.Decoder(Message).decode
_encode = msgspec.json.Encoder().encode
_KINDS: tuple[TargetKind, ...] = ("token", "topic", "condition", "fid")
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Content(msgspec.Struct, gc=False):
    """A message fit to be sent.

    Attributes:
        raw: the Message object as JSON, without wrapper; the producer's bytes.
        kind: of its target; `token` if the target is not in it.
        value: its target; "" if the target is not in it.
        lifetimes: what it says of how long it is worth delivering; None: nothing.
        warnings: what looks wrong in it and is for the producer to judge.
    """

    raw: bytes
    kind: TargetKind
    value: str
    lifetimes: Lifetimes | None = None
    warnings: tuple[Caution, ...] = ()


def read_message(
    raw: bytes, *, strict: bool = True, targetless: bool = False, checks: Checks = rules.DEFAULTS
) -> Content | Refusal:
    """Reads and checks the field `message` of a job.

    Args:
        raw: JSON of a Message in snake_case or camelCase, bare or wrapped as {"message": {...}}.
        strict: refuse what FCM would; otherwise only what cannot be sent or has not exactly one target.
        targetless: the job has its targets elsewhere (`tokens`, `group`), so there must be none in the message.
        checks: how disputed rules are read, if `strict`.
    """
    if not strict:
        return _read_loosely(raw, targetless=targetless)
    try:
        message = _decode(raw)
    except _UNREADABLE:
        read = leisure.reread(raw)
        if isinstance(read, Refusal):
            return read
        return _checked(*read, targetless, checks)
    android, token = message.android, message.token
    # Only elsewhere are there numbers that can be written in many ways (a priority is 0 or 1) and free JSON.
    simple = (
        message.apns is None
        and message.webpush is None
        and message.android_v2 is None
        and (android is None or android.notification is None)
    )
    again = _encode(message)
    # Text is never written longer than it was, so what is as long as before has lost nothing: no name came twice.
    if not simple or len(again) != len(raw):
        fault = _repeated(raw, again)
        if fault is not None:
            return fault
    if (
        not simple
        or not token
        or targetless
        or message.topic is not None
        or message.condition is not None
        or message.fid is not None
        or len(raw) > rules.PAYLOAD_LIMIT
    ):
        return _checked(raw, message, targetless, checks)
    data = message.data
    if data or android is not None or message.fcm_options is not None:
        fault = rules.fault_of(message, checks)
        if fault is not None:
            return fault
        # Of both, a simple message can have only this: a call that finds nothing is dear.
        return Content(
            raw,
            "token",
            token,
            lifetimes_of(message) if android is not None and android.ttl is not None else None,
            cautions_of(message) if data and COLLAPSE_KEY in data else (),
        )
    return Content(raw, "token", token)


def _checked(raw: bytes, message: Message, targetless: bool, checks: Checks) -> Content | Refusal:
    """The rest of `read_message` for all but simple messages to one token."""
    token = message.token
    fault = None
    targets: list[tuple[TargetKind, Any]]
    alone = message.topic is None and message.condition is None and message.fid is None
    if token and alone and not targetless:
        targets = [("token", token)]
    else:
        targets = _targets(lambda kind: getattr(message, kind))
        fault = _target_fault(targets, targetless=targetless)
    fault = fault or rules.fault_of(message, checks)
    free = message.apns is not None or message.webpush is not None
    if fault is None and (free or message.android_v2 is not None):
        fault = leisure.depth_fault(raw)
    # Escapes only make JSON longer than the text they stand for: short bytes cannot hold a long payload.
    if fault is None and len(raw) > rules.PAYLOAD_LIMIT:
        fault = rules.payload_fault(message)
    if fault is not None:
        return fault
    warnings = cautions_of(message) if free or message.data else ()
    lifetimes = lifetimes_of(message)
    if not targets:
        return Content(_without_token(raw), "token", "", lifetimes, warnings)
    kind, value = targets[0]
    return _with_target(Content(raw, kind, value, lifetimes, warnings), message, checks)


def _repeated(raw: bytes, again: bytes) -> Refusal | None:
    """Refuses a name that occurs twice in one object: which one counts is every reader's own choice.

    What was decoded holds each name once. Written again (`again`) it has as many colons as the producer's bytes, unless a
    name or an unset field was dropped on the way, or a colon was escaped; only then they are read name by name.
    """
    if raw.count(b":") == again.count(b":") and (raw.find(b"\\") < 0 or b"\\u003" not in raw):
        return None
    return leisure.repeated_name(raw)


def target_of(raw: bytes) -> tuple[TargetKind, str] | None:
    """The one target of a message that may be wrong otherwise, for the outcome of its refusal; None if there is none."""
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if isinstance(document, dict) and isinstance(document.get("message"), dict):
        document = document["message"]
    found = _targets(document.get) if isinstance(document, dict) else []
    found = [(kind, value) for kind, value in found if value != ""]
    return found[0] if len(found) == 1 and isinstance(found[0][1], str) else None


def _with_target(content: Content, message: Message | None, checks: Checks) -> Content | Refusal:
    """Checks the one target; `message` is None if its value is for FCM to judge."""
    kind, value = content.kind, content.value
    if kind == "topic" and value.startswith("/topics/"):
        content.value = value = value.removeprefix("/topics/")
        content.raw = replace(content.raw, ["topic"], _encode(value))
        if not value:
            return rules.topic_fault(value) or content
    if message is None or kind not in ("topic", "condition"):
        return content
    fault = rules.topic_fault(value) if kind == "topic" else rules.condition_fault(value)
    if fault is None and len(content.raw) > min(rules.DISPUTED_TOPIC_LIMIT, checks.topic_payload_limit):
        fault = rules.payload_fault(message, checks.topic_payload_limit)
        field, size = rules.largest_payload(message)
        if size > rules.DISPUTED_TOPIC_LIMIT:
            content.warnings += (large_topic_payload(field, size),)
    return fault or content


def _targets(get: Any) -> list[tuple[TargetKind, Any]]:
    """The targets that are given, empty ones too: to FCM an empty string is a target, null is none."""
    return [(kind, value) for kind in _KINDS if (value := get(kind)) is not None]


def _target_fault(targets: list[tuple[TargetKind, Any]], *, targetless: bool) -> Refusal | None:
    if targetless:
        if not targets:
            return None
        mend = "take it out: the job's own field names the targets"
        return refuse(ErrorCode.INVALID_RECIPIENT, f"message.{targets[0][0]}", "a target", mend)
    given = [kind for kind, value in targets if value != ""]
    if len(given) == 1:
        if len(targets) == 1:
            return None
        empty = next(kind for kind, value in targets if value == "")
        mend = f"leave it out: the target is in {given[0]}"
        return refuse(ErrorCode.INVALID_RECIPIENT, f"message.{empty}", "an empty string", mend)
    mend = "give exactly one of token, topic, condition and fid" + (
        "" if given else ", or the job field tokens"
    )
    return refuse(ErrorCode.INVALID_RECIPIENT, "message", " and ".join(given) or "no target", mend)


def _without_token(raw: bytes) -> bytes:
    """A message into which a target is going to be spliced, without a `token` of null: the last of two would count."""
    if raw.find(b'"token"') < 0 and b"\\u" not in raw:
        return raw
    layer = decode_layer(raw)
    if layer.pop("token", None) is None:
        return raw
    return _encode(layer)


def _twice(raw: bytes, targets: list[tuple[TargetKind, Any]]) -> Refusal | None:
    """Refuses a target that is given twice: two readers of the same bytes might not choose the same one."""
    if all(raw.count(b'"%b"' % kind.encode()) == 1 for kind, _ in targets):
        return None
    return leisure.repeated_name(raw)


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
    lifetimes = lifetimes_in(document)
    if not targets:
        return Content(_without_token(raw), "token", "", lifetimes)
    kind, value = targets[0]
    if not isinstance(value, str):
        return refuse(ErrorCode.INVALID_RECIPIENT, f"message.{kind}", repr(value), "a target is a string")
    return _with_target(Content(raw, kind, value, lifetimes), None, rules.DEFAULTS)


# What is sent.


def bodies(jobs: list[Job], now: float) -> list[bytes]:
    """The request body of each message: job by job, each in the order of its `values`.

    Args:
        jobs: decoded and not refused.
        now: the time of the send, which decides how long the messages may still live (lifetimes.py).
    """
    found: list[bytes] = []
    for job in jobs:
        if job.multicast or job.lifetimes is not None or job.validate_only or job.kind == "group":
            found += _bodies(job, now)
        else:
            found.append(b'{"message":%b}' % job.message)
    return found


def _bodies(job: Job, now: float) -> list[bytes]:
    message = job.message if job.lifetimes is None else in_time(job, job.lifetimes, now)
    head = b'{"validate_only":true,"message":' if job.validate_only else b'{"message":'
    if not job.multicast and job.kind != "group":
        return [head + message + b"}"]
    rest = message[message.index(b"{") + 1 :]
    # A device group's key goes where a token goes.
    head += b'{"token":'
    tail = (b"," if not rest.lstrip().startswith(b"}") else b"") + rest + b"}"
    return [head + orjson.dumps(value) + tail for value in job.values]

"""A stream entry, flat fields of bytes, and the Job it asks for; both directions (producers write: submission.py).

Decoding never fails: what cannot be sent becomes a Job with a `refusal`, because a malformed entry must end in the
dead letters with a reason and not in a traceback. Unknown fields are passed over and counted, so that a newer
producer never breaks an older worker.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
import orjson

from dispatcher.model import ErrorCode, Job, JobState, Refusal, Stream
from dispatcher.protocol.contract import JOB_FIELDS
from dispatcher.protocol.legacy_message import LegacyWire, translate
from dispatcher.protocol.message import Content, read_message, target_of
from dispatcher.protocol.operation import LISTED, OPERATIONS, encode_request, read_operation
from dispatcher.protocol.rules import DEFAULTS, Checks, refuse

MAX_TOKENS = 500
"""Registration tokens in one job."""

MAX_ATTRIBUTES = 1024
"""Bytes of `attributes`."""

_KNOWN = frozenset(field.name.encode() for field in JOB_FIELDS) | {b"_state"}
_SECONDS = re.compile(r"\d{1,11}(\.\d{1,9})?", re.ASCII)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decode_tokens = msgspec.json.Decoder(list[str]).decode
_decode_state = msgspec.json.Decoder(JobState).decode
_encode = msgspec.json.Encoder().encode


class DecodeLimits(msgspec.Struct, frozen=True):
    """What the settings say about jobs.

    Attributes:
        max_job_bytes: bytes of all names and values of an entry.
        default_expiry_s: seconds from enqueueing to expiry where the job names none.
        strict: refuse what FCM would; otherwise let FCM judge.
        checks: how disputed rules are read, if `strict`.
        legacy: the legacy protocol that messages are going to be translated to; None: they go out as they are.
    """

    max_job_bytes: int = 262_144
    default_expiry_s: float = 86_400.0
    strict: bool = True
    checks: Checks = DEFAULTS
    legacy: LegacyWire | None = None


def decode_entry(
    project: str, stream: Stream, entry_id: str, fields: list[bytes], limits: DecodeLimits
) -> Job:
    """Makes a Job of an entry, whatever is in it.

    Args:
        project: Firebase project id.
        stream: where the entry was read.
        entry_id: its id, `<ms>-<n>`.
        fields: name, value, name, value, ...
        limits: from the settings.

    Returns:
        The job; with `refusal` set if it is malformed.
    """
    if len(fields) == 2 and stream != "due" and fields[0] == b"message":
        raw = fields[1]
        nbytes = len(raw) + 7
        if nbytes <= limits.max_job_bytes:
            read = read_message(raw, strict=limits.strict, checks=limits.checks)
            if type(read) is Content:
                at = int(entry_id[: entry_id.index("-")]) / 1000
                job = Job(
                    entry_id,
                    stream,
                    project,
                    None if read.raw is raw else fields,
                    nbytes + len(raw),
                    entry_id,
                    stream,
                    read.raw,
                    read.kind,
                    [read.value],
                    False,  # noqa: FBT003 - by position, which is faster; the field is `multicast`
                    at,
                    at + limits.default_expiry_s,
                    0.0,
                    read.lifetimes,
                )
                if read.warnings:
                    job.warnings = read.warnings
                if limits.legacy is not None:
                    _translate(job, limits.legacy)
                return job
    job = _blank(project, stream, entry_id, fields, limits)
    given = dict(zip(fields[::2], fields[1::2], strict=True))
    job.unknown_fields = len(given.keys() - _KNOWN)
    job.refusal = _identify(job, given, limits) or _size_fault(job, limits) or _fill(job, given, limits)
    if job.refusal is None and limits.legacy is not None and not job.operation:
        _translate(job, limits.legacy)
    return job


def _translate(job: Job, wire: LegacyWire) -> None:
    found = translate(job, wire)
    if isinstance(found, Refusal):
        job.refusal = found
    else:
        job.legacy = found


def identify(project: str, stream: Stream, entry_id: str, fields: list[bytes], limits: DecodeLimits) -> Job:
    """A job of which only its identity is read: for an entry whose content is not to be touched (poison).

    Args:
        project: Firebase project id.
        stream: where it stands.
        entry_id: its id.
        fields: name, value, name, value, ...
        limits: from the settings.
    """
    job = _blank(project, stream, entry_id, fields, limits)
    _identify(job, dict(zip(fields[::2], fields[1::2], strict=True)), limits)
    return job


def _blank(project: str, stream: Stream, entry_id: str, fields: list[bytes], limits: DecodeLimits) -> Job:
    at = int(entry_id.partition("-")[0]) / 1000
    return Job(
        entry_id=entry_id,
        stream=stream,
        project=project,
        entry=fields,
        nbytes=sum(map(len, fields)),
        id=entry_id,
        lane="normal" if stream == "due" else stream,
        message=b"",
        kind="token",
        values=[],
        multicast=False,
        enqueued_at=at,
        expires_at=at + limits.default_expiry_s,
    )


def _size_fault(job: Job, limits: DecodeLimits) -> Refusal | None:
    if job.nbytes <= limits.max_job_bytes:
        return None
    mend = f"DISPATCHER_MAX_JOB_BYTES is {limits.max_job_bytes}: make the job smaller, or split its tokens"
    return refuse(ErrorCode.PAYLOAD_SIZE_LIMIT_EXCEEDED, "job", f"an entry of {job.nbytes} bytes", mend)


def _identify(job: Job, given: dict[bytes, bytes], limits: DecodeLimits) -> Refusal | None:
    """Who the job is and where it comes from; first, so that even a refusal is recorded under its name."""
    raw = given.get(b"_state")
    if raw is not None:
        try:
            job.state = state = _decode_state(raw)
        except _UNREADABLE:
            return refuse(
                ErrorCode.INVALID_ARGUMENT, "_state", "no state of a job", "leave it to the dispatcher"
            )
        job.id = state.id
        job.lane = state.lane
        job.enqueued_at = state.at
        job.expires_at = state.at + limits.default_expiry_s
    name = _text(given, b"id")
    if isinstance(name, Refusal):
        return name
    job.id = name or job.id
    return None


def _fill(job: Job, given: dict[bytes, bytes], limits: DecodeLimits) -> Refusal | None:
    """Reads all other fields; the targets first, for they belong into the outcome of a refusal too."""
    if b"operation" in given:
        return _operation(job, given) or _times(job, given) or _options(job, given)
    raw = given.get(b"message")
    fault = _targets(job, given)
    if fault is None and raw is None:
        mend = "add it: the v1 Message as JSON"
        fault = refuse(ErrorCode.INVALID_ARGUMENT, "message", "no such field", mend)
    if fault is None and raw is not None:
        fault = _message(job, raw, limits)
    if fault is not None and raw is not None and not job.values:
        target = target_of(raw)
        if target is not None:
            job.kind, job.values = target[0], [target[1]]
    return fault or _times(job, given) or _options(job, given)


def _operation(job: Job, given: dict[bytes, bytes]) -> Refusal | None:
    job.operation = given[b"operation"].decode("utf-8", "replace")
    if b"message" in given:
        mend = "a job has a message or an operation, not both"
        return refuse(ErrorCode.INVALID_ARGUMENT, "operation", "a message as well", mend)
    if job.operation in OPERATIONS and b"request" not in given:
        mend = "add it: what the operation asks for, as JSON"
        return refuse(ErrorCode.INVALID_ARGUMENT, "request", "no such field", mend)
    read = read_operation(job.operation, given.get(b"request", b""))
    if isinstance(read, Refusal):
        return read
    job.request, job.kind, job.values, job.parcel = read.request, read.kind, read.values, read.parcel
    return _misplaced(job)


def _misplaced(job: Job) -> Refusal | None:
    """`_state` names the places of the recipients that are left: one for each, or it is not the dispatcher's."""
    places = job.state.places if job.state is not None else []
    found = f"{len(places)} places for {len(job.values)} tokens"
    if not places or len(places) == len(job.values):
        if not any(map(int.__ge__, places, places[1:])):
            return None
        found = "places out of order"
    return refuse(ErrorCode.INVALID_ARGUMENT, "_state", found, "leave it to the dispatcher")


def _targets(job: Job, given: dict[bytes, bytes]) -> Refusal | None:
    tokens = given.get(b"tokens")
    group = _text(given, b"group")
    if isinstance(group, Refusal):
        return group
    if b"group" in given:
        if tokens is not None:
            return refuse(
                ErrorCode.INVALID_RECIPIENT, "group", "tokens as well", "give one of tokens and group"
            )
        if not group:
            return refuse(
                ErrorCode.INVALID_RECIPIENT, "group", "nothing", "give the notification key of a device group"
            )
        job.kind, job.values = "group", [group]
    if tokens is None:
        return None
    job.multicast = True
    mend = f"give a JSON array of 1 to {MAX_TOKENS} registration tokens"
    try:
        values = _decode_tokens(tokens)
    except _UNREADABLE as error:
        return refuse(ErrorCode.INVALID_RECIPIENT, "tokens", f"no array of strings ({error})", mend)
    if not 1 <= len(values) <= MAX_TOKENS:
        return refuse(ErrorCode.INVALID_ARGUMENT, "tokens", f"{len(values)} tokens", mend)
    if "" in values:
        return refuse(ErrorCode.INVALID_RECIPIENT, f"tokens[{values.index('')}]", "an empty string", mend)
    job.values = values
    return _misplaced(job)


def _message(job: Job, raw: bytes, limits: DecodeLimits) -> Refusal | None:
    apart = job.multicast or job.kind == "group"
    read = read_message(raw, strict=limits.strict, targetless=apart, checks=limits.checks)
    if isinstance(read, Refusal):
        return read
    job.message, job.lifetimes, job.warnings = read.raw, read.lifetimes, read.warnings
    # What it grows to in the request, which lies beside the entry until it is answered: a message for each token.
    if job.multicast:
        job.nbytes += len(read.raw) * len(job.values) + sum(map(len, job.values))
    else:
        job.nbytes += len(read.raw)
    if not apart:
        job.kind, job.values = read.kind, [read.value]
    return None


def _times(job: Job, given: dict[bytes, bytes]) -> Refusal | None:
    for name in ("deliver_at", "expires_at"):
        text = _text(given, name.encode())
        if isinstance(text, Refusal):
            return text
        if not text:
            continue
        if not _SECONDS.fullmatch(text):
            mend = "give Unix seconds as a decimal number, as 1731000000 or 1731000000.5 (not milliseconds)"
            return refuse(ErrorCode.INVALID_ARGUMENT, name, repr(text), mend)
        if name == "deliver_at":
            job.deliver_at = float(text)
        else:
            job.expires_at = float(text)
    return None


def _options(job: Job, given: dict[bytes, bytes]) -> Refusal | None:
    texts: dict[str, str] = {}
    for name in ("dedup_key", "on_unknown", "campaign", "validate_only", "delivery_receipt"):
        text = _text(given, name.encode())
        if isinstance(text, Refusal):
            return text
        texts[name] = text
    job.dedup_key, job.campaign = texts["dedup_key"], texts["campaign"]
    choice = texts["on_unknown"]
    if choice == "give_up":
        job.on_unknown = "give_up"
    elif choice not in ("", "resend"):
        return refuse(ErrorCode.INVALID_ARGUMENT, "on_unknown", repr(choice), "use resend or give_up")
    if texts["validate_only"] not in ("", "0", "1"):
        mend = "use 1 for a check without delivery, or leave it out"
        return refuse(ErrorCode.INVALID_ARGUMENT, "validate_only", repr(texts["validate_only"]), mend)
    job.validate_only = texts["validate_only"] == "1"
    if texts["delivery_receipt"] not in ("", "0", "1"):
        mend = "use 1 to ask for a receipt, or leave it out"
        return refuse(ErrorCode.INVALID_ARGUMENT, "delivery_receipt", repr(texts["delivery_receipt"]), mend)
    job.delivery_receipt = texts["delivery_receipt"] == "1"
    # A broken trace must not stop a message.
    job.traceparent = given.get(b"traceparent", b"").decode("utf-8", "ignore")
    attributes = given.get(b"attributes", b"")
    if len(attributes) > MAX_ATTRIBUTES:
        mend = f"at most {MAX_ATTRIBUTES}: keep a reference in it"
        return refuse(ErrorCode.INVALID_ARGUMENT, "attributes", f"{len(attributes)} bytes", mend)
    if attributes:
        try:
            orjson.loads(attributes)
        except orjson.JSONDecodeError:
            found = attributes.decode("utf-8", "replace")
            return refuse(ErrorCode.INVALID_ARGUMENT, "attributes", repr(found), "give any JSON value")
        job.attributes = attributes
    return None


def _text(given: dict[bytes, bytes], name: bytes) -> str | Refusal:
    """A field as text, "" if it is absent."""
    try:
        return given.get(name, b"").decode()
    except UnicodeDecodeError:
        return refuse(
            ErrorCode.INVALID_ARGUMENT, name.decode(), "bytes that are no text", "write it in UTF-8"
        )


# The way back.


def encode_retry_fields(job: Job, state: JobState) -> list[str]:
    """The fields of a job that waits in the delayed set: name, value, ..., `tokens` cut to `job.values`, with `_state`.

    As text, because they are kept as a JSON array. A value that is no UTF-8 can only be that of an unknown field, and is
    left out.
    """
    flat: list[str] = []
    for name, value in _pairs(job.fields):
        if name == b"_state" or (name == b"tokens" and job.multicast):
            continue
        if name == b"request" and job.request is not None:
            value = encode_request(job, list(range(len(job.values))))  # noqa: PLW2901 - what is left of it
        try:
            flat += (name.decode(), value.decode())
        except UnicodeDecodeError:
            continue
    if job.multicast:
        flat += ("tokens", _encode(job.values).decode())
    flat += ("_state", _encode(state).decode())
    return flat


def dead_fields(job: Job, positions: list[int]) -> list[bytes]:
    """The fields of a dead letter: the original ones, byte for byte, without `_state`.

    Args:
        job: refused or given up.
        positions: of the dead recipients in `job.values`; `tokens` (or the list in `request`) is cut to them (left
            alone if it could not be read).
    """
    flat: list[bytes] = []
    for name, value in _pairs(job.fields):
        if name == b"_state":
            continue
        if name == b"tokens" and job.multicast and job.values:
            value = _encode([job.values[position] for position in positions])  # noqa: PLW2901 - what is left of it
        elif name == b"request" and job.operation in LISTED and job.request is not None:
            value = encode_request(job, positions)  # noqa: PLW2901 - likewise
        flat += (name, value)
    return flat


def _pairs(fields: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    return zip(fields[::2], fields[1::2], strict=True)

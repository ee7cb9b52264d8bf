"""A dead letter, flat fields of bytes: the job as its producer wrote it, and behind it what became of it; both directions.

What the dispatcher adds stands last and is read from there: a job may have fields of the same names, which are its
producer's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dispatcher.errors import ProtocolError
from dispatcher.model import LANES, Attempt, Job, JobState, Lane, Status, Target
from dispatcher.protocol.job import dead_fields
from dispatcher.protocol.message import target_of
from dispatcher.protocol.operation import LISTED, Errand, read_operation
from dispatcher.protocol.outcome import decode_history, encode_history

MAX_HISTORY = 10
"""Attempts that a job carries with it."""

_ADDED = (b"status", b"code", b"reason", b"history", b"lane", b"died_at", b"_state")
_encode = msgspec.json.Encoder().encode
_decode_state = msgspec.json.Decoder(JobState).decode
_decode_tokens = msgspec.json.Decoder(list[str]).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class DeadLetter(msgspec.Struct, kw_only=True):
    """What was rejected or given up, and why.

    Attributes:
        entry_id: its place among the dead letters.
        project: Firebase project id.
        job: the job's own id, else the entry id of its enqueueing; `job` in its outcomes.
        status: `rejected` or `failed`.
        code: what was wrong.
        reason: the same for people.
        lane: where its producer had put it.
        died_at: Unix seconds.
        replay: which run of the job this was: 0 the first, then one for each replay.
        targets: those of its messages that died; empty if they could not be read.
        campaign: the job's; "": none.
        expires_at: the job's own time, Unix seconds; 0: it names none.
        history: its sends, oldest first.
        fields: the job as it was enqueued, name and value in turn, its `tokens` cut to `targets`.
        state: what a replay goes on from.
    """

    entry_id: str
    project: str
    job: str
    status: str
    code: str
    reason: str
    lane: Lane
    died_at: float
    replay: int
    targets: list[Target]
    campaign: str
    expires_at: float
    history: list[Attempt]
    fields: list[bytes]
    state: JobState

    @property
    def messages(self) -> int:
        """How many messages died: one for each target."""
        return max(1, len(self.targets))

    def texts(self) -> dict[str, str]:
        """`fields` for people, as name and text."""
        pairs = zip(self.fields[::2], self.fields[1::2], strict=True)
        return {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in pairs}


def encode_letter(
    job: Job,
    positions: list[int],
    *,
    status: Status,
    code: str,
    reason: str,
    history: list[Attempt],
    died_at: float,
    duplicate: bool,
) -> list[bytes]:
    """The flat fields of a dead letter.

    Args:
        job: refused or given up.
        positions: of the dead recipients in `job.values`.
        status: `rejected` or `failed`.
        code: of the outcome.
        reason: of the outcome.
        history: its sends, oldest first.
        died_at: Redis clock.
        duplicate: one of these messages may have been accepted all the same: a replay may repeat it.
    """
    listed = (job.multicast or job.operation in LISTED) and job.values
    places = [job.place(position) for position in positions] if listed else []
    state = JobState(
        job.origin_id,
        job.lane,
        job.enqueued_at,
        places=[] if places == list(range(len(places))) else places,
        duplicate=duplicate,
        replay=job.state.replay if job.state is not None else 0,
    )
    return [
        *dead_fields(job, positions),
        *(b"status", status.encode()),
        *(b"code", code.encode()),
        *(b"reason", reason.encode()),
        *(b"history", encode_history(history)),
        *(b"lane", job.lane.encode()),
        *(b"died_at", f"{died_at:.3f}".encode()),
        *(b"_state", _encode(state)),
    ]


def decode_letter(project: str, entry_id: str, fields: list[bytes]) -> DeadLetter:
    """Reads a dead letter, whatever is in it: one that cannot be read whole must still be seen and removed."""
    own, added = _parted(fields)
    given = dict(zip(own[::2], own[1::2], strict=False))
    lane: Lane = next((name for name in LANES if name.encode() == added.get(b"lane")), "normal")
    state = _state(added.get(b"_state", b""), entry_id, lane)
    return DeadLetter(
        entry_id=entry_id,
        project=project,
        job=_text(given.get(b"id", b"")) or state.id,
        status=_text(added.get(b"status", b"")),
        code=_text(added.get(b"code", b"")),
        reason=_text(added.get(b"reason", b"")),
        lane=lane,
        died_at=_seconds(added.get(b"died_at", b"")) or int(entry_id.partition("-")[0]) / 1000,
        replay=state.replay,
        targets=_targets(given),
        campaign=_text(given.get(b"campaign", b"")),
        expires_at=_seconds(given.get(b"expires_at", b"")),
        history=_history(added.get(b"history", b"[]")),
        fields=own,
        state=state,
    )


def replay_state(letter: DeadLetter, now: float) -> bytes:
    """`_state` of a replay: the next run of the same job, with all attempts and its whole life before it.

    Args:
        letter: what is replayed.
        now: Redis clock; the life of a job that names no end begins anew.
    """
    again = JobState(
        letter.state.id,
        letter.lane,
        round(now, 3),
        places=letter.state.places,
        duplicate=letter.state.duplicate,
        replay=letter.replay + 1,
        history=letter.history[-MAX_HISTORY:],
    )
    return _encode(again)


def _parted(fields: Sequence[bytes]) -> tuple[list[bytes], dict[bytes, bytes]]:
    """The job's own fields, and those that were added to them."""
    end = len(fields) - len(fields) % 2
    added: dict[bytes, bytes] = {}
    while end and fields[end - 2] in _ADDED and fields[end - 2] not in added:
        added[fields[end - 2]] = fields[end - 1]
        end -= 2
    return list(fields[:end]), added


def _state(raw: bytes, entry_id: str, lane: Lane) -> JobState:
    try:
        return _decode_state(raw)
    except _UNREADABLE:
        return JobState(entry_id, lane, int(entry_id.partition("-")[0]) / 1000)


def _history(raw: bytes) -> list[Attempt]:
    try:
        return decode_history(raw)
    except ProtocolError:
        return []


def _targets(given: dict[bytes, bytes]) -> list[Target]:
    if b"operation" in given:
        read = read_operation(_text(given[b"operation"]), given.get(b"request", b""))
        return [Target(read.kind, value) for value in read.values] if isinstance(read, Errand) else []
    if b"tokens" in given:
        try:
            return [Target("token", token) for token in _decode_tokens(given[b"tokens"])]
        except _UNREADABLE:
            return []
    if b"group" in given:
        return [Target("group", _text(given[b"group"]))]
    found = target_of(given.get(b"message", b""))
    return [Target(*found)] if found else []


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _seconds(raw: bytes) -> float:
    try:
        return max(0.0, float(raw))
    except ValueError:
        return 0.0

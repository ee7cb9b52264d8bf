"""The fenced end of a batch: what became of its entries, in one script."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from time import monotonic
from typing import Any

import msgspec

from dispatcher.model import Stream
from dispatcher.protocol.outcome import split_outcomes
from dispatcher.queue.access import Access
from dispatcher.queue.connection import Arg
from dispatcher.queue.keys import GROUP
from dispatcher.queue.script import Script

MAX_ENTRIES = 1000
"""Entries a call: Lua's unpack ends at some 8,000 values, and Redis does nothing else meanwhile."""
MAX_BYTES = 1_000_000
"""Bytes of outcomes and fields a call, for the same reason; a single entry may be larger."""
_MAX_VALUES = 2000
"""Names and values of a dead letter: a producer may send thousands of fields, and unpack must not fail."""

_ONE_EACH = ""
"""In place of the lengths: each entry has one outcome, which the script finds by itself if it has to."""

_SETTLE = Script("settle")
_pack = msgspec.msgpack.Encoder().encode


class Hold(msgspec.Struct, gc=False):
    """A wait that belongs to a paused target: the script gives the message the target's next free slot.

    Attributes:
        target: `Target.key`.
        interval: seconds between two slots of this target.
        until: end of the pause this answer asks for (Redis clock, seconds); 0: no new pause, only queue up.
    """

    target: str
    interval: float
    until: float = 0.0


class Delayed(msgspec.Struct, gc=False):
    """A job to be read again later.

    Attributes:
        member: its unique name in the delayed set, the same whenever the same job is put there; breaks ties of `due`.
        due: when (Redis clock, seconds); not looked at with `hold`, whose slot is the due time.
        fields: its flat fields as a JSON array of strings.
        hold: it waits for its target's slot; `_state` then gets `slot` (seconds) when it is promoted.
        parked: name of the operator's stop that it waits for, until `due` at most; if that has been lifted
            meanwhile, it is due at once.
    """

    member: str
    due: float
    fields: bytes
    hold: Hold | None = None
    parked: str = ""


class Settled(msgspec.Struct, gc=False):
    """What became of one entry.

    Attributes:
        entry_id: the entry.
        outcomes: JSON objects joined by commas; b"": none.
        accepted: all its outcomes are `accepted` or `done`: counts even from a worker that lost its lease.
        delayed: parts to be read again.
        dead: dead letters, each as flat fields (of more than 1,000 fields, the middle is left out).
        campaign: (campaign, {counter: how many}) to add.
        dedup: (dedup key, origin id) to free if it is still held by that origin.
    """

    entry_id: str
    outcomes: bytes = b""
    accepted: bool = True
    delayed: Sequence[Delayed] = ()
    dead: Sequence[list[bytes]] = ()
    campaign: tuple[str, dict[str, int]] | None = None
    dedup: tuple[str, str] | None = None


class SettleReply(msgspec.Struct, gc=False):
    """What the call did.

    Attributes:
        live: entries whose effects happened by this call.
        stale: ids that were somebody else's or settled before (also by a call of ours whose reply got lost).
        late: of the live ones, those accepted after this worker had lost them (marked possible_duplicate).
        now: Redis clock, seconds.
    """

    live: int
    stale: list[str]
    late: int
    now: float


class Settlement(Access):
    """Settling."""

    async def settle(self, project: str, stream: Stream, epoch: int, items: Sequence[Settled]) -> SettleReply:
        """Acknowledge and delete entries and record what became of them, atomically, each at most once.

        An entry's effects happen only if this call removed it. Entries with `accepted` count from anyone;
        others only from their owner: a worker whose lease still has `epoch`, or to whom Redis still has the
        entry pending. Repeating a call is safe: what was done is found done. Runs on a full Redis.
        Splits itself at 1,000 entries and 1 MB; after an error repeat it with all items.

        Args:
            project: Firebase project id.
            stream: where the entries were read.
            epoch: the lease epoch under which they were read.
            items: one per entry, in any order; outcomes are recorded in this order.

        Raises:
            QueueUnavailable: some, all or none of it happened; repeat it.
        """
        whole = SettleReply(0, [], 0, 0.0)
        for chunk in _chunks(items):
            effects: list[Any] = []
            blobs: list[Arg] = []
            for number, item in enumerate(chunk, 1):
                if not item.accepted or item.delayed or item.dead or item.campaign or item.dedup:
                    effects.append(self._effect(project, number, item, blobs))
            ids = [item.entry_id for item in chunk]
            outcomes = [item.outcomes for item in chunk]
            more = [_pack(effects), *blobs] if effects else []
            names = self._names(project, stream)
            args: list[Arg] = [GROUP, self.consumer, epoch, len(ids), *ids, *_joined(outcomes), *more]
            await self._call(whole, names, args)
        return whole

    async def settle_accepted(
        self, project: str, stream: Stream, epoch: int, ids: Sequence[str], outcomes: bytes
    ) -> SettleReply:
        """`settle` for entries that were all accepted and have no further effect, without an object for each.

        Args:
            project: Firebase project id.
            stream: where the entries were read.
            epoch: the lease epoch under which they were read.
            ids: the entries.
            outcomes: a JSON array with one object for each of them, in their order; b"": none are recorded.

        Raises:
            QueueUnavailable: as for `settle`.
        """
        whole = SettleReply(0, [], 0, 0.0)
        if len(ids) <= MAX_ENTRIES and len(outcomes) <= MAX_BYTES:
            if ids:
                names = self._names(project, stream)
                args: list[Arg] = [GROUP, self.consumer, epoch, len(ids), *ids, outcomes, _ONE_EACH]
                await self._call(whole, names, args)
            return whole
        parts = split_outcomes(outcomes) if outcomes else [b""] * len(ids)
        return await self.settle(project, stream, epoch, list(map(Settled, ids, parts)))

    def _names(self, project: str, stream: Stream) -> tuple[str, ...]:
        keys = self.keys
        return (
            keys.stream(project, stream),
            keys.lease(project, self.consumer),
            keys.outcomes(project),
            keys.delayed(project),
            keys.delayed_jobs(project),
            keys.dead(project),
            keys.pauses(project),
            keys.control(project),
        )

    async def _call(self, whole: SettleReply, names: tuple[str, ...], args: list[Arg]) -> None:
        sent = monotonic()
        reply = await self.server.eval(_SETTLE, names, args)
        live, late, seconds, micros, stale = reply
        whole.live += live
        whole.late += late
        whole.stale += [entry_id.decode() for entry_id in stale]
        whole.now = self.server.clock.note(sent, int(seconds) + int(micros) / 1e6)

    def _effect(self, project: str, number: int, item: Settled, blobs: list[Arg]) -> list[Any]:
        delayed = [_delayed_row(job, blobs) for job in item.delayed]
        dead = []
        for whole_letter in item.dead:
            letter = whole_letter
            if len(letter) > _MAX_VALUES:
                letter = letter[: _MAX_VALUES // 2] + letter[-_MAX_VALUES // 2 :]
            dead.append((len(blobs) + 1, len(blobs) + len(letter)))
            blobs += letter
        campaign, dedup = item.campaign, item.dedup
        return [
            number,
            item.accepted,
            delayed,
            dead,
            campaign and (self.keys.campaign(project, campaign[0]), campaign[1]),
            dedup and (self.keys.dedup(project, dedup[0]), dedup[1]),
        ]


def _joined(outcomes: Sequence[bytes]) -> tuple[bytes, str]:
    """The array of all outcomes, and where each entry's part ends."""
    text = b",".join(filter(None, outcomes))
    return b"[%b]" % text if text else b"", ",".join(map(str, map(len, outcomes)))


def _delayed_row(job: Delayed, blobs: list[Arg]) -> tuple[Any, ...]:
    blobs.append(job.fields)
    hold = job.hold
    # Whole milliseconds, upwards: never before the time that was asked for.
    if job.parked:
        return job.member, ceil(job.due * 1000), len(blobs), job.parked, -1, 0
    if hold is None:
        return job.member, ceil(job.due * 1000), len(blobs)
    return job.member, 0, len(blobs), hold.target, ceil(hold.interval * 1000), ceil(hold.until * 1000)


def _chunks(items: Sequence[Settled]) -> Iterator[Sequence[Settled]]:
    start = weight = 0
    for number, item in enumerate(items):
        size = len(item.outcomes)
        if item.delayed or item.dead:
            size += sum(len(job.fields) for job in item.delayed)
            size += sum(len(field) for letter in item.dead for field in letter)
        if number - start == MAX_ENTRIES or (weight + size > MAX_BYTES and number > start):
            yield items[start:number]
            start, weight = number, 0
        weight += size
    if start < len(items):
        yield items[start:]

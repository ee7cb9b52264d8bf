"""The fenced end of a batch: what became of its entries, in one script."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dispatcher.model import Stream
from dispatcher.queue.access import Access


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
        member: its unique name in the delayed set (`keys.sortable(entry id)`, plus `:n` for parts of a job).
        due: when (Redis clock, seconds); not looked at with `hold`, whose slot is the due time.
        fields: its flat fields as a JSON array of strings.
        hold: it waits for its target's slot; `_state` then gets `slot` (seconds) when it is promoted.
    """

    member: str
    due: float
    fields: bytes
    hold: Hold | None = None


class Settled(msgspec.Struct, gc=False):
    """What became of one entry.

    Attributes:
        entry_id: the entry.
        outcomes: JSON objects joined by commas; b"": none.
        accepted: all its outcomes are `accepted` or `done`: counts even from a worker that lost its lease.
        delayed: parts to be read again.
        dead: dead letters, each as flat fields.
        campaign: (campaign, {counter: how many}) to add.
        dedup: (dedup key, origin id) to free if it is still held by that origin.
    """

    entry_id: str
    outcomes: bytes = b""
    accepted: bool = True
    delayed: list[Delayed] = []
    dead: list[list[bytes]] = []
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
        raise NotImplementedError

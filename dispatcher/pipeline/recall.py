"""What was settled lately, in case Redis forgets it.

A failover to an asynchronous replica, or a restart with an append-only file that lacks its last second, takes back the
last settlements and reads: their entries are there again, unsettled or unread. Whoever settled them settles them again,
from here, and whoever has them already does not take them twice.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Collection, Sequence

import msgspec

from dispatcher.model import Batch, Stream
from dispatcher.protocol.outcome import split_outcomes
from dispatcher.queue.reading import Entry
from dispatcher.queue.settlement import Settled

DOUBT_S = 60.0
"""After a failed read, how long entries are held against what has happened here lately."""

MOST_MESSAGES = 10_000
MOST_BYTES = 8 << 20
"""What is kept, at most: the last seconds of a busy worker, the last minutes of another."""


class _Settlement(msgspec.Struct, gc=False):
    """One batch as it was settled: a few large objects, since thousands of small ones cost more to keep than to make.

    Attributes:
        ids: of its entries, with spaces between.
        fingerprints: of the fields of each.
        outcomes: of jobs that were all accepted, a JSON array of one each, or b""; None: see `items`.
        items: what became of each.
        messages: how many they were.
        nbytes: what this weighs.
    """

    project: str
    stream: Stream
    ids: str
    fingerprints: array[int]
    outcomes: bytes | None
    items: Sequence[Settled]
    messages: int
    nbytes: int

    def settled(self, ids: list[str]) -> Sequence[Settled]:
        """What became of each of its entries."""
        if self.outcomes is None:
            return self.items
        return list(map(Settled, ids, split_outcomes(self.outcomes) if self.outcomes else [b""] * len(ids)))


def _fingerprint(fields: list[bytes]) -> int:
    # 64 bits under a key of this process: equal by chance once in 10^19.
    return hash(fields[1]) if len(fields) == 2 and fields[0] == b"message" else hash(tuple(fields))


class Recall:
    """The memory of one worker."""

    def __init__(self) -> None:
        self._kept: deque[_Settlement] = deque()
        self._messages = 0
        self._nbytes = 0
        self._doubt_until = float("-inf")

    def doubt(self, loop_now: float) -> None:
        """Redis was away, or gave back what was settled: it may have forgotten the last of what it was told."""
        self._doubt_until = loop_now + DOUBT_S

    def in_doubt(self, loop_now: float) -> bool:
        """Whether that is not long ago."""
        return loop_now < self._doubt_until

    def unheld(self, loop_now: float, held: Collection[str], entries: list[Entry]) -> list[Entry]:
        """Those of these entries, just read, that are not in this worker already."""
        if not self.in_doubt(loop_now):
            return entries
        return [entry for entry in entries if entry[0] not in held]

    def note(
        self,
        batch: Batch,
        ids: Sequence[str],
        outcomes: bytes | None,
        items: Sequence[Settled],
        stale: Sequence[str] = (),
    ) -> None:
        """Keep a settlement, and drop the oldest where it is too much.

        Args:
            batch: what was settled.
            ids: of its entries.
            outcomes: a JSON array, if all were accepted; None: see `items`.
            items: what became of each job.
            stale: entries that others have settled: then it is not kept.
        """
        if stale:
            return
        # As `_fingerprint(job.fields)`, which `split` compares them with, without making the list.
        fingerprints = array(
            "q", [hash(job.message) if job.entry is None else _fingerprint(job.entry) for job in batch.jobs]
        )
        nbytes = batch.nbytes if outcomes is None else len(outcomes)
        self._kept.append(
            _Settlement(
                batch.project,
                batch.stream,
                " ".join(ids),
                fingerprints,
                outcomes,
                items,
                batch.size,
                nbytes,
            )
        )
        self._messages += batch.size
        self._nbytes += nbytes
        while self._messages > MOST_MESSAGES or self._nbytes > MOST_BYTES:
            oldest = self._kept.popleft()
            self._messages -= oldest.messages
            self._nbytes -= oldest.nbytes

    def split(
        self, project: str, stream: Stream, entries: Sequence[Entry]
    ) -> tuple[list[Settled], list[Entry]]:
        """Those of these entries that were settled here, as they were, and the rest.

        An id alone proves nothing: a master that was a replica may give it to another job. The fields are compared.
        """
        wanted = dict(entries)
        again: list[Settled] = []
        for settlement in reversed(self._kept):
            if settlement.project != project or settlement.stream != stream:
                continue
            ids = settlement.ids.split(" ")
            here = [number for number, entry_id in enumerate(ids) if entry_id in wanted]
            settled = settlement.settled(ids) if here else ()
            for number in here:
                fields = wanted.get(ids[number])
                if fields is not None and _fingerprint(fields) == settlement.fingerprints[number]:
                    again.append(settled[number])
                    del wanted[ids[number]]
        return again, [entry for entry in entries if entry[0] in wanted]

"""What the dead left behind, and what a worker itself forgot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from dispatcher.errors import QueueError
from dispatcher.model import STREAMS, Stream
from dispatcher.queue.access import Access
from dispatcher.queue.connection import Arg
from dispatcher.queue.keys import GROUP, RELEASED
from dispatcher.queue.reading import Entry, entries
from dispatcher.queue.script import Script

_RECLAIM = Script("reclaim")
_ADOPT = Script("adopt")
_RELEASE = Script("release")
_FORGET = Script("forget")
_PAGE = 1000
"""Ids a call."""

SUSPECT_SIZES = (500, 50, 5, 1)
"""How many entries are tried together after 0, 1, 2 and after 3 or more crashes."""


class Orphans(msgspec.Struct, frozen=True):
    """Entries of a consumer that has no lease."""

    stream: Stream
    owner: str
    pending: int


class Reclaimed(msgspec.Struct, gc=False):
    """Entries taken over together, all with the same crash count.

    Attributes:
        entries: may be empty: the owner came back, or somebody else was quicker.
        crashes: deaths they were present at (deliveries - 1); 0: handed back unsent, no suspects.
        more: the owner has more.
    """

    entries: list[Entry]
    crashes: int
    more: bool


class Reclaim(Access):
    """Reclaiming from the dead, reconciling with Redis, handing back."""

    async def orphans(self, project: str) -> list[Orphans]:
        """Consumers other than this one that have entries pending and no lease (`released` among them)."""
        return [orphans for orphans in await self._leaseless(project) if orphans.pending]

    async def reclaim(
        self, project: str, stream: Stream, owner: str, epoch: int, limit: int = 500
    ) -> Reclaimed:
        """Take over entries of one owner: the group with the lowest crash count, of a size that count allows.

        In one script: this worker's lease has `epoch`, the owner's lease is missing, then claim. Deliveries
        rise by one; entries that `release` handed over get back the count they had.
        """
        names = (
            self.keys.stream(project, stream),
            self.keys.lease(project, self.consumer),
            self.keys.lease(project, owner),
        )
        sizes = [min(limit, size) for size in SUSPECT_SIZES]
        reply = await self.server.eval(_RECLAIM, names, (GROUP, self.consumer, epoch, owner, *sizes))
        crashes, more, claimed = reply
        return Reclaimed(entries(claimed), crashes, bool(more))

    async def forget_dead(self, project: str) -> int:
        """Remove consumers that have no lease and nothing pending; returns how many."""
        gone = [o for o in await self._leaseless(project) if not o.pending and o.owner != RELEASED]
        removed = 0
        for consumer in gone:
            names = (self.keys.stream(project, consumer.stream), self.keys.lease(project, consumer.owner))
            removed += await self.server.eval(_FORGET, names, (GROUP, consumer.owner))
        return removed

    async def _leaseless(self, project: str) -> list[Orphans]:
        """All other consumers without a lease, whether or not anything is pending for them."""
        replies = await self.server.pipeline(
            [("XINFO", "CONSUMERS", self.keys.stream(project, stream), GROUP) for stream in STREAMS]
        )
        found: list[tuple[Stream, str, int]] = []
        for stream, reply in zip(STREAMS, replies, strict=True):
            if isinstance(reply, QueueError):
                if "NOGROUP" in str(reply) or "no such key" in str(reply):
                    continue
                raise reply
            for flat in reply:
                facts: dict[bytes, Any] = dict(zip(flat[::2], flat[1::2], strict=True))
                found.append((stream, facts[b"name"].decode(), facts[b"pending"]))
        owners = sorted({owner for _, owner, _ in found} - {self.consumer})
        leases = await self.server.pipeline([("EXISTS", self.keys.lease(project, o)) for o in owners])
        for reply in leases:
            if isinstance(reply, QueueError):
                raise reply
        dead = {owner for owner, lease in zip(owners, leases, strict=True) if not lease}
        return [Orphans(*row) for row in found if row[1] in dead]

    async def pending_mine(self, project: str, stream: Stream) -> dict[str, int]:
        """All entries pending for this consumer: {entry id: deliveries}."""
        key = self.keys.stream(project, stream)
        mine: dict[str, int] = {}
        start = "-"
        while True:
            try:
                page = await self.server.call("XPENDING", key, GROUP, start, "+", _PAGE, self.consumer)
            except QueueError as error:
                if "NOGROUP" in str(error):
                    return mine
                raise
            for entry_id, _, _, deliveries in page:
                mine[entry_id.decode()] = deliveries
            if len(page) < _PAGE:
                return mine
            start = "(" + page[-1][0].decode()

    async def still_mine(self, project: str, stream: Stream, ids: Sequence[str]) -> set[str]:
        """Those of these entries that are still pending for this consumer."""
        return set(ids) & (await self.pending_mine(project, stream)).keys()

    async def adopt(
        self, project: str, stream: Stream, epoch: int, ids: Iterable[str]
    ) -> list[tuple[str, list[bytes], int]]:
        """Fetch entries that are pending for this consumer but unknown to it; deliveries stay as they are.

        Returns:
            (entry id, fields, crashes) of those that are still this consumer's; none if the lease has not
            this epoch.
        """
        names = (self.keys.stream(project, stream), self.keys.lease(project, self.consumer))
        adopted = []
        wanted = list(ids)
        for start in range(0, len(wanted), _PAGE):
            args: list[Arg] = [GROUP, self.consumer, epoch, *wanted[start : start + _PAGE]]
            for claimed, deliveries in await self.server.eval(_ADOPT, names, args):
                [(entry_id, fields)] = entries(claimed)
                adopted.append((entry_id, fields, deliveries - 1))
        return adopted

    async def release(self, project: str, stream: Stream, ids: Sequence[str]) -> int:
        """Hand unsent entries over to whoever reclaims them next, without counting it as a crash.

        Returns:
            How many were this consumer's and are handed over.
        """
        names = (self.keys.stream(project, stream),)
        released = 0
        for start in range(0, len(ids), _PAGE):
            args = (GROUP, self.consumer, RELEASED, *ids[start : start + _PAGE])
            released += await self.server.eval(_RELEASE, names, args)
        return released

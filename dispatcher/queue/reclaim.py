"""What the dead left behind, and what a worker itself forgot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from dispatcher.model import Stream
from dispatcher.queue.access import Access
from dispatcher.queue.reading import Entry

SUSPECT_SIZES = {0: 500, 1: 50, 2: 5}
"""How many entries of a crash count are tried together; one at a time from 3 crashes on."""


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
        raise NotImplementedError

    async def reclaim(
        self, project: str, stream: Stream, owner: str, epoch: int, limit: int = 500
    ) -> Reclaimed:
        """Take over entries of one owner: the group with the lowest crash count, of a size that count allows.

        In one script: this worker's lease has `epoch`, the owner's lease is missing, then claim. Deliveries
        rise by one; entries that `release` handed over get back the count they had.
        """
        raise NotImplementedError

    async def forget_dead(self, project: str) -> int:
        """Remove consumers that have no lease and nothing pending; returns how many."""
        raise NotImplementedError

    async def pending_mine(self, project: str, stream: Stream) -> dict[str, int]:
        """All entries pending for this consumer: {entry id: deliveries}."""
        raise NotImplementedError

    async def still_mine(self, project: str, stream: Stream, ids: Sequence[str]) -> set[str]:
        """Those of these entries that are still pending for this consumer."""
        raise NotImplementedError

    async def adopt(
        self, project: str, stream: Stream, epoch: int, ids: Iterable[str]
    ) -> list[tuple[str, list[bytes], int]]:
        """Fetch entries that are pending for this consumer but unknown to it; deliveries stay as they are.

        Returns:
            (entry id, fields, crashes) of those that are still this consumer's; none if the lease has not
            this epoch.
        """
        raise NotImplementedError

    async def release(self, project: str, stream: Stream, ids: Sequence[str]) -> int:
        """Hand unsent entries over to whoever reclaims them next, without counting it as a crash.

        Returns:
            How many were this consumer's and are handed over.
        """
        raise NotImplementedError

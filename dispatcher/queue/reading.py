"""Taking entries out of the lanes."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.model import Stream
from dispatcher.queue.access import Access

Entry = tuple[str, list[bytes]]
"""(entry id, [field, value, field, value, ...])."""


class Reading(Access):
    """Reads of the work streams, each counted as a delivery to this consumer."""

    async def read(self, project: str, stream: Stream, count: int) -> list[Entry]:
        """Take up to `count` new entries of one lane without waiting; creates the group at 0 if it is missing.

        Raises:
            QueueUnavailable: whether anything was taken is then unknown: reconcile (`pending_mine`).
        """
        raise NotImplementedError

    async def wait(
        self, lanes: Sequence[tuple[str, Stream]], count: int, block_ms: int
    ) -> list[tuple[str, Stream, list[Entry]]]:
        """Wait for entries in any of these (project, stream) lanes, on a connection of its own.

        Let it run out instead of cancelling it: a cancelled read leaves its entries pending here.

        Args:
            lanes: where to look; all are waited on at once.
            count: at most so many entries *per lane*.
            block_ms: how long; 1 to 10,000.

        Returns:
            The lanes that had something; empty when time ran out.

        Raises:
            QueueUnavailable: as for `read`.
        """
        raise NotImplementedError

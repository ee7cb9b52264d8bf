"""First sight of a deduplication key."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.queue.access import Access


class Dedup(Access):
    """Deduplication keys; they are freed while settling (`Settled.dedup`)."""

    async def first_sight(
        self, project: str, keys: Sequence[tuple[str, str]], window_s: float
    ) -> list[str | None]:
        """Claim each (dedup key, origin id) for the window, unless somebody has.

        Returns:
            For each: the origin id of the earlier job it duplicates, or None: go on. Its own origin id (a
            redelivery, a retry, a replay) is no duplicate.
        """
        raise NotImplementedError

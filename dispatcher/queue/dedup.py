"""First sight of a deduplication key."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.queue.access import Access
from dispatcher.queue.connection import Arg
from dispatcher.queue.script import Script

_DEDUP = Script("dedup")
_PAGE = 1000
"""Keys a call."""


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
        earlier: list[str | None] = []
        for start in range(0, len(keys), _PAGE):
            page = keys[start : start + _PAGE]
            names = [self.keys.dedup(project, key) for key, _ in page]
            args: list[Arg] = [round(window_s * 1000), *(origin for _, origin in page)]
            earlier += [found.decode() or None for found in await self.server.eval(_DEDUP, names, args)]
        return earlier

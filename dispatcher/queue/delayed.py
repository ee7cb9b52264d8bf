"""Jobs that wait for their time."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dispatcher.queue.access import Access
from dispatcher.queue.settlement import Delayed


class Promotion(msgspec.Struct, gc=False):
    """What a promotion moved.

    Attributes:
        moved: jobs moved to the `due` stream.
        next_due: when the next one is due (Redis clock, seconds); None: nothing waits. May be in the past:
            more than the limit was due, or the project is paused.
        paused: nothing was moved because the project is paused; ask again after `next_due`, which is then
            the end of the pause if that is later.
        now: Redis clock, seconds.
    """

    moved: int
    next_due: float | None
    paused: bool
    now: float


class DelayedSet(Access):
    """The delayed set: a sorted set of due times and a hash of fields."""

    async def promote(self, project: str, limit: int = 200) -> Promotion:
        """Move up to `limit` jobs whose time has come to the `due` stream; none while the project is paused."""
        raise NotImplementedError

    async def delay(self, project: str, jobs: Sequence[Delayed]) -> int:
        """Add jobs straight to the delayed set (`hold` is not looked at); a member that waits is left alone.

        Returns:
            How many were new.

        Raises:
            QueueFull: none of them was added.
        """
        raise NotImplementedError

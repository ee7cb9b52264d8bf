"""Jobs that wait for their time."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from time import monotonic

import msgspec

from dispatcher.queue.access import Access
from dispatcher.queue.connection import Arg
from dispatcher.queue.script import Script
from dispatcher.queue.settlement import MAX_BYTES, Delayed

_PROMOTE = Script("promote")
_DELAY = Script("delay")
_PAGE = 500
"""Jobs a call."""


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
        names = (
            self.keys.delayed(project),
            self.keys.delayed_jobs(project),
            self.keys.stream(project, "due"),
            self.keys.control(project),
        )
        sent = monotonic()
        moved, due, paused, seconds, micros = await self.server.eval(_PROMOTE, names, (limit,))
        now = self.server.clock.note(sent, int(seconds) + int(micros) / 1e6)
        return Promotion(moved, due / 1000 if due >= 0 else None, bool(paused), now)

    async def delay(self, project: str, jobs: Sequence[Delayed]) -> int:
        """Add jobs straight to the delayed set (`hold` is not looked at); a member that waits is left alone.

        Returns:
            How many were new.

        Raises:
            QueueFull: Redis refuses; of more than 500 jobs or 1 MB, earlier ones may be in. Repeat it with all.
        """
        names = (self.keys.delayed(project), self.keys.delayed_jobs(project))
        added = 0
        args: list[Arg] = []
        weight = 0
        for job in jobs:
            args += (job.member, ceil(job.due * 1000), job.fields)
            weight += len(job.fields)
            if len(args) >= 3 * _PAGE or weight >= MAX_BYTES:
                added += await self.server.eval(_DELAY, names, args)
                args, weight = [], 0
        if args:
            added += await self.server.eval(_DELAY, names, args)
        return added

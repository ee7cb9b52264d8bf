"""Jobs that wait for their time."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from time import monotonic

import msgspec

from dispatcher.errors import QueueNotReplicated
from dispatcher.queue.access import Access
from dispatcher.queue.connection import Arg
from dispatcher.queue.producing import NONE, Assurance
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

    async def delay(self, project: str, jobs: Sequence[Delayed], assurance: Assurance = NONE) -> int:
        """Add jobs straight to the delayed set (`hold` is not looked at); a member that waits is left alone.

        Args:
            project: Firebase project id.
            jobs: what waits.
            assurance: how many replicas must have them; of its limit they are not part yet.

        Returns:
            How many were new.

        Raises:
            QueueFull: Redis refuses; of more than 500 jobs or 1 MB, earlier ones may be in. Repeat it with all.
            QueueNotReplicated: they are in, and not on as many replicas as was asked for.
        """
        names = (self.keys.delayed(project), self.keys.delayed_jobs(project))
        added = 0
        args: list[Arg] = []
        weight = 0
        for job in jobs:
            args += (job.member, ceil(job.due * 1000), job.fields)
            weight += len(job.fields)
            if len(args) >= 3 * _PAGE or weight >= MAX_BYTES:
                added += await self._delay(names, args, assurance)
                args, weight = [], 0
        if args:
            added += await self._delay(names, args, assurance)
        return added

    async def _delay(self, names: Sequence[str], args: list[Arg], assurance: Assurance) -> int:
        if not assurance.replicas:
            added: int = await self.server.eval(_DELAY, names, args)
            return added
        wait_ms = round(assurance.replica_timeout_s * 1000)
        added, reached = await self.server.eval_replicated(_DELAY, names, args, assurance.replicas, wait_ms)
        if reached < assurance.replicas:
            raise QueueNotReplicated(reached, assurance.replicas, [])
        return added

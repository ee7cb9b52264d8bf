"""Enqueueing jobs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dispatcher.errors import QueueBusy, QueueNotReplicated
from dispatcher.model import STREAMS, Lane
from dispatcher.queue.access import Access
from dispatcher.queue.connection import Arg
from dispatcher.queue.script import Script

_ENQUEUE = Script("enqueue")
_PAGE = 500
"""Jobs a call: a script holds up everybody else, this one for about 2 ms."""
PAGE_BYTES = 1_000_000
"""Bytes a call; one job may be larger."""

Fields = Sequence[str | bytes]
"""Names and values in turn."""


class Assurance(msgspec.Struct, frozen=True, kw_only=True):
    """What a producer asks for beside the enqueueing.

    Attributes:
        max_backlog: most jobs of the project that may wait or be in work; 0: no limit.
        replicas: replicas that must have a job before it counts as enqueued; 0: none.
        replica_timeout_s: how long to wait for them.
    """

    max_backlog: int = 0
    replicas: int = 0
    replica_timeout_s: float = 1.0


NONE = Assurance()


class Producing(Access):
    """The producer's side."""

    async def enqueue(
        self,
        project: str,
        lane: Lane,
        jobs: Sequence[Fields],
        *,
        common: Fields = (),
        assurance: Assurance = NONE,
    ) -> list[str]:
        """Add one entry per job to a lane, 500 or 1 MB of them at a time; returns the entry ids in order.

        Never repeated by itself: after QueueUnavailable some of them may be in. Each call to Redis takes all its
        jobs or none.

        Args:
            project: Firebase project id.
            lane: where to.
            jobs: the fields of each.
            common: fields that all of them have.
            assurance: limits to keep.

        Raises:
            QueueFull: Redis refuses; of more than one call's jobs, the first may be in.
            QueueBusy: the backlog has no room; those in `entries` are in.
            QueueNotReplicated: they are in, and not on as many replicas as was asked for.
        """
        ids: list[str] = []
        start = 0
        most = min(_PAGE, assurance.max_backlog or _PAGE)
        while start < len(jobs):
            end, weight = start, 0
            while end < len(jobs) and end - start < most and (end == start or weight < PAGE_BYTES):
                weight += sum(map(len, jobs[end]))
                end += 1
            ids += await self._add(project, lane, jobs[start:end], common, assurance, ids)
            start = end
        return ids

    async def _add(
        self,
        project: str,
        lane: Lane,
        jobs: Sequence[Fields],
        common: Fields,
        assurance: Assurance,
        before: list[str],
    ) -> list[str]:
        names = (self.keys.stream(project, lane), *(self.keys.stream(project, name) for name in STREAMS))
        args: list[Arg] = [assurance.max_backlog, len(common), *common]
        for job in jobs:
            args.append(len(job))
            args += job
        if assurance.replicas:
            wait_ms = round(assurance.replica_timeout_s * 1000)
            (backlog, added), reached = await self.server.eval_replicated(
                _ENQUEUE, names, args, assurance.replicas, wait_ms
            )
        else:
            backlog, added = await self.server.eval(_ENQUEUE, names, args)
            reached = 0
        if not added:
            raise QueueBusy(project, backlog, assurance.max_backlog, before)
        ids = [entry_id.decode() for entry_id in added]
        if reached < assurance.replicas:
            raise QueueNotReplicated(reached, assurance.replicas, before + ids)
        return ids

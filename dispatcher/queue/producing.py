"""Enqueueing jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dispatcher.errors import QueueError
from dispatcher.model import Lane
from dispatcher.queue.access import Access
from dispatcher.queue.connection import Arg, Command


class Producing(Access):
    """The producer's side."""

    async def enqueue(
        self, project: str, lane: Lane, jobs: Sequence[Mapping[str, str | bytes]], *, max_pipeline: int = 500
    ) -> list[str]:
        """Add one entry per job (its flat fields) to a lane; returns the entry ids in order.

        Never repeated by itself: after QueueUnavailable some of them may be in.

        Raises:
            QueueFull: Redis refuses; those before the refusal are in.
        """
        key = self.keys.stream(project, lane)
        ids: list[str] = []
        for start in range(0, len(jobs), max_pipeline):
            commands: list[Command] = []
            for job in jobs[start : start + max_pipeline]:
                flat: list[Arg] = ["XADD", key, "*"]
                for pair in job.items():
                    flat += pair
                commands.append(tuple(flat))
            for reply in await self.server.pipeline(commands):
                if isinstance(reply, QueueError):
                    raise reply
                ids.append(reply.decode())
        return ids

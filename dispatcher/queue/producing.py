"""Enqueueing jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dispatcher.model import Lane
from dispatcher.queue.access import Access


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
        raise NotImplementedError

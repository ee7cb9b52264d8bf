"""Paused targets: each one a schedule of slots, shared by all replicas."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.errors import QueueError
from dispatcher.queue.access import Access


class Pauses(Access):
    """The set of paused targets. Slots are given out while settling (`settlement.Hold`)."""

    async def paused(self, project: str, targets: Sequence[str]) -> list[tuple[float, float]]:
        """Of each target (`Target.key`): (next free slot, end of the pause proper), Redis clock in seconds.

        (0.0, 0.0): not paused. A message without a slot must be held while the next free slot is in the
        future; one that has a slot (`JobState.slot`) may go if its slot is not before the end of the pause.
        """
        if not targets:
            return []
        members = [*targets, *(f"{target}|until" for target in targets)]
        scores = await self.server.call("ZMSCORE", self.keys.pauses(project), *members)
        times = [float(score) / 1000 if score is not None else 0.0 for score in scores]
        return list(zip(times[: len(targets)], times[len(targets) :], strict=True))

    async def prune_pauses(self, project: str) -> int:
        """Remove what is past; returns how many members are left."""
        key = self.keys.pauses(project)
        now = await self.server.time() if not self.server.clock.known else self.server.clock.now()
        replies = await self.server.pipeline(
            [("ZREMRANGEBYSCORE", key, "-inf", f"({int(now * 1000)}"), ("ZCARD", key)]
        )
        for reply in replies:
            if isinstance(reply, QueueError):
                raise reply
        return int(replies[1])

"""Paused targets: each one a schedule of slots, shared by all replicas."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.queue.access import Access


class Pauses(Access):
    """The set of paused targets. Slots are given out while settling (`settlement.Hold`)."""

    async def paused(self, project: str, targets: Sequence[str]) -> list[tuple[float, float]]:
        """Of each target (`Target.key`): (next free slot, end of the pause proper), Redis clock in seconds.

        (0.0, 0.0): not paused. A message without a slot must be held while the next free slot is in the
        future; one that has a slot (`JobState.slot`) may go if its slot is not before the end of the pause.
        """
        raise NotImplementedError

    async def prune_pauses(self, project: str) -> int:
        """Remove what is past; returns how many members are left."""
        raise NotImplementedError

"""Signs of life: one lease key per worker and project."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.queue.access import Access


class Leases(Access):
    """Leases of this worker. Callers count the deadline from before the call was sent."""

    async def acquire(self, project: str, epoch: int, lease_s: float) -> float:
        """Take the lease with this epoch (raise it each time), for `lease_s` seconds; works on a full Redis.

        Returns:
            Redis clock, seconds.
        """
        raise NotImplementedError

    async def renew(self, projects: Sequence[str], lease_s: float) -> list[str]:
        """Prolong the leases of these projects, in one round trip.

        Returns:
            The projects whose lease was gone: stop sending, acquire a new epoch, reconcile.
        """
        raise NotImplementedError

    async def leave(self, project: str, epoch: int) -> bool:
        """Drop the lease, and each of this consumer's groups where it has nothing pending.

        Returns:
            Whether nothing was left pending.
        """
        raise NotImplementedError

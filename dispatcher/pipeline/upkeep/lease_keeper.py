"""Keeps this worker's leases: the sign that it lives, renewed by a task that proves that the loop turns."""

from __future__ import annotations

import asyncio

from structlog.typing import FilteringBoundLogger

from dispatcher.pipeline.project import Project
from dispatcher.pipeline.upkeep.duty import Duty
from dispatcher.queue.store import Queue
from dispatcher.telemetry.metrics import Metrics


class LeaseKeeper(Duty):
    """Renews the lease of every project three times in its life.

    Whoever finds a lease gone acquires it under a new epoch: what was read under the old one is checked before
    it is sent (`Sending`), and reconciled.

    Args:
        queue: this worker's view of Redis.
        projects: all projects served.
        lease_s: life of a lease in seconds.
        metrics: the worker's.
        log: the worker's.
    """

    def __init__(
        self,
        queue: Queue,
        projects: dict[str, Project],
        lease_s: float,
        metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:
        super().__init__(lease_s / 3, log)
        self._queue = queue
        self._projects = projects
        self._lease_s = lease_s
        self._metrics = metrics

    async def round(self) -> float | None:
        """Renew what is held, acquire what is not."""
        loop = asyncio.get_running_loop()
        held = [project for project in self._projects.values() if project.lease.ever_held]
        # From before the call was sent: Redis may have counted from then.
        asked = loop.time()
        renewal = await self._queue.renew([project.id for project in held], self._lease_s)
        for project in held:
            if project.id not in renewal.lost and project.id not in renewal.unknown:
                lease = project.lease
                if not lease.holds(asked):
                    # Redis kept it while we could not know: sending stops in such a gap, reclaiming starts anew.
                    lease.held_since = asked
                    project.reconcile = True
                lease.valid_until = asked + self._lease_s
                project.awaken()
        await self.for_each(
            [p for p in self._projects.values() if p.id in renewal.lost or not p.lease.ever_held],
            self._acquire,
        )
        for failure in renewal.unknown.values():
            raise failure
        return None

    async def _acquire(self, project: Project) -> None:
        if self._projects.get(project.id) is not project:
            return  # projects go while this waits for Redis
        lease = project.lease
        if lease.ever_held:
            self._metrics.leases_lost.of(project.id).inc()
            self._log.warning("lease_lost", project=project.id, epoch=lease.epoch)
        asked = asyncio.get_running_loop().time()
        # Raised first: if the reply is lost, the next try must not use the same number.
        lease.epoch += 1
        await self._queue.acquire(project.id, lease.epoch, self._lease_s)
        lease.valid_until = asked + self._lease_s
        lease.held_since = asked
        project.reconcile = lease.epoch > 1
        project.awaken()

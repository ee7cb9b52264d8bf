"""Gauges: what waits in Redis, and what this worker holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from structlog.typing import FilteringBoundLogger

from dispatcher.pipeline.project import Project
from dispatcher.pipeline.upkeep.duty import Duty
from dispatcher.policy.room import Room
from dispatcher.queue.store import Queue
from dispatcher.telemetry.metrics import Metrics

EVERY_S = 2.0
MEMORY_EVERY_S = 10.0
UNSERVED_EVERY_S = 60.0
LAG_EVERY_S = 0.1
STALE_S = 30.0
"""After so long without Redis its last numbers are shown no more: the greatest of all replicas counts, and that would be
the oldest one."""


class Observer(Duty):
    """Counts what waits, every other second.

    Args:
        queue: this worker's view of Redis.
        projects: all projects served.
        room: what this worker holds.
        connections: open connections to FCM.
        metrics: the worker's.
        log: the worker's.

    Attributes:
        redis_seen_at: loop clock of the last answer of Redis, for readiness.
    """

    def __init__(
        self,
        queue: Queue,
        projects: dict[str, Project],
        room: Room,
        connections: Callable[[], int],
        metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:
        super().__init__(EVERY_S, log)
        self._queue = queue
        self._projects = projects
        self._room = room
        self._connections = connections
        self._metrics = metrics
        self._memory_next = 0.0
        self._unserved_next = 0.0
        self._unserved_projects: set[str] = set()
        self.redis_seen_at = float("-inf")

    async def round(self) -> float | None:
        """Count once."""
        loop = asyncio.get_running_loop()
        metrics = self._metrics
        # Down until this round has its answer: an error leaves it so.
        up = metrics.redis_up.of()
        try:
            stats = await self._queue.stats(list(self._projects), partial=True)
        except BaseException:
            up.set(0)
            if loop.time() - self.redis_seen_at > STALE_S:
                metrics.forget_shared()
            raise
        up.set(1)
        self.redis_seen_at = loop.time()
        for project_id, found in stats.items():
            if project_id not in self._projects:
                continue  # gone meanwhile
            for stream, count in found.lanes.items():
                metrics.backlog.of(project_id, stream).set(
                    count + (found.delayed_due if stream == "due" else 0)
                )
                metrics.oldest_age.of(project_id, stream).set(found.oldest.get(stream, 0.0))
            metrics.delayed.of(project_id).set(found.delayed)
            metrics.pending.of(project_id).set(found.pending)
            metrics.outcomes.of(project_id).set(found.outcomes)
            metrics.dead.of(project_id).set(found.dead)
            metrics.paused_targets.of(project_id).set(found.paused_targets)
        if loop.time() >= self._memory_next:
            self._memory_next = loop.time() + MEMORY_EVERY_S
            used, limit = await self._queue.memory()
            metrics.redis_memory.of().set(used)
            metrics.redis_memory_limit.of().set(limit)
        if loop.time() >= self._unserved_next:
            self._unserved_next = loop.time() + UNSERVED_EVERY_S
            await self._unserved()
        return None

    def render(self) -> bytes:
        """All metrics in the text format; what this process knows of itself is read at that moment."""
        metrics = self._metrics
        for project in self._projects.values():
            metrics.in_flight.of(project.id).set(self._room.held(project.id))
            metrics.requests_in_flight.of(project.id).set(project.concurrency.running)
            metrics.concurrency_limit.of(project.id).set(project.concurrency.limit)
            credential = project.credential
            metrics.credential_refreshes.of(project.id, "ok").value = (
                credential.refreshes - credential.failures
            )
            metrics.credential_refreshes.of(project.id, "failed").value = credential.failures
            if credential.refreshes or credential.ready:  # before the first fetch there is nothing to run out
                metrics.credential_expires_in.of(project.id).set(credential.expires_in_s)
            keep = project.settings
            metrics.quota_per_minute.of(project.id).set(keep.quota_per_minute * keep.quota_use)
        metrics.in_flight_bytes.of().set(self._room.nbytes)
        metrics.redis_commands.of().value = self._queue.commands
        for kind, count in self._queue.errors.items():
            metrics.redis_errors.of(kind).value = count
        metrics.connections.of("http").set(self._connections())
        return metrics.render()

    async def _unserved(self) -> None:
        found = await self._queue.unserved(list(self._projects))
        totals = dict.fromkeys(self._unserved_projects, 0)
        for (project_id, lane), count in found.items():
            totals[project_id] = totals.get(project_id, 0) + count
            self._log.warning("unserved_jobs", project=project_id, lane=lane, jobs=count)
        for project_id, count in totals.items():
            # At 0 once more before it goes, so that it is seen to end.
            if project_id not in self._projects and not count:
                self._metrics.unserved.forget(project_id)
            else:
                self._metrics.unserved.of(project_id).set(count)
        self._unserved_projects = {project_id for project_id, count in totals.items() if count}


async def watch_loop(metrics: Metrics) -> None:
    """Measure how late the event loop wakes; ends by being cancelled."""
    loop = asyncio.get_running_loop()
    lag = metrics.loop_lag.of()
    while True:
        due = loop.time() + LAG_EVERY_S
        await asyncio.sleep(LAG_EVERY_S)
        lag.observe(max(0.0, loop.time() - due))

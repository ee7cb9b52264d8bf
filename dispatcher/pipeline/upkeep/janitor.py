"""Keeps Redis flat: retention of outcomes, dead letters and what devices sent, past pauses, consumers of the dead."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from dispatcher.pipeline.project import Project
from dispatcher.pipeline.upkeep.duty import Duty
from dispatcher.queue.keys import Which
from dispatcher.queue.store import Queue
from dispatcher.telemetry.metrics import Metrics

EVERY_S = 10.0


class Janitor(Duty):
    """Trims every project now and then.

    Args:
        queue: this worker's view of Redis.
        projects: all projects served.
        metrics: the worker's.
        log: the worker's.
    """

    def __init__(
        self,
        queue: Queue,
        projects: dict[str, Project],
        metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:
        super().__init__(EVERY_S, log)
        self._queue = queue
        self._projects = projects
        self._metrics = metrics

    async def round(self) -> float | None:
        """Trim once."""
        await self.for_each(self._projects.values(), self._tidy)
        return None

    async def _tidy(self, project: Project) -> None:
        keep = project.settings
        await self._trim(project, "outcomes", keep.outcomes_retention_s, keep.outcomes_max_entries)
        await self._trim(project, "dead", keep.dead_retention_s, keep.dead_max_entries)
        await self._trim(project, "upstream", keep.upstream_retention_s, keep.upstream_max_entries)
        await self._queue.forget_upstream(project.id, keep.upstream_retention_s, keep.upstream_max_entries)
        await self._watch_readers(project)
        await self._queue.prune_pauses(project.id)
        await self._queue.forget_dead(project.id)

    async def _watch_readers(self, project: Project) -> None:
        unread = await self._queue.unread(project.id)
        metrics, keep = self._metrics, project.settings
        metrics.outcomes_unread.of(project.id).set(unread.entries)
        metrics.outcomes_lag.of(project.id).set(unread.age)
        metrics.outcomes_limit.of(project.id).set(keep.outcomes_max_entries)
        metrics.outcomes_retention.of(project.id).set(keep.outcomes_retention_s)

    async def _trim(self, project: Project, which: Which, retention_s: float, max_entries: int) -> None:
        trimmed = await self._queue.trim(project.id, which, retention_s=retention_s, max_entries=max_entries)
        if trimmed.unread:
            self._metrics.retention_cut.of(project.id, which).inc(trimmed.unread)
            self._log.warning(
                "retention_cut_unread", project=project.id, stream=which, entries=trimmed.unread
            )

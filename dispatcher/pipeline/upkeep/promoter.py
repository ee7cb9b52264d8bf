"""Moves what is due from the delayed set to the `due` stream, wherever it waits."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from dispatcher.pipeline.project import Project
from dispatcher.pipeline.upkeep.duty import Duty
from dispatcher.queue.store import Queue

LOOK_S = 0.5
"""Longest time between two looks: others may have added something that is due sooner than what was next."""

SOONEST_S = 0.02
"""Shortest: a project with thousands due keeps moving them, but does not keep Redis for itself."""


class Promoter(Duty):
    """Promotes for every project; all replicas do, and the script moves each job once.

    Args:
        queue: this worker's view of Redis.
        projects: all projects served.
        log: the worker's.
    """

    def __init__(self, queue: Queue, projects: dict[str, Project], log: FilteringBoundLogger) -> None:
        super().__init__(LOOK_S, log)
        self._queue = queue
        self._projects = projects
        self._rest = LOOK_S

    async def round(self) -> float | None:
        """Promote once in each project; soon again where more is due."""
        self._rest = LOOK_S
        await self.for_each(self._projects.values(), self._promote)
        return self._rest

    async def _promote(self, project: Project) -> None:
        promotion = await self._queue.promote(project.id)
        if not promotion.paused and promotion.next_due is not None:
            self._rest = min(self._rest, max(SOONEST_S, promotion.next_due - promotion.now))

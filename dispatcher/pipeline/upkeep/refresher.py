"""Renews access tokens ahead of their expiry, so that no batch waits for one."""

from __future__ import annotations

import asyncio

from structlog.typing import FilteringBoundLogger

from dispatcher.errors import CredentialsError
from dispatcher.pipeline.project import Project
from dispatcher.pipeline.upkeep.duty import Duty
from dispatcher.telemetry.logs import keep_out

LOOK_S = 5.0


class Refresher(Duty):
    """Fetches the first token of every project at the start and the next ones in time.

    Each project by itself: a token endpoint that does not answer holds up nobody else's refresh.

    Args:
        projects: all projects served.
        log: the worker's.
    """

    def __init__(self, projects: dict[str, Project], log: FilteringBoundLogger) -> None:
        super().__init__(LOOK_S, log)
        self._projects = projects
        self._failed: set[str] = set()
        self._under_way: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Rounds until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            await super().run()

    async def round(self) -> float | None:
        """Begin what is due."""
        self._failed.intersection_update(self._projects)
        for project in list(self._projects.values()):
            if project.credential.refresh_in_s <= 0 and project.id not in self._under_way:
                task = self._tasks.create_task(self._renew(project), name=f"refreshing {project.id}")
                self._under_way[project.id] = task
        return None

    async def _renew(self, project: Project) -> None:
        try:
            await project.credential.renew(project.credential.current)
        except CredentialsError as error:
            if project.id not in self._failed:
                self._failed.add(project.id)
                self._log.error("credentials_failed", project=project.id, error=str(error))
        else:
            keep_out(f"access token of {project.id}", project.credential.current)
            self._failed.discard(project.id)
        finally:
            del self._under_way[project.id]

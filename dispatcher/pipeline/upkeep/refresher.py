"""Renews access tokens ahead of their expiry, so that no batch waits for one."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from dispatcher.errors import CredentialsError
from dispatcher.pipeline.project import Project
from dispatcher.pipeline.upkeep.duty import Duty
from dispatcher.telemetry.metrics import Metrics

LOOK_S = 5.0


class Refresher(Duty):
    """Fetches the first token of every project at the start and the next ones in time.

    Args:
        projects: all projects served.
        metrics: the worker's.
        log: the worker's.
    """

    def __init__(self, projects: dict[str, Project], metrics: Metrics, log: FilteringBoundLogger) -> None:
        super().__init__(LOOK_S, log)
        self._projects = projects
        self._metrics = metrics
        self._failed: set[str] = set()

    async def round(self) -> float | None:
        """Renew what is due."""
        for project in list(self._projects.values()):
            credential = project.credential
            if credential.refresh_in_s <= 0:
                try:
                    await credential.renew(credential.current)
                except CredentialsError as error:
                    if project.id not in self._failed:
                        self._failed.add(project.id)
                        self._log.error("credentials_failed", project=project.id, error=str(error))
                else:
                    self._failed.discard(project.id)
            metrics = self._metrics
            metrics.credential_refreshes.of(project.id, "ok").value = (
                credential.refreshes - credential.failures
            )
            metrics.credential_refreshes.of(project.id, "failed").value = credential.failures
            metrics.credential_expires_in.of(project.id).set(credential.expires_in_s)
        return None

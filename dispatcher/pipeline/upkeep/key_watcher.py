"""Follows the files of credentials and CAs: new projects are served, those without a key no more, changed keys are used."""

from __future__ import annotations

import asyncio

from structlog.typing import FilteringBoundLogger

from dispatcher.errors import CredentialsError, QueueError, SettingsError
from dispatcher.pipeline.equipment import Outfitter
from dispatcher.pipeline.project import Project
from dispatcher.pipeline.roster import Roster
from dispatcher.pipeline.upkeep.duty import Duty
from dispatcher.queue.store import Queue
from dispatcher.telemetry.logs import keep_out
from dispatcher.telemetry.metrics import Metrics
from dispatcher.transport.keyring import Keyring
from dispatcher.transport.route import reread_ca_files

RESCAN_S = 30.0
"""Kubernetes itself takes a minute or so to bring a changed Secret into a running pod."""


class KeyWatcher(Duty):
    """Looks at the files now and then.

    Args:
        keyring: loaded.
        projects: all projects served.
        roster: takes projects on and sees them off.
        outfitter: makes new ones.
        queue: this worker's view of Redis.
        metrics: the worker's.
        log: the worker's.
        problems: what was wrong at the start; it has been said.
        rescan_s: between two looks.
    """

    def __init__(
        self,
        keyring: Keyring,
        projects: dict[str, Project],
        roster: Roster,
        outfitter: Outfitter,
        queue: Queue,
        metrics: Metrics,
        log: FilteringBoundLogger,
        problems: list[str],
        rescan_s: float = RESCAN_S,
    ) -> None:
        super().__init__(rescan_s, log)
        self._keyring = keyring
        self._projects = projects
        self._roster = roster
        self._outfitter = outfitter
        self._queue = queue
        self._metrics = metrics
        self._said = set(problems)

    async def round(self) -> float | None:
        """Look once."""
        changes = await self._keyring.rescan()
        for what, secret in self._keyring.secrets.items():
            keep_out(what, secret)
        reread, doubtful = await asyncio.to_thread(reread_ca_files)
        for ca_file in reread:
            self._log.info("ca_file_changed", file=ca_file)
        problems = [*changes.problems, *doubtful]
        for problem in problems:
            if problem not in self._said:
                self._log.error("credential_problem", problem=problem)
        self._said = set(problems)
        self._metrics.credential_problems.of().set(len(problems))
        for project_id, project in list(self._projects.items()):
            if self._keyring.credentials.get(project_id) is not project.credential and not project.leaving:
                self._log.info("credential_removed", project=project_id)
                self._roster.drop(project_id)
        # Also one that came back while it was being seen off, once that is done.
        for project_id in self._keyring.credentials.keys() - self._projects.keys():
            await self._take_on(project_id)
        for project_id in changes.changed:
            await self._renewed(project_id)
        return None

    async def _take_on(self, project_id: str) -> None:
        try:
            project = await self._outfitter.make(project_id)
        except SettingsError as error:
            problem = f"{project_id}: {error}"
            if problem not in self._said:
                self._log.error("credential_problem", problem=problem)
            self._said.add(problem)
        else:
            self._log.info("credential_added", project=project_id)
            self._roster.add(project)

    async def _renewed(self, project_id: str) -> None:
        """A key has changed: fetch a token by it now; if the old one was why the project stands still, probe."""
        self._log.info("credential_changed", project=project_id)
        project = self._projects.get(project_id)
        if project is None or project.leaving or not project.unauthorized:
            return
        try:
            await project.signer.renew(project.signer.current)
            await self._queue.hasten(project_id)
        except (CredentialsError, QueueError) as error:
            self._log.warning("credential_not_tried", project=project_id, error=str(error))
            return
        project.unauthorized = False
        self._log.info("credential_tried", project=project_id)

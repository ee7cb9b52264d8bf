"""Roster: which projects this worker serves. They come and go while it runs, and none notices the others.

Each project has a sending task of its own. One that goes is drained as the worker is at its end: it is not read any
more, what is packed is handed back, what is on the wire is answered and settled, then its lease is given up.
"""

from __future__ import annotations

import asyncio
from functools import partial

from structlog.typing import FilteringBoundLogger

from dispatcher.errors import DispatcherError
from dispatcher.model import STREAMS
from dispatcher.pipeline.intake import Intake
from dispatcher.pipeline.managing import Managing
from dispatcher.pipeline.project import Project, Watcher
from dispatcher.pipeline.receiving import Receiving
from dispatcher.pipeline.sending import Sending
from dispatcher.pipeline.settling import Settling
from dispatcher.queue.store import Queue
from dispatcher.telemetry.metrics import Metrics


class Roster:
    """The projects of one worker.

    Args:
        projects: all projects served, by id; the same dict for all stages, changed only here.
        queue: this worker's view of Redis.
        intake: stops reading.
        sending: has a task for each project.
        managing: likewise.
        receiving: likewise, for as long as the others.
        settling: told of what is handed back.
        tasks: owns the tasks.
        metrics: the worker's.
        log: the worker's.
    """

    def __init__(
        self,
        projects: dict[str, Project],
        queue: Queue,
        intake: Intake,
        sending: Sending,
        managing: Managing,
        receiving: Receiving,
        settling: Settling,
        tasks: asyncio.TaskGroup,
        metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:
        self._projects = projects
        self._queue = queue
        self._intake = intake
        self._sending = sending
        self._managing = managing
        self._receiving = receiving
        self._settling = settling
        self._tasks = tasks
        self._metrics = metrics
        self._log = log
        self._senders: dict[Project, asyncio.Task[None]] = {}
        # Of projects that have gone: what comes back must not use a number again, under which old batches may settle.
        self._epochs: dict[str, int] = {}
        self._leavers: set[asyncio.Task[None]] = set()

    @property
    def senders(self) -> list[asyncio.Task[None]]:
        """The sending tasks."""
        return list(self._senders.values())

    def add(self, project: Project) -> None:
        """Serve a project from now on; the lease keeper gets its lease, and with that reading begins."""
        project.lease.epoch = self._epochs.get(project.id, 0)
        self._projects[project.id] = project
        self._metrics.start_project(project.id)
        self._metrics.unserved.forget(project.id)
        if not project.settings.tls_verify:
            self._metrics.tls_unverified.of(project.id).set(1)
            self._log.warning(
                "tls_not_verified",
                project=project.id,
                hint="tls_verify is off: whoever stands between can read and forge everything, access tokens too",
            )
        self._senders[project] = self._tasks.create_task(self._serve(project), name=f"sending {project.id}")

    async def _serve(self, project: Project) -> None:
        """Messages and management jobs, side by side; and what comes by itself for as long as these go on."""
        async with asyncio.TaskGroup() as aside:
            receiving = aside.create_task(self._receiving.run(project), name=f"upstream of {project.id}")
            async with asyncio.TaskGroup() as stages:
                stages.create_task(self._sending.run(project), name=f"messages of {project.id}")
                stages.create_task(self._managing.run(project), name=f"management of {project.id}")
            receiving.cancel()

    def drop(self, project_id: str) -> None:
        """Begin to see a project off; it stays in the roster until that is done."""
        project = self._projects[project_id]
        if project.leaving:
            return
        project.leaving = True
        task = self._tasks.create_task(self._see_off(project), name=f"seeing off {project_id}")
        self._leavers.add(task)
        task.add_done_callback(self._leavers.discard)

    def hasten(self) -> None:
        """The worker itself drains: it does for all what was being done for those that go."""
        for task in self._leavers:
            task.cancel()

    async def hand_back(self, project: Project) -> int:
        """Release what is packed but unsent, for as long as that takes; returns the number of jobs."""
        released = 0
        unsent = project.take_back()
        for stream in STREAMS:
            batches = [batch for batch in unsent if batch.stream == stream]
            ids = [job.entry_id for batch in batches for job in batch.jobs]
            if ids:
                await self._settling.insist(partial(self._queue.release, project.id, stream, ids))
                for batch in batches:
                    self._settling.forget(project, batch)
                released += len(ids)
        return released

    async def leave(self, project: Project) -> None:
        """Give the lease up, and with it whatever is left."""
        try:
            await self._queue.leave(project.id, project.lease.epoch)
        except DispatcherError as error:
            self._log.warning("lease_not_dropped", project=project.id, error=str(error))

    async def _see_off(self, project: Project) -> None:
        """See the module's docstring."""
        sender = self._senders[project]
        self._sending.dismiss(project)
        await self._intake.reads_done()
        await self.hand_back(project)
        # Requests end by their own timeouts, and nobody is in a hurry: none is cut off.
        await asyncio.wait([sender])
        await self._emptied(project)
        self._epochs[project.id] = project.lease.epoch
        del self._senders[project]
        del self._projects[project.id]
        self._intake.forget(project.id)
        self._metrics.forget_project(project.id)
        await self.leave(project)
        self._log.info("project_left", project=project.id)

    async def _emptied(self, project: Project) -> None:
        """Wait until nothing of the project is in this process."""
        # What a duty was just taking over when reading stopped comes in late.
        while left := {stream: set(ids) for stream, ids in project.held.items() if ids}:
            await self.hand_back(project)
            for stream, ids in left.items():
                watcher = Watcher(stream, ids)
                project.watchers.append(watcher)
                try:
                    watcher.settled(stream, ids - project.held[stream])
                    await watcher.done.wait()
                finally:
                    project.watchers.remove(watcher)

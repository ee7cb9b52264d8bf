"""Finds entries that Redis counts as ours and that are not here: a lost reply, a lapse, a restart of Redis."""

from __future__ import annotations

import asyncio

from structlog.typing import FilteringBoundLogger

from dispatcher.model import STREAMS, Stream
from dispatcher.pipeline.intake import Intake
from dispatcher.pipeline.project import Project
from dispatcher.pipeline.settling import Settling
from dispatcher.pipeline.upkeep.duty import Duty
from dispatcher.queue.store import Queue

EVERY_S = 30.0
LOOK_S = 1.0
ADOPT_AT_ONCE = 500


class Reconciler(Duty):
    """Compares the own pending entries with memory, every 30 s and after each failed read.

    Args:
        queue: this worker's view of Redis.
        projects: all projects served.
        intake: decodes what is adopted.
        settling: settles again what a failover took back.
        log: the worker's.
    """

    def __init__(
        self,
        queue: Queue,
        projects: dict[str, Project],
        intake: Intake,
        settling: Settling,
        log: FilteringBoundLogger,
    ) -> None:
        super().__init__(LOOK_S, log)
        self._queue = queue
        self._projects = projects
        self._intake = intake
        self._settling = settling
        self._next = 0.0

    async def round(self) -> float | None:
        """Reconcile the projects that ask for it, and now and then all."""
        if self._intake.suspended:
            return None  # a suspect of poison is alone in this process
        now = asyncio.get_running_loop().time()
        everyone = now >= self._next
        if everyone:
            self._next = now + EVERY_S
        await self.for_each(
            [
                project
                for project in self._projects.values()
                if (everyone or project.reconcile) and project.lease.holds(now) and not project.leaving
            ],
            self._compare,
        )
        return None

    async def _compare(self, project: Project) -> None:
        project.reconcile = False
        try:
            for stream in STREAMS:
                await self._reconcile(project, stream)
        except BaseException:
            project.reconcile = True
            raise

    async def _reconcile(self, project: Project, stream: Stream) -> None:
        epoch = project.lease.epoch
        pending = await self._queue.pending_mine(project.id, stream)
        unknown = pending.keys() - project.held[stream]
        if not unknown:
            return
        # What a read under way has taken is pending already and not yet here: let those reads end first.
        await self._intake.reads_done()
        unknown -= project.held[stream]
        ids = sorted(unknown)
        for start in range(0, len(ids), ADOPT_AT_ONCE):
            with self._intake.reading():
                page = ids[start : start + ADOPT_AT_ONCE]
                adopted = await self._queue.adopt(project.id, stream, epoch, page)
                if not adopted:
                    continue
                self._log.info("entries_adopted", project=project.id, stream=stream, jobs=len(adopted))
                # Taken over from the dead by a call whose reply got lost: they are tried apart, as suspects are.
                suspects = [entry_id for entry_id, _, crashes in adopted if crashes]
                if suspects:
                    await self._queue.release(project.id, stream, suspects)
                entries = [(entry_id, fields) for entry_id, fields, crashes in adopted if not crashes]
                # What is here again though it was settled: a failover has taken that back.
                self._settling.recall.doubt(asyncio.get_running_loop().time())
                await self._intake.accept(project, stream, entries, epoch)

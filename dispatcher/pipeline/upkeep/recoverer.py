"""Takes over what dead workers left, without letting one poisonous job kill this worker and the next.

Entries are grouped by the deaths they were present at. Those that a draining worker handed back unsent are no
suspects. The others are tried in ever smaller company (50, 5, 1), one group at a time; a suspect of three deaths
has the process for itself. Only an entry that was alone at three deaths is given up as poison.
"""

from __future__ import annotations

import asyncio

from structlog.typing import FilteringBoundLogger

from dispatcher.errors import QueueError
from dispatcher.model import Action, Disposition, ErrorCode, Status, Stream
from dispatcher.pipeline.intake import Intake, unsent_batch
from dispatcher.pipeline.project import Project, Watcher
from dispatcher.pipeline.settling import Finished, Settling
from dispatcher.pipeline.upkeep.duty import Duty
from dispatcher.policy.room import Room
from dispatcher.protocol.job import identify
from dispatcher.queue.reclaim import Orphans, Reclaimed
from dispatcher.queue.store import Queue
from dispatcher.telemetry.metrics import Metrics

ALONE = 3
"""Deaths from which on a suspect is tried alone."""

POISON = 6
"""Deaths after which it was alone at three."""

POISONED = Disposition(
    Action.GIVE_UP,
    ErrorCode.POISON,
    Status.FAILED,
    "three workers died while this job was the only one they worked on",
    counted=False,
)


class Recoverer(Duty):
    """Looks for consumers without a lease and takes their entries over.

    Args:
        queue: this worker's view of Redis.
        projects: all projects served.
        intake: decodes what is reclaimed.
        settling: where poison goes.
        room: reclaiming waits for room as reading does.
        lease_s: life of a lease; a worker reclaims only after it has held its own that long without a gap, so
            that a restart of Redis is not taken for the death of everyone.
        metrics: the worker's.
        log: the worker's.
    """

    def __init__(
        self,
        queue: Queue,
        projects: dict[str, Project],
        intake: Intake,
        settling: Settling,
        room: Room,
        lease_s: float,
        metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:
        super().__init__(lease_s / 3, log)
        self._queue = queue
        self._projects = projects
        self._intake = intake
        self._settling = settling
        self._room = room
        self._lease_s = lease_s
        self._metrics = metrics

    async def round(self) -> float | None:
        """Take over what can be taken over now."""
        loop = asyncio.get_running_loop()
        for project in list(self._projects.values()):
            now = loop.time()
            lease = project.lease
            if (
                not lease.holds(now)
                or now - lease.held_since < self._lease_s
                or project.leaving
                or project.paused
            ):
                continue
            for orphan in await self._queue.orphans(project.id):
                more = True
                while (
                    more
                    and lease.holds(loop.time())
                    and not project.leaving
                    and self._room.free(project.id, "high", self._room.max_messages).messages
                ):
                    epoch = lease.epoch
                    reclaimed = await self._claim(project, orphan, epoch)
                    more = reclaimed.more and bool(reclaimed.entries)
                    if reclaimed.entries:
                        await self._take(project, orphan.stream, orphan.owner, reclaimed, epoch)
        return None

    async def _claim(self, project: Project, orphans: Orphans, epoch: int) -> Reclaimed:
        with self._intake.reading():
            try:
                reclaimed = await self._queue.reclaim(project.id, orphans.stream, orphans.owner, epoch)
            except QueueError:
                # It may have been done, and only the reply be lost: then they are ours and unknown.
                project.reconcile = True
                raise
            # Ours from here on, though a suspect may wait long for its turn: the reconciler must not find them
            # unknown and adopt them a second time.
            project.held[orphans.stream].update([entry_id for entry_id, _ in reclaimed.entries])
            return reclaimed

    async def _take(
        self, project: Project, stream: Stream, owner: str, reclaimed: Reclaimed, epoch: int
    ) -> None:
        ids = [entry_id for entry_id, _ in reclaimed.entries]
        crashes = reclaimed.crashes
        self._metrics.reclaimed.of(project.id).inc(len(ids))
        # Before anything is decoded: if one of these kills us, the log names it.
        self._log.info(
            "jobs_reclaimed",
            project=project.id,
            stream=stream,
            owner=owner,
            jobs=len(ids),
            crashes=crashes,
            first=ids[0],
        )
        if crashes == 0:
            await self._intake.accept(project, stream, reclaimed.entries, epoch)
            return
        if crashes >= POISON:
            # Not decoded: that may be what kills. Its identity and fields are all a dead letter needs.
            jobs = [
                identify(project.id, stream, entry_id, fields, project.limits)
                for entry_id, fields in reclaimed.entries
            ]
            self._room.take(project.id, len(jobs), sum(job.nbytes for job in jobs))
            await self._settling.put(
                Finished(project, unsent_batch(project, stream, jobs, epoch), verdict=POISONED)
            )
            return
        watcher = Watcher(stream, ids)
        project.watchers.append(watcher)
        try:
            if crashes >= ALONE:
                await self._alone(project, stream, ids)
            await self._intake.accept(project, stream, reclaimed.entries, epoch, alone=True)
            # A suspect may be waiting for quota or be put back by a pause: either way it leaves in the end.
            await watcher.done.wait()
        finally:
            project.watchers.remove(watcher)
            self._intake.suspended = False

    async def _alone(self, project: Project, stream: Stream, suspects: list[str]) -> None:
        """Wait until nothing but these entries is in this process."""
        self._intake.suspended = True
        while True:
            await self._intake.reads_done()
            watched = []
            for other in self._projects.values():
                for held_stream, held in other.held.items():
                    ids = held.difference(suspects) if (other, held_stream) == (project, stream) else held
                    if ids:
                        watcher = Watcher(held_stream, ids)
                        other.watchers.append(watcher)
                        watched.append((other, watcher))
            if not watched:
                return
            for other, watcher in watched:
                await watcher.done.wait()
                other.watchers.remove(watcher)

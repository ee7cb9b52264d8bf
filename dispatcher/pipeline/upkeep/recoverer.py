"""Takes over what dead workers left, without letting one poisonous job kill this worker and the next.

Entries are grouped by the deaths they were present at. Those that a draining worker handed back unsent are no
suspects. The others are tried in ever smaller company (50, 5, 1), one group of each project at a time: a project
whose quota is small must not keep the others waiting. A suspect of three deaths has the process for itself. Only an entry that was alone at three deaths is given up as poison.
"""

from __future__ import annotations

import asyncio

from structlog.typing import FilteringBoundLogger

from dispatcher.errors import QueueError
from dispatcher.model import Action, Disposition, ErrorCode, Status, Stream
from dispatcher.pipeline.intake import Intake
from dispatcher.pipeline.ordering import unsent_batch
from dispatcher.pipeline.project import Project, Watcher
from dispatcher.pipeline.roster import Roster
from dispatcher.pipeline.settling import Finished, Settling
from dispatcher.pipeline.upkeep.duty import Duty
from dispatcher.policy.room import Room
from dispatcher.policy.settle import doubted_state
from dispatcher.protocol.job import identify
from dispatcher.queue.reclaim import Orphans, Reclaimed
from dispatcher.queue.store import Queue
from dispatcher.telemetry.metrics import Metrics

ALONE = 3
"""Deaths from which on a suspect is tried alone."""

POISON = 6
"""Deaths after which it was alone at three."""

AGAIN_S = 0.5
"""Between two looks at whether a suspect is alone."""

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
        roster: hands back what must not be in the way of a suspect.
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
        roster: Roster,
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
        self._roster = roster
        self._settling = settling
        self._room = room
        self._lease_s = lease_s
        self._metrics = metrics
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._failed: set[str] = set()
        # Suspects that wait to be alone: taken over, not decoded, and so in nobody's way.
        self._in_hand: dict[tuple[str, Stream], frozenset[str]] = {}
        self._one_alone = asyncio.Lock()

    async def run(self) -> None:
        """Rounds until cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            await super().run()

    async def round(self) -> float | None:
        """Begin where there is something to take over and nothing of the kind under way."""
        await self.for_each(self._projects.values(), self._look)
        return None

    async def _look(self, project: Project) -> None:
        if project.id in self._under_way or not self._may_claim(project):
            return
        if orphans := await self._queue.orphans(project.id):
            task = self._tasks.create_task(self._recover(project, orphans), name=f"recovering {project.id}")
            self._under_way[project.id] = task

    def _may_claim(self, project: Project) -> bool:
        """Whether more can be taken over now; not in a drain, whose own jobs these may be."""
        now = asyncio.get_running_loop().time()
        lease = project.lease
        return (
            lease.holds(now)
            and now - lease.held_since >= self._lease_s
            and not (project.leaving or project.paused or self._intake.stopping or self._intake.suspended)
            and self._room.free(project.id, "high", self._room.max_messages).messages > 0
        )

    async def _recover(self, project: Project, orphans: list[Orphans]) -> None:
        """Take over what can be taken over of one project, one group after the other."""
        try:
            for orphan in orphans:
                more = True
                while more and self._may_claim(project):
                    epoch = project.lease.epoch
                    reclaimed = await self._claim(project, orphan, epoch)
                    more = reclaimed.more and bool(reclaimed.entries)
                    if reclaimed.entries:
                        await self._take(project, orphan.stream, orphan.owner, reclaimed, epoch)
            self._failed.discard(project.id)
        except QueueError as error:
            if project.id not in self._failed:
                self._failed.add(project.id)
                self._log.warning("jobs_not_reclaimed", project=project.id, error=str(error))
        finally:
            del self._under_way[project.id]

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
            for job in jobs:
                job.state = doubted_state(job)
            self._room.take(project.id, len(jobs), sum(job.nbytes for job in jobs))
            await self._settling.put(
                Finished(project, unsent_batch(project, stream, jobs, epoch), verdict=POISONED)
            )
            return
        if crashes < ALONE:
            await self._try(project, stream, reclaimed, epoch)
            return
        self._in_hand[project.id, stream] = frozenset(ids)
        try:
            async with self._one_alone:
                await self._alone()
                await self._try(project, stream, reclaimed, epoch)
        finally:
            del self._in_hand[project.id, stream]
            self._intake.suspended = False

    async def _try(self, project: Project, stream: Stream, reclaimed: Reclaimed, epoch: int) -> None:
        """Send suspects in a batch of their own, and wait until they have left."""
        watcher = Watcher(stream, [entry_id for entry_id, _ in reclaimed.entries])
        project.watchers.append(watcher)
        try:
            await self._intake.accept(project, stream, reclaimed.entries, epoch, suspects=True)
            # A suspect may be waiting for quota or be put back by a pause: either way it leaves in the end.
            await watcher.done.wait()
        finally:
            project.watchers.remove(watcher)

    async def _alone(self) -> None:
        """Wait until nothing but suspects in hand is in this process.

        What is on the wire is answered and settled; what waits for it, perhaps for minutes of a small quota, is handed
        back for others to take over, or for this worker when it is through.
        """
        self._intake.suspended = True
        while True:
            await self._intake.reads_done()
            for project in list(self._projects.values()):
                await self._roster.hand_back(project)
            watched = []
            for project in self._projects.values():
                for stream, held in project.held.items():
                    if ids := held.difference(self._in_hand.get((project.id, stream), ())):
                        watcher = Watcher(stream, ids)
                        project.watchers.append(watcher)
                        watched.append((project, watcher))
            if not watched:
                return
            try:
                # A batch whose lease lapsed on its way out waits again: it is handed back, too.
                async with asyncio.timeout(AGAIN_S):
                    for _, watcher in watched:
                        await watcher.done.wait()
            except TimeoutError:
                continue
            finally:
                for project, watcher in watched:
                    project.watchers.remove(watcher)

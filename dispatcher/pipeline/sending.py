"""Sending: one loop a project that admits batches to the wire, and one task for each batch on it.

A batch is admitted when a request slot is free, the lease holds, and the project's quota grants it; then messages
that must not go now (expired, their target paused) are set aside, and the rest goes out in one call. The answers
go to settling as they are.
"""

from __future__ import annotations

import asyncio
from collections import deque
from random import random

from structlog.typing import FilteringBoundLogger

from dispatcher.errors import QueueError
from dispatcher.model import Action, Batch, Disposition, Stream
from dispatcher.pipeline.calling import Calling
from dispatcher.pipeline.cancellation import cancelled
from dispatcher.pipeline.ordering import hindered
from dispatcher.pipeline.project import BURST_S, Project
from dispatcher.pipeline.settling import Finished, Settling
from dispatcher.policy.asking import wait_to_ask
from dispatcher.policy.concurrency import Concurrency
from dispatcher.policy.schedule import passes
from dispatcher.queue.quota import Grant
from dispatcher.queue.store import Queue
from dispatcher.telemetry.metrics import Metrics

REDIS_REST_S = 0.25
"""Before asking again for quota that a missing Redis could not grant."""

LEAST_PART = 8
"""A batch that was granted its quota goes with one slot in so many of its project's at least, free or not."""

HELD = Disposition(Action.PAUSE_TARGET, counted=False, hold_target=True)
"""A message whose target is paused: it takes the target's next slot, unsent."""


class Sending:
    """The sending stage of one worker.

    Args:
        queue: this worker's view of Redis.
        settling: where answers go.
        metrics: the worker's.
        log: the worker's.
        calling: calls the transports.
    """

    def __init__(
        self,
        queue: Queue,
        settling: Settling,
        calling: Calling,
        *,
        metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:
        self._queue = queue
        self._settling = settling
        self._calling = calling
        self._metrics = metrics
        self._log = log
        self._stopping = False
        # Projects whose quota cannot be asked for; said once.
        self._ungranted: set[str] = set()
        # Batches between admission and settling's queue, over all projects.
        self.on_the_wire = 0

    def stop(self, project: Project) -> None:
        """Admit nothing more, of any project; `run` returns when what is on the wire has been answered."""
        self._stopping = True
        self.dismiss(project)

    def dismiss(self, project: Project) -> None:
        """The same for one that is `leaving`."""
        project.dismissed.set()
        project.awaken()
        project.urgent.set()

    async def run(self, project: Project) -> None:
        """Send what waits in `project.waiting` until `stop`."""
        async with asyncio.TaskGroup() as sends:
            while not (self._stopping or project.leaving or cancelled()):
                project.wake.clear()
                project.urgent.clear()
                if project.reordered:
                    project.reordered = False
                    await self._settling.obey(project)
                if project.has_waiting and project.paused:
                    # Told by another replica, or still being read when the pause began.
                    await self._settling.put_back(project)
                waiting = self._choose(project)
                if waiting is None:
                    await project.wake.wait()
                    continue
                await self._admit_first(project, waiting, sends)

    async def _admit_first(self, project: Project, waiting: deque[Batch], sends: asyncio.TaskGroup) -> None:
        """Put the first batch of a queue on the wire, if it still may go when its quota is granted.

        A frame of its own: that of `run`, waiting for the next one, would keep the last batch of every idle project.
        """
        batch = waiting[0]
        grant = await self._admit(project, batch)
        # Waiting for quota takes its time: the batch may have been put back, the lease may have lapsed; a worker that is
        # stopping hands back what waits, which is perhaps too early for its grant.
        if (
            grant is None
            or not waiting
            or waiting[0] is not batch
            or not project.may_send(asyncio.get_running_loop().time())
            or project.dismissed.is_set()
            or project.stopped
            or project.reordered
        ):
            return
        waiting.popleft()
        project.sending_turns.charge(batch.stream, batch.size)
        concurrency = project.concurrency  # by the time of the answer `auto` may use another wire
        # What was free may have gone to others meanwhile, or the limit was halved: its grant will not wait.
        least = max(1, concurrency.reach // LEAST_PART)
        need = self._slots(project, batch) or min(self._wanted(project, batch), least)
        concurrency.start(need)
        if batch.broadcast:
            project.broadcasts += need
        self.on_the_wire += 1
        sends.create_task(self._send(project, batch, concurrency, need, grant))

    def _choose(self, project: Project) -> deque[Batch] | None:
        """The queue whose first batch goes next; None: nothing waits, or no slot is free for it."""
        if (
            not project.has_waiting
            or not project.may_send(asyncio.get_running_loop().time())
            or project.paused
        ):
            return None
        ready: dict[Stream, deque[Batch]] = {}
        for (stream, _), waiting in project.waiting.items():
            if not waiting or not self._slots(project, waiting[0]):
                continue
            other = ready.get(stream)
            if other is None or waiting[0].packed_at < other[0].packed_at:
                ready[stream] = waiting
        turn = project.sending_turns.pick(ready)
        return None if turn is None else ready[turn]

    def _wanted(self, project: Project, batch: Batch) -> int:
        """Request slots that `batch` can use: as many as it has requests, and no more than half of the project's.

        It keeps them until its last answer, which may take as long as a request may: others must not wait for that.
        """
        most = -(-project.concurrency.limit // 2)
        if batch.broadcast:
            most = min(most, project.settings.topic_concurrency)
        return min(project.transport.requests(batch), most)

    def _slots(self, project: Project, batch: Batch) -> int:
        """Request slots that `batch` would get now; 0: it waits until more are free.

        Where each message is a request, it goes with half of what it wants, and its messages take turns: a second
        batch of 500 need not wait for the first while 400 of 1,000 slots lie idle. A batch that is alone goes with
        whatever there is: the worker's ceiling may leave little, but always some.
        """
        concurrency, wanted = project.concurrency, self._wanted(project, batch)
        if batch.broadcast and project.broadcasts + wanted > project.settings.topic_concurrency:
            return 0
        free = concurrency.free(high=batch.stream == "high")
        if concurrency.running == 0:
            return min(wanted, max(1, free))
        if wanted <= free:
            return wanted
        return free if 2 * free >= wanted and not batch.broadcast else 0

    async def _admit(self, project: Project, batch: Batch) -> Grant | None:
        """Ask the project's quota for a batch; None: look around again."""
        high = batch.stream == "high"
        try:
            grant = await self._queue.grant(
                project.id,
                batch.size,
                high=high,
                per_minute=project.settings.quota_per_minute,
                use=project.settings.quota_use,
                burst_s=BURST_S,
            )
        except QueueError as error:
            if project.id not in self._ungranted:
                self._ungranted.add(project.id)
                self._log.warning("quota_unavailable", project=project.id, error=str(error))
            await asyncio.sleep(REDIS_REST_S)
            return None
        self._ungranted.discard(project.id)
        if grant.circuit == "open":
            await self._stand_back(project, grant)
            return None
        if grant.granted:
            project.refusals = 0
            self._metrics.quota_used.of(project.id).inc(batch.size)
            if grant.wait > 0:
                # Minutes, for a large multicast job at a small quota: a drain does not wait for that.
                await self._rest(project, grant.wait, project.dismissed)
            return grant
        # Out of quota. A high batch that arrives meanwhile goes first, and asks at the first moment.
        if high:
            await self._rest(project, grant.wait, project.dismissed)
        else:
            project.refusals += 1
            wait_s = wait_to_ask(grant.wait, project.refusals, random())  # noqa: S311 - spread, no secret
            await self._rest(project, wait_s, project.urgent)
        return None

    async def _rest(self, project: Project, wait_s: float, sooner: asyncio.Event) -> None:
        """Stand still for want of quota, at most until `sooner`."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(wait_s):
                await sooner.wait()
        except TimeoutError:
            pass
        self._metrics.quota_wait.of(project.id).inc(loop.time() - began)

    async def _stand_back(self, project: Project, grant: Grant) -> None:
        """The project is paused: give its room back, by moving what waits here to the delayed set."""
        project.paused_until = max(project.paused_until, grant.open_until, grant.now + 1.0)
        await self._settling.put_back(project)

    async def _send(
        self, project: Project, batch: Batch, concurrency: Concurrency, need: int, grant: Grant
    ) -> None:
        """Everything about one batch from admission to settling's queue."""
        try:
            finished = await self._exchange(project, batch, need, grant)
        finally:
            concurrency.finish(need)
            if batch.broadcast:
                project.broadcasts -= need
            self.on_the_wire -= 1
            project.wake.set()
        if finished is not None:
            await self._settling.put(finished)

    async def _exchange(self, project: Project, batch: Batch, need: int, grant: Grant) -> Finished | None:
        """Send what may go now and gather the answers; None: the batch waits again."""
        batch = await self._settling.still_mine(project, batch)
        if not batch.jobs:
            return None
        presets = await self._set_aside(project, batch, grant)
        finished = await self._calling.exchange(
            project,
            batch,
            presets,
            transport=project.transport,
            credential=project.signer,
            at_once=need,
        )
        if finished is None:
            project.waiting[batch.stream, batch.broadcast].appendleft(batch)
        return finished

    async def _set_aside(self, project: Project, batch: Batch, grant: Grant) -> dict[int, Disposition]:
        """Messages that must not go now, by number."""
        now = self._queue.now()
        presets = hindered(batch, project.orders, now)
        if not grant.paused_targets:
            return presets
        keys = [job.target(position).key for job, position in batch.messages()]
        try:
            pauses = await self._queue.paused(project.id, keys)
        except QueueError:
            # Better a message too early for its target than all of them late: its own 429 would hold it again.
            return presets
        for number, ((job, _), (next_free, until)) in enumerate(zip(batch.messages(), pauses, strict=True)):
            slot = job.state.slot if job.state is not None else 0.0
            if not passes(slot, next_free, until, now):
                presets.setdefault(number, HELD)
        return presets

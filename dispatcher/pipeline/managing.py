"""Managing: carries out the management jobs of a project beside its messages.

A twin of sending with a rate of its own (SUBSCRIPTIONS_PER_S) and a pause of its own: what a service asks for holds
all management of the project, in every replica, and no message. What the rate cannot carry out soon gives its room
back and waits in Redis.
"""

from __future__ import annotations

import asyncio
from collections import deque

from structlog.typing import FilteringBoundLogger

from dispatcher.errors import QueueError
from dispatcher.model import MANAGEMENT, Action, Batch, Disposition
from dispatcher.pipeline.calling import Calling
from dispatcher.pipeline.cancellation import cancelled
from dispatcher.pipeline.errands import AT_ONCE, CALLS, Errands
from dispatcher.pipeline.ordering import hindered
from dispatcher.pipeline.project import BURST_S, Project
from dispatcher.pipeline.sending import REDIS_REST_S
from dispatcher.pipeline.settling import Finished, Settling
from dispatcher.policy.schedule import passes
from dispatcher.queue.quota import Grant
from dispatcher.queue.store import Queue

HELD = Disposition(Action.PAUSE_PROJECT, counted=False, hold_service=True)
"""A job whose service is paused: it waits for the end of that, uncalled."""


class Managing:
    """The managing stage of one worker.

    Args:
        queue: this worker's view of Redis.
        settling: where answers go.
        calling: calls the transports.
        log: the worker's.
    """

    def __init__(
        self, queue: Queue, settling: Settling, calling: Calling, *, log: FilteringBoundLogger
    ) -> None:
        self._queue = queue
        self._settling = settling
        self._calling = calling
        self._log = log
        # Projects whose rate cannot be asked for; said once.
        self._ungranted: set[str] = set()

    async def run(self, project: Project) -> None:
        """Carry out what waits in `project.errands` until the project is dismissed."""
        errands = project.errands
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as calls:
            while not (project.dismissed.is_set() or cancelled()):
                errands.wake.clear()
                if errands.has_waiting and project.paused:
                    await self._settling.put_back(project)
                for batch, delay in errands.overflow(loop.time()):
                    verdict = Disposition(Action.PAUSE_TARGET, delay=delay, counted=False)
                    await self._settling.put(Finished(project, batch, verdict=verdict))
                waiting = self._choose(project)
                if waiting is None:
                    await errands.wake.wait()
                    continue
                batch = waiting[0]
                grant = await self._admit(project, batch)
                # Waiting for the rate takes its time: everything may have changed.
                if grant is None or self._choose(project) is not waiting or waiting[0] is not batch:
                    continue
                waiting.popleft()
                errands.turns.charge(batch.stream, batch.size)
                errands.running += 1
                calls.create_task(self._carry_out(project, batch, grant))

    def _choose(self, project: Project) -> deque[Batch] | None:
        """The queue whose first batch goes next; None: nothing may go now."""
        errands = project.errands
        if errands.running >= AT_ONCE or project.paused or project.reordered or project.dismissed.is_set():
            return None
        if not project.may_send(asyncio.get_running_loop().time()):
            return None
        turn = errands.turns.pick([stream for stream, queue in errands.waiting.items() if queue])
        return None if turn is None else errands.waiting[turn]

    async def _admit(self, project: Project, batch: Batch) -> Grant | None:
        """Ask the project's rate for a batch; None: look around again."""
        high = batch.stream == "high"
        try:
            grant = await self._queue.grant_management(
                project.id, batch.size, high=high, per_second=project.errands.per_second, burst_s=BURST_S
            )
        except QueueError as error:
            if project.id not in self._ungranted:
                self._ungranted.add(project.id)
                self._log.warning("rate_unavailable", project=project.id, error=str(error))
            await asyncio.sleep(REDIS_REST_S)
            return None
        self._ungranted.discard(project.id)
        if grant.granted:
            if grant.wait > 0:
                await _rest(grant.wait, project.dismissed)
            return grant
        await _rest(grant.wait, project.errands.wake)
        return None

    async def _carry_out(self, project: Project, batch: Batch, grant: Grant) -> None:
        """Everything about one batch from admission to settling's queue."""
        errands = project.errands
        try:
            finished = await self._exchange(project, errands, batch, grant)
        finally:
            errands.running -= 1
            errands.wake.set()
        if finished is not None:
            await self._settling.put(finished)

    async def _exchange(
        self, project: Project, errands: Errands, batch: Batch, grant: Grant
    ) -> Finished | None:
        """Carry out what may be carried out now; None: the batch waits again."""
        batch = await self._settling.still_mine(project, batch)
        if not batch.jobs:
            return None
        presets = await self._set_aside(project, batch, grant)
        finished = await self._calling.exchange(
            project,
            batch,
            presets,
            transport=errands.transport,
            credential=errands.credential,
            at_once=CALLS,
        )
        if finished is None:
            errands.waiting[batch.stream].appendleft(batch)
        return finished

    async def _set_aside(self, project: Project, batch: Batch, grant: Grant) -> dict[int, Disposition]:
        """Items that must not be carried out now, by number."""
        now = self._queue.now()
        presets = hindered(batch, project.orders, now)
        if not grant.paused_targets:
            return presets
        try:
            [(next_free, until)] = await self._queue.paused(project.id, [MANAGEMENT.key])
        except QueueError:
            return presets
        for number, (job, _) in enumerate(batch.messages()):
            slot = job.state.slot if job.state is not None else 0.0
            if not passes(slot, next_free, until, now):
                presets.setdefault(number, HELD)
        return presets


async def _rest(wait_s: float, sooner: asyncio.Event) -> None:
    """Stand still for want of rate, at most until `sooner`."""
    try:
        async with asyncio.timeout(wait_s):
            await sooner.wait()
    except TimeoutError:
        pass

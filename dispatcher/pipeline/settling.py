"""Settling: what became of a batch is written to Redis, once, however often that takes.

A stage of its own, so that a slow Redis holds back reading (room is given back only here) and not the requests
on the wire. Being interrupted by a shutdown is no failure: the drain waits for this stage.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec
from structlog.typing import FilteringBoundLogger

from dispatcher.errors import QueueError
from dispatcher.model import Action, Batch, Disposition, ErrorCode, SendResponse, Status
from dispatcher.pipeline.cancellation import cancelled
from dispatcher.pipeline.concluding import conclude, conclude_accepted, conclude_unsent, restrict
from dispatcher.pipeline.effects import Conclusion, Context
from dispatcher.pipeline.ordering import part_of, sort_out
from dispatcher.pipeline.project import Project
from dispatcher.pipeline.recall import Recall
from dispatcher.pipeline.surveying import survey
from dispatcher.policy.circuit import open_for
from dispatcher.policy.health import Answers
from dispatcher.policy.room import Room
from dispatcher.queue.settlement import SettleReply
from dispatcher.queue.store import Queue
from dispatcher.telemetry.metrics import Metrics

RUNNERS = 4
"""Settlements under way at a time: Redis works on one, the next are on their way to and from it."""

MOST_RUNNERS = 256
"""Where they wait for a server of a Cluster that is away, others take their places for the projects of the rest."""

WAITING = 64
"""Batches that may wait here before sending is held back."""

RETRY_FIRST_S = 0.1
RETRY_MOST_S = 2.0
"""A settlement is repeated for as long as Redis is away: nothing else may happen to these messages."""

PUT_BACK_S = 1.0
"""Longest wait of what is put back unsent, on top of the pause itself."""

_VERDICTS = frozenset(
    {Status.ACCEPTED, Status.DONE, Status.INVALID_TOKEN, Status.WRONG_PROJECT, Status.REJECTED}
)
"""How a message ends only after an answer of FCM about that message: such an answer says that the project is back."""

_UNAUTHORIZED = frozenset({ErrorCode.AUTHENTICATION_ERROR, ErrorCode.MISMATCHED_CREDENTIAL})
"""Codes of a pause that another key may end."""

T = TypeVar("T")


class Finished(msgspec.Struct, gc=False):
    """A batch on its way into Redis.

    Attributes:
        responses: one a message; of those in `presets` it is not looked at.
        presets: messages decided before the send, by number.
        verdict: for jobs that were not sent at all: what becomes of each.
    """

    project: Project
    batch: Batch
    responses: list[SendResponse] = []
    presets: dict[int, Disposition] = {}
    verdict: Disposition | None = None


class Settling:
    """The settling stage of one worker.

    Args:
        queue: this worker's view of Redis.
        room: what the worker holds; given back here.
        room_changed: set after that.
        metrics: the worker's.
        log: the worker's.
    """

    def __init__(
        self,
        queue: Queue,
        room: Room,
        room_changed: asyncio.Event,
        *,
        metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:
        self._queue = queue
        self._room = room
        self._room_changed = room_changed
        self._metrics = metrics
        self._log = log
        self._finished: asyncio.Queue[Finished] = asyncio.Queue(WAITING)
        self._failing = False
        self.recall = Recall()
        self._runners: set[asyncio.Task[None]] = set()
        # Those that wait for Redis.
        self._stuck: set[asyncio.Task[None]] = set()
        self._tasks: asyncio.TaskGroup | None = None

    async def put(self, finished: Finished) -> None:
        """Hand a batch over; waits while WAITING of them are here."""
        await self._finished.put(finished)

    async def run(self) -> None:
        """Settle what comes; ends by being cancelled, after `drained`."""
        async with asyncio.TaskGroup() as self._tasks:
            for _ in range(RUNNERS):
                self._add_runner()

    def _add_runner(self) -> None:
        assert self._tasks is not None  # noqa: S101 - only runners and `run` come here
        runner = self._tasks.create_task(self._run(), name="settling")
        self._runners.add(runner)
        runner.add_done_callback(self._runners.discard)

    def _is_stuck(self, task: asyncio.Task[None] | None) -> None:
        """A runner waits for Redis: if no other is left, one more takes its place."""
        if task in self._runners and task not in self._stuck:
            self._stuck.add(task)
            crowd = len(self._runners)
            if self._queue.server.cluster and len(self._stuck) >= crowd and crowd < MOST_RUNNERS:
                self._add_runner()

    async def drained(self) -> None:
        """Wait until everything that was put is in Redis."""
        await self._finished.join()

    async def put_back(self, project: Project) -> None:
        """Move everything that waits here for a paused project to the delayed set: its room goes to the others."""
        for batch in project.take_back():
            await self.put(Finished(project, batch, verdict=self._until_resumed(project)))

    async def obey(self, project: Project) -> None:
        """Look at everything that waits here by the orders in force now, and end or park what they say."""
        orders = project.orders
        waiting = project.take_back()
        if orders is None:
            project.enqueue(waiting)
            return
        for batch in waiting:
            kept, ended = sort_out(batch, orders)
            if kept is not None:
                project.enqueue([kept])
            for verdict, part in ended:
                await self.put(Finished(project, part, verdict=verdict))

    def _until_resumed(self, project: Project) -> Disposition:
        # Nothing is promoted during a pause: it need not wait for the end that the pause has now, which may be
        # brought forward. The second is for a half-open project, of which this would be read and put back again.
        delay = min(PUT_BACK_S, max(0.0, project.paused_until - self._queue.now()))
        return Disposition(Action.PAUSE_PROJECT, delay=delay, counted=False)

    async def still_mine(self, project: Project, batch: Batch) -> Batch:
        """What is left of a batch: of one that was read under an earlier lease, others may have taken entries over."""
        epoch = project.lease.epoch
        if batch.epoch == epoch:
            return batch
        ids = [job.entry_id for job in batch.jobs]
        mine = await self.insist(lambda: self._queue.still_mine(project.id, batch.stream, ids))
        jobs = [job for job in batch.jobs if job.entry_id in mine]
        lost = [job for job in batch.jobs if job.entry_id not in mine]
        if lost:
            self._metrics.stale_settlements.of(project.id).inc(len(lost))
            self.forget(project, part_of(batch, lost))
        return msgspec.structs.replace(part_of(batch, jobs), epoch=epoch)

    async def insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat an idempotent call to Redis until it is answered."""
        rest = RETRY_FIRST_S
        try:
            while True:
                if cancelled():
                    raise asyncio.CancelledError
                try:
                    result = await call()
                except QueueError as error:
                    if not self._failing:
                        self._failing = True
                        self._log.error("settling_waits_for_redis", error=str(error))
                    self._is_stuck(asyncio.current_task())
                    await asyncio.sleep(rest)
                    rest = min(rest * 2, RETRY_MOST_S)
                else:
                    self._failing = False
                    return result
        finally:
            self._stuck.discard(asyncio.current_task())

    async def _run(self) -> None:
        while not cancelled() and len(self._runners) - len(self._stuck) <= RUNNERS:
            finished = await self._finished.get()
            try:
                await self._settle(finished)
            finally:
                self._finished.task_done()
                del finished  # not kept while the next one is awaited

    async def _settle(self, finished: Finished) -> None:
        project, batch = finished.project, finished.batch
        context = Context(
            round(self._queue.now(), 3),
            project.rules,
            random.random,
            failures_only=project.settings.outcomes == "failures",
        )
        loop_now = asyncio.get_running_loop().time()
        outcomes = None
        if finished.verdict is not None:
            conclusion = conclude_unsent(batch.jobs, finished.verdict, context)
        else:
            if not finished.presets:
                outcomes = conclude_accepted(batch, finished.responses, context)
            if not batch.parcel:  # management tells nothing of how fast messages may go
                self._learn(finished, context, loop_now, all_good=outcomes is not None)
            if outcomes is None:
                conclusion = conclude(batch, finished.responses, finished.presets, context)
                if not batch.parcel:  # and takes nothing from their retries: it has a rate of its own
                    self._plan_retries(project, conclusion, context, loop_now)
            else:
                conclusion = Conclusion([], Counter({(Status.ACCEPTED, ""): batch.size}), Counter())
        if conclusion.pause is not None:
            await self._pause(project, conclusion.pause, conclusion.pause_s)
        elif project.probing and self._tells(finished, conclusion):
            await self._probed(project, conclusion)
        elif project.probing and finished.verdict is None:
            # All of it was set aside, or it was management: the next batch is the probe.
            await self.insist(lambda: self._queue.keep_probe(project.id))
        calls = 0
        ids = [job.entry_id for job in batch.jobs]

        def record() -> Awaitable[SettleReply]:
            nonlocal calls
            calls += 1
            return self._record(project, batch, ids, outcomes, conclusion)

        reply = await self.insist(record)
        self.forget(project, batch, ids)
        lease = project.lease
        if calls > 1 and lease.epoch == batch.epoch and lease.holds(asyncio.get_running_loop().time()):
            # Nobody else can have had these: an earlier call of ours settled them, and its reply got lost.
            reply.stale = []
        elif reply.stale:
            self._uncount(finished, conclusion, context, set(reply.stale))
        self.recall.note(batch, ids, outcomes, conclusion.items, reply.stale)
        self._count(project, batch, conclusion, reply)

    def _tells(self, finished: Finished, conclusion: Conclusion) -> bool:
        """Whether a half-open project was tried by this batch.

        A management job that was carried out shows that it is back; one that was not shows nothing.
        """
        sent = finished.verdict is None and len(finished.presets) < finished.batch.size
        return sent and (_has_verdict(conclusion) or not finished.batch.parcel)

    def _record(
        self, project: Project, batch: Batch, ids: list[str], outcomes: bytes | None, conclusion: Conclusion
    ) -> Awaitable[SettleReply]:
        """The one call that makes it so; repeated until it is answered."""
        if outcomes is None:
            return self._queue.settle(project.id, batch.stream, batch.epoch, conclusion.items)
        return self._queue.settle_accepted(project.id, batch.stream, batch.epoch, ids, outcomes)

    def _uncount(self, finished: Finished, conclusion: Conclusion, context: Context, stale: set[str]) -> None:
        """Take out what another worker has settled: it stands in that one's counters."""
        batch = finished.batch
        if finished.verdict is not None:
            theirs = conclude_unsent(
                [job for job in batch.jobs if job.entry_id in stale], finished.verdict, context
            )
        else:
            part = restrict(batch, finished.responses, finished.presets, stale)
            theirs = conclude(*part, context)
        conclusion.ended -= theirs.ended
        conclusion.waits -= theirs.waits
        conclusion.possible_duplicates -= theirs.possible_duplicates

    def _learn(self, finished: Finished, context: Context, loop_now: float, *, all_good: bool) -> None:
        """What the answers say together of the project, before each is judged on its own."""
        project, batch = finished.project, finished.batch
        sent = batch.size - len(finished.presets)
        answers = Answers(sent) if all_good else survey(batch, finished.responses, finished.presets)
        findings = project.health.feed(loop_now, answers)
        if findings.congested:
            if project.concurrency.congested(loop_now):
                self._log.warning("concurrency_halved", project=project.id, limit=project.concurrency.limit)
        elif answers.total:
            # Of what was set aside, or got no answer, nothing is learnt: it was no success.
            project.concurrency.succeeded(min(project.transport.requests(batch), answers.total))
        context.pausing, context.doubtful = findings.pausing, findings.doubtful
        # `due` holds retries, and scheduled jobs at their first send.
        first = (
            sent if batch.stream != "due" else sum([len(job.values) for job in batch.jobs if not job.sends])
        )
        project.budget.sent(loop_now, first)
        context.extra_delay = project.budget.delay(loop_now, random.random())  # noqa: S311 - spreads load, guards nothing

    def _plan_retries(
        self, project: Project, conclusion: Conclusion, context: Context, loop_now: float
    ) -> None:
        retries = sum(count for (action, _), count in conclusion.waits.items() if action is Action.RETRY)
        project.budget.plan(loop_now, retries)
        if retries and context.extra_delay:
            self._metrics.retries_over_budget.of(project.id).inc(retries)

    async def _pause(self, project: Project, answer: Disposition, asked_s: float) -> None:
        """The whole project stops, here at once and everywhere within a second."""
        probe, project.probing = project.probing, False
        project.paused_until = max(project.paused_until, self._queue.now() + open_for(0, asked_s))
        project.unauthorized = answer.code in _UNAUTHORIZED
        project.health.reset()
        code = answer.code or ErrorCode.UNKNOWN_ERROR
        # The code first: it is the label of the metric in every replica.
        reason = f"{code}: {answer.reason}" if answer.reason else str(code)
        self._metrics.project_pauses.of(project.id, code).inc()
        self._log.warning("project_paused", project=project.id, code=code, reason=reason)
        pause = await self.insist(lambda: self._queue.pause_project(project.id, asked_s, reason, probe=probe))
        project.paused_until = max(project.paused_until, pause.until)
        # Settled here and now: putting into our own full queue would wait for ourselves.
        for batch in project.take_back():
            await self._settle(Finished(project, batch, verdict=self._until_resumed(project)))

    async def _probed(self, project: Project, conclusion: Conclusion) -> None:
        """The probe of a half-open project has been answered: any verdict on a message means that it is back.

        A message that ends for want of an answer (given up, expired meanwhile) says nothing of that.
        """
        if not _has_verdict(conclusion):
            silence = Disposition(
                Action.PAUSE_PROJECT, ErrorCode.SERVER_UNAVAILABLE, reason="the probe had no usable answer"
            )
            await self._pause(project, silence, 0.0)
            return
        project.probing = project.unauthorized = False
        project.paused_until = 0.0
        await self.insist(lambda: self._queue.close(project.id))
        self._log.info("project_resumed", project=project.id)

    def forget(self, project: Project, batch: Batch, ids: list[str] | None = None) -> None:
        """The entries of a batch are no longer in this worker; `ids` are theirs, if they are at hand."""
        if ids is None:
            ids = [job.entry_id for job in batch.jobs]
        project.held[batch.stream].difference_update(ids)
        self._room.give(project.id, batch.size, batch.nbytes)
        self._room_changed.set()
        for watcher in project.watchers:
            watcher.settled(batch.stream, ids)

    def _time(self, batch: Batch, conclusion: Conclusion, now: float) -> None:
        """How long the jobs took that have ended; only `due` mixes lanes."""
        ended = batch.jobs
        if any(item.delayed for item in conclusion.items):
            ended = [job for job, item in zip(batch.jobs, conclusion.items, strict=True) if not item.delayed]
        latency = self._metrics.outcome_latency
        if batch.stream != "due":
            latency.of(batch.stream).observe_many([now - job.enqueued_at for job in ended])
            return
        # What was scheduled is late from the time it was to be delivered.
        for lane in {job.lane for job in ended}:
            latency.of(lane).observe_many(
                [now - max(job.enqueued_at, job.deliver_at) for job in ended if job.lane == lane]
            )

    def _count(self, project: Project, batch: Batch, conclusion: Conclusion, reply: SettleReply) -> None:
        """Metrics, once a batch."""
        metrics = self._metrics
        for (status, code), count in conclusion.ended.items():
            metrics.messages.of(project.id, status, code).inc(count)
        for (_, code), count in conclusion.waits.items():
            if code:  # none: it has not been sent, but waits for its time, its target or its project
                metrics.retries.of(project.id, code).inc(count)
        if conclusion.ended:
            self._time(batch, conclusion, reply.now)
        if conclusion.possible_duplicates or reply.late:
            metrics.possible_duplicates.of(project.id).inc(conclusion.possible_duplicates + reply.late)
        if reply.stale:
            metrics.stale_settlements.of(project.id).inc(len(reply.stale))
            self._log.warning("stale_settlements", project=project.id, jobs=len(reply.stale))


def _has_verdict(conclusion: Conclusion) -> bool:
    return any(status in _VERDICTS for status, _ in conclusion.ended)

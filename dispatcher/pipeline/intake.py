"""Intake: entries out of Redis, decoded, sorted into what is packed and what ends here.

Two readers share the streams. The *reader* takes turns over the busy ones, without blocking, by fairness between
projects and by weight between lanes. The *listener* waits on all the quiet ones in one blocking read, so that an
idle worker costs Redis four commands a second and a new job wakes it at once. A stream goes from the reader to
the listener when a read finds it empty, and back when the listener hears something.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from structlog.typing import FilteringBoundLogger

from dispatcher.errors import QueueError
from dispatcher.model import STREAMS, Action, Disposition, Job, SendResponse, Status, Stream
from dispatcher.pipeline.cancellation import cancelled
from dispatcher.pipeline.effects import dedup_origin
from dispatcher.pipeline.ordering import DOOMED, EARLY, EXPIRED, duplicate_of, sort_out, tally, unsent_batch
from dispatcher.pipeline.packing import Packing
from dispatcher.pipeline.project import Project
from dispatcher.pipeline.resettling import Resettling
from dispatcher.pipeline.settling import Finished, Settling
from dispatcher.pipeline.warned import Warned
from dispatcher.policy.lanes import FairShare
from dispatcher.policy.orders import Orders
from dispatcher.policy.packer import Packer
from dispatcher.policy.room import FIRST_READ, ReadSize, Room
from dispatcher.policy.settle import doubted_state
from dispatcher.protocol.job import decode_entry
from dispatcher.protocol.operation import parcel_limit
from dispatcher.queue.reading import Entry
from dispatcher.queue.store import Queue
from dispatcher.telemetry.metrics import Metrics

MOST_READ = 1000
"""Entries a read: past some 500 a larger one is no cheaper for each."""

PROBE_READ = 5
"""Entries with which a half-open project is tried."""

BLOCK_MS = 250
"""How long the listener waits at a time: it learns of newly quiet streams, of pauses and of a drain after that."""

POLL_S = 0.005
"""From one read that empties a stream to the reader's next of it: a trickle comes in handfuls.

The same whatever it gave: whoever rested for less where more came would take ever more of it from the other workers.
"""

ERROR_REST_S = 0.5
"""After a failed read, before the next."""

Key = tuple[str, Stream]


class Intake:
    """The two readers of one worker.

    Args:
        queue: this worker's view of Redis.
        projects: all projects served, by id; the same dict for all stages.
        room: what the worker may hold.
        room_changed: set when room was given back.
        share: fairness between projects.
        packing: where sendable jobs go.
        settling: where jobs go that end or wait without being sent.
        metrics: the worker's.
        log: the worker's.
    """

    def __init__(
        self,
        queue: Queue,
        projects: dict[str, Project],
        room: Room,
        room_changed: asyncio.Event,
        share: FairShare,
        packing: Packing,
        settling: Settling,
        metrics: Metrics,
        log: FilteringBoundLogger,
    ) -> None:
        self._queue = queue
        self._projects = projects
        self._room = room
        self._room_changed = room_changed
        self._share = share
        self._packing = packing
        self._settling = settling
        self._resettling = Resettling(queue, settling, log)
        self._metrics = metrics
        self._log = log
        self._warned = Warned(metrics, log)
        self._sizes: dict[Key, ReadSize] = {}
        self._quiet: set[Key] = set()
        # What the listener's read under way waits on, and what its last one did.
        self._listened: set[Key] = set()
        self._heard: set[Key] = set()
        self._rest_until: dict[Key, float] = {}
        self._open_reads: set[asyncio.Event] = set()
        self._failing = False
        # No more is read; the duties that take entries over look at it, too.
        self.stopping = False
        # A poisonous suspect is processed alone: nothing else is read meanwhile.
        self.suspended = False

    def stop(self) -> None:
        """Read no more; `run` returns when the reads under way are done."""
        self.stopping = True
        self._room_changed.set()

    async def run(self) -> None:
        """Read until `stop`."""
        async with asyncio.TaskGroup() as readers:
            readers.create_task(self._read())
            readers.create_task(self._listen())

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While entries are on their way from Redis into `Project.held`: reconciliation waits for that."""
        done = asyncio.Event()
        self._open_reads.add(done)
        try:
            yield
        finally:
            self._open_reads.discard(done)
            done.set()

    async def reads_done(self) -> None:
        """Wait until every read that is under way now has put what it got into `Project.held`."""
        for read in list(self._open_reads):
            await read.wait()

    def forget(self, project_id: str) -> None:
        """A project is not served any more."""
        self._share.forget(project_id)
        for stream in STREAMS:
            key = (project_id, stream)
            self._quiet.discard(key)
            self._sizes.pop(key, None)
            self._rest_until.pop(key, None)

    async def accept(
        self,
        project: Project,
        stream: Stream,
        entries: Sequence[Entry],
        epoch: int,
        *,
        suspects: bool = False,
    ) -> None:
        """Decode entries that are this worker's now and hand each on.

        Args:
            project: whose they are.
            stream: where they stand.
            entries: as read or reclaimed.
            epoch: the lease epoch under which they became this worker's.
            suspects: a worker has died that had them: they share no batch with others, and may have been sent.
        """
        limits = project.limits
        project_id = project.id
        entries = await self._resettling.rest(project, stream, entries)
        if not entries:
            return
        jobs = [decode_entry(project_id, stream, entry_id, fields, limits) for entry_id, fields in entries]
        if suspects:
            for job in jobs:
                job.state = doubted_state(job)
        read = tally(jobs)
        self._room.take(project_id, read.messages, read.nbytes)
        project.held[stream].update([entry_id for entry_id, _ in entries])
        self._size(project_id, stream).saw(read.most_messages, read.most_bytes)
        project.reading_turns.charge(stream, read.messages)
        self._share.charge(project_id, read.messages)
        orders = project.orders
        if orders is not None:
            jobs = await self._obey(project, stream, jobs, epoch, orders)
        if read.unknown_fields:
            self._metrics.unknown_fields.of(project_id).inc(read.unknown_fields)
        if read.warned:
            self._warned.saw(project_id, read.warned, asyncio.get_running_loop().time())
        now = self._queue.now()
        ready = [
            job
            for job in jobs
            if job.refusal is None and job.deliver_at <= now < job.expires_at and not job.dedup_key
        ]
        if len(ready) != len(jobs):
            ready = await self._sort(project, stream, jobs, epoch, now)
        if suspects:
            packer = Packer(project.packer.batch_size, 0.0, parcel_limit)
            loop_now = asyncio.get_running_loop().time()
            project.enqueue([*packer.add(ready, loop_now, epoch), *packer.flush()])
        else:
            self._packing.add(project, ready, epoch)

    async def _obey(
        self, project: Project, stream: Stream, jobs: list[Job], epoch: int, orders: Orders
    ) -> list[Job]:
        """Settle what operators have cancelled or stopped; returns the rest, in order."""
        kept, ended = sort_out(unsent_batch(project, stream, jobs, epoch), orders)
        for verdict, part in ended:
            await self._settling.put(Finished(project, part, verdict=verdict))
        return kept.jobs if kept is not None else []

    async def _sort(
        self, project: Project, stream: Stream, jobs: list[Job], epoch: int, now: float
    ) -> list[Job]:
        """Settle what is not to be sent now; returns the rest, in order."""
        refused = [job for job in jobs if job.refusal is not None]
        fit = [job for job in jobs if job.refusal is None]
        expired = [job for job in fit if job.expires_at <= now]
        # It could only wait for its time and then be too late: better to say so while somebody remembers it.
        doomed = [job for job in fit if now < job.expires_at <= job.deliver_at]
        early = [job for job in fit if now < job.deliver_at < job.expires_at]
        ready = [job for job in fit if job.deliver_at <= now < job.expires_at]
        await self._end(
            project, stream, refused, epoch, Disposition(Action.FIX_REQUEST, status=Status.REJECTED)
        )
        await self._end(project, stream, expired, epoch, EXPIRED)
        await self._end(project, stream, doomed, epoch, DOOMED)
        await self._end(project, stream, early, epoch, EARLY)
        keyed = [job for job in ready if job.dedup_key]
        if not keyed:
            return ready
        earlier = await self._first_sight(project, [(job.dedup_key, dedup_origin(job)) for job in keyed])
        origins = {
            job.entry_id: other for job, other in zip(keyed, earlier, strict=True) if other is not None
        }
        if origins:
            batch = unsent_batch(project, stream, [job for job in keyed if job.entry_id in origins], epoch)
            verdicts = {
                number: duplicate_of(origins[job.entry_id])
                for number, (job, _) in enumerate(batch.messages())
            }
            await self._settling.put(Finished(project, batch, [SendResponse()] * batch.size, verdicts))
        return [job for job in ready if job.entry_id not in origins]

    async def _first_sight(self, project: Project, keys: list[tuple[str, str]]) -> list[str | None]:
        """Claim deduplication keys, for as long as it takes: unchecked they must not be sent."""
        while True:
            if cancelled():
                raise asyncio.CancelledError
            try:
                return await self._queue.first_sight(project.id, keys, project.settings.dedup_window_s)
            except QueueError as error:
                self._failed(error)
                await asyncio.sleep(ERROR_REST_S)

    async def _end(
        self, project: Project, stream: Stream, jobs: list[Job], epoch: int, verdict: Disposition
    ) -> None:
        if jobs:
            await self._settling.put(
                Finished(project, unsent_batch(project, stream, jobs, epoch), verdict=verdict)
            )

    async def _read(self) -> None:
        """The reader: busy streams, in turns."""
        loop = asyncio.get_running_loop()
        while not (self.stopping or cancelled()):
            self._room_changed.clear()
            now = loop.time()
            choice = self._choose(now)
            if choice is None:
                rests = [until - now for until in self._rest_until.values() if until > now]
                try:
                    # uvloop counts milliseconds: a part of one would be none, and this a busy loop.
                    async with asyncio.timeout(max(0.001, min([*rests, POLL_S]))):
                        await self._room_changed.wait()
                except TimeoutError:
                    pass
                continue
            project, stream, count = choice
            key = (project.id, stream)
            epoch = project.lease.epoch
            try:
                with self.reading():
                    entries = await self._queue.read(project.id, stream, count)
                    self._succeeded()
                    if len(entries) < count:
                        self._rest_until[key] = now + POLL_S
                        if not entries:
                            self._quiet.add(key)
                    entries = self._settling.recall.unheld(loop.time(), project.held[stream], entries)
                    if entries:
                        await self.accept(project, stream, entries, epoch)
                    del entries  # not kept while the next ones are awaited
            except QueueError as error:
                project.reconcile = True
                self._failed(error)
                if not self._queue.server.cluster:
                    await asyncio.sleep(ERROR_REST_S)
                # Of a Cluster one server is away: the projects of the others are read on.
                for lane in STREAMS:
                    self._rest_until[project.id, lane] = loop.time() + ERROR_REST_S

    def _choose(self, loop_now: float) -> tuple[Project, Stream, int] | None:
        """The next read: (project, stream, entries to ask for); None: nothing to read or no room."""
        if self.suspended:
            return None
        open_streams: dict[str, dict[Stream, int]] = {}
        share = self._share.share(len(self._room.holders()) or 1)
        for project in self._projects.values():
            if not project.may_read(loop_now):
                continue
            counts: dict[Stream, int] = {}
            for stream in STREAMS:
                key = (project.id, stream)
                if project.orders is not None and stream in project.orders.lanes:
                    continue
                if key in self._listened or self._rest_until.get(key, 0.0) > loop_now:
                    continue
                if key in self._quiet and key in self._heard and not project.probing:
                    continue  # between two of the listener's reads: the next one is its own, too
                if count := self._count(project, stream, share):
                    counts[stream] = count
            if counts:
                open_streams[project.id] = counts
        chosen = self._share.pick(open_streams)
        if chosen is None:
            return None
        project, counts = self._projects[chosen], open_streams[chosen]
        turn = project.reading_turns.pick(counts)
        return None if turn is None else (project, turn, counts[turn])

    def _count(self, project: Project, stream: Stream, share: int) -> int:
        held = self._room.held(project.id)
        if project.probing:
            return 0 if held else PROBE_READ
        free = self._room.free(project.id, stream, share)
        return self._size(project.id, stream).count(free, idle=held == 0, most=MOST_READ)

    def _size(self, project_id: str, stream: Stream) -> ReadSize:
        key = (project_id, stream)
        size = self._sizes.get(key)
        if size is None:
            size = self._sizes[key] = ReadSize()
        return size

    async def _listen(self) -> None:
        """The listener: all quiet streams at once."""
        loop = asyncio.get_running_loop()
        while not (self.stopping or cancelled()):
            share = self._share.share(len(self._room.holders()) or 1)
            counts = {
                (project_id, stream): count
                for project_id, stream in sorted(self._quiet)
                if (project := self._projects.get(project_id)) is not None
                and not self.suspended
                and not project.probing
                and project.may_read(loop.time())
                and not (project.orders is not None and stream in project.orders.lanes)
                and (count := self._count(project, stream, share))
            }
            keys = list(counts)
            if not keys:
                await asyncio.sleep(POLL_S)
                continue
            epochs = {project_id: self._projects[project_id].lease.epoch for project_id, _ in keys}
            self._listened = self._heard = set(keys)
            try:
                with self.reading():
                    # Each stream may bring so many at once, and they share one room.
                    count = max(1, min(FIRST_READ, min(counts.values()) // len(keys)))
                    await self._take(await self._queue.wait(keys, count, BLOCK_MS), epochs)
            except QueueError as error:
                for project_id in epochs:
                    self._projects[project_id].reconcile = True
                self._failed(error)
                await asyncio.sleep(ERROR_REST_S)
            finally:
                self._listened = set()
                self._room_changed.set()

    async def _take(self, found: list[tuple[str, Stream, list[Entry]]], epochs: dict[str, int]) -> None:
        """What the listener heard; a frame of its own, lest it is kept while the next is awaited."""
        for project_id, stream, read in found:
            self._quiet.discard((project_id, stream))
            project = self._projects[project_id]
            entries = self._settling.recall.unheld(
                asyncio.get_running_loop().time(), project.held[stream], read
            )
            await self.accept(project, stream, entries, epochs[project_id])

    def _failed(self, error: QueueError) -> None:
        self._settling.recall.doubt(asyncio.get_running_loop().time())
        if not self._failing:
            self._failing = True
            self._log.error("queue_unavailable", error=str(error))

    def _succeeded(self) -> None:
        if self._failing:
            self._failing = False
            self._log.info("queue_back")

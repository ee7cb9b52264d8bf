"""The worker: builds everything from the settings, runs it in one task group, and drains it on SIGTERM.

Floor 5. The order of a drain: stop reading; hand back what is packed but unsent; let what is on the wire be
answered; settle it; give up the leases. Nothing of it costs a job an attempt.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
import socket
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

import uvloop

from dispatcher import __version__
from dispatcher.errors import CredentialsError, DispatcherError, QueueError, QueueMisconfigured, SettingsError
from dispatcher.http import Health
from dispatcher.model import STREAMS
from dispatcher.pipeline.intake import Intake
from dispatcher.pipeline.packing import Packing
from dispatcher.pipeline.project import Project
from dispatcher.pipeline.sending import Sending
from dispatcher.pipeline.settling import Settling
from dispatcher.pipeline.upkeep.controller import Controller
from dispatcher.pipeline.upkeep.duty import Duty
from dispatcher.pipeline.upkeep.janitor import Janitor
from dispatcher.pipeline.upkeep.lease_keeper import LeaseKeeper
from dispatcher.pipeline.upkeep.observer import Observer, watch_loop
from dispatcher.pipeline.upkeep.promoter import Promoter
from dispatcher.pipeline.upkeep.reconciler import Reconciler
from dispatcher.pipeline.upkeep.recoverer import Recoverer
from dispatcher.pipeline.upkeep.refresher import Refresher
from dispatcher.policy.lanes import FairShare
from dispatcher.policy.room import Room
from dispatcher.queue.store import Queue
from dispatcher.settings import ProjectSettings, Settings
from dispatcher.telemetry.logs import configure, logger
from dispatcher.telemetry.metrics import Metrics, status_class
from dispatcher.transport.auth import load_credentials
from dispatcher.transport.auto import AutoTransport
from dispatcher.transport.batch import BatchTransport
from dispatcher.transport.session import Session
from dispatcher.transport.v1 import V1Transport
from dispatcher.transport.wire import Observe, Timeouts, Transport

GOOGLE_HOSTS = frozenset({"fcm.googleapis.com", "fcm.mtls.googleapis.com"})
"""Hosts known to have no batch endpoint any more."""

REDIS_REST_S = 1.0
"""Between two tries to reach Redis at the start."""

OVERDUE_S = 5.0
"""After DRAIN_S, before a drain that hangs is broken off; the grace period of a pod must be longer."""

SETTLE_MARGIN_S = 2.0
"""Of a drain, kept for settling what was cut off."""

log = logger(__name__)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        DispatcherError: the settings, the credentials or this Redis will not do.
    """
    configure(settings.log_format, settings.log_level)
    uvloop.run(_main(settings))


async def _main(settings: Settings) -> None:
    worker = Worker(settings)
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    assert main is not None  # noqa: S101 - a coroutine always runs in a task

    def on_signal() -> None:
        if worker.draining:
            log.warning("second_signal")
            main.cancel()  # a fast exit: what was not settled is another worker's after the lease
        else:
            loop.call_later(settings.drain_s + OVERDUE_S, overdue)
        worker.stop()

    def overdue() -> None:
        # Never on a good day. Says what it waited for, and does not wait to be killed.
        tasks = sorted(task.get_name() for task in asyncio.all_tasks(loop))
        log.error("drain_overdue", tasks=tasks)
        main.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        await worker.run()
    except asyncio.CancelledError:
        log.warning("worker_stopped_at_once")


class Worker:
    """One worker process.

    Args:
        settings: all of them.

    Attributes:
        port: where health and metrics are served, once `run` has begun.
        draining: on its way out.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = asyncio.Event()
        self.port = 0
        self.draining = False

    def stop(self) -> None:
        """Drain, then return from `run`."""
        self.draining = True
        self._stop.set()

    async def run(self) -> None:
        """Serve until `stop`.

        Raises:
            SettingsError: a setting, a credential or the HTTP port will not do.
            QueueMisconfigured: this Redis cannot hold jobs safely.
        """
        settings = self._settings
        metrics = Metrics(__version__)
        try:
            credentials = load_credentials(settings.require_credentials(), settings.projects)
        except CredentialsError as error:
            raise SettingsError(str(error)) from None
        async with AsyncExitStack() as stack:
            queue = Queue.at(
                settings.require_redis_url(),
                consumer=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}",
                namespace=settings.namespace,
                password_file=settings.redis_password_file,
            )
            stack.push_async_callback(queue.aclose)
            session = await stack.enter_async_context(Session())
            projects = {
                project_id: Project(
                    settings.project(project_id),
                    make_transport(settings.project(project_id), session, _observer(metrics)),
                    credential,
                )
                for project_id, credential in credentials.items()
            }
            room = Room(settings.max_in_flight, settings.max_in_flight_bytes)
            observer = Observer(queue, projects, room, lambda: session.connections, metrics, log)
            health = Health(
                redis_silence_s=lambda: asyncio.get_running_loop().time() - observer.redis_seen_at,
                projects_with_token=lambda: [p.id for p in projects.values() if p.credential.ready],
                metrics=observer.render,
                draining=lambda: self.draining,
            )
            self.port = await health.start(settings.http_port)
            stack.push_async_callback(health.stop)
            for project_id in projects:
                metrics.start_project(project_id)
            log.info("worker_starting", projects=len(projects), consumer=queue.consumer, port=self.port)
            if await self._reach(queue):
                _spare_the_collector()
                await self._serve(queue, session, projects, room, observer, metrics)
            log.info("worker_stopped")

    async def _reach(self, queue: Queue) -> bool:
        """Wait for Redis and see whether it will do; False: stopped meanwhile."""
        said = False
        while not self._stop.is_set():
            try:
                report = await queue.check_server()
            except QueueMisconfigured:
                raise
            except QueueError as error:
                if not said:
                    log.error("redis_unreachable", error=str(error))
                    said = True
                try:
                    async with asyncio.timeout(REDIS_REST_S):
                        await self._stop.wait()
                except TimeoutError:
                    continue
            else:
                for finding in report.findings:
                    log.warning("redis_finding", finding=finding)
                log.info("redis_reached", version=report.version, mode=report.mode)
                return True
        return False

    async def _serve(
        self,
        queue: Queue,
        session: Session,
        projects: dict[str, Project],
        room: Room,
        observer: Observer,
        metrics: Metrics,
    ) -> None:
        settings = self._settings
        room_changed = asyncio.Event()
        packing = Packing(projects)
        settling = Settling(queue, room, room_changed, metrics=metrics, log=log)
        sending = Sending(queue, settling, metrics=metrics, log=log)
        share = FairShare(settings.max_in_flight, settings.batch_size)
        intake = Intake(queue, projects, room, room_changed, share, packing, settling, metrics, log)
        duties: list[Duty] = [
            LeaseKeeper(queue, projects, settings.lease_s, metrics, log),
            Refresher(projects, metrics, log),
            Promoter(queue, projects, log),
            Recoverer(queue, projects, intake, settling, room, settings.lease_s, metrics, log),
            Reconciler(queue, projects, intake, log),
            Controller(queue, projects, metrics, log),
            Janitor(queue, projects, metrics, log),
            observer,
        ]
        async with asyncio.TaskGroup() as tasks:
            endless = [tasks.create_task(duty.run(), name=type(duty).__name__) for duty in duties]
            endless += [
                tasks.create_task(packing.run(), name="packing"),
                tasks.create_task(settling.run(), name="settling"),
                tasks.create_task(watch_loop(metrics), name="loop lag"),
            ]
            senders = [
                tasks.create_task(sending.run(project), name=f"sending {project.id}")
                for project in projects.values()
            ]
            reading = tasks.create_task(intake.run(), name="intake")
            await self._stop.wait()
            await self._drain(queue, session, projects, intake, sending, settling, reading, senders)
            for task in (*endless, reading, *senders):
                task.cancel()
        await self._leave(queue, projects)

    async def _drain(
        self,
        queue: Queue,
        session: Session,
        projects: dict[str, Project],
        intake: Intake,
        sending: Sending,
        settling: Settling,
        reading: asyncio.Task[None],
        senders: list[asyncio.Task[None]],
    ) -> None:
        """See the module's docstring."""
        log.info("worker_draining", on_the_wire=sending.on_the_wire)
        deadline = asyncio.get_running_loop().time() + self._settings.drain_s
        for project in projects.values():
            sending.stop(project)
        intake.stop()
        try:
            async with asyncio.timeout_at(deadline):
                await asyncio.wait([reading])
                released = await self._hand_back(queue, projects, settling)
                log.info("jobs_handed_back", jobs=released)
        except (TimeoutError, QueueError) as error:
            log.warning("jobs_not_handed_back", error=str(error))
        _, late = (
            await asyncio.wait(
                senders, timeout=max(0.0, deadline - SETTLE_MARGIN_S - asyncio.get_running_loop().time())
            )
            if senders
            else (None, None)
        )
        if late:
            log.warning("answers_not_awaited", batches=sending.on_the_wire)
            # Each message by itself: what has been answered meanwhile is answered.
            session.cut_off()
            await asyncio.wait(late)
        try:
            async with asyncio.timeout_at(max(deadline, asyncio.get_running_loop().time() + SETTLE_MARGIN_S)):
                await settling.drained()
        except TimeoutError:
            log.error("not_settled_in_time", hint="another worker takes these jobs over")

    async def _hand_back(self, queue: Queue, projects: dict[str, Project], settling: Settling) -> int:
        """Release what is packed but unsent; returns the number of jobs."""
        released = 0
        for project in projects.values():
            unsent = project.take_back()
            for stream in STREAMS:
                jobs = [job for batch in unsent if batch.stream == stream for job in batch.jobs]
                if jobs:
                    await queue.release(project.id, stream, [job.entry_id for job in jobs])
                    settling.forget(project, stream, jobs)
                    released += len(jobs)
        return released

    async def _leave(self, queue: Queue, projects: dict[str, Project]) -> None:
        for project in projects.values():
            try:
                await queue.leave(project.id, project.lease.epoch)
            except DispatcherError as error:
                log.warning("lease_not_dropped", project=project.id, error=str(error))


def _spare_the_collector() -> None:
    """Let the garbage collector look less often, and never at what lives as long as the process.

    Jobs and answers hold no cycles; with 500 requests in flight its rounds over aiohttp's objects cost a third of
    the time of each.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def make_transport(settings: ProjectSettings, session: Session, observe: Observe) -> Transport:
    """The wire that a project's settings ask for."""
    timeouts = Timeouts(settings.request_timeout_s, settings.topic_timeout_s)
    v1 = V1Transport(session, settings.fcm_endpoint, timeouts, observe)
    if settings.transport == "v1":
        return v1
    if settings.transport == "auto" and urlsplit(settings.fcm_endpoint).hostname in GOOGLE_HOSTS:
        return v1
    boundary = f"batch_{secrets.token_hex(8)}_"
    batch = BatchTransport(session, settings.fcm_endpoint, boundary, timeouts, observe)
    return batch if settings.transport == "batch" else AutoTransport(batch, v1)


def _observer(metrics: Metrics) -> Observe:
    def observe(transport: str, http_status: int, durations: list[float]) -> None:
        metrics.request_duration.of(transport, status_class(http_status)).observe_many(durations)

    return observe

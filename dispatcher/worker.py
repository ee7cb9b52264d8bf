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

import uvloop

from dispatcher import __version__
from dispatcher.errors import CredentialsError, DispatcherError, QueueError, QueueMisconfigured, SettingsError
from dispatcher.http import Health
from dispatcher.pipeline.calling import Calling
from dispatcher.pipeline.equipment import Outfitter, make_keyring, secrets_of
from dispatcher.pipeline.intake import Intake
from dispatcher.pipeline.managing import Managing
from dispatcher.pipeline.packing import Packing
from dispatcher.pipeline.project import Project
from dispatcher.pipeline.receiving import Receiving
from dispatcher.pipeline.roster import Roster
from dispatcher.pipeline.sending import Sending
from dispatcher.pipeline.settling import Settling
from dispatcher.pipeline.store import queue_of
from dispatcher.pipeline.upkeep.controller import Controller
from dispatcher.pipeline.upkeep.duty import Duty
from dispatcher.pipeline.upkeep.janitor import Janitor
from dispatcher.pipeline.upkeep.key_watcher import RESCAN_S, KeyWatcher
from dispatcher.pipeline.upkeep.lease_keeper import LeaseKeeper
from dispatcher.pipeline.upkeep.observer import Observer, watch_loop
from dispatcher.pipeline.upkeep.promoter import Promoter
from dispatcher.pipeline.upkeep.reconciler import Reconciler
from dispatcher.pipeline.upkeep.recoverer import Recoverer
from dispatcher.pipeline.upkeep.refresher import Refresher
from dispatcher.policy.lanes import FairShare
from dispatcher.policy.room import Room
from dispatcher.queue.store import Queue
from dispatcher.settings import Settings
from dispatcher.telemetry.logs import configure, keep_out, logger
from dispatcher.telemetry.metrics import Metrics
from dispatcher.telemetry.traces import Tracing, open_tracing
from dispatcher.transport.keyring import Keyring
from dispatcher.transport.sessions import Sessions

REDIS_REST_S = 1.0
"""Between two tries to reach Redis at the start."""

OVERDUE_S = 5.0
"""After DRAIN_S, before a drain that hangs is broken off; the grace period of a pod must be longer."""

SETTLE_MARGIN_S = 2.0
"""Of a drain, kept for settling what was cut off."""

CANCEL_AGAIN_S = 0.5
"""Before a task that goes on in spite of its cancellation is cancelled again."""

log = logger(__name__)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        DispatcherError: the settings, the credentials or this Redis will not do, or the worker has crashed.
    """
    configure(settings.log_format, settings.log_level)
    try:
        uvloop.run(_main(settings))
    except DispatcherError:
        raise
    except Exception:
        # Through the log, which lets no secret out; Python's own report of it would quote whatever the error says.
        log.critical("worker_crashed", exc_info=True)
        raise DispatcherError("the worker has crashed; see the log line worker_crashed above") from None


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
        rescan_s: seconds between two looks at the credential files.

    Attributes:
        port: where health and metrics are served, once `run` has begun.
        draining: on its way out.
    """

    def __init__(self, settings: Settings, *, rescan_s: float = RESCAN_S) -> None:
        self._settings = settings
        self._rescan_s = rescan_s
        self._stop = asyncio.Event()
        self._tracing: Tracing | None = None
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
        keyring = make_keyring(settings)
        try:
            problems = await asyncio.to_thread(keyring.load)  # it may ask the metadata server for seconds
        except CredentialsError as error:
            raise SettingsError(str(error)) from None
        for what, secret in (keyring.secrets | secrets_of(settings)).items():
            keep_out(what, secret)
        async with AsyncExitStack() as stack:
            self._tracing = open_tracing(os.environ, __version__)
            if self._tracing is not None:
                # Waits for the collector, for a while: not on the loop.
                stack.push_async_callback(asyncio.to_thread, self._tracing.close)
            queue = queue_of(settings, f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
            stack.push_async_callback(queue.aclose)
            sessions = await stack.enter_async_context(Sessions())
            outfitter = Outfitter(settings, keyring, sessions, metrics)
            await outfitter.check_routes()
            projects = {project_id: await outfitter.make(project_id) for project_id in keyring.credentials}
            room = Room(settings.max_in_flight, settings.max_in_flight_bytes)
            observer = Observer(queue, projects, room, lambda: sessions.connections, metrics, log)
            health = Health(
                redis_silence_s=lambda: asyncio.get_running_loop().time() - observer.redis_seen_at,
                projects_with_token=lambda: [p.id for p in projects.values() if p.signer.ready],
                metrics=observer.render,
                draining=lambda: self.draining,
                unverified=lambda: [p.id for p in projects.values() if not p.settings.tls_verify],
            )
            self.port = await health.start(settings.http_port)
            stack.push_async_callback(health.stop)
            log.info("worker_starting", projects=len(projects), consumer=queue.consumer, port=self.port)
            for problem in problems:
                log.error("credential_problem", problem=problem)
            metrics.credential_problems.of().set(len(problems))
            metrics.redis_up.of().set(0)  # until it has answered
            if await self._reach(queue, list(projects)):
                _spare_the_collector()
                await self._serve(
                    queue, sessions, projects, room, observer, metrics, outfitter, keyring, problems
                )
            log.info("worker_stopped")

    async def _reach(self, queue: Queue, projects: list[str]) -> bool:
        """Wait for Redis and see whether it will do; False: stopped meanwhile."""
        said = False
        while not self._stop.is_set():
            try:
                report = await queue.check_server(projects)
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
                for finding in report.findings + report.cautions:
                    log.warning("redis_finding", finding=finding)
                log.info("redis_reached", version=report.version, mode=report.mode)
                return True
        return False

    async def _serve(
        self,
        queue: Queue,
        sessions: Sessions,
        projects: dict[str, Project],
        room: Room,
        observer: Observer,
        metrics: Metrics,
        outfitter: Outfitter,
        keyring: Keyring,
        problems: list[str],
    ) -> None:
        settings = self._settings
        room_changed = asyncio.Event()
        packing = Packing(projects)
        settling = Settling(queue, room, room_changed, metrics=metrics, log=log)
        calling = Calling(queue, metrics, log, self._tracing)
        sending = Sending(queue, settling, calling, metrics=metrics, log=log)
        managing = Managing(queue, settling, calling, log=log)
        share = FairShare(settings.max_in_flight, settings.batch_size)
        intake = Intake(queue, projects, room, room_changed, share, packing, settling, metrics, log)
        async with asyncio.TaskGroup() as tasks:
            receiving = Receiving(queue, metrics, log)
            roster = Roster(
                projects, queue, intake, sending, managing, receiving, settling, tasks, metrics, log
            )
            duties: list[Duty] = [
                LeaseKeeper(queue, projects, settings.lease_s, metrics, log),
                KeyWatcher(
                    keyring, projects, roster, outfitter, queue, metrics, log, problems, self._rescan_s
                ),
                Refresher(projects, log),
                Promoter(queue, projects, log),
                Recoverer(queue, projects, intake, roster, settling, room, settings.lease_s, metrics, log),
                Reconciler(queue, projects, intake, settling, log),
                Controller(queue, projects, metrics, log),
                Janitor(queue, projects, metrics, log),
                observer,
            ]
            for project in list(projects.values()):
                roster.add(project)
            endless = [tasks.create_task(duty.run(), name=type(duty).__name__) for duty in duties]
            endless += [
                tasks.create_task(packing.run(), name="packing"),
                tasks.create_task(settling.run(), name="settling"),
                tasks.create_task(watch_loop(metrics), name="loop lag"),
            ]
            reading = tasks.create_task(intake.run(), name="intake")
            await self._stop.wait()
            await self._drain(sessions, projects, roster, intake, sending, settling, reading)
            await _end([*endless, reading, *roster.senders])
        for project in projects.values():
            await roster.leave(project)

    async def _drain(
        self,
        sessions: Sessions,
        projects: dict[str, Project],
        roster: Roster,
        intake: Intake,
        sending: Sending,
        settling: Settling,
        reading: asyncio.Task[None],
    ) -> None:
        """See the module's docstring."""
        log.info("worker_draining", on_the_wire=sending.on_the_wire)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.drain_s
        roster.hasten()
        for project in projects.values():
            sending.stop(project)
        intake.stop()
        await asyncio.wait([reading], timeout=max(0.0, deadline - loop.time()))
        released = await self._hand_back(roster, projects, deadline)
        late: set[asyncio.Task[None]] = set()
        if roster.senders:
            rest = max(0.0, deadline - SETTLE_MARGIN_S - loop.time())
            _, late = await asyncio.wait(roster.senders, timeout=rest)
        if late:
            log.warning("answers_not_awaited", batches=sending.on_the_wire)
            # Each message by itself: what has been answered meanwhile is answered.
            sessions.cut_off()
            # Bounded: one of them may be waiting for Redis, or for an access token.
            await asyncio.wait(late, timeout=SETTLE_MARGIN_S)
        # What came in or came back meanwhile: a takeover that was under way, a batch whose lease had lapsed.
        released += await self._hand_back(roster, projects, loop.time() + SETTLE_MARGIN_S)
        log.info("jobs_handed_back", jobs=released)
        try:
            async with asyncio.timeout_at(max(deadline, loop.time() + SETTLE_MARGIN_S)):
                await settling.drained()
        except TimeoutError:
            log.error("not_settled_in_time", hint="another worker takes these jobs over")

    async def _hand_back(self, roster: Roster, projects: dict[str, Project], deadline: float) -> int:
        """Release what is packed but unsent; returns the number of jobs."""
        released = 0
        try:
            async with asyncio.timeout_at(deadline):
                for project in projects.values():
                    released += await roster.hand_back(project)
        except (TimeoutError, QueueError) as error:
            log.warning("jobs_not_handed_back", error=str(error) or "Redis took too long")
        return released


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended: a cancellation may get lost in a library that is cleaning up."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=CANCEL_AGAIN_S)


def _spare_the_collector() -> None:
    """Let the garbage collector look less often, and never at what lives as long as the process.

    Jobs and answers hold no cycles; with 500 requests in flight its rounds over aiohttp's objects cost a third of
    the time of each.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)

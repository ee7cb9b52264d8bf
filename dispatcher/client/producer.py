"""Enqueueing jobs from Python.

Example:
    async with Producer.at(REDIS_URL) as producer:
        entry_id = await producer.send(PROJECT, {"token": "fQ7x...", "notification": {"title": "Hi"}})

A job is checked before it is enqueued, by the same code as in the worker: what the worker would reject raises
ValueError here, with the same sentence. What only looks wrong is enqueued and told as a `MessageWarning`.
"""

from __future__ import annotations

import asyncio
import secrets
import warnings
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack
from uuid import uuid4

import msgspec

from dispatcher.client.connected import Connected
from dispatcher.client.jobs import LIMITS, JobOptions, Message, Multicast, Page, check_place, many, one
from dispatcher.errors import QueueBusy, QueueUnavailable
from dispatcher.model import JobState, Lane
from dispatcher.protocol.job import DecodeLimits
from dispatcher.protocol.operation import encode_operation
from dispatcher.queue.address import Login
from dispatcher.queue.keys import sortable
from dispatcher.queue.producing import Assurance
from dispatcher.queue.settlement import Delayed
from dispatcher.queue.store import Queue

_PATIENCE = (0.05, 1.0)
"""Seconds between looks for room, first and last."""
_MAX_REPLICA_TIMEOUT_S = 4.0
"""Below the time that any answer of Redis may take."""


class MessageWarning(UserWarning):
    """Something in a message looks wrong, and is sent all the same, since only its author can know."""


class ProducerOptions(TypedDict, total=False):
    """How a producer enqueues.

    limits: what to check jobs against, if the workers' settings differ from the defaults; None: nothing is checked,
        and the worker says in the outcome what is wrong.
    max_backlog: most jobs of a project that may wait or be in work, beyond which there is no room (`QueueBusy`); looked
        at together with the enqueueing, so that it holds whoever else enqueues with it. Jobs for later do not count.
        0 (default): no limit but Redis's memory.
    patience_s: how long to wait for room before `QueueBusy` is raised. Default: not at all.
    replicas: replicas of Redis that must have a job before a call returns (`QueueNotReplicated`). Default: none.
    replica_timeout_s: how long to wait for them, up to 4. Default: 1.
    """

    limits: DecodeLimits | None
    max_backlog: int
    patience_s: float
    replicas: int
    replica_timeout_s: float


class ProducerAccess(ProducerOptions, Login, total=False):
    """`ProducerOptions`, and the files that `Login` names."""


class Enqueued(msgspec.Struct):
    """What a multicast has enqueued so far.

    Attributes:
        messages: one for each token.
        ids: entry ids of the jobs, in order.
    """

    messages: int = 0
    ids: list[str] = []


class Producer(Connected):
    """Puts jobs into the lanes of any project.

    Nothing is repeated by itself: when Redis does not answer, a job may or may not be in. Give it a `dedup_key`
    to repeat the call without sending twice.

    Args:
        queue: a view of Redis; closed by `aclose`.
        options: see `ProducerOptions`.

    Raises:
        ValueError: an option makes no sense.
    """

    def __init__(self, queue: Queue, **options: Unpack[ProducerOptions]) -> None:
        self._queue = queue
        self.limits = options.get("limits", LIMITS)
        self._patience = options.get("patience_s", 0.0)
        self._assurance = Assurance(
            max_backlog=options.get("max_backlog", 0),
            replicas=options.get("replicas", 0),
            replica_timeout_s=options.get("replica_timeout_s", 1.0),
        )
        if self._assurance.max_backlog < 0 or self._assurance.replicas < 0:
            raise ValueError("max_backlog and replicas are numbers from 0")
        if not 0 < self._assurance.replica_timeout_s <= _MAX_REPLICA_TIMEOUT_S:
            raise ValueError(
                f"replica_timeout_s: give more than 0 and at most {_MAX_REPLICA_TIMEOUT_S:g} seconds"
            )

    @classmethod
    def at(
        cls,
        redis_url: str,
        *,
        namespace: str = "fcm",
        password_file: Path | None = None,
        ca_file: Path | None = None,
        cert_file: Path | None = None,
        key_file: Path | None = None,
        **options: Unpack[ProducerOptions],
    ) -> Self:
        """A producer with a connection of its own, which is made with the first job.

        Args:
            redis_url: `redis://`, `rediss://`, `unix://`, `redis+sentinel://h1,h2/master/0`,
                `redis+cluster://h1,h2`, and these two with `rediss+`.
            namespace: the workers' NAMESPACE.
            password_file: file that holds the password, in place of one in the URL.
            ca_file: PEM file with certificates to trust beside the system's.
            cert_file: PEM file with the certificate that the server asks its clients for.
            key_file: PEM file with its private key, if that does not stand in `cert_file`.
            options: see `ProducerOptions`.

        Raises:
            SettingsError: the URL or a file cannot be read.
        """
        consumer = f"producer-{uuid4().hex[:12]}"
        queue = Queue.at(
            redis_url,
            consumer=consumer,
            namespace=namespace,
            password_file=password_file,
            ca_file=ca_file,
            cert_file=cert_file,
            key_file=key_file,
        )
        return cls(queue, **options)

    async def send(
        self,
        project: str,
        message: Message,
        *,
        tokens: Sequence[str] = (),
        lane: Lane = "normal",
        **options: Unpack[JobOptions],
    ) -> str:
        """Enqueue one job.

        Args:
            project: Firebase project id.
            message: with its target, unless `tokens` or `group` is given.
            tokens: up to 500 registration tokens; the message goes to each.
            lane: `high`, `normal` or `bulk`.
            options: see `JobOptions`.

        Returns:
            The entry id, which is `job` in the outcomes unless `id` is given.

        Raises:
            ValueError: it would be no job, or the worker would reject it; the sentence names the mend.
            QueueFull: Redis is out of memory; nothing was enqueued.
            QueueBusy: the backlog is at `max_backlog`; nothing was enqueued.
            QueueNotReplicated: it is in, but on too few `replicas`.
            QueueError: Redis does not answer, or cannot do this.
        """
        check_place(project, lane)
        page = one(project, message, tokens, self.limits, **options)
        warn(page.cautions)
        return (await self.put(project, lane, page, options.get("deliver_at", 0.0)))[0]

    async def send_many(
        self,
        project: str,
        messages: Iterable[Message],
        *,
        lane: Lane = "normal",
        **options: Unpack[JobOptions],
    ) -> list[str]:
        """Enqueue many messages, each with its own target, in as few round trips as it takes.

        Example:
            async with Producer.at(REDIS_URL) as producer:
                ids = await producer.send_many(PROJECT, [{"token": "a"}, {"topic": "news"}], campaign="spring")

        Returns:
            The entry ids, in order.

        Raises:
            ValueError: as `send` for one of them (then none is enqueued), or `dedup_key` is given, which cannot be the
                same for all.
            QueueError: as `send`; of more than 500 jobs, those before the failure may be in.
        """
        check_place(project, lane)
        page = many(project, messages, self.limits, **options)
        warn(page.cautions)
        return await self.put(project, lane, page, options.get("deliver_at", 0.0))

    async def multicast(
        self,
        project: str,
        message: Message,
        tokens: Iterable[str] | AsyncIterable[str],
        *,
        lane: Lane = "normal",
        progress: Callable[[Enqueued], object] | None = None,
        **options: Unpack[JobOptions],
    ) -> Enqueued:
        """Enqueue one message for any number of tokens, as one job for each 500 of them, in constant memory.

        With a `dedup_key` each job has its own, made of it and the job's number: the same list enqueued again in
        the same order is recognised.

        Example:
            async with Producer.at(REDIS_URL, max_backlog=10_000, patience_s=600) as producer:
                done = await producer.multicast(
                    PROJECT, {"notification": {"title": "Sale"}}, (f"token-{n}" for n in range(1200)), lane="bulk"
                )
                assert (done.messages, len(done.ids)) == (1200, 3)

        Args:
            project: Firebase project id.
            message: without a target.
            tokens: a list, or whatever yields them, as a generator over a file.
            lane: `high`, `normal` or `bulk`.
            progress: called with the sums so far after each round trip.
            options: see `JobOptions`; the same `id` for all tells all their outcomes from others.

        Returns:
            What is in. A token's `index` in outcomes counts within its job.

        Raises:
            ValueError: the message is refused (before any token is taken), there is no token, or a token is none.
            QueueError: as `send`; what `progress` was told last is in.
        """
        check_place(project, lane)
        jobs = Multicast(project, message, self.limits, **options)
        warn(jobs.cautions)
        done = Enqueued()
        async for page in _pages(jobs, tokens):
            done.ids += await self.put(project, lane, page, options.get("deliver_at", 0.0))
            done.messages += page.messages
            if progress is not None:
                progress(done)
        if not done.messages:
            raise ValueError("tokens: empty; name at least one")
        return done

    async def manage(
        self,
        project: str,
        operation: str,
        request: Mapping[str, Any],
        *,
        id: str = "",  # noqa: A002 - the name of the field
        lane: Lane = "normal",
    ) -> str:
        """Enqueue one management job (README: topics, tokens and groups).

        Args:
            project: Firebase project id.
            operation: as `topic.subscribe`.
            request: what it asks for.
            id: your own id, returned as `job` in outcomes.
            lane: `high`, `normal` or `bulk`.

        Returns:
            The entry id.

        Raises:
            ValueError: there is no such operation, or the request is not as it wants it.
            QueueError: as `send`.
        """
        check_place(project, lane)
        fields = encode_operation(operation, request, id)
        return (await self.put(project, lane, Page([fields], [], 1), 0.0))[0]

    async def put(self, project: str, lane: Lane, page: Page, deliver_at: float) -> list[str]:
        """Enqueue jobs that have been checked (`jobs.py`), at once or for later; returns their entry ids."""
        if deliver_at:
            # The clock that decides when a job is due is Redis's own.
            now = await self._queue.ping()
            if deliver_at > now:
                return await self._schedule(project, lane, page, deliver_at, now)
        if not self._patience:
            return await self._queue.enqueue(
                project, lane, page.jobs, common=page.common, assurance=self._assurance
            )
        return await self._put_patiently(project, lane, page)

    async def _put_patiently(self, project: str, lane: Lane, page: Page) -> list[str]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience
        pause = _PATIENCE[0]
        ids: list[str] = []
        while True:
            try:
                return ids + await self._queue.enqueue(
                    project, lane, page.jobs[len(ids) :], common=page.common, assurance=self._assurance
                )
            except QueueBusy as busy:
                ids += busy.entries
                left = deadline - loop.time()
                if left <= 0:
                    raise QueueBusy(project, busy.backlog, busy.max_backlog, ids) from None
            await asyncio.sleep(min(left, pause))
            pause = min(2 * pause, _PATIENCE[1])

    async def _schedule(
        self, project: str, lane: Lane, page: Page, deliver_at: float, now: float
    ) -> list[str]:
        """Put jobs straight among those that wait, so that no worker has to read them twice.

        Such a job never was an entry of a lane: it gets an id that looks like one, with a random second part.
        """
        ids = [f"{int(now * 1000)}-{secrets.randbits(63)}" for _ in page.jobs]
        waiting = []
        for entry_id, fields in zip(ids, page.jobs, strict=True):
            state = msgspec.json.encode(JobState(id=entry_id, lane=lane, at=now)).decode()
            flat = [value.decode() for value in (*fields, *page.common)] + ["_state", state]
            waiting.append(Delayed(sortable(entry_id), deliver_at, msgspec.json.encode(flat)))
        if await self._queue.delay(project, waiting, assurance=self._assurance) != len(waiting):
            raise QueueUnavailable(
                "scheduling: some jobs were not taken; enqueue them again with a dedup_key"
            )
        return ids


def warn(cautions: Iterable[str]) -> None:
    """Tell the caller of the function that calls this what looks wrong in the message."""
    for caution in cautions:
        warnings.warn(caution, MessageWarning, stacklevel=3)


async def _pages(jobs: Multicast, tokens: Iterable[str] | AsyncIterable[str]) -> AsyncIterator[Page]:
    if isinstance(tokens, AsyncIterable):
        waiting: list[str] = []
        async for token in tokens:
            waiting.append(token)
            if len(waiting) == jobs.FEED:
                for page in jobs.feed(waiting):
                    yield page
                waiting = []
        for page in jobs.feed(waiting, last=True):
            yield page
        return
    for page in pages(jobs, tokens):
        yield page


def pages(jobs: Multicast, tokens: Iterable[str]) -> Iterator[Page]:
    """The pages of jobs for these tokens, which are taken as they are needed."""
    source = iter(tokens)
    while batch := list(islice(source, jobs.FEED)):
        yield from jobs.feed(batch)
    yield from jobs.feed((), last=True)

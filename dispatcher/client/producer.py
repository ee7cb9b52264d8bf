"""Enqueueing jobs from Python.

    async with Producer.at("redis://localhost") as producer:
        entry_id = await producer.send("demo-orchard-41", {"token": token, "notification": {"title": "Hi"}})

A job is checked before it is enqueued, by the same code as in the worker: what the worker would reject raises
ValueError here, with the same sentence. What only looks wrong is enqueued and told as a `MessageWarning`.
"""

from __future__ import annotations

import math
import secrets
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypedDict, Unpack
from uuid import uuid4

import msgspec

from dispatcher.errors import QueueUnavailable
from dispatcher.model import JobState, Lane, OnUnknown
from dispatcher.protocol.job import MAX_TOKENS, DecodeLimits, decode_entry, encode_job
from dispatcher.queue.keys import sortable
from dispatcher.queue.settlement import Delayed
from dispatcher.queue.store import Queue

Message = Mapping[str, Any] | str | bytes
"""The HTTP v1 `Message` resource: as a mapping, or as its JSON."""


LIMITS = DecodeLimits(default_expiry_s=1e10)
"""What is checked by default: as a worker does without settings of its own, except that its DEFAULT_EXPIRY_S is not known here."""


class MessageWarning(UserWarning):
    """Something in a message looks wrong, and is sent all the same, since only its author can know."""


class JobOptions(TypedDict, total=False):
    """What a job may say beside its message and its target.

    id: your own id, returned as `job` in outcomes; not an idempotency key. Default: the entry id.
    group: a device group's notification key as the target; the message then has none.
    deliver_at, expires_at: not before, not after; Unix seconds.
    dedup_key: a later job with the same key is settled as `duplicate`, unsent.
    on_unknown: what to do when a send's fate is unknown: `resend` (default) or `give_up`.
    campaign: counts into that campaign.
    validate_only: FCM checks the message and delivers nothing.
    attributes: opaque JSON value up to 1 KB, returned in outcomes.
    traceparent: W3C trace context.
    """

    id: str
    group: str
    deliver_at: float
    expires_at: float
    dedup_key: str
    on_unknown: OnUnknown
    campaign: str
    validate_only: bool
    attributes: Any
    traceparent: str


class Producer:
    """Puts jobs into the lanes of any project.

    Nothing is repeated by itself: when Redis does not answer, a job may or may not be in. Give it a `dedup_key`
    to repeat the call without sending twice.

    Args:
        queue: a view of Redis; closed by `aclose`.
        limits: what to check jobs against, if the workers' settings differ from the defaults; None: nothing is
            checked, and the worker says in the outcome what is wrong.
    """

    def __init__(self, queue: Queue, *, limits: DecodeLimits | None = LIMITS) -> None:
        self._queue = queue
        self._limits = limits

    @classmethod
    def at(
        cls,
        redis_url: str,
        *,
        namespace: str = "fcm",
        password_file: Path | None = None,
        limits: DecodeLimits | None = LIMITS,
    ) -> Self:
        """A producer with a connection of its own, which is made with the first job.

        Args:
            redis_url: `redis://`, `rediss://`, `unix://`, `redis+sentinel://h1,h2/master/0`,
                `redis+cluster://h1,h2`.
            namespace: the workers' NAMESPACE.
            password_file: file that holds the password, in place of one in the URL.
            limits: what to check jobs against; None: nothing.

        Raises:
            SettingsError: the URL cannot be read.
        """
        consumer = f"producer-{uuid4().hex[:12]}"
        queue = Queue.at(redis_url, consumer=consumer, namespace=namespace, password_file=password_file)
        return cls(queue, limits=limits)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._queue.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

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
            QueueError: Redis does not answer, or cannot do this.
        """
        if len(tokens) > MAX_TOKENS:
            raise ValueError(
                f"{len(tokens)} tokens are more than a job takes ({MAX_TOKENS}): use send_to_tokens"
            )
        fields = self._encode(project, message, tokens, **options)
        return (await self._enqueue(project, lane, [fields], options.get("deliver_at", 0.0)))[0]

    async def send_to_tokens(
        self,
        project: str,
        message: Message,
        tokens: Sequence[str],
        *,
        lane: Lane = "normal",
        **options: Unpack[JobOptions],
    ) -> list[str]:
        """Enqueue one message for any number of tokens, as one job for each 500 of them.

        With a `dedup_key` each job has its own, made of it and the job's number: the same list enqueued again in
        the same order is recognised.

        Returns:
            The entry ids. A token's `index` in outcomes counts within its job.

        Raises:
            ValueError: there is no token, or as `send`.
            QueueError: as `send`; the jobs before the failure may be in.
        """
        if not tokens:
            raise ValueError("tokens: empty; name at least one")
        key = options.get("dedup_key", "")
        jobs = []
        for number, start in enumerate(range(0, len(tokens), MAX_TOKENS)):
            if key and number:
                options["dedup_key"] = f"{key}#{number}"
            jobs.append(self._encode(project, message, tokens[start : start + MAX_TOKENS], **options))
        return await self._enqueue(project, lane, jobs, options.get("deliver_at", 0.0))

    async def send_many(
        self,
        project: str,
        messages: Iterable[Message],
        *,
        lane: Lane = "normal",
        **options: Unpack[JobOptions],
    ) -> list[str]:
        """Enqueue many messages, each with its own target, in as few round trips as it takes.

        Returns:
            The entry ids, in order.

        Raises:
            ValueError: as `send` for one of them (then none is enqueued), or `dedup_key` is given, which cannot be the
                same for all.
            QueueError: as `send`; the jobs before the failure may be in.
        """
        if options.get("dedup_key"):
            raise ValueError("dedup_key: all but the first message would be duplicates; use send for each")
        jobs = [self._encode(project, message, **options) for message in messages]
        return await self._enqueue(project, lane, jobs, options.get("deliver_at", 0.0))

    async def _enqueue(
        self, project: str, lane: Lane, jobs: list[dict[str, str]], deliver_at: float
    ) -> list[str]:
        if deliver_at:
            # The clock that decides when a job is due is Redis's own.
            now = await self._queue.ping()
            if deliver_at > now:
                return await self._schedule(project, lane, jobs, deliver_at, now)
        return await self._queue.enqueue(project, lane, jobs)

    async def _schedule(
        self, project: str, lane: Lane, jobs: list[dict[str, str]], deliver_at: float, now: float
    ) -> list[str]:
        """Put jobs straight among those that wait, so that no worker has to read them twice.

        Such a job never was an entry of a lane: it gets an id that looks like one, with a random second part.
        """
        ids = [f"{int(now * 1000)}-{secrets.randbits(63)}" for _ in jobs]
        waiting = []
        for entry_id, fields in zip(ids, jobs, strict=True):
            state = msgspec.json.encode(JobState(id=entry_id, lane=lane, at=now)).decode()
            flat = [text for pair in fields.items() for text in pair] + ["_state", state]
            waiting.append(Delayed(sortable(entry_id), deliver_at, msgspec.json.encode(flat)))
        if await self._queue.delay(project, waiting) != len(waiting):
            raise QueueUnavailable(
                "scheduling: some jobs were not taken; enqueue them again with a dedup_key"
            )
        return ids

    def _encode(
        self, project: str, message: Message, tokens: Sequence[str] = (), **options: Unpack[JobOptions]
    ) -> dict[str, str]:
        """The fields of a job that the worker will take; ValueError if there is none."""
        deliver_at = options.get("deliver_at", 0.0)
        if not math.isfinite(deliver_at):
            raise ValueError(f"deliver_at: found {deliver_at}; give Unix seconds")
        try:
            fields = encode_job(message, tokens=tokens, **options)
        except TypeError as error:
            raise ValueError(f"message and attributes must be writable as JSON: {error}") from None
        if self._limits is not None:
            _check(project, fields, self._limits)
        return fields


def _check(project: str, fields: dict[str, str], limits: DecodeLimits) -> None:
    """Reads a job as the worker will.

    Raises:
        ValueError: the worker would refuse it; the sentence is the refusal's.
    """
    flat = [text.encode() for pair in fields.items() for text in pair]
    job = decode_entry(project, "normal", f"{int(time.time() * 1000)}-0", flat, limits)
    if job.refusal is not None:
        raise ValueError(job.refusal.reason)
    if job.deliver_at >= job.expires_at:
        raise ValueError("deliver_at: found a time at or after the expiry; give a later expires_at")
    for caution in job.warnings:
        warnings.warn(caution.reason, MessageWarning, stacklevel=4)

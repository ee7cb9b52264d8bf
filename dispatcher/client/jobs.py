"""From what a producer asks for to pages of checked fields, without I/O.

Both producers, with and without asyncio, put these pages into Redis.

What jobs have in common is encoded and checked once: of a multicast its message, of many messages their options.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypedDict, Unpack

import msgspec

from dispatcher.client.token_file import MAX_TOKEN, fault_of
from dispatcher.model import LANES, OnUnknown
from dispatcher.protocol.job import MAX_TOKENS, DecodeLimits, decode_entry
from dispatcher.protocol.message import Content, read_message
from dispatcher.protocol.submission import encode_message, encode_options, encode_tokens
from dispatcher.queue.producing import PAGE_BYTES

Message = Mapping[str, Any] | str | bytes
"""The HTTP v1 `Message` resource: as a mapping, or as its JSON."""

LIMITS = DecodeLimits(default_expiry_s=1e10)
"""What is checked by default: as a worker does without settings of its own, except that its DEFAULT_EXPIRY_S is not known here."""


_SLACK_S = 60.0
"""How far this machine's clock may be ahead of Redis's."""
_NO_PROJECT = re.compile(r"[\s{}]")


class JobOptions(TypedDict, total=False):
    """What a job may say beside its message and its target.

    id: your own id, returned as `job` in outcomes; not an idempotency key. Default: the entry id.
    group: a device group's notification key as the target; the message then has none.
    deliver_at, expires_at: not before, not after; Unix seconds.
    dedup_key: a later job with the same key is settled as `duplicate`, unsent.
    on_unknown: what to do when a send's fate is unknown: `resend` (default) or `give_up`.
    campaign: counts into that campaign.
    validate_only: FCM checks the message and delivers nothing.
    delivery_receipt: a report in the upstream stream when a device has the message; only XMPP can.
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
    delivery_receipt: bool
    attributes: Any
    traceparent: str


class Page(msgspec.Struct):
    """Jobs that go in together.

    Attributes:
        jobs: the fields of each, name and value in turn.
        common: fields that all of them have.
        messages: messages in all of them.
        cautions: what looks wrong and is sent all the same.
    """

    jobs: list[list[bytes]]
    common: list[bytes]
    messages: int
    cautions: list[str] = []


def one(
    project: str,
    message: Message,
    tokens: Iterable[str],
    limits: DecodeLimits | None,
    **options: Unpack[JobOptions],
) -> Page:
    """One job.

    Raises:
        ValueError: the worker would refuse it.
    """
    tokens = list(tokens)
    if len(tokens) > MAX_TOKENS:
        raise ValueError(f"{len(tokens)} tokens are more than a job takes ({MAX_TOKENS}): use multicast")
    fields = [b"message", *_written(message)]
    if tokens:
        fields += (b"tokens", _tokens(tokens))
    fields += _options(options)
    return Page([fields], [], max(1, len(tokens)), _check(project, fields, limits))


def many(
    project: str, messages: Iterable[Message], limits: DecodeLimits | None, **options: Unpack[JobOptions]
) -> Page:
    """One job for each message; all are checked before any is returned.

    Raises:
        ValueError: the worker would refuse one of them, or `dedup_key` is given.
    """
    if options.get("dedup_key"):
        raise ValueError("dedup_key: all but the first message would be duplicates; use send for each")
    common = _options(options)
    room = 0 if limits is None else limits.max_job_bytes - sum(map(len, common)) - len(b"message")
    targetless = bool(options.get("group"))
    jobs: list[list[bytes]] = []
    cautions: list[str] = []
    for message in messages:
        raw = message if type(message) is bytes else _written(message)[0]
        if limits is not None:
            # The options are the first job's, too.
            read = (
                read_message(raw, strict=limits.strict, targetless=targetless, checks=limits.checks)
                if jobs
                else None
            )
            if type(read) is not Content or len(raw) > room:
                cautions += _check(project, [b"message", raw, *common], limits)
                jobs.append([b"message", raw])
                continue
            if read.kind == "token" and not targetless:
                _check_token("message.token", read.value)
            if read.warnings:
                cautions += [caution.reason for caution in read.warnings]
        jobs.append([b"message", raw])
    return Page(jobs, common, len(jobs), cautions)


class Multicast:
    """One message for any number of tokens, cut into jobs as the tokens come.

    With a `dedup_key` each job has its own, made of it and the job's number: the same list enqueued again in the same
    order is recognised.

    Args:
        project: Firebase project id.
        message: without a target.
        limits: what to check against; None: nothing.
        options: of every job.

    Raises:
        ValueError: the worker would refuse the jobs.
    """

    FEED = MAX_TOKENS * 8
    """Tokens to hand over at a time."""

    def __init__(
        self, project: str, message: Message, limits: DecodeLimits | None, **options: Unpack[JobOptions]
    ) -> None:
        self._project = project
        self._limits = limits
        self._key = options.pop("dedup_key", "")
        self._common = [b"message", *_written(message), *_options(options)]
        self._weight = sum(map(len, self._common))
        self._most = LIMITS.max_job_bytes if limits is None else limits.max_job_bytes
        self._jobs = 0
        self._rest: list[str] = []
        self._page = Page([], self._common, 0)
        self._page_bytes = 0
        # Whatever the tokens are: a wrong message is told before a file is opened.
        self.cautions = self._check(b'["t"]')

    def feed(self, tokens: Iterable[str], *, last: bool = False) -> Iterator[Page]:
        """The pages that are full with these tokens; what is left over waits for the next call, unless it is the last.

        Raises:
            ValueError: a token is no text, or empty; the pages before it stand.
        """
        waiting = self._rest
        waiting += tokens
        page = self._page
        at = 0
        while len(waiting) - at >= MAX_TOKENS or (last and at < len(waiting)):
            chunk = waiting[at : at + MAX_TOKENS]
            at += MAX_TOKENS
            for count, field in self._cut(chunk):
                if page.jobs and self._page_bytes + len(field) > PAGE_BYTES:
                    yield page
                    page, self._page_bytes = Page([], self._common, 0), 0
                page.jobs.append(self._job(field))
                page.messages += count
                self._page_bytes += len(field)
        self._rest = waiting[at:]
        self._page = page
        if last and page.jobs:
            yield page

    def _cut(self, chunk: list[str]) -> Iterator[tuple[int, bytes]]:
        """The field `tokens` of each job that takes these, with their number: one job, unless they are very long."""
        field = _tokens(chunk)
        if "" in chunk:
            raise ValueError(f"tokens: the one after {self._before(chunk)!r} is empty")
        # The encoder escapes quotes, backslashes and control characters.
        if self._limits is not None and (
            not field.isascii() or b" " in field or b"\\" in field or max(map(len, chunk)) > MAX_TOKEN
        ):
            for token in chunk:
                _check_token("tokens", token)
        if self._weight + len(field) + 64 + len(self._key) <= self._most:
            yield len(chunk), field
        elif len(chunk) == 1:
            self._check(field)
            yield 1, field
        else:
            half = len(chunk) // 2
            yield from self._cut(chunk[:half])
            yield from self._cut(chunk[half:])

    def _before(self, chunk: list[str]) -> str:
        place = chunk.index("")
        return chunk[place - 1] if place else ""

    def _job(self, field: bytes) -> list[bytes]:
        fields = [b"tokens", field]
        if self._key:
            number = f"{self._key}#{self._jobs}" if self._jobs else self._key
            fields += (b"dedup_key", number.encode())
        self._jobs += 1
        return fields

    def _check(self, field: bytes) -> list[str]:
        return _check(self._project, [*self._common, b"tokens", field], self._limits)


def check_place(project: str, lane: str) -> None:
    """Refuses a place that no worker would look at.

    Raises:
        ValueError: the lane or the project id cannot be.
    """
    if lane not in LANES:
        raise ValueError(f'lane: found "{lane}"; use {", ".join(LANES)}')
    check_project(project)


def check_project(project: str) -> None:
    """Refuses what is no project id.

    Raises:
        ValueError: it is none.
    """
    if not project or _NO_PROJECT.search(project):
        raise ValueError(f'project: found "{project}"; give the Firebase project id, as my-project-41')


def _written(message: Message) -> list[bytes]:
    try:
        return [encode_message(message)]
    except TypeError as error:
        raise ValueError(f"message must be writable as JSON: {error}") from None


def _tokens(tokens: list[str]) -> bytes:
    try:
        return encode_tokens(tokens)
    except TypeError as error:
        raise ValueError(f"tokens: each is a registration token as text: {error}") from None


def _options(options: JobOptions) -> list[bytes]:
    deliver_at = options.get("deliver_at", 0.0)
    if not math.isfinite(deliver_at):
        raise ValueError(f"deliver_at: found {deliver_at}; give Unix seconds")
    try:
        return encode_options(**options)
    except TypeError as error:
        raise ValueError(f"attributes must be writable as JSON: {error}") from None


def _check_token(where: str, token: str) -> None:
    """FCM would only say that there is no such token, and whoever believes it deletes a good one.

    Raises:
        ValueError: this is none, most likely a line of a file with its end still on.
    """
    fault = fault_of(token.encode("utf-8", "surrogatepass"))
    if fault:
        raise ValueError(f"{where}: {fault}; a registration token is one word, as FCM gave it")


def _check(project: str, fields: list[bytes], limits: DecodeLimits | None) -> list[str]:
    """Reads a job as the worker will; returns what looks wrong in it.

    Raises:
        ValueError: the worker would refuse it; the sentence is the refusal's.
    """
    if limits is None:
        return []
    now = time.time()
    job = decode_entry(project, "normal", f"{int(now * 1000)}-0", fields, limits)
    if job.refusal is not None:
        raise ValueError(job.refusal.reason)
    if job.kind == "token":
        for token in job.values:
            _check_token("tokens" if job.multicast else "message.token", token)
    if job.deliver_at >= job.expires_at:
        raise ValueError("deliver_at: found a time at or after the expiry; give a later expires_at")
    if job.expires_at < now - _SLACK_S:
        raise ValueError(f"expires_at: found {job.expires_at:.0f}, which is over; give a later time")
    return [caution.reason for caution in job.warnings]

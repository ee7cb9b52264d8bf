"""`dispatcher send --tokens FILE`: one message to every token of a file, as multicast jobs of 500."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from dispatcher.cli.amount import amount, amounts
from dispatcher.cli.options import run
from dispatcher.cli.progress import Bars, say
from dispatcher.cli.token_input import FileOptions, StopError, TokenInput
from dispatcher.client import JobOptions
from dispatcher.client.cancellation import raise_if_cancelled
from dispatcher.client.jobs import LIMITS, one
from dispatcher.client.token_file import Piece, TokenFileError
from dispatcher.errors import DispatcherError, QueueError, SettingsError
from dispatcher.model import Lane, Status
from dispatcher.protocol.job import MAX_TOKENS
from dispatcher.queue.store import Queue
from dispatcher.settings import Settings

TOGETHER = 12
"""Jobs enqueued in one call: about a megabyte."""
LOOK_MS = 200


class TokenRun(msgspec.Struct, kw_only=True):
    """What is asked for.

    Attributes:
        file: with the tokens; `-`: standard input.
        reading: how it is read.
        dry_run: read and report only.
        wait_s: wait for the outcomes, for as long as one comes within this time; 0: do not.
    """

    file: Path
    reading: FileOptions
    dry_run: bool = False
    wait_s: float = 0.0


class Summary(msgspec.Struct, omit_defaults=True):
    """What became of it, as `--json` prints it.

    Attributes:
        tokens: enqueued.
        jobs: they are in; their ids are `<job>#1` and so on.
        job: what the ids begin with.
        seconds: from the first line read to the last job enqueued.
        last_line: of the file, that was enqueued.
        skipped: rows by what was wrong with them.
        settled: outcomes by status, and code if there is one.
        failure: why it ended early.
    """

    tokens: int = 0
    jobs: int = 0
    job: str = ""
    seconds: float = 0.0
    last_line: int = 0
    skipped: dict[str, int] = {}
    settled: dict[str, int] = {}
    failure: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything was enqueued, and whatever was waited for was accepted."""
        return not self.failure and all(name == Status.ACCEPTED for name in self.settled)


class _Brief(msgspec.Struct):
    """The part of an outcome that is counted here."""

    job: str
    status: str
    code: str = ""


_briefs = msgspec.json.Decoder(list[_Brief]).decode


def send_tokens(
    settings: Settings,
    project: str,
    message: dict[str, Any],
    lane: Lane,
    options: JobOptions,
    asked: TokenRun,
) -> Summary:
    """Do it; bad rows are told on standard error.

    Raises:
        SettingsError: the file cannot be opened, or the message is wrong.
        QueueError: Redis is away from the start.
    """
    base = options.get("id") or f"send-{uuid4().hex[:8]}"
    common = _common(project, message, options)
    with closing(TokenInput(asked.file, asked.reading)) as file:
        sender = _Sender(project, lane, common, options.get("dedup_key", ""), base, asked, file)
        return run(settings, sender.run)


def _common(project: str, message: dict[str, Any], options: JobOptions) -> list[bytes]:
    """The fields that all jobs have, name and value in turn, looked at as a worker will.

    Raises:
        SettingsError: it would refuse them.
    """
    try:
        page = one(project, message, ["x"], LIMITS, **options)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    for caution in page.cautions:
        say(f"warning: {caution}")
    flat = [*page.common, *page.jobs[0]]
    own = (b"tokens", b"id", b"dedup_key")
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return [part for name, value in pairs if name not in own for part in (name, value)]


_Flight = tuple[asyncio.Task[list[str]] | None, int, int, int]
"""What is on its way to Redis: the call, and its jobs, tokens and last line."""


class _Sender:
    def __init__(
        self,
        project: str,
        lane: Lane,
        common: list[bytes],
        dedup_key: str,
        base: str,
        asked: TokenRun,
        file: TokenInput,
    ) -> None:
        self._project = project
        self._lane: Lane = lane
        self._common = common
        self._dedup_key = dedup_key
        self._asked = asked
        self._file = file
        self._summary = Summary(job=base, last_line=file.from_line - 1)
        self._settled: Counter[str] = Counter()
        self._done = self._number = 0
        self._enqueued_all = False
        self._flying: _Flight | None = None
        self._progress = Bars(file.size, waits=asked.wait_s > 0)
        file.say = self._progress.say

    async def run(self, queue: Queue) -> Summary:
        summary = self._summary
        after = "0-0"
        if not self._asked.dry_run:
            # Away at once is one line without a word of the file.
            await queue.ping()
            after = await queue.last_record(self._project, "outcomes")
        with self._progress:
            waits = self._asked.wait_s and not self._asked.dry_run
            watcher = asyncio.create_task(self._watch(queue, after)) if waits else None
            began = time.monotonic()
            try:
                try:
                    await self._enqueue(queue)
                except (TokenFileError, StopError, QueueError, OSError) as error:
                    summary.failure = self._failure(error)
                summary.seconds = round(time.monotonic() - began, 3)
                self._enqueued_all = True
                raise_if_cancelled()
                if watcher is not None:
                    await watcher
            except asyncio.CancelledError:
                self._progress.say(self._interrupted())
                raise
            finally:
                if watcher is not None and not watcher.done():
                    watcher.cancel()
                    await asyncio.wait([watcher])
        if self._file.hidden:
            say(f"and {amount(self._file.hidden, 'more row')} like these")
        if self._file.forgetful:
            say("the file is longer than what is remembered of it: tokens repeated far apart were not found")
        if not (summary.tokens or summary.failure):
            summary.failure = f"{self._file.name}: no token in it" + (
                f" from line {self._file.from_line} on" if self._file.from_line > 1 else ""
            )
        summary.skipped = dict(self._file.skipped)
        summary.settled = dict(self._settled.most_common())
        return summary

    def _failure(self, error: Exception) -> str:
        last = self._summary.last_line
        if self._asked.dry_run:
            return f"{self._file.name}: {error}"
        if isinstance(error, QueueError):
            doubt = "" if "full" in str(error) else " (the last few may or may not be in)"
            where = f"{error}; enqueued up to line {last}{doubt}"
        else:
            where = f"{self._file.name}: {error}; enqueued up to line {last}"
        return f"{where}: go on with --from-line {last + 1}"

    def _interrupted(self) -> str:
        tokens, last = amount(self._summary.tokens, "token"), self._summary.last_line
        if self._enqueued_all:
            return f"interrupted: all {tokens} are enqueued; {self._done:,} settled so far"
        return f"interrupted: {tokens} enqueued, up to line {last}: go on with --from-line {last + 1}"

    async def _enqueue(self, queue: Queue) -> None:
        """Read, cut, add: what was read last leaves while the next is read."""
        jobs: list[list[bytes]] = []
        tokens = last_line = 0
        try:
            try:
                for piece in self._file.pieces(MAX_TOKENS):
                    jobs.append(self._job(piece))
                    tokens += len(piece.tokens)
                    last_line = piece.last_line
                    if len(jobs) == TOGETHER:
                        await self._add(queue, jobs, tokens, last_line)
                        jobs, tokens = [], 0
                    self._progress.read(self._file.read)
            except (TokenFileError, StopError, OSError):
                # It cannot be read on; what came before is good.
                if jobs:
                    await self._add(queue, jobs, tokens, last_line)
                raise
            if jobs:
                await self._add(queue, jobs, tokens, last_line)
        finally:
            await self._land()

    def _job(self, piece: Piece) -> list[bytes]:
        self._number += 1
        # No token has a quote or a backslash in it: the reader has seen to that.
        tokens = b'["' + b'","'.join(piece.tokens) + b'"]'
        job = [b"tokens", tokens, b"id", f"{self._summary.job}#{self._number}".encode()]
        if self._dedup_key:
            # By line, so that it is the same when a run goes on where another was cut off.
            job += (b"dedup_key", f"{self._dedup_key}#{piece.first_line}".encode())
        return job

    async def _add(self, queue: Queue, jobs: list[list[bytes]], tokens: int, last_line: int) -> None:
        await self._land()
        raise_if_cancelled()
        call = (
            None
            if self._asked.dry_run
            else queue.enqueue(self._project, self._lane, jobs, common=self._common)
        )
        self._flying = (asyncio.create_task(call) if call is not None else None, len(jobs), tokens, last_line)
        await asyncio.sleep(0)  # it leaves now

    async def _land(self) -> None:
        """Wait until what left last is in."""
        if self._flying is None:
            return
        (task, jobs, tokens, last_line), self._flying = self._flying, None
        if task is not None:
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                # Whoever goes on later has to know whether it is in.
                await asyncio.wait([task])
                if task.exception() is None:
                    self._landed(jobs, tokens, last_line)
                raise
        self._landed(jobs, tokens, last_line)

    def _landed(self, jobs: int, tokens: int, last_line: int) -> None:
        self._summary.jobs += jobs
        self._summary.tokens += tokens
        self._summary.last_line = last_line
        self._progress.enqueued(self._summary.tokens)

    async def _watch(self, queue: Queue, after: str) -> None:
        """Count the outcomes of these jobs until all are in, or none has come for long."""
        loop = asyncio.get_running_loop()
        prefix = f"{self._summary.job}#"
        seen_at = loop.time()
        while not (self._enqueued_all and self._done >= self._summary.tokens):
            raise_if_cancelled()
            entries = await queue.wait_records(
                self._project, "outcomes", after=after, count=20, block_ms=LOOK_MS
            )
            for entry_id, fields in entries:
                after = entry_id
                for value in fields[1::2]:
                    for brief in _briefs(value):
                        if brief.job.startswith(prefix):
                            self._settled[f"{brief.status} {brief.code}".rstrip()] += 1
                            self._done += 1
                            seen_at = loop.time()
            self._progress.settled(self._done)
            if not self._enqueued_all:
                seen_at = loop.time()
            elif loop.time() - seen_at > self._asked.wait_s:
                raise DispatcherError(
                    f"{self._done:,} of {self._summary.tokens:,} settled, and nothing new within {self._asked.wait_s:g} s: "
                    "see that a worker serves this project: dispatcher status"
                )


def as_text(summary: Summary, *, dry_run: bool) -> str:
    """The summary for people."""
    tokens, jobs = amount(summary.tokens, "token"), amount(summary.jobs, "job")
    if dry_run:
        lines = [f"{tokens} would make {jobs}; nothing was enqueued"]
    else:
        rate = summary.tokens / summary.seconds if summary.seconds else 0
        lines = [f"{tokens} enqueued in {summary.seconds:.1f} s ({rate:,.0f}/s) as {jobs}{_ids(summary)}"]
    if summary.skipped:
        lines.append(f"rows skipped: {amounts(summary.skipped)}")
    lines += [f"  {count:>12,} {name}" for name, count in summary.settled.items()]
    return "\n".join(lines)


def _ids(summary: Summary) -> str:
    if not summary.jobs:
        return ""
    return f", {summary.job}#1" + (f" to #{summary.jobs}" if summary.jobs > 1 else "")

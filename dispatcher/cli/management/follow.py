"""Enqueues management jobs and follows their outcomes, with no more of them under way than memory is for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from uuid import uuid4

import msgspec
import typer

from dispatcher.cli.management.report import KEPT, ResultFile, Summary, as_text
from dispatcher.cli.management.source import Ask
from dispatcher.cli.options import run
from dispatcher.cli.progress import Bars
from dispatcher.cli.token_input import StopError, TokenInput
from dispatcher.client import OutcomeReader, Producer
from dispatcher.client.token_file import TokenFileError
from dispatcher.errors import DispatcherError, QueueError, SettingsError
from dispatcher.model import Lane, Outcome
from dispatcher.protocol.operation import encode_operation
from dispatcher.queue.store import Queue
from dispatcher.settings import Settings

ITEMS_UNDER_WAY = 50_000
"""Items enqueued and not settled, at most: Redis then holds a few megabytes of this run."""
JOBS_UNDER_WAY = 500
"""The same of jobs, where each is about one item."""
JOBS_TOGETHER = 16
"""Jobs enqueued between two looks for outcomes."""
LOOK_S = 0.2
"""How long a look for outcomes waits for one, in seconds."""


class Place(msgspec.Struct):
    """Where a command is at work.

    Attributes:
        settings: of this process.
        project: Firebase project id.
    """

    settings: Settings
    project: str


class Order(msgspec.Struct, kw_only=True):
    """How a run is to be done.

    Attributes:
        lane: where its jobs are enqueued.
        results: file for the outcomes; `-`: standard output.
        wait_s: follow them for as long as one comes within this time; 0: do not.
        dry_run: read, check and enqueue nothing.
        as_json: print the summary as JSON.
    """

    lane: Lane = "normal"
    results: Path | None = None
    wait_s: float = 60.0
    dry_run: bool = False
    as_json: bool = False


def carry_out(
    place: Place, operation: str, order: Order, asks: Iterable[Ask], file: TokenInput | None = None
) -> None:
    """Do it, print the summary, and leave with the exit code.

    Args:
        place: settings and project.
        operation: of the jobs.
        order: how.
        asks: the jobs to be, taken as room is.
        file: of tokens, if they come from one; it is closed at the end.

    Raises:
        SettingsError: a request is not as its operation wants it, or the result file cannot be written.
        DispatcherError: it ended early, and why.
        typer.Exit: with 0, everything was done; with 1, something was not.
    """
    summary = follow(place, operation, order, asks, file)
    if order.as_json:
        print(msgspec.json.encode(summary).decode())
    else:
        text = as_text(summary, dry_run=order.dry_run, waited=order.wait_s > 0)
        if text:
            print(text)
    if summary.failure:
        raise DispatcherError(summary.failure)
    raise typer.Exit(0 if summary.ok else 1)


def follow(
    place: Place, operation: str, order: Order, asks: Iterable[Ask], file: TokenInput | None = None
) -> Summary:
    """Enqueue the jobs and follow them; see `carry_out`."""
    with (
        closing(file) if file is not None else nullcontext(),
        closing(ResultFile(order.results)) as results,
    ):
        return run(place.settings, _Run(place.project, operation, order, iter(asks), file, results).run)


class _Run:
    def __init__(
        self,
        project: str,
        operation: str,
        order: Order,
        asks: Iterator[Ask],
        file: TokenInput | None,
        results: ResultFile,
    ) -> None:
        self._project = project
        self._operation = operation
        self._order = order
        self._asks = asks
        self._file = file
        self._results = results
        self._summary = Summary(operation=operation, job=f"{operation.replace('.', '-')}-{uuid4().hex[:8]}")
        self._left: dict[str, int] = {}  # outcomes that are missing, by job
        self._missing = 0
        self._settled: Counter[str] = Counter()
        self._more = True
        self._bars = Bars(file.size if file is not None else 0, waits=order.wait_s > 0)
        if file is not None:
            self._summary.last_line = file.from_line - 1
            file.say = self._bars.say

    async def run(self, queue: Queue) -> Summary:
        summary = self._summary
        reader = OutcomeReader(queue, self._project)
        if not self._order.dry_run:
            # Away at once is one line without a word of the file.
            await queue.ping()
            await reader.skip_to_end()
        began = time.monotonic()
        with self._bars:
            await self._go(queue, reader)
        summary.seconds = round(time.monotonic() - began, 3)
        if self._file is not None:
            summary.skipped = dict(self._file.skipped)
        summary.settled = dict(self._settled.most_common())
        if not summary.items and not summary.failure:
            summary.failure = f"{self._where()}: no token in it"
        return summary

    async def _go(self, queue: Queue, reader: OutcomeReader) -> None:
        producer = Producer(queue)
        waits = self._order.wait_s > 0 and not self._order.dry_run
        heard = time.monotonic()
        while self._more or (waits and self._missing):
            for _ in range(JOBS_TOGETHER):
                if not self._more or (waits and self._full()):
                    break
                await self._enqueue(producer)
                heard = time.monotonic()
            if not waits or not self._missing:
                continue
            # While there is more to enqueue, only what has come already is taken.
            if await self._look(reader, 0.0 if self._more and not self._full() else LOOK_S):
                heard = time.monotonic()
            elif time.monotonic() - heard > self._order.wait_s:
                self._summary.failure = self._silence()
                return

    def _full(self) -> bool:
        return self._missing >= ITEMS_UNDER_WAY or len(self._left) >= JOBS_UNDER_WAY

    async def _enqueue(self, producer: Producer) -> None:
        """The next job, if there is one."""
        summary = self._summary
        try:
            ask = next(self._asks, None)
            if ask is None:
                self._more = False
                return
            job = f"{summary.job}#{summary.jobs + 1}"
            if self._order.dry_run:
                encode_operation(self._operation, ask.request, job)
            else:
                await producer.manage(
                    self._project, self._operation, ask.request, id=job, lane=self._order.lane
                )
                self._left[job] = ask.items
                self._missing += ask.items
        except (TokenFileError, StopError, OSError, QueueError) as error:
            self._more = False
            summary.failure = f"{self._where()}: {error}"
            if self._file is not None:
                last = summary.last_line
                doubt = " (the last few may or may not be in)" if isinstance(error, QueueError) else ""
                summary.failure += f"; enqueued up to line {last}{doubt}: go on with --from-line {last + 1}"
            return
        except ValueError as error:
            raise SettingsError(str(error)) from None
        summary.jobs += 1
        summary.items += ask.items
        summary.last_line = ask.last_line
        self._show()

    async def _look(self, reader: OutcomeReader, wait_s: float) -> bool:
        """Take what has come; returns whether any of it was awaited."""
        found: list[Outcome] = []
        for record in await reader.read(wait_s=wait_s):
            for outcome in record.outcomes:
                left = self._left.get(outcome.job)
                if left is None:
                    continue
                found.append(outcome)
                self._missing -= 1
                if left == 1:
                    del self._left[outcome.job]
                else:
                    self._left[outcome.job] = left - 1
                self._settled[f"{outcome.status} {outcome.code}".rstrip()] += 1
        self._results.write(found)
        self._summary.outcomes = [] if self._settled.total() > KEPT else [*self._summary.outcomes, *found]
        self._show()
        return bool(found)

    def _show(self) -> None:
        if self._file is not None:
            self._bars.read(self._file.read)
        self._bars.enqueued(self._summary.items)
        self._bars.settled(self._settled.total())

    def _where(self) -> str:
        return self._file.name if self._file is not None else self._operation

    def _silence(self) -> str:
        return (
            f"{self._settled.total():,} of {self._summary.items:,} settled, and nothing new within "
            f"{self._order.wait_s:g} s: see that a worker serves this project (with DISPATCHER_OUTCOMES=all), then look with: "
            "dispatcher outcomes"
        )

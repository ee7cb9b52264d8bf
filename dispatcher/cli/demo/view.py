"""What the demo shows: progress while it runs (live on a terminal, plain lines otherwise), then the results."""

from __future__ import annotations

import math
from collections import Counter
from types import TracebackType
from typing import Self

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from dispatcher.cli.amount import amounts
from dispatcher.cli.demo.audit import Check
from dispatcher.model import Outcome, Status

PLAIN_EVERY_S = 2.0


class Figures(msgspec.Struct):
    """The figures of one run.

    Attributes:
        messages: all of them.
        messages_per_s: of the first 99 % to be settled; the rest are the two throttled targets, by design slow.
        p50_s, p99_s: from enqueueing to the outcome, of all messages.
        took_s: from the first enqueueing to the last outcome.
        outcomes: messages by status and code.
        retried: messages that needed more than one send.
    """

    messages: int
    messages_per_s: float
    p50_s: float
    p99_s: float
    took_s: float
    outcomes: dict[str, int]
    retried: int


def figures(outcomes: list[Outcome]) -> Figures:
    """Count and time the outcomes; there is at least one."""
    began = min(outcome.enqueued_at for outcome in outcomes)
    ends = sorted(outcome.settled_at for outcome in outcomes)
    ages = sorted(outcome.settled_at - outcome.enqueued_at for outcome in outcomes)
    bulk = math.ceil(len(ends) * 0.99)
    kinds = Counter(f"{o.status} {o.code}".strip() for o in outcomes)
    return Figures(
        messages=len(outcomes),
        messages_per_s=bulk / max(0.001, ends[bulk - 1] - began),
        p50_s=ages[len(ages) // 2],
        p99_s=ages[bulk - 1],
        took_s=ends[-1] - began,
        outcomes=dict(kinds.most_common()),
        retried=sum(outcome.attempts > 1 for outcome in outcomes),
    )


class View:
    """Progress of one run; a context manager.

    Args:
        console: where to.
        total: messages.
        quiet: show nothing (JSON is wanted).
    """

    def __init__(self, console: Console, total: int, *, quiet: bool) -> None:
        self._console = console
        self._total = total
        self._quiet = quiet
        self._live = console.is_terminal and not quiet
        self._next = 0.0
        self._bars = Progress(
            TextColumn("{task.description:>9}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not self._live,
        )
        self._enqueued = self._bars.add_task("enqueued", total=total, note="")
        self._settled = self._bars.add_task("settled", total=total, note="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def say(self, line: str) -> None:
        """A line of its own."""
        if not self._quiet:
            self._console.print(line, highlight=False, soft_wrap=True)

    def show(self, now: float, enqueued: int, settled: Counter[Status]) -> None:
        """How far it is; on a terminal at each call, else every other second.

        Args:
            now: any steady clock, seconds.
            enqueued: messages in Redis so far.
            settled: outcomes so far, by status.
        """
        done = settled.total()
        words = amounts(dict(settled.most_common()))
        if self._live:
            self._bars.update(self._enqueued, completed=enqueued)
            self._bars.update(self._settled, completed=done, note=words)
        elif now >= self._next:
            self._next = now + PLAIN_EVERY_S
            self.say(
                f"enqueued {enqueued:,}, settled {done:,} of {self._total:,}"
                + (f": {words}" if words else "")
            )


def print_results(console: Console, found: Figures, checks: list[Check]) -> None:
    """The tables at the end."""
    table = Table("outcome", "messages", title="What became of them", title_justify="left")
    table.columns[1].justify = "right"
    for kind, count in found.outcomes.items():
        table.add_row(kind, f"{count:,}")
    console.print(table)
    console.print(
        f"{found.messages:,} messages, {found.messages_per_s:,.0f} a second; {found.retried:,} needed a retry. "
        f"Enqueue to outcome: p50 {found.p50_s:.2f} s, p99 {found.p99_s:.2f} s. "
        f"All settled after {found.took_s:.1f} s.",
        highlight=False,
        soft_wrap=True,
    )
    for check in checks:
        mark = "[green]holds[/]" if check.holds else "[red]BROKEN[/]"
        console.print(f"{mark}  {check.claim}: {check.found}", highlight=False, soft_wrap=True)

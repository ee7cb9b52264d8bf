"""What is left of a run: a file with every outcome, and a summary."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import msgspec

from dispatcher.cli.amount import amount, amounts
from dispatcher.cli.outcome_line import as_line
from dispatcher.errors import SettingsError
from dispatcher.model import Outcome, Status

KEPT = 20
"""Outcomes that are shown at the end; of more, only their numbers: the result file has all."""


class Summary(msgspec.Struct, omit_defaults=True):
    """What became of a run, as `--json` prints it.

    Attributes:
        operation: of its jobs.
        items: tokens (or groups, ...) enqueued.
        jobs: they are in; their ids are `<job>#1` and so on.
        job: what the ids begin with.
        seconds: from the first job enqueued to the last outcome.
        last_line: of the file, that was enqueued.
        skipped: rows by what was wrong with them.
        settled: outcomes by status, and code if there is one.
        outcomes: what they are, unless there are many.
        failure: why it ended early.
    """

    operation: str = ""
    items: int = 0
    jobs: int = 0
    job: str = ""
    seconds: float = 0.0
    last_line: int = 0
    skipped: dict[str, int] = {}
    settled: dict[str, int] = {}
    outcomes: list[Outcome] = []
    failure: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything was enqueued, and whatever was waited for was done."""
        return not self.failure and all(name == Status.DONE for name in self.settled)


def as_text(summary: Summary, *, dry_run: bool, waited: bool) -> str:
    """The summary for people."""
    jobs = amount(summary.jobs, "job")
    if dry_run:
        lines = [f"{summary.items:,} would make {jobs}; nothing was enqueued"]
    elif not waited:
        last = f" to #{summary.jobs}" if summary.jobs > 1 else ""
        lines = [f"{summary.operation}: {summary.items:,} enqueued as {jobs}, {summary.job}#1{last}"]
    elif 0 < summary.items <= KEPT:
        lines = [line for outcome in summary.outcomes for line in _shown(outcome)]
    else:
        rate = summary.items / summary.seconds if summary.seconds else 0
        lines = [
            f"{summary.operation}: {summary.items:,} in {summary.seconds:.1f} s ({rate:,.0f}/s) as {jobs}",
            *(f"  {count:>12,} {name}" for name, count in summary.settled.items()),
        ]
    if summary.skipped:
        lines.append(f"rows skipped: {amounts(summary.skipped)}")
    return "\n".join(lines)


def _shown(outcome: Outcome) -> list[str]:
    """One outcome, and below it what the service gave."""
    lines = [as_line(outcome)]
    if outcome.replacement_token:
        lines.append(f"  token: {outcome.replacement_token}")
    if bytes(outcome.result):
        lines.append(f"  {bytes(outcome.result).decode()}")
    return lines


class ResultFile:
    """One outcome a line, as producers read them (docs/schemas/outcomes.json), written as they come."""

    def __init__(self, path: Path | None) -> None:
        """`-`: standard output; None: nothing is written.

        Raises:
            SettingsError: it cannot be written.
        """
        self._stack = ExitStack()
        self._file: TextIO | None = None
        if path is not None and str(path) == "-":
            self._file = sys.stdout
        elif path is not None:
            try:
                self._file = self._stack.enter_context(path.open("w", encoding="utf-8"))
            except OSError as error:
                raise SettingsError(f"--results {path}: cannot be written ({error.strerror})") from None

    def write(self, outcomes: list[Outcome]) -> None:
        """Appends outcomes."""
        if self._file is not None and outcomes:
            self._file.write("".join(f"{msgspec.json.encode(outcome).decode()}\n" for outcome in outcomes))
            self._file.flush()

    def close(self) -> None:
        """Nothing more comes."""
        self._stack.close()

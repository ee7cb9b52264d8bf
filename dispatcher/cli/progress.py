"""How far a command has come that enqueues a file, on a terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


def say(text: str) -> None:
    """A line on standard error."""
    sys.stderr.write(f"{text}\n")


class Bars:
    """Two bars on a terminal: how much of the file is read and enqueued, and settled; nothing elsewhere."""

    def __init__(self, size: int, *, waits: bool) -> None:
        """`size`: bytes of the file, 0: nobody knows; `waits`: outcomes are waited for, so there is a second bar."""
        console = Console(stderr=True)
        self._shown = console.is_terminal
        columns = (
            TextColumn("{task.description:<9}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[count]:>12,}"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console, disable=not self._shown, transient=True)
        self._enqueued = self._progress.add_task("enqueued", total=size or None, count=0)
        self._settled = self._progress.add_task("settled", total=None, count=0, visible=waits)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """A line above the bars."""
        if self._shown:
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            say(text)

    def read(self, nbytes: int) -> None:
        """So much of the file has been read."""
        if self._shown:
            self._progress.update(self._enqueued, completed=nbytes)

    def enqueued(self, items: int) -> None:
        """So many tokens (or groups, ...) are in the queue."""
        if self._shown:
            self._progress.update(self._enqueued, count=items)
            self._progress.update(self._settled, total=items)

    def settled(self, items: int) -> None:
        """Of so many it is known what became of them."""
        if self._shown:
            self._progress.update(self._settled, completed=items, count=items)

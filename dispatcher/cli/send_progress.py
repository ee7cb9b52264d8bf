"""How far `dispatcher send --tokens` has come, on a terminal."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import BinaryIO, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


def say(text: str) -> None:
    """A line on standard error."""
    sys.stderr.write(f"{text}\n")


class Counted:
    """A file that knows how much of it was read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end."""
        block = self._file.read(size)
        self.count += len(block)
        return block


class Bars:
    """Two bars on a terminal: how much of the file is read and enqueued, and settled; nothing elsewhere."""

    def __init__(self, size: int, *, waiting: bool) -> None:
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
        self._settled = self._progress.add_task("settled", total=None, count=0, visible=waiting)

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
        self._progress.update(self._enqueued, completed=nbytes)

    def enqueued(self, tokens: int) -> None:
        """So many tokens are in the queue."""
        if self._shown:
            self._progress.update(self._enqueued, count=tokens)
            self._progress.update(self._settled, total=tokens)

    def settled(self, tokens: int) -> None:
        """Of so many it is known what became of them."""
        if self._shown:
            self._progress.update(self._settled, completed=tokens, count=tokens)

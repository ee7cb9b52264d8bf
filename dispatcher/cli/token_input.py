"""A file of tokens, or standard input, as options name it: how it is read, its tokens, and what was wrong with its rows."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, BinaryIO, Literal

import msgspec
import typer

from dispatcher.cli.progress import say
from dispatcher.client.token_file import Form, Piece, TokenFile, cut, form_of
from dispatcher.errors import SettingsError

SHOWN = 20
"""Bad rows that are named; of more, the number is told."""

BadRows = Literal["skip", "stop"]

FileForm = Annotated[
    Form | None,
    typer.Option("--format", help="How that file is written, if not by its name.", show_default=False),
]
Column = Annotated[
    str,
    typer.Option(
        "--column", help="Its column (CSV) or member (JSON lines) with the tokens.", show_default=False
    ),
]


class FileOptions(msgspec.Struct, kw_only=True):
    """How a file of tokens is read.

    Attributes:
        form: how it is written; None: by its name.
        column: of a CSV file, member of JSON lines; "": `token` and the like.
        from_line: pass over the rows before.
        bad_rows: what to do at a row that is no token.
    """

    form: Form | None = None
    column: str = ""
    from_line: int = 1
    bad_rows: BadRows = "skip"


def file_options(
    *,
    form: FileForm = None,
    column: Column = "",
    bad_rows: Annotated[
        BadRows, typer.Option(help="What to do at a row that is no token, or the same again.")
    ] = "skip",
    from_line: Annotated[int, typer.Option(min=1, help="Pass over the rows before this line.")] = 1,
) -> FileOptions:
    """What these options say of a file."""
    return FileOptions(form=form, column=column, from_line=from_line, bad_rows=bad_rows)


class StopError(ValueError):
    """A bad row, where they are to end the run."""


class TokenInput:
    """The tokens of one file, each once; bad rows are told and skipped, or end the run. Close it.

    Attributes:
        name: of the file for people.
        size: its bytes; 0: nobody knows.
        from_line: rows before this line are passed over.
        skipped: rows by what was wrong with them.
        say: tells of a bad row.
    """

    def __init__(self, file: Path, options: FileOptions, flag: str = "--tokens") -> None:
        """`file`: `-` is standard input; `flag`: the option that names it.

        Raises:
            SettingsError: it cannot be opened.
        """
        stdin = str(file) == "-"
        try:
            # Standard input has no name and no size, and is not ours to close.
            self._file: BinaryIO = sys.stdin.buffer if stdin else file.open("rb", buffering=0)
        except OSError as error:
            raise SettingsError(f"{flag} {file}: cannot be read ({error.strerror})") from None
        self.name = "standard input" if stdin else str(file)
        self.size = 0 if stdin else file.stat().st_size
        self.from_line = options.from_line
        self.skipped: Counter[str] = Counter()
        self.say: Callable[[str], None] = say
        self._stop = options.bad_rows == "stop"
        self._counted = _Counted(self._file)
        self._rows = TokenFile(
            self._counted,
            options.form or form_of(file.name),
            self._bad,
            column=options.column,
            size=self.size,
            from_line=options.from_line,
        )

    def close(self) -> None:
        """Closes the file, unless it is standard input."""
        if self._file is not sys.stdin.buffer:
            self._file.close()

    @property
    def read(self) -> int:
        """Bytes that were read so far."""
        return self._counted.nbytes

    @property
    def hidden(self) -> int:
        """Bad rows that were skipped without a word."""
        return max(0, self.skipped.total() - SHOWN)

    @property
    def forgetful(self) -> bool:
        """Whether there were more tokens than are remembered, so that far repetitions were not found."""
        return self._rows.forgetful

    def pieces(self, most: int) -> Iterator[Piece]:
        """At most so many tokens at a time.

        Raises:
            TokenFileError, StopError, OSError: it cannot be read on; what came before is good.
        """
        return cut(self._rows, most)

    def _bad(self, line: int, reason: str) -> None:
        if self._stop:
            raise StopError(f"line {line}: {reason}")
        kind = "repeated" if reason.startswith("the same") else reason.partition(":")[0].partition(" (")[0]
        self.skipped[kind] += 1
        if self.skipped.total() <= SHOWN:
            self.say(f"{self.name}:{line}: {reason}; skipped")


class _Counted:
    """A file whose bytes are counted as they are read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.nbytes = 0

    def read(self, size: int) -> bytes:
        block = self._file.read(size)
        self.nbytes += len(block)
        return block

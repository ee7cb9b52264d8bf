"""What management jobs are about, from options or files of any size, in pieces of one job."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec

from dispatcher.client.token_file import Form, TokenFile, cut, fault_of, form_of
from dispatcher.errors import SettingsError

SHOWN = 20
"""Bad rows that are named; of more, the number is told."""

BadRows = Literal["skip", "stop"]


class StopError(ValueError):
    """A bad row, where they are to end the run."""


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


class Ask(msgspec.Struct):
    """One job to be: its request, how many outcomes it will have, and the last line that it came from (0: no file)."""

    request: dict[str, Any]
    items: int
    last_line: int = 0


class Tokens:
    """Tokens from options or from one file, each once.

    Attributes:
        name: of the file for people; "": there is none.
        size: its bytes; 0: nobody knows.
        read: bytes of it that were read.
        skipped: rows by what was wrong with them.
        from_line: rows of the file before this line are passed over.
    """

    def __init__(
        self, given: list[str] | None, file: Path | None, options: FileOptions, *, flag: str = "--token"
    ) -> None:
        """`flag` names a single one; the file's is the same with an s.

        Raises:
            SettingsError: neither or both were given, one can be no token, or the file cannot be opened.
        """
        self.name = ""
        self.size = self.read = 0
        self.skipped: Counter[str] = Counter()
        self.say: Callable[[str], None] = _say
        self.from_line = options.from_line
        self._flag = flag
        self._given = list(dict.fromkeys(given or []))
        self._options = options
        self._file: BinaryIO | None = None
        if bool(self._given) == (file is not None):
            raise SettingsError(
                f"give {flag} (several times for several) or a file with {flag}s, one of them"
            )
        for token in self._given:
            fault = fault_of(token.encode())
            if fault:
                raise SettingsError(f"{flag}: {fault}")
        if file is not None:
            self._open(file)

    def _open(self, file: Path) -> None:
        stdin = str(file) == "-"
        try:
            self._file = sys.stdin.buffer if stdin else file.open("rb", buffering=0)
        except OSError as error:
            raise SettingsError(f"{self._flag}s {file}: cannot be read ({error.strerror})") from None
        self.name = "standard input" if stdin else str(file)
        self.size = 0 if stdin else file.stat().st_size
        options = self._options
        source = _Counted(self._file, self)
        self._rows = TokenFile(
            source,
            options.form or form_of(file.name),
            self._bad,
            column=options.column,
            size=self.size,
            from_line=options.from_line,
        )

    def close(self) -> None:
        """Closes the file; standard input is not ours to close."""
        if self._file is not None and self._file is not sys.stdin.buffer:
            self._file.close()

    def pieces(self, most: int) -> Iterator[tuple[list[str], int]]:
        """At most so many tokens at a time, and the last line that they come from.

        Raises:
            TokenFileError, StopError, OSError: it cannot be read on; what came before is good.
        """
        if self._file is None:
            for start in range(0, len(self._given), most):
                yield self._given[start : start + most], 0
            return
        for piece in cut(self._rows, most):
            yield [token.decode() for token in piece.tokens], piece.last_line

    def _bad(self, line: int, reason: str) -> None:
        if self._options.bad_rows == "stop":
            raise StopError(f"line {line}: {reason}")
        kind = "repeated" if reason.startswith("the same") else reason.partition(":")[0].partition(" (")[0]
        self.skipped[kind] += 1
        if self.skipped.total() <= SHOWN:
            self.say(f"{self.name}:{line}: {reason}; skipped")


class _Counted:
    """A file whose bytes are counted as they are read."""

    def __init__(self, file: BinaryIO, tokens: Tokens) -> None:
        self._file = file
        self._tokens = tokens

    def read(self, size: int) -> bytes:
        block = self._file.read(size)
        self._tokens.read += len(block)
        return block


def subscriptions(file: Path, flag: str, *, with_token: bool = False) -> Iterator[Ask]:
    """Web push subscriptions: one JSON object, or one a line.

    Args:
        file: `-`: standard input.
        flag: the option that names it.
        with_token: each is `{"token": ..., "subscription": {...}}`.

    Raises:
        SettingsError: it cannot be read, or holds something else; the sentence names the line.
    """
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{flag} {file}: cannot be read ({error})") from None
    rows = _rows(text, f"{flag} {file}")
    for line, row in rows:
        if with_token and not (
            isinstance(row.get("token"), str) and isinstance(row.get("subscription"), dict)
        ):
            raise SettingsError(
                f'{flag} {file}: line {line}: write {{"token": "...", "subscription": {{...}}}}'
            )
        yield Ask(row if with_token else {"subscription": row}, 1, line)


def _rows(text: str, where: str) -> list[tuple[int, dict[str, Any]]]:
    try:
        whole = json.loads(text)
    except ValueError:
        numbered = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        try:
            found = [(number, json.loads(line)) for number, line in numbered]
        except ValueError as error:
            raise SettingsError(f"{where}: neither one JSON object nor one a line ({error})") from None
    else:
        found = list(enumerate(whole, 1)) if isinstance(whole, list) else [(1, whole)]
    if not found:
        raise SettingsError(f"{where}: nothing in it")
    for number, row in found:
        if not isinstance(row, dict):
            raise SettingsError(f"{where}: line {number}: no JSON object")
    return found


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")

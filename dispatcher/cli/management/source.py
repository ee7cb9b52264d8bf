"""What management jobs are about, from options or files of any size, in pieces of one job."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from dispatcher.cli.token_input import FileOptions, TokenInput
from dispatcher.client.token_file import fault_of
from dispatcher.errors import SettingsError


class Ask(msgspec.Struct):
    """One job to be: its request, how many outcomes it will have, and the last line that it came from (0: no file)."""

    request: dict[str, Any]
    items: int
    last_line: int = 0


class Tokens:
    """Tokens from options or from one file, each once.

    Attributes:
        file: that they are in; None: options named each.
    """

    def __init__(
        self, given: list[str] | None, file: Path | None, options: FileOptions, *, flag: str = "--token"
    ) -> None:
        """`flag` names a single one; the file's is the same with an s.

        Raises:
            SettingsError: neither or both were given, one can be no token, or the file cannot be opened.
        """
        self._given = list(dict.fromkeys(given or []))
        if bool(self._given) == (file is not None):
            raise SettingsError(
                f"give {flag} (several times for several) or a file with {flag}s, one of them"
            )
        for token in self._given:
            fault = fault_of(token.encode())
            if fault:
                raise SettingsError(f"{flag}: {fault}")
        self.file = TokenInput(file, options, f"{flag}s") if file is not None else None

    def pieces(self, most: int) -> Iterator[tuple[list[str], int]]:
        """At most so many tokens at a time, and the last line that they come from (0: no file).

        Raises:
            TokenFileError, StopError, OSError: the file cannot be read on; what came before is good.
        """
        if self.file is None:
            for start in range(0, len(self._given), most):
                yield self._given[start : start + most], 0
            return
        for piece in self.file.pieces(most):
            yield [token.decode() for token in piece.tokens], piece.last_line

    def asks(self, most: int, request: Callable[[list[str]], dict[str, Any]]) -> Iterator[Ask]:
        """A job for each piece.

        Args:
            most: tokens of one job.
            request: what it asks for, of these tokens.
        """
        for piece, line in self.pieces(most):
            yield Ask(request(piece), len(piece), line)


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

"""Registration tokens out of files of any size: one a line, CSV, or JSON lines, plain or gzipped.

Read in blocks of a megabyte, and looked at as blocks: only a block in which something is wrong is taken apart row by
row. What cannot be a token is handed to whoever reads, with the number of its line.
"""

from __future__ import annotations

import csv
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Literal, Protocol

import msgspec

from dispatcher.client.seen import CAPACITY, Seen

Form = Literal["txt", "csv", "jsonl"]

BLOCK = 1 << 20
"""Bytes read at a time."""
LONGEST_LINE = 16 << 20
"""Bytes after which a file without a line end is given up."""
MAX_TOKEN = 4096
"""Bytes of a token: FCM's are below 300, and nobody has seen one beyond this."""
CSV_ROWS = 5000
"""Rows of a CSV file looked at together."""

COLUMNS = ("token", "registration_token", "fcm_token", "device_token", "registrationtoken", "fcmtoken")
"""Names of the column with the tokens, if none is given."""

_NO_SIGN = re.compile(rb"[^!#-\[\]-~]")
_NO_TOKEN = re.compile(rb"[^!#-\[\]-~\n]")
_SHORT = 60
_BOMS = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}

Bad = Callable[[int, str], None]
"""Takes the number of a line and what is wrong with it; may raise to end the reading."""


class Bytes(Protocol):
    """What is read from: a file that was opened for bytes, or something like it."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none at the end."""
        ...


Rows = tuple[Sequence[bytes], Sequence[int]]
"""Tokens and the numbers of their lines."""


class TokenFileError(ValueError):
    """The file cannot be read on: it is cut off, in another encoding, or has no column with tokens."""


class TokenFile:
    """The tokens of one file, each once.

    Args:
        file: opened for reading bytes.
        form: how it is written.
        bad: told of each row that is no token.
        column: CSV: the column's name; JSON lines: the member's. "": one of COLUMNS; `token`.
        size: bytes of the file, if known and not packed: how many tokens to expect.
        from_line: rows before this line are passed over.

    Attributes:
        line: number of lines read so far.
    """

    def __init__(
        self, file: Bytes, form: Form, bad: Bad, *, column: str = "", size: int = 0, from_line: int = 1
    ) -> None:
        self._file = file
        self._form = form
        self._bad = bad
        self._column = column
        self._size = size
        self._from_line = from_line
        self._seen: Seen | None = None
        self.line = 0

    @property
    def forgetful(self) -> bool:
        """Whether there were more tokens than are remembered, so that far repetitions were not found."""
        return self._seen is not None and self._seen.overflowed

    def __iter__(self) -> Iterator[Rows]:
        """Tokens, a block at a time.

        Raises:
            TokenFileError: it cannot be read on; what came before is good.
        """
        blocks = _whole_lines(_unpacked(self._file, lambda: self.line))
        if self._form == "csv":
            rows = self._csv(blocks)
        else:
            rows = map(self._txt if self._form == "txt" else self._json, blocks)
        for tokens, lines in rows:
            fresh = self._fresh(tokens, lines)
            if fresh[0]:
                yield fresh

    def _fresh(self, tokens: Sequence[bytes], lines: Sequence[int]) -> Rows:
        """Without what was there before, or stands before the first line that is wanted."""
        if lines and lines[0] < self._from_line:
            wanted = [place for place, line in enumerate(lines) if line >= self._from_line]
            tokens, lines = [tokens[place] for place in wanted], [lines[place] for place in wanted]
        if self._seen is None:
            self._seen = Seen(self._expected(tokens))
        repeated = self._seen.repeated(tokens)
        if not repeated:
            return tokens, lines
        for place in repeated:
            self._bad(lines[place], "the same token as in an earlier line")
        gone = set(repeated)
        kept = [place for place in range(len(tokens)) if place not in gone]
        return [tokens[place] for place in kept], [lines[place] for place in kept]

    def _expected(self, first: Sequence[bytes]) -> int:
        if not self._size or not first or self._form != "txt":
            return CAPACITY
        average = sum(map(len, first)) / len(first) + 1
        return min(CAPACITY, int(self._size / average * 1.2) + BLOCK)

    def _report(self, line: int, reason: str) -> None:
        if line >= self._from_line:
            self._bad(line, reason)

    def _checked(self, block: bytes, lines: Sequence[int]) -> Rows:
        """Of tokens one a line those that can be tokens."""
        tokens = block.split(b"\n")
        if (
            _NO_TOKEN.search(block) is None
            and b"" not in (tokens[0], tokens[-1])
            and b"\n\n" not in block
            and max(map(len, tokens)) <= MAX_TOKEN
        ):
            return tokens, lines
        good, places = [], []
        for token, line in zip(tokens, lines, strict=True):
            text = token.strip(b" \t\r")
            fault = fault_of(text)
            if fault:
                self._report(line, fault)
            else:
                good.append(text)
                places.append(line)
        return good, places

    def _txt(self, block: bytes) -> Rows:
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n")
        first = self.line + 1
        self.line += block.count(b"\n") + 1
        return self._checked(block, range(first, self.line + 1))

    def _json(self, block: bytes) -> Rows:
        lines = block.split(b"\n")
        first = self.line + 1
        self.line += len(lines)
        decode = _decoder(self._column or "token")
        try:
            tokens: list[str] = decode(b"[" + b",".join(lines) + b"]")
        except (msgspec.DecodeError, UnicodeDecodeError):
            tokens = []
        if len(tokens) == len(lines):
            text = "\n".join(tokens).encode()
            if text.count(b"\n") == len(lines) - 1:
                return self._checked(text, range(first, self.line + 1))
        good, places = [], []
        for number, line in enumerate(lines, first):
            fault = ""
            try:
                token = decode(b"[" + line + b"]") if line.strip() else [""]
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                fault = f'neither a JSON string nor an object with "{self._column or "token"}" ({error})'
            else:
                fault = fault_of(token[0].encode()) if len(token) == 1 else "more than one value"
            if fault:
                self._report(number, fault)
            else:
                good.append(token[0].encode())
                places.append(number)
        return good, places

    def _csv(self, blocks: Iterator[bytes]) -> Iterator[Rows]:
        lines = chain.from_iterable(map(_texts, blocks))
        head = next(lines, None)
        if head is None:
            return
        delimiter = max(",;\t", key=head.count)
        reader = csv.reader(chain([head], lines), delimiter=delimiter)
        try:
            first = next(reader)
            place = self._place(first)
            if place is None:
                place = 0
                yield self._cells([(reader.line_num, first)], place)
            while rows := [(reader.line_num, row) for row in islice(reader, CSV_ROWS)]:
                self.line = rows[-1][0]
                yield self._cells(rows, place)
        except csv.Error as error:
            raise TokenFileError(f"line {reader.line_num}: no CSV ({error})") from None

    def _place(self, head: list[str]) -> int | None:
        """The column with the tokens; None: there is one column, and no header."""
        names = [cell.strip().lower() for cell in head]
        for name in [self._column.lower()] if self._column else COLUMNS:
            if name in names:
                return names.index(name)
        if not self._column and len(head) == 1:
            return None
        shown = ", ".join(name for name in names if name)[:200]
        raise TokenFileError(
            f"line 1: no column {self._column or 'token'} among: {shown}; name it with --column"
        )

    def _cells(self, rows: list[tuple[int, list[str]]], place: int) -> Rows:
        try:
            cells = [row[place] for _, row in rows]
        except IndexError:
            cells = [row[place] if len(row) > place else "" for _, row in rows]
        text = "\n".join(cells).encode("utf-8", "surrogateescape")
        if text.count(b"\n") != len(cells) - 1:
            text = "\n".join(cell.replace("\n", " ") for cell in cells).encode("utf-8", "surrogateescape")
        return self._checked(text, [line for line, _ in rows])


class Piece(msgspec.Struct, gc=False):
    """Tokens of one job, and the first and last line they stand in."""

    tokens: list[bytes]
    first_line: int
    last_line: int


def cut(rows: Iterable[Rows], most: int) -> Iterator[Piece]:
    """Pieces of so many tokens, the last one of fewer; if the rows end with an error, that comes behind the last piece."""
    rest: list[bytes] = []
    first_line = last_line = 0
    failure: Exception | None = None
    source = iter(rows)
    while True:
        try:
            tokens, lines = next(source)
        except StopIteration:
            break
        except Exception as error:  # noqa: BLE001 - raised below, once what came before is out
            failure = error
            break
        start = 0
        while len(tokens) - start + len(rest) >= most:
            end = start + most - len(rest)
            yield Piece([*rest, *tokens[start:end]], first_line if rest else lines[start], lines[end - 1])
            rest, start = [], end
        if start < len(tokens):
            if not rest:
                first_line = lines[start]
            rest += tokens[start:]
            last_line = lines[-1]
    if rest:
        yield Piece(rest, first_line, last_line)
    if failure is not None:
        raise failure


def fault_of(token: bytes) -> str:
    """Why these bytes cannot be a token, for people; "": they can."""
    if not token:
        return "blank"
    if len(token) > MAX_TOKEN:
        return f"no token: {len(token)} bytes"
    strange = _NO_SIGN.search(token)
    if strange is None:
        return ""
    sign = strange[0]
    if sign >= b"\x80":
        return f"no token: byte 0x{sign.hex()}; the file may be in another encoding than UTF-8"
    shown = token[:_SHORT].decode("ascii", "replace")
    return f"no token: found {sign.decode('ascii')!r} in {shown[:12]!r}"


def form_of(name: str) -> Form:
    """How a file is written, by its name: `.csv`, `.jsonl` or `.ndjson`, with or without `.gz`; else one token a line."""
    plain = name.lower().removesuffix(".gz")
    if plain.endswith((".csv", ".tsv")):
        return "csv"
    return "jsonl" if plain.endswith((".jsonl", ".ndjson")) else "txt"


def _texts(block: bytes) -> list[str]:
    lines = block.decode("utf-8", "surrogateescape").replace("\r\n", "\n").split("\n")
    return [line + "\n" for line in lines]


def _decoder(column: str) -> Callable[[bytes], list[str]]:
    found = _DECODERS.get(column)
    if found is None:
        row: Any = msgspec.defstruct("Row", [("token", str)], rename={"token": column}, gc=False)
        decode = msgspec.json.Decoder(list[row | str]).decode

        def tokens(text: bytes) -> list[str]:
            values: list[Any] = decode(text)
            return [value if type(value) is str else value.token for value in values]

        found = _DECODERS[column] = tokens
    return found


_DECODERS: dict[str, Callable[[bytes], list[str]]] = {}


def _whole_lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes cut at line ends, the last of each left out."""
    rest: list[bytes] = []
    for block in blocks:
        end = block.rfind(b"\n")
        if end < 0:
            rest.append(block)
            if sum(map(len, rest)) > LONGEST_LINE:
                raise TokenFileError("a line of more than 16 MB: this is no list of tokens")
            continue
        yield b"".join([*rest, block[:end]])
        rest = [block[end + 1 :]]
    last = b"".join(rest)
    if last:
        yield last


def _unpacked(file: Bytes, line: Callable[[], int]) -> Iterator[bytes]:
    """The bytes of a file, unpacked if it is gzipped, without a byte order mark."""
    block = file.read(BLOCK)
    if block[:2] in _BOMS or (block[:4].count(b"\0") >= 2 and block[:2] != b"\x1f\x8b"):
        raise TokenFileError(
            f"line 1: the file is in {_BOMS.get(block[:2], 'UTF-16 or UTF-32')}; make it UTF-8: iconv -f utf-16 -t utf-8"
        )
    source = _gunzipped(file, block, line) if block[:2] == b"\x1f\x8b" else _plain(file, block)
    first = next(source, b"")
    yield first.removeprefix(b"\xef\xbb\xbf")
    yield from source


def _plain(file: Bytes, block: bytes) -> Iterator[bytes]:
    while block:
        yield block
        block = file.read(BLOCK)


def _gunzipped(file: Bytes, block: bytes, line: Callable[[], int]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        while block:
            # A little may hold a lot: no more than a block comes out at a time.
            text = unpacker.decompress(block, BLOCK)
            if text:
                yield text
            if unpacker.eof:
                # Zeros behind the end are padding.
                block = unpacker.unused_data.lstrip(b"\0") or file.read(BLOCK).lstrip(b"\0")
                if block:
                    unpacker = zlib.decompressobj(wbits=31)
            else:
                block = unpacker.unconsumed_tail or file.read(BLOCK)
        cut_off = not unpacker.eof
    except zlib.error:
        cut_off = True
    if cut_off:
        raise TokenFileError(f"after line {line()}: the gzip file is cut off or damaged; fetch it again")

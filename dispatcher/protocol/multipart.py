"""multipart/mixed, read tolerantly and written strictly (batch wire rules, sections 3 and 5.2).

The one rule that everything rests on: only a *delimiter line* ends a part, a line that holds nothing but
`--boundary`, or `--boundary--` for the last, and white space behind it. Lengths that peers announce may be wrong (one
SDK counts UTF-16 units), and the text of a message may contain anything, the boundary too. The line end in
front of a delimiter belongs to the delimiter. CRLF and LF may be mixed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

import msgspec

from dispatcher.errors import MultipartError

_BARE_BOUNDARY = re.compile(r"[0-9A-Za-z_-]{1,70}")
# RFC 2046, section 5.1.1: these and no others, at most 70, not ending in a space (we allow none at all).
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=?]{1,70}")
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))')
_FOLD = re.compile(r"\r?\n[ \t]+")


class Part(msgspec.Struct, gc=False):
    """One part of a multipart body.

    Attributes:
        headers: unfolded; names in lower case; repeated ones joined by a comma.
        body: what follows the blank line, without the line end that belongs to the delimiter.
        headed: a blank line ended the headers; otherwise the part broke off before, and they may be cut short.
        ended: a delimiter line ended the part; otherwise it is the last of a body without a closing delimiter, and
            whatever it holds may be cut short.
    """

    headers: dict[str, str]
    body: bytes
    headed: bool = True
    ended: bool = True


class Multipart(msgspec.Struct, gc=False):
    """The parts of a body in their order, and whether the closing delimiter was seen."""

    parts: list[Part]
    closed: bool


def boundary_of(content_type: str | None) -> str | None:
    """The boundary that a Content-Type header names; None if it is not multipart/* or names none."""
    if content_type is None or content_type.lstrip()[:10].lower() != "multipart/":
        return None
    for name, quoted, bare in _PARAMETER.findall(content_type):
        if name.lower() == "boundary":
            return re.sub(r"\\(.)", r"\1", quoted) if quoted else bare or None
    return None


def content_type(boundary: str) -> str:
    """The Content-Type header for a body with this boundary, quoted where the grammar asks for it.

    Raises:
        MultipartError: the boundary is not 1 to 70 of the permitted characters.
    """
    if _BARE_BOUNDARY.fullmatch(boundary):
        return f"multipart/mixed; boundary={boundary}"
    if _BOUNDARY.fullmatch(boundary):
        return f'multipart/mixed; boundary="{boundary}"'
    raise MultipartError(f"boundary {boundary!r} is not 1 to 70 characters of 0-9A-Za-z'()+_,-./:=?")


def read(body: bytes, boundary: str) -> Multipart:
    """Takes a multipart body apart.

    Text before the first delimiter and behind the closing one is ignored, a missing closing delimiter is
    tolerated (`Part.ended`, `Multipart.closed`).

    Args:
        body: the whole body, as far as it arrived.
        boundary: from `boundary_of`.

    Raises:
        MultipartError: there is no delimiter line in it at all.
    """
    parts: list[Part] = []
    start = -1
    for match in _delimiters(boundary).finditer(body):
        end = match.start()
        if end:
            if body[end - 1] != 10:  # no line end in front: text
                continue
            end -= 2 if body[end - 2 : end - 1] == b"\r" else 1
        if start >= 0:
            parts.append(_part(body[start : max(start, end)], ended=True))
        if match[1]:
            return Multipart(parts, closed=True)
        start = match.end()
    if start < 0:
        raise MultipartError(f"no line --{boundary} in a multipart body of {len(body)} bytes")
    last = _without_torn_delimiter(body[start:], boundary)
    if last.strip():
        parts.append(_part(last, ended=False))
    return Multipart(parts, closed=False)


def write(parts: Iterable[tuple[Mapping[str, str], bytes]], boundary: str) -> bytes:
    """Puts parts, each (headers, body), into one multipart body with CRLF line ends and a closing delimiter."""
    delimiter = f"--{boundary}\r\n".encode("latin-1")
    pieces: list[bytes] = []
    for headers, body in parts:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        pieces += (delimiter, head.encode("latin-1", "replace"), b"\r\n", body, b"\r\n")
    pieces.append(f"--{boundary}--\r\n".encode("latin-1"))
    return b"".join(pieces)


def split_head(text: bytes) -> tuple[bytes, bytes] | None:
    """Splits at the first blank line into (header lines, body); None if there is none."""
    crlf, lf = text.find(b"\n\r\n"), text.find(b"\n\n")
    if text.startswith((b"\n", b"\r\n")):
        return b"", text[2 if text.startswith(b"\r") else 1 :]
    if crlf >= 0 and (lf < 0 or crlf < lf):
        return text[:crlf], text[crlf + 3 :]
    return (text[:lf], text[lf + 2 :]) if lf >= 0 else None


def read_headers(lines: bytes) -> dict[str, str]:
    """Header lines as a dict: unfolded, names in lower case, repeated ones joined by a comma; a line without colon is skipped."""
    headers: dict[str, str] = {}
    text = lines.decode("latin-1")
    if "\n " in text or "\n\t" in text:
        text = _FOLD.sub(" ", text)
    for line in text.split("\n"):
        name, colon, value = line.partition(":")
        if not colon:
            continue
        name = name.strip().lower()
        value = value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


@lru_cache(maxsize=64)  # a server may choose a new boundary for every answer; keep what repeats
def _delimiters(boundary: str) -> re.Pattern[bytes]:
    """Matches a delimiter line from its first hyphen (which must begin a line); group 1 if it is the closing one."""
    escaped = re.escape(boundary.encode("latin-1", "replace"))
    # The line end behind is only looked at: it may be the one before the next delimiter, as an empty part has it.
    return re.compile(rb"--" + escaped + rb"(--)?[ \t]*(?=\r?\n|\r?\Z)")


def _without_torn_delimiter(text: bytes, boundary: str) -> bytes:
    """A last part without the beginning of a delimiter line that broke off at its end."""
    newline = text.rfind(b"\n")
    torn = text[newline + 1 :]
    if newline >= 0 and f"--{boundary}--".encode("latin-1", "replace").startswith(torn):
        return text[: newline - 1 if text[newline - 1 : newline] == b"\r" else newline]
    return text


def _part(text: bytes, *, ended: bool) -> Part:
    # `text` begins with the line end of the delimiter line.
    newline = text.find(b"\n")
    halves = split_head(text[newline + 1 :]) if newline >= 0 else None
    if halves is None:
        return Part(read_headers(text), b"", headed=False, ended=ended)
    return Part(read_headers(halves[0]), halves[1], headed=True, ended=ended)

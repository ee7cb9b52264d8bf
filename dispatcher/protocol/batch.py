"""The `/batch` wire, client side: the request that is written and the answer that is read (batch wire rules).

What the client side is built around: an answer may be short, shuffled, cut off or doubled, and a wrong guess
deletes somebody's token. So every answer is matched by the Content-ID of its part; by position only if no part
carries an id and there are exactly as many as were sent; and a message without a part that is surely its own has an
unknown fate. A gap never shifts the positions behind it.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote

import msgspec

from dispatcher.errors import MultipartError
from dispatcher.model import SendResponse
from dispatcher.protocol import multipart
from dispatcher.protocol.answer import decode_success, is_json_error, read_answer, unknown

MAX_PARTS = 500
"""Messages in one batch request; a server refuses the whole of a larger one."""

_USUAL_HEAD = 1000
"""Bytes of the two heads of a part, up to which they are multiplied by the number of parts; Google's have 200."""

_STATUS_LINE = re.compile(rb"HTTP/\d(?:\.\d)? (\d{3})(?: [^\n]*)?")
_RESPONSE = re.compile(r"response-\s*", re.IGNORECASE)
# The id line of a part head that needs no normalising; its digits in group 1.
_PLAIN_ID = re.compile(
    rb"^content-id:[ \t]*<?response-(?:[^\r\n,%<>]*\+ *)?(\d+)>?[ \t]*\r?$", re.IGNORECASE | re.MULTILINE
)


class BatchAnswer(msgspec.Struct, gc=False):
    """What an answer says of each message sent.

    Attributes:
        responses: one per message, in the order they were sent.
        extras: parts that belong to no message that was sent, worth a log line.
    """

    responses: list[SendResponse]
    extras: int = 0


def encode_request(project: str, bodies: list[bytes], boundary: str) -> bytes:
    """The multipart body of a batch of messages to one project; the n-th has Content-ID n, from 1.

    Args:
        project: Firebase project id.
        bodies: request bodies, as `message.bodies` makes them. They are not searched for the boundary: valid JSON
            cannot hold a line that begins with two hyphens, because its strings hold no raw line ends.
        boundary: 1 to 70 characters; the Content-Type header is `multipart.content_type(boundary)`. May be used
            for many requests.
    """
    count = len(bodies)
    pieces = [b""] * (2 * count + 1)
    pieces[0:-1:2] = _part_heads(project, boundary, (count + 499) // 500 * 500)[:count]
    pieces[1::2] = bodies
    pieces[-1] = f"\r\n--{boundary}--\r\n".encode()
    return b"".join(pieces)


@lru_cache(maxsize=64)  # about 100 kB each; a worker has one boundary and serves its projects in turn
def _part_heads(project: str, boundary: str, count: int) -> list[bytes]:
    # Content-ID is the bare index, as three of the official SDKs send it. No inner Content-Length: the boundary ends
    # the body, and it may be left out.
    return [
        f"\r\n--{boundary}\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\n"
        f"POST /v1/projects/{project}/messages:send HTTP/1.1\r\nContent-Type: application/json\r\n\r\n".encode()
        for number in range(1, count + 1)
    ]


def decode_response(
    content_type: str | None, body: bytes, expected: int, *, date: str | None = None
) -> BatchAnswer | None:
    """Reads the answer to `expected` messages, whatever its shape (batch wire rules, section 5).

    Only for an outer 2xx; `answer.read_error(..., whole_request=True)` reads any other.

    Args:
        content_type: the answer's Content-Type header.
        body: as much of the body as arrived.
        expected: number of messages sent.
        date: the answer's Date header, which Retry-After dates are relative to.

    Returns:
        One response per message. None if the answer is not multipart at all, so that it comes from no batch
        endpoint: the fate of all messages is unknown, and the caller may change the route.
    """
    boundary = multipart.boundary_of(content_type)
    if boundary is None:
        return None
    return _read_orderly(body, boundary, expected, date) or _read_any(body, boundary, expected, date)


def _read_orderly(body: bytes, boundary: str, expected: int, date: str | None) -> BatchAnswer | None:
    """Reads the answer every server sends on a good day, or returns None and leaves it to `_read_any`.

    A good day: CRLF throughout; delimiter lines without white space, the closing one present; `expected` parts
    whose heads differ in nothing but the digits of the id; every id once; every 200 with a name. The heads are
    compared byte by byte with the first, so reading that one right is reading them all right.
    """
    delimiter = b"\n--" + boundary.encode("latin-1", "replace")
    chunks = (b"\r\n" + body).split(b"\r" + delimiter)
    # Chunks: preamble, the parts, what follows the last delimiter. The count finds delimiters after a bare LF.
    if (
        len(chunks) != expected + 2
        or chunks[-1][:4] not in (b"--\r\n", b"--")
        or body.count(delimiter) + body.startswith(delimiter[1:]) != expected + 1
    ):
        return None
    head, _, rest = chunks[1].partition(b"\r\n\r\n")
    template = _id_template(head)
    if template is None:
        return None
    before, after = template
    start, stop = len(before), -len(after) or None
    indexes = _indexes(expected)
    responses: list[SendResponse | None] = [None] * expected
    inner_heads: dict[bytes, tuple[int, str | None]] = {}
    try:
        # How each part begins if it succeeded as the first one and is in its place: then only its end has to be read.
        first = rest.partition(b"\r\n\r\n")[0]
        usual = _usual_heads(before, after, first, expected) if len(head) + len(first) <= _USUAL_HEAD else []
        for number, chunk in enumerate(chunks[1:-1]):
            if usual and chunk.startswith(usual[number]) and responses[number] is None:
                name = decode_success(chunk[len(usual[number]) :]).name
                if not name:
                    return None
                responses[number] = SendResponse(name)
                continue
            head, inner, content = chunk.split(b"\r\n\r\n", 2)
            index = indexes[head[start:stop]]
            if not (head.startswith(before) and head.endswith(after)) or responses[index] is not None:
                return None
            known = inner_heads.get(inner)
            if known is None:
                known = inner_heads[inner] = _orderly_inner_head(inner)
            status, retry_after = known
            if status == 200:
                name = decode_success(content).name
                if not name:
                    return None
                responses[index] = SendResponse(name)
            else:
                responses[index] = read_answer(status, retry_after, date, content)
    except (ValueError, KeyError, RecursionError, msgspec.DecodeError):
        # A head out of shape, an id of none of ours, a 200 without name.
        return None
    # `expected` parts, none of them twice: no response is missing.
    return BatchAnswer(responses)  # type: ignore[arg-type]


# At most 600 kB each: a server begins all its answers alike, and nearly all batches are full.
@lru_cache(maxsize=16)
def _usual_heads(before: bytes, after: bytes, inner: bytes, count: int) -> list[bytes]:
    """The heads of parts 1 to `count` that are accepted, both blank lines included; none if `inner` is no status 200.

    Raises:
        ValueError: `inner` is out of shape.
    """
    if _orderly_inner_head(inner)[0] != 200:
        return []
    return [b"%b%d%b\r\n\r\n%b\r\n\r\n" % (before, number, after, inner) for number in range(1, count + 1)]


def _id_template(head: bytes) -> tuple[bytes, bytes] | None:
    """What stands before and behind the digits of the id in a part head; None if the head is out of the ordinary."""
    if head.count(b"\n") != head.count(b"\r\n") or b"\n " in head or b"\n\t" in head or head[:2] != b"\r\n":
        return None
    found = _PLAIN_ID.search(head)
    if found is None or head.lower().count(b"content-id") != 1:
        return None
    return head[: found.start(1)], head[found.end(1) :]


@lru_cache(maxsize=64)
def _indexes(count: int) -> dict[bytes, int]:
    return {b"%d" % number: number - 1 for number in range(1, count + 1)}


def _orderly_inner_head(inner: bytes) -> tuple[int, str | None]:
    """Status and Retry-After of an inner head; ValueError if it holds a bare LF or no status line."""
    read = None if inner.count(b"\n") != inner.count(b"\r\n") else _inner_head(inner)
    if read is None:
        raise ValueError("inner head out of shape")
    return read


def _inner_head(inner: bytes) -> tuple[int, str | None] | None:
    """Status and Retry-After header of an inner head; None if it does not begin with a status line."""
    line, _, lines = inner.partition(b"\n")
    found = _STATUS_LINE.fullmatch(line.rstrip(b"\r"))
    if found is None:
        return None
    return int(found[1]), multipart.read_headers(lines).get("retry-after")


def _read_any(body: bytes, boundary: str, expected: int, date: str | None) -> BatchAnswer:
    """Reads an answer of any shape; what is not surely one message's own answer becomes nobody's."""
    try:
        parts = multipart.read(body, boundary).parts
    except MultipartError as error:
        return BatchAnswer([SendResponse(error=unknown(str(error))) for _ in range(expected)])
    keys = [_key(part) for part in parts]
    responses: list[SendResponse | None] = [None] * expected
    if not any(keys) and len(parts) == expected:
        return BatchAnswer([_read_part(part, date) for part in parts])
    extras = 0
    doubled = set()
    for part, key in zip(parts, keys, strict=True):
        index = _indexes(expected).get(key.encode("ascii", "replace"))
        if index is None:
            extras += 1
        elif responses[index] is not None:
            extras += 1
            doubled.add(index)
        else:
            responses[index] = _read_part(part, date)
    for index in doubled:
        responses[index] = None
    return BatchAnswer(
        [
            SendResponse(
                error=unknown(
                    f"{'two parts' if index in doubled else 'no part'} of a batch answer "
                    f"({len(parts)} parts for {expected} messages) with the id of this message"
                )
            )
            if response is None
            else response
            for index, response in enumerate(responses)
        ],
        extras,
    )


def _key(part: multipart.Part) -> str:
    """The number that a part's Content-ID ends in; "" if it has none that could be one of ours.

    An id that is no number at all is the server's own invention and says as much as a missing one. A number
    that was never sent is not: it is kept, and matches nothing.
    """
    if not part.headed and not part.ended:
        return ""  # the id itself may have broken off: 1 of 12
    text = part.headers.get("content-id", "").strip()
    if "," in text:
        return ""
    text = text.replace("<", "").replace(">", "").strip()
    found = _RESPONSE.match(text)
    if found:
        text = text[found.end() :]
    text = unquote(text).rpartition("+")[2].strip()
    return text if text.isascii() and text.isdigit() else ""


def _read_part(part: multipart.Part, date: str | None) -> SendResponse:
    """Reads one part; one that cannot be read, or may have broken off, leaves its message's fate unknown."""
    halves = multipart.split_head(part.body)
    if halves is None and part.ended:
        halves = part.body, b""
    read = None if halves is None else _inner_head(halves[0])
    if halves is None or read is None:
        return SendResponse(error=unknown("an unreadable part of a batch answer"))
    status, retry_after = read
    content = halves[1]
    if not part.ended and not 200 <= status < 300 and not is_json_error(content):
        return SendResponse(error=unknown("a part of a batch answer that broke off", status))
    return read_answer(status, retry_after, date, content)

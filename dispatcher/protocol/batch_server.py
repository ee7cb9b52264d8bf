"""The `/batch` wire, server side: the request that is read and the answer that is written (batch wire rules)."""

from __future__ import annotations

import re
from functools import lru_cache
from http import HTTPStatus
from urllib.parse import urlsplit

import msgspec

from dispatcher.errors import MultipartError
from dispatcher.protocol import multipart

_REQUEST_LINE = re.compile(rb"([A-Za-z]+)[ \t]+(\S+)(?:[ \t]+HTTP/\d(?:\.\d)?)?")


class SubRequest(msgspec.Struct, gc=False):
    """One request of a batch, as a server reads it.

    Attributes:
        content_id: as the client wrote it, unfolded; None if it sent none.
        method: upper case.
        path: origin form, with the query; the host of an absolute URL is taken off.
        headers: of the inner request and, where it does not set them, of the part (all but Content-*); names in
            lower case. Shared between parts: not to be changed.
        body: up to the delimiter, whatever an inner Content-Length says, without white space around it.
    """

    content_id: str | None
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class SubAnswer(msgspec.Struct, gc=False):
    """One answer of a batch: to which request, and what.

    Attributes:
        content_id: that of the request, unchanged; None if it had none.
        status: HTTP status.
        body: JSON.
        headers: beside Content-Type, as {"Retry-After": "60"}.
    """

    content_id: str | None
    status: int
    body: bytes
    headers: dict[str, str] = {}


def decode_request(content_type: str | None, body: bytes) -> list[SubRequest]:
    """Takes a batch request apart, in every variant that real clients send (batch wire rules, section 3).

    Raises:
        MultipartError: it is not multipart, a part is no HTTP request, or the closing delimiter is missing and the
            last part is not whole. The number of parts is for the caller to judge (`MAX_PARTS`).
    """
    boundary = multipart.boundary_of(content_type)
    if boundary is None:
        raise MultipartError("Content-Type is not multipart/mixed with a boundary")
    whole = multipart.read(body, boundary)
    heads: dict[bytes, tuple[str, str, dict[str, str]]] = {}
    requests = []
    for number, part in enumerate(whole.parts, start=1):
        halves = multipart.split_head(part.body)
        if not part.headed or (halves is None and not part.ended):
            raise MultipartError(f"part {number} has no blank line behind its headers")
        head, content = halves or (part.body, b"")
        known = heads.get(head)
        if known is None:
            known = heads[head] = _request_head(head, number)
        method, path, headers = known
        inherited = {k: v for k, v in part.headers.items() if not k.startswith("content-")}
        content = content.strip()
        if not part.ended and not _is_json(content):
            raise MultipartError(f"part {number} broke off, and no closing delimiter follows")
        requests.append(
            SubRequest(
                part.headers.get("content-id"),
                method,
                path,
                {**inherited, **headers} if inherited else headers,
                content,
            )
        )
    return requests


def _request_head(head: bytes, number: int) -> tuple[str, str, dict[str, str]]:
    line, _, lines = head.partition(b"\n")
    found = _REQUEST_LINE.fullmatch(line.strip())
    if found is None:
        raise MultipartError(f"part {number} does not begin with a request line")
    path = found[2].decode("latin-1")
    if not path.startswith("/"):
        try:
            url = urlsplit(path)
        except ValueError:
            raise MultipartError(f"part {number} asks for no URL") from None
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return found[1].decode().upper(), path, multipart.read_headers(lines)


def _is_json(content: bytes) -> bool:
    try:
        msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def encode_response(answers: list[SubAnswer], boundary: str) -> bytes:
    """The multipart body of the answers, laid out as Google does; `X` is answered as `response-X`, `<X>` as `<response-X>`."""
    opening = f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: ".encode()
    pieces: list[bytes] = []
    for answer in answers:
        headers = (
            "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
            if answer.headers
            else ""
        )
        pieces += (
            opening,
            _response_id(answer.content_id or ""),
            _response_head(answer.status),
            headers.encode("latin-1", "replace"),
            b"\r\n",
            answer.body,
            b"\r\n",
        )
    pieces.append(f"--{boundary}--\r\n".encode())
    return b"".join(pieces)


def _response_id(content_id: str) -> bytes:
    named = f"<response-{content_id[1:]}" if content_id.startswith("<") else f"response-{content_id}"
    return named.encode("latin-1", "replace")


@lru_cache(maxsize=128)
def _response_head(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return (
        f"\r\n\r\nHTTP/1.1 {status} {phrase}\r\nContent-Type: application/json; charset=UTF-8\r\n"
        "Vary: Origin\r\nVary: X-Origin\r\nVary: Referer\r\n"
    ).encode()

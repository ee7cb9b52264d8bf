"""What passes between the server's sockets and the emulator: one request in, one reply out.

Everything between the two is plain code without sockets, so that it can be tested by calling it.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import msgspec
import orjson

Headers = list[tuple[str, str]]

JSON_TYPE = "application/json; charset=UTF-8"
HTML_TYPE = "text/html; charset=UTF-8"

VARY: Headers = [("vary", "Origin"), ("vary", "X-Origin"), ("vary", "Referer")]
"""Google's front end sends these with every answer; clients that fold headers must bear the repetition."""


class Request(msgspec.Struct):
    """One HTTP request, read in full.

    Attributes:
        method: upper case.
        path: without the query, percent-decoded: the HTTP server gives it so.
        query: the raw query string.
        header: looks a header up by its lower-case name; None: absent.
        body: as it came.
        peer: address and port of the other side, "host:port".
        version: of HTTP: "1.1" or "2".
    """

    method: str
    path: str
    query: str
    header: Callable[[str], str | None]
    body: bytes
    peer: str = ""
    version: str = "1.1"


class Reply(msgspec.Struct):
    """One HTTP response, and what shall go wrong on its way.

    Attributes:
        status: HTTP status.
        headers: names in lower case, in order, repetition allowed.
        body: whole.
        delay: seconds to wait before it is sent.
        cut: close the connection instead of sending anything.
        keep: send only so many bytes of the body that the headers promise, then break off; None: all.
    """

    status: int
    headers: Headers
    body: bytes
    delay: float = 0.0
    cut: bool = False
    keep: int | None = None


def json_reply(value: Any, status: int = 200) -> Reply:
    """A reply that carries `value` as JSON."""
    return Reply(status, [("content-type", JSON_TYPE)], orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS))


def html_reply(status: int, title: str, sentence: str) -> Reply:
    """A front end's error page: what comes when no API answered (batch wire rules, section 6)."""
    body = (
        f"<!DOCTYPE html>\n<html lang=en>\n<title>Error {status} ({title})!!1</title>\n"
        f"<p><b>{status}.</b> <ins>That's an error.</ins>\n<p>{sentence} <ins>That's all we know.</ins>\n"
    )
    return Reply(status, [("content-type", HTML_TYPE)], body.encode())


def not_found(path: str) -> Reply:
    """What Google's front end says to a path nobody serves; it says nothing about any token."""
    return html_reply(
        404, "Not Found", f"The requested URL <code>{escape(path)}</code> was not found on this server."
    )

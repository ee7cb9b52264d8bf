"""What the management services share: a call, the two ways to prove who asks, and how they say no.

Their errors come in three kinds: `{"error":"text"}` (Instance ID, groups), Google's object (v1), and a front end's page;
each reader takes all of them. What follows from an error is for the column `iid` of the table in policy/: here it gets
its `word`, one of those that the services give single tokens, or one of ours where they have nothing but prose.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec
import orjson

from dispatcher.model import Fate, SendError, SendResponse
from dispatcher.protocol.answer import read_error

ACCESS_TOKEN_AUTH = "access_token_auth"  # noqa: S105 - the name of a header
"""Beside a Bearer token; without it the service takes the token for a server key (Instance ID rules, section 1)."""

_INVALID_TOKEN = re.compile(
    r"(invalid|not (a )?valid).{0,40}(token|registration|instance)"
    r"|(token|registration).{0,40}(invalid|not (a )?valid)",
    re.IGNORECASE | re.DOTALL,
)
_TOO_MANY_TOPICS = re.compile(r"too.?many.?topics", re.IGNORECASE)
_TOKEN_WORDS = {"UNREGISTERED": "NOT_FOUND", "SENDER_ID_MISMATCH": "PERMISSION_DENIED"}


class Call(msgspec.Struct, frozen=True):
    """One request to a management service.

    Attributes:
        method: GET, POST or DELETE.
        path: path and query below the service's base URL, percent-encoded: to be sent as it is.
        body: JSON; b"" goes with `Content-Length: 0`.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    body: bytes = b""


class Denied(msgspec.Struct, frozen=True):
    """What a server finds wrong with a request's body, in its words."""

    text: str


def bearer_headers(access_token: str) -> dict[str, str]:
    """The headers of a caller with an OAuth access token."""
    return {"Authorization": f"Bearer {access_token}", ACCESS_TOKEN_AUTH: "true"}


def key_headers(server_key: str) -> dict[str, str]:
    """The header of a caller with a server key; no space stands behind `key=`."""
    return {"Authorization": f"key={server_key}"}


def read_failure(
    status: int, retry_after: str | None, date: str | None, body: bytes, *, about_token: bool = False
) -> SendError:
    """Reads an answer that is no success (Instance ID rules, section 7).

    Args:
        status: HTTP status.
        retry_after: Retry-After header.
        date: Date header, which an HTTP-date in `retry_after` is relative to.
        body: of any kind.
        about_token: the path names one token, so a 404 can be about it. Then only JSON says so: a front end's 404
            page is about the path, and a wrong setting must not wipe a token table.

    Returns:
        An error with the fate `answered`; `whole_request` unless it is about one token.
    """
    error = read_error(status, retry_after, date, body, whole_request=not about_token)
    error.wire = "iid"
    if about_token and error.is_json:
        error.word = _word(error)
    return error


def _word(error: SendError) -> str:
    if error.fcm_code in _TOKEN_WORDS:
        return _TOKEN_WORDS[error.fcm_code]
    if error.http_status == 404:
        return "NOT_FOUND"
    if error.http_status == 400:
        if _TOO_MANY_TOPICS.search(error.reason):
            return "TOO_MANY_TOPICS"
        # A 400 can be about the topic too; only one that names the token is held against the token.
        if _INVALID_TOKEN.search(error.reason):
            return "INVALID_ARGUMENT"
    return ""


def unknown_answer(status: int, reason: str, *, whole_request: bool = False) -> SendResponse:
    """The response where an answer came and does not say what was asked: it may or may not have been done."""
    error = SendError(
        Fate.UNKNOWN, http_status=status, whole_request=whole_request, reason=reason, wire="iid"
    )
    return SendResponse(error=error)


def glance(body: bytes) -> str:
    """The beginning of a body that is not what it should be, on one line."""
    return " ".join(body[:120].decode("utf-8", "replace").split()) or "no body"


def text_error(text: str) -> bytes:
    """The server's side: the body of an error of Instance ID and of device groups."""
    return orjson.dumps({"error": text})

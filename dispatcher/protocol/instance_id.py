"""Instance ID, both directions: what a token is, and the topics it follows (Instance ID rules, sections 2 to 4).

    GET  /iid/info/{token}[?details=true]       what the service knows of a token
    POST /iid/v1/{token}/rel/topics/{topic}     one token follows one topic
    POST /iid/v1:batchAdd, /iid/v1:batchRemove  up to 1,000 tokens follow a topic, or no longer do

Paths are below the base of the Instance ID service. Both bulk calls may be repeated at will.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import quote, unquote

import msgspec
import orjson

from dispatcher.model import Fate, SendError, SendResponse
from dispatcher.protocol.answer import read_retry_after
from dispatcher.protocol.call import Call, Denied, glance, read_failure, unknown_answer

BULK_LIMIT = 1000
"""Tokens in one bulk call."""

_PREFIX = "/topics/"
_DONE = SendResponse()
_REASON_LENGTH = 300


# The client's side.


def info_request(token: str, *, details: bool = False) -> Call:
    """Asks what is known of a token; with `details` also which topics it follows."""
    return Call("GET", f"/iid/info/{quote(token, safe=':')}{'?details=true' if details else ''}")


def relation_request(token: str, topic: str) -> Call:
    """Subscribes one token to a topic (its bare name). There is no such call to end it."""
    return Call("POST", f"/iid/v1/{quote(token, safe=':')}/rel/topics/{quote(topic, safe='')}")


def bulk_request(topic: str, tokens: Sequence[str], *, remove: bool = False) -> Call:
    """Subscribes up to `BULK_LIMIT` tokens to a topic (its bare name), or takes them off it."""
    body = {"to": _PREFIX + topic, "registration_tokens": tokens}
    return Call("POST", "/iid/v1:batchRemove" if remove else "/iid/v1:batchAdd", orjson.dumps(body))


def read_info(status: int, retry_after: str | None, date: str | None, body: bytes) -> SendResponse:
    """Reads the answer to `info_request`: `result` is the service's JSON object.

    Args:
        status: HTTP status.
        retry_after: Retry-After header.
        date: Date header, which an HTTP-date in `retry_after` is relative to.
        body: of any kind.
    """
    if status != 200:
        return SendResponse(error=read_failure(status, retry_after, date, body, about_token=True))
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        return unknown_answer(status, f"HTTP 200 without a JSON object: {glance(body)}")
    return SendResponse(result=orjson.dumps(found))


def read_relation(status: int, retry_after: str | None, date: str | None, body: bytes) -> SendResponse:
    """Reads the answer to `relation_request`; any 200 is success, for there is nothing to say. See `read_info`."""
    if status == 200:
        return _DONE
    return SendResponse(error=read_failure(status, retry_after, date, body, about_token=True))


class _Result(msgspec.Struct, gc=False):
    error: str | dict[str, Any] | None = None


class _Results(msgspec.Struct, gc=False):
    results: list[_Result]


_decode_results = msgspec.json.Decoder(_Results).decode


def read_bulk(
    status: int, retry_after: str | None, date: str | None, body: bytes, count: int
) -> list[SendResponse]:
    """Reads the answer to `bulk_request`.

    Args:
        status: HTTP status.
        retry_after: Retry-After header; that of a 200 counts for the tokens which failed.
        date: Date header, which an HTTP-date in `retry_after` is relative to.
        body: of any kind.
        count: how many tokens were asked for.

    Returns:
        One response a token, in their order. Tokens that no result is about have the fate `unknown`; so have all
        where there are more results than tokens, since nobody can say which belongs to whom.
    """
    if status != 200:
        error = read_failure(status, retry_after, date, body)
        return [SendResponse(error=error)] * count
    try:
        results = _decode_results(body).results
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [unknown_answer(200, f"HTTP 200 without results: {glance(body)}", whole_request=True)] * count
    wait = read_retry_after(retry_after, date) if retry_after is not None else None
    if len(results) == count:
        return [_DONE if result.error is None else _failed(result.error, wait) for result in results]
    lost = unknown_answer(200, f"{len(results)} results for {count} tokens", whole_request=True)
    if len(results) > count:
        return [lost] * count
    found = [_DONE if result.error is None else _failed(result.error, wait) for result in results]
    return found + [lost] * (count - len(found))


def _failed(error: str | dict[str, Any], retry_after: float | None) -> SendResponse:
    if isinstance(error, str):
        word = reason = error
    else:  # google.rpc, should the service ever speak it here
        word = str(error.get("status", ""))
        reason = str(error.get("message", word))
    return SendResponse(
        error=SendError(
            Fate.ANSWERED,
            http_status=200,
            is_json=True,
            retry_after=retry_after,
            reason=reason[:_REASON_LENGTH] or "an error without a name",
            wire="iid",
            word=word[:_REASON_LENGTH] or "UNKNOWN",
        )
    )


# The server's side.

_INFO_PATH = re.compile(r"/iid/info/([^/?]+)").fullmatch
_RELATION_PATH = re.compile(r"/iid/v1/([^/?]+)/rel/topics/([^/?]+)").fullmatch
BULK_PATHS = {"/iid/v1:batchAdd": False, "/iid/v1:batchRemove": True}
"""The paths of the bulk calls, and whether they remove."""


class Asked(msgspec.Struct, frozen=True):
    """What a path asks for; the fields of the other calls are empty."""

    what: Literal["info", "relation", "add", "remove"]
    token: str = ""
    topic: str = ""
    details: bool = False


def read_path(method: str, path: str, query: str = "") -> Asked | None:
    """What a request line asks for; None: nothing that the service has.

    Args:
        method: upper case.
        path: percent-encoded, without the query.
        query: without the question mark.
    """
    if method == "GET":
        found = _INFO_PATH(path)
        details = "details=true" in query.split("&")
        return Asked("info", unquote(found[1]), details=details) if found else None
    if method == "POST":
        if path in BULK_PATHS:
            return Asked("remove" if BULK_PATHS[path] else "add")
        found = _RELATION_PATH(path)
        return Asked("relation", unquote(found[1]), unquote(found[2])) if found else None
    return None


class Bulk(msgspec.Struct, frozen=True):
    """The body of a bulk call: a topic by its bare name, and tokens."""

    topic: str
    tokens: list[str]


class _BulkBody(msgspec.Struct):
    to: str = ""
    registration_tokens: list[str] = []


_decode_bulk = msgspec.json.Decoder(_BulkBody).decode


def decode_bulk(body: bytes) -> Bulk | Denied:
    """Reads the body of a bulk call as strictly as the service does."""
    try:
        found = _decode_bulk(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Denied("InvalidRequest")
    if not found.to.startswith(_PREFIX):
        return Denied("InvalidTopicName")
    if not found.registration_tokens:
        return Denied("MissingRegistrationTokens")
    if len(found.registration_tokens) > BULK_LIMIT:
        return Denied("TooManyRegistrationTokens")
    return Bulk(found.to.removeprefix(_PREFIX), found.registration_tokens)


def encode_results(errors: Sequence[str]) -> bytes:
    """The body of a 200 to a bulk call: one error name a token, "" where there is none."""
    return orjson.dumps({"results": [{"error": error} if error else {} for error in errors]})

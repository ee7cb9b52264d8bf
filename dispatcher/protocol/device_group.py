"""Device groups, both directions: up to 20 tokens behind one notification key (legacy rules, section 5).

    POST /fcm/notification                              create, add, remove
    GET  /fcm/notification?notification_key_name=NAME   the key of a group

Paths are below FCM's base. Every call carries the sender id (the project's number) in the header `SENDER_ID`. Errors are
prose with HTTP 400; the three that say what to do are told apart loosely.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from urllib.parse import parse_qs, quote

import msgspec
import orjson

from dispatcher.model import SendResponse
from dispatcher.protocol.call import Call, Denied, glance, read_failure, unknown_answer

PATH = "/fcm/notification"

SENDER_ID = "project_id"
"""Header of every call: the project's number, not its id, whatever the header's name says."""

MEMBERS_LIMIT = 20
"""Tokens behind one key."""

EXISTS, NOT_FOUND, NO_VALID_MEMBERS = "GROUP_EXISTS", "GROUP_NOT_FOUND", "NO_VALID_MEMBERS"
"""Our words for the texts that say what to do."""

_TEXTS = (
    ("already exist", EXISTS, "ask for its key with group.get"),
    ("no valid registration", NO_VALID_MEMBERS, "every token of it is dead, foreign or misspelt"),
    ("not found", NOT_FOUND, "create it with group.create"),
)

Operation = Literal["create", "add", "remove"]


# The client's side.


def create_request(name: str, tokens: Sequence[str]) -> Call:
    """Makes a group; its name is the sender's own."""
    return _post("create", name, "", tokens)


def add_request(name: str, key: str, tokens: Sequence[str]) -> Call:
    """Adds members. The name protects against a key that belongs to another group."""
    return _post("add", name, key, tokens)


def remove_request(name: str, key: str, tokens: Sequence[str]) -> Call:
    """Takes members out; with the last one the key ends."""
    return _post("remove", name, key, tokens)


def get_request(name: str) -> Call:
    """Asks for a group's key."""
    return Call("GET", f"{PATH}?notification_key_name={quote(name, safe='')}")


def _post(operation: Operation, name: str, key: str, tokens: Sequence[str]) -> Call:
    body = {
        "operation": operation,
        "notification_key_name": name,
        "notification_key": key,
        "registration_ids": tokens,
    }
    return Call("POST", PATH, orjson.dumps({name: value for name, value in body.items() if value != ""}))


class _Key(msgspec.Struct, gc=False):
    notification_key: str = ""


_decode_key = msgspec.json.Decoder(_Key).decode


def read_group(
    status: int, retry_after: str | None, date: str | None, body: bytes, *, removed: bool = False
) -> SendResponse:
    """Reads the answer to any of the calls: `result` is `{"notification_key": ...}`.

    Args:
        status: HTTP status.
        retry_after: Retry-After header.
        date: Date header, which an HTTP-date in `retry_after` is relative to.
        body: of any kind.
        removed: it answers `remove_request`, after which there may be no key any more.
    """
    if status != 200:
        error = read_failure(status, retry_after, date, body)
        if error.is_json and status in (400, 404):
            text = error.reason.lower()
            for part, word, mend in _TEXTS:
                if part in text:
                    error.word = word
                    error.reason = f"{error.reason}; {mend}"
                    break
        return SendResponse(error=error)
    try:
        key = _decode_key(body).notification_key
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return unknown_answer(status, f"HTTP 200 without a JSON object: {glance(body)}")
    if not key and not removed:
        return unknown_answer(status, f"HTTP 200 without a notification key: {glance(body)}")
    return SendResponse(result=key_body(key) if key else b"")


# The server's side.


class Change(msgspec.Struct, frozen=True):
    """The body of a POST; `key` is empty with `create`, `name` may be with the others."""

    operation: Operation
    name: str
    key: str
    tokens: list[str]


class _Body(msgspec.Struct):
    operation: Operation
    notification_key_name: str = ""
    notification_key: str = ""
    registration_ids: list[str] = []


_decode_change = msgspec.json.Decoder(_Body).decode


def decode_change(body: bytes) -> Change | Denied:
    """Reads the body of a POST as strictly as the service does."""
    try:
        found = _decode_change(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Denied("BadRequest")
    if not found.registration_ids:
        return Denied("no valid registration ids")
    if found.operation == "create" and not found.notification_key_name:
        return Denied("notification_key_name is missing")
    if found.operation != "create" and not found.notification_key:
        return Denied("notification_key is missing")
    return Change(
        found.operation, found.notification_key_name, found.notification_key, found.registration_ids
    )


def asked_name(query: str) -> str:
    """The group that the query of a GET names; "": none."""
    return parse_qs(query).get("notification_key_name", [""])[-1]


def key_body(key: str) -> bytes:
    """The body of a success."""
    return orjson.dumps({"notification_key": key})

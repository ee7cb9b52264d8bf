"""The legacy HTTP wire, client side: `POST /fcm/send` and its answers (legacy wire rules, sections 2 to 4).

An answer says something of each recipient by its place alone, so an answer of another length says it of none: what it
leaves open is of unknown fate. Ids are numbers of 64 bits or text; both are kept digit by digit. The server's side is
legacy_server.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import orjson

from dispatcher.model import Fate, SendError, SendResponse, TargetKind
from dispatcher.protocol.answer import read_error, read_retry_after, unknown
from dispatcher.protocol.legacy_message import object_of

PATH = "/fcm/send"

MOST_RECIPIENTS = 1000
"""Registration tokens in one call."""

_MOST_FAILED = 500
"""Members of a group that are believed to have failed; groups have at most 20."""

_DEPRECATED = "DeprecatedApi"
_PATIENT = frozenset({"Unavailable", "InternalServerError"})
"""Errors of one recipient to which the answer's Retry-After applies; a device's own rate has a floor of its own."""
_REASON_LENGTH = 300


class _Result(msgspec.Struct, gc=False):
    message_id: str | int | None = None
    registration_id: str | None = None
    error: str | None = None


class _Answer(msgspec.Struct, gc=False):
    results: list[_Result]


_decode_results = msgspec.json.Decoder(_Answer).decode
# Not orjson: it makes a float of an id beyond 64 bits.
_decode_any = msgspec.json.Decoder(dict[str, Any]).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def encode_request(
    kind: TargetKind, values: Sequence[str], options: bytes = b"", members: bytes = b""
) -> bytes:
    """The body of one call.

    Args:
        kind: of the recipients: `token` (one or up to 1,000), else exactly one topic, condition or group.
        values: the recipients.
        options: see `legacy_message.options`.
        members: see `legacy_message.translate`.
    """
    if kind == "condition":
        recipient = b'"condition":' + orjson.dumps(values[0])
    elif kind == "topic":
        recipient = b'"to":' + orjson.dumps("/topics/" + values[0])
    elif len(values) == 1:
        recipient = b'"to":' + orjson.dumps(values[0])
    else:
        recipient = b'"registration_ids":' + orjson.dumps(values)
    return object_of(recipient, options, members)


def read_answer(
    count: int, status: int, retry_after: str | None, date: str | None, body: bytes
) -> list[SendResponse]:
    """Reads the answer to one call.

    Args:
        count: of its recipients.
        status: HTTP status.
        retry_after: its Retry-After header.
        date: its Date header.
        body: JSON, or text in the form `id=...` or `Error=...`.

    Returns:
        One for each recipient, in their order.
    """
    if not 200 <= status < 300:
        return [SendResponse(error=_refused(count, status, retry_after, date, body))] * count
    wait = read_retry_after(retry_after, date)
    try:
        return _read_results(_decode_results(body).results, count, status, wait)
    except _UNREADABLE:
        pass
    try:
        document = _decode_any(body)
    except _UNREADABLE:
        one = _read_text(body, status, wait) if count == 1 else None
    else:
        if isinstance(document.get("results"), list):
            return _read_results([_loosely(item) for item in document["results"]], count, status, wait)
        if count == 1:
            one = read_group(document, wait) or _read_one(_loosely(document), status, wait)
        else:
            error = document.get("error")
            if isinstance(error, str) and error:
                return [SendResponse(error=_error(error, status, wait, whole=True))] * count
            one = None
    if one is not None:
        return [one]
    lost = SendResponse(error=_lost(f"HTTP {status} with an answer that says nothing of the message", status))
    return [lost] * count


def read_group(document: dict[str, Any], wait: float | None = None) -> SendResponse | None:
    """Reads the answer to a device group, which is the same over XMPP; None: it is no such answer.

    Args:
        document: its keys.
        wait: seconds of a Retry-After header.

    Returns:
        Accepted if any member got it; with the members that did not in `failed_tokens`. A group without members is a
        recipient that is missing; of one in which everybody failed nothing was sent.
    """
    success, failure = document.get("success"), document.get("failure")
    if not _is_count(success) or not _is_count(failure) or "results" in document:
        return None
    if success == failure == 0:
        return SendResponse(
            error=_error("MissingRegistration", 200, None, "the device group has no members: add some")
        )
    if success == 0:
        text = f"none of the {failure} members of the device group got it"
        return SendResponse(error=_error("Unavailable", 200, wait, text))
    if failure == 0:
        return SendResponse()
    listed = document.get("failed_registration_ids")
    # Each once: a member must not have two outcomes.
    failed = dict.fromkeys(
        token for token in (listed if isinstance(listed, list) else ()) if isinstance(token, str) and token
    )
    tokens = list(failed)[:_MOST_FAILED]
    result = {"success": success, "failure": failure, "failed_registration_ids": tokens}
    return SendResponse(result=msgspec.json.encode(result), failed_tokens=tuple(tokens))


def _read_results(results: list[_Result], count: int, status: int, wait: float | None) -> list[SendResponse]:
    if len(results) != count:
        if any(result.error == _DEPRECATED for result in results):
            # A service that is closed does not count its callers' recipients.
            return [SendResponse(error=_error(_DEPRECATED, status, wait, whole=True))] * count
        if len(results) > count:
            return [
                SendResponse(error=_lost(f"{len(results)} results for {count} recipients", status))
            ] * count
    responses = []
    for result in results:
        if result.message_id is not None and not result.error:
            responses.append(SendResponse(str(result.message_id), None, result.registration_id or ""))
        else:
            responses.append(
                _read_one(result, status, wait)
                or SendResponse(error=_lost("a result that says nothing", status))
            )
    if len(responses) < count:
        lost = SendResponse(error=_lost(f"{len(results)} results for {count} recipients", status))
        responses += [lost] * (count - len(responses))
    return responses


def _read_one(result: _Result, status: int, wait: float | None) -> SendResponse | None:
    if result.error:
        alone = result.error in _PATIENT or result.error.startswith("Topics")
        return SendResponse(error=_error(result.error, status, wait if alone else None))
    if result.message_id is None:
        return None
    return SendResponse(str(result.message_id), None, result.registration_id or "")


def _read_text(body: bytes, status: int, wait: float | None) -> SendResponse | None:
    """Reads `id=...` with an optional line `registration_id=...`, or `Error=...`; None: it is neither."""
    try:
        lines = body.decode().splitlines()
    except UnicodeDecodeError:
        return None
    pairs = [line.partition("=") for line in lines]
    if not pairs or not pairs[0][2].strip():
        return None
    name, value = pairs[0][0].strip(), pairs[0][2].strip()
    if name == "Error":
        return _read_one(_Result(error=value), status, wait)
    if name != "id":
        return None
    replaced = next((text.strip() for other, _, text in pairs[1:] if other.strip() == "registration_id"), "")
    return SendResponse(value, None, replaced)


def _refused(count: int, status: int, retry_after: str | None, date: str | None, body: bytes) -> SendError:
    error = read_error(status, retry_after, date, body, whole_request=count > 1)
    error.wire = "legacy"
    try:
        word = _decode_any(body).get("error")
    except _UNREADABLE:
        text = body[:100].decode("utf-8", "replace").strip()
        word = text.removeprefix("Error=") if text.startswith("Error=") else ""
    if isinstance(word, str) and word.isascii() and word.isalpha():
        error.word = word
    return error


def _loosely(item: Any) -> _Result:
    """A result of which one key or another is not as it should be."""
    if not isinstance(item, dict):
        return _Result()
    name, token, error = (item.get(key) for key in ("message_id", "registration_id", "error"))
    return _Result(
        name if isinstance(name, str) or _is_count(name) else None,
        token if isinstance(token, str) else None,
        error if isinstance(error, str) else None,
    )


def _error(word: str, status: int, wait: float | None, reason: str = "", *, whole: bool = False) -> SendError:
    return SendError(
        Fate.ANSWERED,
        http_status=status,
        retry_after=wait,
        whole_request=whole,
        is_json=True,
        reason=(reason or word)[:_REASON_LENGTH],
        wire="legacy",
        word=word,
    )


def _lost(reason: str, status: int) -> SendError:
    error = unknown(reason, status)
    error.wire = "legacy"
    return error


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0

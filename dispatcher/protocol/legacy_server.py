"""The legacy HTTP wire, server side: what a call asks for, and the answers to it (legacy wire rules, sections 2 and 3).

JSON and plain text: a call without a Content-Type is plain text, names one recipient, and is answered in text.
"""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import parse_qsl

import msgspec
import orjson

from dispatcher.protocol.legacy import MOST_RECIPIENTS
from dispatcher.protocol.rules import condition_fault, topic_fault

Recipients = Literal["token", "multicast", "topic", "condition"]

_TOPICS = "/topics/"
_MOST_FIELDS = 200
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# Not orjson: a number may have more than 64 bits.
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Call(msgspec.Struct, gc=False):
    """A call that could be read.

    Attributes:
        recipients: of which kind; `token` may be a device group's key as well.
        values: the recipients: one, or up to 1,000 tokens.
        document: all keys, as `legacy_check.fault_of` judges them.
        plain: it came as plain text and is answered so.
    """

    recipients: Recipients
    values: list[str]
    document: dict[str, Any]
    plain: bool = False


class Unreadable(msgspec.Struct, gc=False):
    """A call that could not.

    Attributes:
        status: HTTP status of the answer: 400, or 200 where only the recipient is missing.
        word: FCM's name for it.
        reason: for people.
        plain: see `Call`.
    """

    status: int
    word: str
    reason: str
    plain: bool = False


class Result(msgspec.Struct, omit_defaults=True, gc=False):
    """What became of one recipient; `error` or the rest."""

    message_id: str = ""
    registration_id: str = ""
    error: str = ""


def read_call(content_type: str | None, body: bytes) -> Call | Unreadable:
    """Reads a call.

    Args:
        content_type: its Content-Type header.
        body: JSON or a form.
    """
    if "json" not in (content_type or "").lower():
        return _read_form(body)
    try:
        document = _decode(body)
    except _UNREADABLE as error:
        return Unreadable(400, "InvalidParameters", f"JSON_PARSING_ERROR: {error}")
    many = document.get("registration_ids")
    single = [
        (name, document[name])
        for name in ("to", "condition", "notification_key")
        if document.get(name) not in (None, "")
    ]
    if many is not None:
        if single:
            return Unreadable(400, "InvalidParameters", f"registration_ids: not together with {single[0][0]}")
        if not isinstance(many, list) or not all(isinstance(token, str) for token in many):
            return Unreadable(400, "InvalidParameters", "registration_ids: not an array of strings")
        if not many:
            return Unreadable(200, "MissingRegistration", "registration_ids: empty")
        if len(many) > MOST_RECIPIENTS:
            return Unreadable(400, "InvalidParameters", f"registration_ids: more than {MOST_RECIPIENTS}")
        return Call("multicast", many, document)
    if not single:
        return Unreadable(200, "MissingRegistration", "no recipient")
    if len(single) > 1:
        return Unreadable(400, "InvalidParameters", f"{single[0][0]}: not together with {single[1][0]}")
    name, value = single[0]
    if not isinstance(value, str):
        return Unreadable(400, "InvalidParameters", f"{name}: not a string")
    if name == "condition":
        wrong = condition_fault(value)
        if wrong is not None:
            return Unreadable(400, "InvalidParameters", wrong.reason)
        return Call("condition", [value], document)
    if value.startswith(_TOPICS):
        topic = value.removeprefix(_TOPICS)
        wrong = topic_fault(topic)
        if wrong is not None:
            return Unreadable(400, "InvalidParameters", wrong.reason)
        return Call("topic", [topic], document)
    return Call("token", [value], document)


def _read_form(body: bytes) -> Call | Unreadable:
    try:
        pairs = parse_qsl(
            body.decode(),
            keep_blank_values=True,
            max_num_fields=_MOST_FIELDS,
            encoding="utf-8",
            errors="strict",
        )
    except ValueError as error:  # also UnicodeDecodeError
        return Unreadable(400, "InvalidParameters", f"the form cannot be read: {error}", plain=True)
    fields = dict(pairs)
    token = fields.pop("registration_id", "")
    document: dict[str, Any] = {}
    for name, value in fields.items():
        if name.startswith("data."):
            document.setdefault("data", {})[name.removeprefix("data.")] = value
        elif name == "time_to_live":
            if not (value.isascii() and value.removeprefix("-").isdecimal() and len(value) <= 20):
                return Unreadable(400, "InvalidParameters", "time_to_live: no number", plain=True)
            document[name] = int(value)
        elif name in ("dry_run", "delay_while_idle"):
            document[name] = value.lower() in ("1", "true")
        elif name in ("collapse_key", "restricted_package_name"):
            document[name] = value
    if not token:
        return Unreadable(200, "MissingRegistration", "registration_id: none", plain=True)
    return Call("token", [token], document, plain=True)


def multicast_body(multicast_id: int, results: list[Result]) -> bytes:
    """The JSON answer about tokens.

    Args:
        multicast_id: of the call.
        results: one for each recipient, in their order.
    """
    failure = sum(bool(result.error) for result in results)
    document = {
        "multicast_id": multicast_id,
        "success": len(results) - failure,
        "failure": failure,
        "canonical_ids": sum(bool(result.registration_id) for result in results),
        "results": results,
    }
    return msgspec.json.encode(document)


def broadcast_body(message_id: int = 0, error: str = "") -> bytes:
    """The JSON answer about a topic or a condition: a number, or an error's name."""
    return orjson.dumps({"error": error} if error else {"message_id": message_id})


def group_body(success: int, failed: list[str]) -> bytes:
    """The JSON answer about a device group.

    Args:
        success: members that got it.
        failed: the others.
    """
    document: dict[str, Any] = {"success": success, "failure": len(failed)}
    if failed:
        document["failed_registration_ids"] = failed
    return orjson.dumps(document)


def plain_body(result: Result) -> bytes:
    """The answer in text."""
    if result.error:
        return f"Error={result.error}\n".encode()
    second = f"registration_id={result.registration_id}\n" if result.registration_id else ""
    return f"id={result.message_id}\n{second}".encode()

"""XMPP as a sender speaks it (CCS): what it writes, and what it reads of the answers and of what comes by itself.

A payload is JSON text in one element of a `<message>`. What the server reads and writes is in xmpp_server.py.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import orjson

from dispatcher.model import Fate, SendError, SendResponse, TargetKind
from dispatcher.protocol.xml_stream import Element, escaped, quoted

CLIENT = "jabber:client"
MESSAGE = f"{CLIENT} message"
PAYLOAD = "google:mobile:data gcm"
_ERROR = f"{CLIENT} error"
_STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"

DRAINING = "CONNECTION_DRAINING"

CODES = frozenset(
    {
        "INVALID_JSON",
        "BAD_REGISTRATION",
        "DEVICE_UNREGISTERED",
        "SENDER_ID_MISMATCH",
        "BAD_ACK",
        "SERVICE_UNAVAILABLE",
        "INTERNAL_SERVER_ERROR",
        "DEVICE_MESSAGE_RATE_EXCEEDED",
        "TOPICS_MESSAGE_RATE_EXCEEDED",
        DRAINING,
        "INVALID_APNS_CREDENTIAL",
        "AUTHENTICATION_FAILED",
        "INVALID_TTL",
        "JSON_TYPE_ERROR",
        "QUOTA_EXCEEDED",
    }
)
"""Every code of a nack that any page has named."""

_LEGACY_WORDS = {
    "TopicsMessageRateExceeded": "TOPICS_MESSAGE_RATE_EXCEEDED",
    "DeviceMessageRateExceeded": "DEVICE_MESSAGE_RATE_EXCEEDED",
    "NotRegistered": "DEVICE_UNREGISTERED",
    "InvalidRegistration": "BAD_REGISTRATION",
    "MismatchSenderId": "SENDER_ID_MISMATCH",
    "InvalidApnsCredential": "INVALID_APNS_CREDENTIAL",
    "Unavailable": "SERVICE_UNAVAILABLE",
    "InternalServerError": "INTERNAL_SERVER_ERROR",
    "InvalidTtl": "INVALID_TTL",
    "MissingRegistration": "INVALID_JSON",
    "InvalidParameters": "INVALID_JSON",
    "MessageTooBig": "INVALID_JSON",
    "InvalidDataKey": "INVALID_JSON",
    "InvalidJson": "INVALID_JSON",
}
"""Topics are answered in the words of legacy HTTP, older servers use them everywhere."""

_WORDS = re.compile(r"[A-Za-z_]+").findall
_MOST_REASON = 500
_encode = msgspec.json.Encoder().encode


class Ack(msgspec.Struct, gc=False):
    """A message was taken.

    Attributes:
        message_id: ours; "": it was left out, which partial answers for a device group do.
        sender: whom we had sent it to; "": a topic's short form.
        registration_id: the token to keep instead.
        success, failure: members of a device group; -1: not said.
        failed_tokens: the members that did not get it.
    """

    message_id: str
    sender: str = ""
    registration_id: str = ""
    success: int = -1
    failure: int = -1
    failed_tokens: tuple[str, ...] = ()


class Nack(msgspec.Struct, gc=False):
    """A message was refused.

    Attributes:
        message_id, sender: as in `Ack`.
        word: the code; as it came, if nobody knows it.
        reason: for people.
        http_status: of a stanza error; 0: it is none.
    """

    message_id: str
    sender: str
    word: str
    reason: str = ""
    http_status: int = 0


class Incoming(msgspec.Struct, gc=False):
    """What a device or the server sends by itself, and wants acknowledged.

    Attributes:
        sender: the device's token; of a receipt the server's name.
        message_id: unique for the sender.
        category: the app.
        data: JSON object.
        receipt: it says what became of a message of ours.
    """

    sender: str
    message_id: str
    category: str
    data: bytes
    receipt: bool = False


class Control(msgspec.Struct, gc=False):
    """The server says something of this connection; `CONNECTION_DRAINING` is all it ever says."""

    type: str


class Strange(msgspec.Struct, gc=False):
    """A stanza that means nothing to us; `reason` quotes none of it."""

    reason: str


Received = Ack | Nack | Incoming | Control | Strange


# What we write.


def stanza(message_id: str, payload: str) -> bytes:
    """A message with a payload; its `id` too is what errors may be told by.

    Args:
        message_id: as in the payload.
        payload: JSON text.
    """
    return (
        f'<message id={quoted(message_id)}><gcm xmlns="google:mobile:data">{escaped(payload)}</gcm></message>'
    ).encode()


def recipient(kind: TargetKind, value: str, message_id: str, *, receipt: bool) -> bytes:
    """The members of a payload that say to whom, and by which name the answers call it.

    Args:
        kind: of the target.
        value: the target; a device group's key goes where a token goes.
        message_id: unique for the sender id.
        receipt: ask for a delivery receipt.
    """
    name = b"condition" if kind == "condition" else b"to"
    target = f"/topics/{value}" if kind == "topic" else value
    members = b'"%b":%b,"message_id":%b' % (name, orjson.dumps(target), orjson.dumps(message_id))
    return members + b',"delivery_receipt_requested":true' if receipt else members


def acknowledgement(sender: str, message_id: str) -> bytes:
    """Our ack; the server waits for one to each `Incoming`, on the connection that it came on."""
    payload = orjson.dumps({"to": sender, "message_id": message_id, "message_type": "ack"})
    return stanza("", payload.decode())


# What we read.


def read_message(element: Element) -> Received:
    """What a `<message>` says. Never raises: whatever the server sends, the connection goes on."""
    payload = element.child(PAYLOAD)
    body = _object(payload.text) if payload is not None else None
    if element.attributes.get("type") == "error" or element.child(_ERROR) is not None:
        return _stanza_error(element, body or {})
    if body is None:
        return Strange("a message without a JSON object")
    match body.get("message_type"):
        case "ack":
            return _ack(body)
        case "nack":
            return _nack(body)
        case "receipt":
            return _incoming(body, receipt=True)
        case "control":
            return Control(_string(body, "control_type"))
        case None if "error" in body:
            return _nack(body)
        case None if "data" in body or "category" in body:
            return _incoming(body, receipt=False)
        case None if "message_id" in body:
            return _ack(body)  # the short form of topics
    return Strange("a message of an unknown type")


def _ack(body: dict[str, Any]) -> Ack:
    failed = body.get("failed_registration_ids")
    return Ack(
        _identity(body),
        _string(body, "from"),
        _string(body, "registration_id"),
        _count(body, "success"),
        _count(body, "failure"),
        tuple(token for token in failed if isinstance(token, str)) if isinstance(failed, list) else (),
    )


def _nack(body: dict[str, Any]) -> Nack:
    error = _string(body, "error")
    described = _string(body, "error_description")
    reason = described if not described or error in CODES else f"{error}: {described}"
    return Nack(_identity(body), _string(body, "from"), word_in(error), (reason or error)[:_MOST_REASON])


def _incoming(body: dict[str, Any], *, receipt: bool) -> Received:
    sender, message_id = _string(body, "from"), _identity(body)
    if not sender or not message_id:
        return Strange("a message from a device without `from` or `message_id`")
    data = body.get("data")
    return Incoming(
        sender,
        message_id,
        _string(body, "category"),
        orjson.dumps(data if isinstance(data, dict) else {}),
        receipt,
    )


def _stanza_error(element: Element, body: dict[str, Any]) -> Nack:
    """An error that echoes our stanza, because it could not be read, or the server is not able to."""
    error = element.child(_ERROR) or Element(_ERROR)
    text = error.child(f"{_STANZAS} text")
    said = text.text.strip() if text is not None else ""
    code = error.attributes.get("code", "")
    passing = error.attributes.get("type") == "wait" or error.child(f"{_STANZAS} service-unavailable")
    status = int(code) if code.isascii() and code.isdigit() and len(code) == 3 else 503 if passing else 400
    word = word_in(said)
    if word not in CODES:
        # Nobody knows such text; the type says whether to try again.
        word = (
            "SERVICE_UNAVAILABLE" if passing else "INTERNAL_SERVER_ERROR" if status >= 500 else "INVALID_JSON"
        )
    message_id = _identity(body) or element.attributes.get("id", "")
    return Nack(message_id, _string(body, "to"), word, f"stanza error {said}"[:_MOST_REASON], status)


def word_in(error: str) -> str:
    """The code that an error's text stands for: the first known one in it, else the text itself.

    Older servers write `InvalidJson : INVALID_TTL : Invalid value (-1)`; the narrower word wins.
    """
    if error in CODES:
        return error
    words = _WORDS(error)
    for word in words:
        if word in CODES:
            return str(word)
    for word in words:
        if word in _LEGACY_WORDS:
            return _LEGACY_WORDS[word]
    return error[:100] or "(no error)"


def answer_of(received: Ack | Nack, message_id: str) -> SendResponse:
    """What an answer says of the message; `message_id` is ours, the wire has no other name for it."""
    if isinstance(received, Nack):
        error = SendError(
            Fate.ANSWERED, received.http_status, reason=received.reason, wire="xmpp", word=received.word
        )
        return SendResponse(error=error)
    result = b""
    if received.success >= 0 or received.failure >= 0:
        members: dict[str, object] = {
            "success": max(0, received.success),
            "failure": max(received.failure, len(received.failed_tokens)),
        }
        if received.failed_tokens:
            members["failed_registration_ids"] = received.failed_tokens
        result = _encode(members)
    return SendResponse(message_id, None, received.registration_id, result, received.failed_tokens)


def _object(text: str) -> dict[str, Any] | None:
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


def _string(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""


def _identity(body: dict[str, Any]) -> str:
    """`message_id`; a number is taken for its digits."""
    value = body.get("message_id")
    return (
        str(value) if isinstance(value, int) and not isinstance(value, bool) else _string(body, "message_id")
    )


def _count(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else -1

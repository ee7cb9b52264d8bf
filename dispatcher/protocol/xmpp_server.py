"""XMPP as the server speaks it: what it reads of a sender's messages, and its answers, receipts and errors."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from dispatcher.protocol.xml_stream import Element, escaped, quoted
from dispatcher.protocol.xmpp import PAYLOAD, stanza


class Sent(msgspec.Struct, gc=False):
    """A message for devices.

    Attributes:
        message_id: the sender's name for it.
        target: `to`, else the condition; "": neither.
        body: the payload as JSON.
    """

    message_id: str
    target: str
    body: bytes


class Acked(msgspec.Struct, gc=False):
    """A sender's ack to an upstream message or a receipt."""

    to: str
    message_id: str


class Unreadable(msgspec.Struct, gc=False):
    """A message that gets a stanza error.

    Attributes:
        reason: what is wrong.
        id: `id` of the stanza.
        text: the payload, to be echoed.
    """

    reason: str
    id: str
    text: str


def read_sent(element: Element) -> Sent | Acked | Unreadable:
    """What a sender's `<message>` is."""
    payload = element.child(PAYLOAD)
    text = payload.text if payload is not None else ""
    stanza_id = element.attributes.get("id", "")
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        return Unreadable("JSON_PARSING_ERROR : not a JSON object", stanza_id, text)
    if not isinstance(body, dict):
        return Unreadable("JSON_PARSING_ERROR : not a JSON object", stanza_id, text)
    message_id = body.get("message_id")
    if not isinstance(message_id, str) or not message_id:
        reason = "JSON_PARSING_ERROR : Missing Required Field: message_id"
        return Unreadable(reason, stanza_id, text)
    target = body.get("to") or body.get("condition")
    target = target if isinstance(target, str) else ""
    if body.get("message_type") == "ack":
        return Acked(target, message_id)
    return Sent(message_id, target, text.encode())


def ack(sent: Sent, registration_id: str = "", members: dict[str, Any] | None = None) -> bytes:
    """A message was taken.

    Args:
        sent: the message.
        registration_id: the token to keep instead; "": none.
        members: of a device group, `success`, `failure` and `failed_registration_ids`.
    """
    body: dict[str, Any] = {"from": sent.target, "message_id": sent.message_id, "message_type": "ack"}
    if members:
        body |= members
        if members.get("failed_registration_ids"):
            del body["message_id"]  # the partial form leaves it out
    if registration_id:
        body["registration_id"] = registration_id
    return _message(body)


def nack(sent: Sent, code: str, description: str) -> bytes:
    """A message was refused."""
    return _message(
        {
            "from": sent.target,
            "message_id": sent.message_id,
            "message_type": "nack",
            "error": code,
            "error_description": description,
        }
    )


def receipt(message_id: str, token: str, category: str, sent_ms: int, sender: str) -> bytes:
    """A device has a message.

    Args:
        message_id: the sender's name for the message.
        token: the device's.
        category: its app.
        sent_ms: when it was sent, Unix milliseconds.
        sender: the server's name.
    """
    data = {
        "message_status": "MESSAGE_SENT_TO_DEVICE",
        "original_message_id": message_id,
        "device_registration_id": token,
        "message_sent_timestamp": str(sent_ms),
    }
    return _message(
        {
            "message_type": "receipt",
            "from": sender,
            "message_id": f"dr2:{message_id}",
            "category": category,
            "data": data,
        }
    )


def upstream(token: str, message_id: str, category: str, data: dict[str, str]) -> bytes:
    """A device's own message."""
    return _message({"category": category, "data": data, "message_id": message_id, "from": token})


def control(control_type: str) -> bytes:
    """What the server says of the connection."""
    return _message({"message_type": "control", "control_type": control_type})


def stanza_error(unreadable: Unreadable, to: str) -> bytes:
    """The answer to a message that could not be read, with the message in it."""
    text = f"InvalidJson: {unreadable.reason}"
    return (
        f'<message id={quoted(unreadable.id)} type="error" to={quoted(to)}>'
        f'<gcm xmlns="google:mobile:data">{escaped(unreadable.text)}</gcm>'
        '<error code="400" type="modify"><bad-request xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/>'
        f'<text xmlns="urn:ietf:params:xml:ns:xmpp-stanzas">{escaped(text)}</text></error></message>'
    ).encode()


def stanza_error_of(sent: Sent, status: int) -> bytes:
    """The answer of a server that is not able to look at a message, or does not want it.

    Args:
        sent: the message.
        status: 500 and above: try again.
    """
    kind, condition = ("wait", "service-unavailable") if status >= 500 else ("modify", "bad-request")
    return (
        f'<message id={quoted(sent.message_id)} type="error">'
        f'<gcm xmlns="google:mobile:data">{escaped(sent.body.decode())}</gcm>'
        f'<error code="{status}" type="{kind}"><{condition} xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error>'
        "</message>"
    ).encode()


def _message(body: dict[str, Any]) -> bytes:
    return stanza("", orjson.dumps(body).decode())

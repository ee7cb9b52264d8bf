"""Reads one `messages:send` body as FCM does: strictly, and with its words for what is wrong."""

from __future__ import annotations

import msgspec

from dispatcher.protocol.answer import bad_request, fcm_error


class Content(msgspec.Struct, gc=False):
    """What the emulator must know of a message.

    Attributes:
        kind, value: its target.
        id: `id` of its data, by which a test may follow it; "": none.
        validate_only: it is to be checked, not sent.
    """

    kind: str
    value: str
    id: str
    validate_only: bool


class Unreadable(msgspec.Struct):
    """Why it is refused.

    Attributes:
        status, body: the answer.
        code: name for the ledger.
    """

    status: int
    body: bytes
    code: str


class _Message(msgspec.Struct, gc=False):
    token: str | None = None
    topic: str | None = None
    condition: str | None = None
    fid: str | None = None
    data: dict[str, str] = {}


class _Envelope(msgspec.Struct, gc=False):
    message: _Message
    validate_only: bool = False


_decode = msgspec.json.Decoder(_Envelope).decode


def read(body: bytes) -> Content | Unreadable:
    """Reads a request body."""
    try:
        envelope = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Unreadable(
            *bad_request(f"Invalid JSON payload received. {error}", [("message", str(error))]), "BAD_REQUEST"
        )
    message = envelope.message
    kind = ""
    value = ""
    for name, given in (
        ("token", message.token),
        ("topic", message.topic),
        ("condition", message.condition),
        ("fid", message.fid),
    ):
        if given is None:
            continue
        if kind:
            text = f"Invalid value at 'message' (oneof), oneof field 'target' is already set. Cannot set '{name}'"
            return Unreadable(*bad_request(text, [("message", text)]), "BAD_REQUEST")
        kind, value = name, given
    if not value:
        text = "Recipient of the message is not set."
        return Unreadable(
            *fcm_error("INVALID_ARGUMENT", message=text, violations=[("message", text)]), "INVALID_ARGUMENT"
        )
    return Content(kind, value, message.data.get("id", ""), envelope.validate_only)

"""Reads one `messages:send` body as strictly as FCM does, and answers what is wrong in its words.

Names and types that break the schema get a BadRequest and no FcmError; what only the rules forbid is an
INVALID_ARGUMENT of FCM's own (v1 wire rules, section 8.1).
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import orjson

from dispatcher.model import Refusal
from dispatcher.protocol import leisure, rules
from dispatcher.protocol.answer import bad_request, fcm_error
from dispatcher.protocol.schema import TEXT_MAPS, Message


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


class Unreadable(msgspec.Struct, gc=False):
    """Why a body is refused.

    Attributes:
        status, body: the answer.
        code: its name in the ledger.
    """

    status: int
    body: bytes
    code: str


class _Envelope(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    message: Message
    validate_only: bool | None = None


_decode = msgspec.json.Decoder(_Envelope).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_ENVELOPE_NAMES = ("message", "validate_only", "validateOnly")
_KINDS = ("token", "topic", "condition", "fid")
# Types as our own refusals name them, and as FCM does.
_SCALARS = {
    "a string": "TYPE_STRING",
    "true or false": "TYPE_BOOL",
    "a whole number": "TYPE_INT32",
    "a number": "TYPE_FLOAT",
}
_STEPS = re.compile(r"[^.\[\]]+").findall


def read(body: bytes) -> Content | Unreadable:
    """Reads and checks a request body, in snake_case or camelCase."""
    try:
        envelope = _decode(body)
    except _UNREADABLE:
        read_again = _reread(body)
        if isinstance(read_again, Unreadable):
            return read_again
        envelope = read_again
    message = envelope.message
    if message.token and not (message.topic or message.condition or message.fid):
        kind, value = "token", message.token
    else:
        targets = [(kind, value) for kind in _KINDS if (value := getattr(message, kind))]
        if len(targets) != 1:
            return _no_single_target([kind for kind, _ in targets])
        kind, value = targets[0]
    fault = _fault(message, kind, value, len(body))
    if fault is not None:
        return _forbidden(fault)
    data = message.data
    return Content(kind, value, data.get("id", "") if data else "", bool(envelope.validate_only))


def _fault(message: Message, kind: str, value: str, size: int) -> Refusal | None:
    fault = rules.fault_of(message)
    if fault is None and kind == "topic":
        fault = rules.topic_fault(value)
    elif fault is None and kind == "condition":
        fault = rules.condition_fault(value)
    # Escapes only make JSON longer than what it says: a short body holds no long payload.
    if fault is None and size > rules.PAYLOAD_LIMIT:
        fault = rules.payload_fault(message)
    return fault


def _forbidden(fault: Refusal) -> Unreadable:
    field, _, description = fault.reason.partition(": ")
    return Unreadable(
        *fcm_error("INVALID_ARGUMENT", message=fault.reason, violations=[(field, description)]),
        str(fault.code),
    )


def _no_single_target(kinds: list[str]) -> Unreadable:
    if not kinds:
        text = "Recipient of the message is not set."
        return Unreadable(
            *fcm_error("INVALID_ARGUMENT", message=text, violations=[("message", text)]), "invalid-recipient"
        )
    text = f"Invalid value at 'message' (oneof), oneof field 'target' is already set. Cannot set '{kinds[1]}'"
    return _against_schema(text, "message", text)


def _against_schema(text: str, field: str, description: str) -> Unreadable:
    return Unreadable(*bad_request(text, [(field, description)]), "BAD_REQUEST")


def _reread(body: bytes) -> _Envelope | Unreadable:
    """The long way: spelt otherwise, or wrong in a way that has to be named."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        text = f"Invalid JSON payload received. {error.msg} at byte {error.pos}."
        return _against_schema(text, "", text)
    if not isinstance(document, dict):
        text = "Invalid JSON payload received. Expected an object."
        return _against_schema(text, "", text)
    for name in document:
        if name not in _ENVELOPE_NAMES:
            return _unknown_name(name, "")
    inner = document.get("message")
    if inner is None:
        return _no_single_target([])
    if not isinstance(inner, dict):
        return _bad_value("message", "object", inner)
    if "message" in inner:
        return _unknown_name("message", "message")
    wrong = _no_text(inner)
    if wrong is not None:
        return wrong
    validate_only = document.get("validate_only", document.get("validateOnly"))
    if not isinstance(validate_only, bool | None):
        return _bad_value("validate_only", "TYPE_BOOL", validate_only)
    found = leisure.reread(orjson.dumps(inner))
    if isinstance(found, Refusal):
        return _of_refusal(found, inner)
    return _Envelope(found[1], validate_only)


def _no_text(message: dict[str, Any]) -> Unreadable | None:
    """The first value of a map of strings that is none; FCM counts the entries of a map, it does not name the key."""
    for path in TEXT_MAPS:
        block: Any = message
        for name in path.split("."):
            block = block.get(name) if isinstance(block, dict) else None
        for place, value in enumerate(block.values() if isinstance(block, dict) else ()):
            if not isinstance(value, str):
                return _bad_value(f"message.{path}[{place}].value", "TYPE_STRING", value)
    return None


def _of_refusal(refusal: Refusal, message: dict[str, Any]) -> Unreadable:
    """Our own words for a broken schema, put in FCM's."""
    field, _, description = refusal.reason.partition(": ")
    if description.startswith("found an unknown name"):
        parent, _, name = field.rpartition(".")
        return _unknown_name(name, parent)
    wanted = _SCALARS.get(description.partition("; the field takes ")[2])
    if wanted is not None:
        return _bad_value(field, wanted, _value_at(message, field))
    return _against_schema(f"Invalid value at '{field}', {description}", field, description)


def _value_at(message: dict[str, Any], field: str) -> Any:
    """What stands at a path as `message.android.notification.body_loc_args[0]`, whichever way its names are spelt."""
    value: Any = message
    for step in _STEPS(field)[1:]:
        if isinstance(value, list):
            value = value[int(step)]
        else:
            value = value[step] if step in value else value.get(_camel(step))
    return value


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


def _unknown_name(name: str, parent: str) -> Unreadable:
    place = f" at '{parent}'" if parent else ""
    text = f'Invalid JSON payload received. Unknown name "{name}"{place}: Cannot find field.'
    return _against_schema(text, parent, text)


def _bad_value(field: str, kind: str, value: Any) -> Unreadable:
    shown = orjson.dumps(value).decode()
    return _against_schema(
        f"Invalid value at '{field}' ({kind}), {shown}", field, f"Invalid value ({kind}), {shown}"
    )

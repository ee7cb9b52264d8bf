"""The long way to read a message: whatever the typed pass over its bytes refused.

Either it is right but spelt in another way (wrapped, camelCase), or it is wrong, and then the producer is told
which field, what was found there and what to do. Nothing here is on the path of a plain message.
"""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import msgspec
import orjson

from dispatcher.model import ErrorCode, Refusal
from dispatcher.protocol.rules import refuse
from dispatcher.protocol.schema import BLOCKS, TEXT_MAPS, Message

_INVALID = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_TARGETS = ("token", "topic", "condition", "fid")
_OPTIONS = re.compile(r"\.(ttl|priority|collapse_key|restricted_package_name|\w+_ok|headers|fcm_options)\b")
_LONGEST_NAME = 40
_NAMES = sorted({name for block in BLOCKS.values() for name in block.__struct_fields__})
# The typed decoder's words, for people who do not write Python.
_TYPES = {
    "str": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
    "int | str": "one of its names",
}
_DEPTH = 100  # levels; as deep as Google's own JSON readers go, and far from our own limits

# What producers carry over from the older APIs, and where it went.
_MOVED = {
    "to": "name the target in token or topic",
    "registration_ids": "use the job field tokens",
    "tokens": "use the job field tokens",
    "time_to_live": "use android.ttl",
    "priority": "use android.priority",
    "collapse_key": "use android.collapse_key",
    "validate_only": "use the job field validate_only",
    "validateOnly": "use the job field validate_only",
    "sound": "use android.notification.sound and apns.payload.aps.sound",
}


class _Wrapper(msgspec.Struct):
    message: msgspec.Raw


class _TwiceError(Exception):
    """A name occurs twice in one object."""


def reread(raw: bytes) -> tuple[bytes, Message] | Refusal:
    """Reads a message at leisure.

    Returns:
        Its bytes without wrapper, and what is in them, names and types checked; or why it cannot be sent.
    """
    read = unwrapped(raw)
    if isinstance(read, Refusal):
        return read
    inner, document = read
    fault = repeated_name(inner) or _to_snake_case(document) or _text_fault(document)
    if fault is not None:
        return fault
    try:
        return inner, msgspec.convert(document, Message)
    except msgspec.ValidationError as error:
        return _type_fault(str(error))


def unwrapped(raw: bytes) -> tuple[bytes, dict[str, Any]] | Refusal:
    """The bytes of a message without wrapper, and its JSON; or why there is none."""
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        mend = "send the v1 Message as one JSON object in UTF-8"
        return refuse(
            ErrorCode.INVALID_PAYLOAD, "message", f"no JSON ({error.msg} at byte {error.pos})", mend
        )
    if not isinstance(document, dict):
        return _no_object("message", document)
    fault = depth_fault(raw)
    if fault is not None:
        return fault
    if "message" not in document:
        return raw, document
    others = [name for name in document if name != "message"]
    if others:
        return _unknown_name("message", others[0])
    inner = document["message"]
    if not isinstance(inner, dict):
        return _no_object("message.message", inner)
    return bytes(msgspec.json.decode(raw, type=_Wrapper).message), inner


def repeated_name(raw: bytes) -> Refusal | None:
    """Refuses an object in which a name occurs twice: which one counts is every reader's own choice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            raise _TwiceError(next(name for name in names if names.count(name) > 1))
        return found

    try:
        json.loads(raw, object_pairs_hook=once)
    except _TwiceError as twice:
        return refuse(
            ErrorCode.INVALID_PAYLOAD,
            "message",
            f"the name {str(twice)!r} twice in one object",
            "give it once",
        )
    except (ValueError, RecursionError):
        return _nested()
    return None


def depth_fault(raw: bytes) -> Refusal | None:
    """Refuses valid JSON of more levels than every later reader of it is sure to manage."""
    if raw.count(b"{") + raw.count(b"[") <= _DEPTH:
        return None
    try:
        level = [orjson.loads(raw)]
    except (
        orjson.JSONDecodeError
    ) as error:  # it goes less deep than msgspec may, and takes no infinite numbers
        return _no_json(error)
    for _ in range(_DEPTH + 1):
        level = [
            inner
            for value in level
            if isinstance(value, (dict, list))
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return None
    return _nested()


def _to_snake_case(document: dict[str, Any]) -> Refusal | None:
    """Renames FCM's own camelCase names in place; the producer's names (data, payload, headers) are left alone."""
    for path in sorted(BLOCKS, key=lambda path: path.count(".")):
        block = _at(document, path)
        if not isinstance(block, dict):
            continue
        for name in [name for name in block if not name.islower()]:
            snake = re.sub(r"(?<=[a-z0-9])[A-Z]", lambda found: f"_{found[0].lower()}", name)
            snake = "android_v2" if name == "androidV2" else snake
            if snake == name or snake not in BLOCKS[path].__struct_fields__:
                continue
            if snake in block:
                field = _join("message", path, name)
                return refuse(
                    ErrorCode.INVALID_PAYLOAD, field, f"{name} and {snake}, which are the same", "give one"
                )
            block[snake] = block.pop(name)
    return None


def _text_fault(document: dict[str, Any]) -> Refusal | None:
    """Refuses the first value that is no string where all must be; the typed pass would not name its key."""
    for path in TEXT_MAPS:
        block = _at(document, path)
        for key, value in block.items() if isinstance(block, dict) else ():
            if not isinstance(value, str):
                code = ErrorCode.INVALID_OPTIONS if path.endswith("headers") else ErrorCode.INVALID_PAYLOAD
                text = orjson.dumps(value).decode()
                quoted = orjson.dumps(text).decode()
                found = _kind(value) if value is None or len(text) > 40 else f"{_kind(value)} {text}"
                return refuse(
                    code, f"message.{path}.{key}", found, f"every value is a string: write {quoted}"
                )
    return None


def _type_fault(text: str) -> Refusal:
    """The refusal for what the typed decoder says, which names paths from `$`."""
    found = _INVALID.fullmatch(text)
    what, path = (found["what"], found["path"] or "") if found else (text, "")
    unknown = _UNKNOWN.fullmatch(what)
    if unknown:
        return _unknown_name("message" + path, unknown[1])
    what = (
        what.replace("Expected `", "")
        .replace("`, got `", " wanted, ")
        .replace("`", "")
        .replace(" | null", "")
    )
    code = ErrorCode.INVALID_PAYLOAD
    if path.lstrip(".") in _TARGETS:
        code = ErrorCode.INVALID_RECIPIENT
    elif _OPTIONS.search(path):
        code = ErrorCode.INVALID_OPTIONS
    wanted, _, got = what.partition(" wanted, ")
    if not got:
        return refuse(code, "message" + path, what, "see the v1 Message resource")
    return refuse(
        code, "message" + path, _TYPES.get(got, got), f"the field takes {_TYPES.get(wanted, wanted)}"
    )


def _unknown_name(path: str, name: str) -> Refusal:
    mend = _MOVED.get(name, "") if path == "message" else ""
    if not mend:
        close = _closest(name) if len(name) <= _LONGEST_NAME else ""
        mend = f"did you mean {close}? " if close else ""
        mend += "take it out or put it into message.data: FCM refuses names it does not know"
    return refuse(ErrorCode.INVALID_PAYLOAD, f"{path}.{name}", "an unknown name", mend)


@lru_cache(256)  # it takes 200 us, and a producer's mistake is in all of its messages
def _closest(name: str) -> str:
    return next(iter(get_close_matches(name, _NAMES, n=1)), "")


def _no_json(error: orjson.JSONDecodeError) -> Refusal:
    mend = "send the v1 Message as one JSON object in UTF-8"
    return refuse(ErrorCode.INVALID_PAYLOAD, "message", f"no JSON ({error.msg} at byte {error.pos})", mend)


def _no_object(field: str, value: Any) -> Refusal:
    return refuse(ErrorCode.INVALID_PAYLOAD, field, _kind(value), "send the v1 Message as one JSON object")


def _nested() -> Refusal:
    return refuse(ErrorCode.INVALID_PAYLOAD, "message", "JSON that is nested too deeply", "make it flatter")


def _at(document: Any, path: str) -> Any:
    for name in path.split(".") if path else ():
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _join(*names: str) -> str:
    return ".".join(name for name in names if name)


def _kind(value: Any) -> str:
    kinds = {
        bool: "the truth value",
        int: "the number",
        float: "the number",
        list: "an array",
        dict: "an object",
    }
    return "null" if value is None else kinds.get(type(value), "a string")

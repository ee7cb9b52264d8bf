"""What a server refuses of a legacy message, whichever legacy wire it came by (legacy wire rules, sections 2 and 4).

The other direction of `legacy_message.py`, for the emulator: keys that arrived, judged as FCM does, in its words.
Recipients are the wire's own affair and are not looked at here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from dispatcher.protocol.rules import PAYLOAD_LIMIT, TTL_LIMIT

_RESERVED_KEYS = frozenset({"from", "message_type", ""})
_RESERVED_PREFIXES = ("google", "gcm")
_TEXTS = ("collapse_key", "restricted_package_name", "message_id")
_FLAGS = ("content_available", "mutable_content", "dry_run", "delay_while_idle", "delivery_receipt_requested")
_PRIORITIES = ("normal", "high")


class Fault(msgspec.Struct, gc=False):
    """Why a message is refused.

    Attributes:
        word: FCM's name for it on the HTTP wire.
        reason: the key and what is wrong with it.
        of_request: its shape is wrong, so that HTTP answers 400; else 200 with the word in the result.
    """

    word: str
    reason: str
    of_request: bool = False


def fault_of(document: dict[str, Any], *, payload_limit: int = PAYLOAD_LIMIT) -> Fault | None:
    """The first thing that is wrong in a message apart from its recipients.

    Args:
        document: its keys.
        payload_limit: bytes of names and values that its target may be sent.
    """
    return _type_fault(document) or _rule_fault(document, payload_limit)


def _type_fault(document: dict[str, Any]) -> Fault | None:
    for name in _TEXTS:
        if not isinstance(document.get(name, ""), str):
            return _of_type(name, "a string")
    for name in _FLAGS:
        if not isinstance(document.get(name, False), bool):
            return _of_type(name, "true or false")
    if "priority" in document and document["priority"] not in _PRIORITIES:
        return _of_type("priority", "normal or high")
    lifetime = document.get("time_to_live", 0)
    if isinstance(lifetime, bool) or not isinstance(lifetime, int):
        return _of_type("time_to_live", "whole seconds")
    for name in ("data", "notification"):
        if not isinstance(document.get(name, {}), dict):
            return _of_type(name, "an object")
    for name, value in document.get("notification", {}).items():
        # Old pages have the arguments as an array within a string.
        arguments = name.endswith("_loc_args") and isinstance(value, list)
        if name == "badge" and isinstance(value, int) and not isinstance(value, bool):
            continue  # a string by the pages; old clients write the number
        if not isinstance(value, str) and not (arguments and all(isinstance(text, str) for text in value)):
            return _of_type(f"notification.{name}", "a string")
    return None


def _rule_fault(document: dict[str, Any], payload_limit: int) -> Fault | None:
    if not 0 <= document.get("time_to_live", 0) <= TTL_LIMIT:
        return Fault("InvalidTtl", f"time_to_live: not within 0 to {TTL_LIMIT}")
    data = document.get("data", {})
    for name in data:
        if name in _RESERVED_KEYS or name.startswith(_RESERVED_PREFIXES):
            return Fault("InvalidDataKey", f"data.{name}: a reserved key")
    if _size(data) + _size(document.get("notification", {})) > payload_limit:
        return Fault("MessageTooBig", f"more than {payload_limit} bytes of payload")
    return None


def _of_type(name: str, wanted: str) -> Fault:
    return Fault("InvalidParameters", f"{name}: not {wanted}", of_request=True)


def _size(block: dict[str, Any]) -> int:
    # Values that are no strings are converted.
    return sum(
        len(name.encode()) + len(value.encode() if isinstance(value, str) else msgspec.json.encode(value))
        for name, value in block.items()
    )

"""Jobs as the harness enqueues them, and as its logs know them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

PROJECT = "demo-orchard-41"
"""Where jobs go, unless a scenario has several."""

Message = tuple[str, str]
"""(id in its data, target value): how all three logs know one message. Of a management job: its id, and an item of it."""

Deed = tuple[str, str, str]
"""(operation, subject, value): how the emulator's log of management calls knows one item."""


@dataclass
class Asked:
    """One message in the producer's log: what may become of it.

    Attributes:
        project: where.
        may: the statuses that are right for it.
        entries: how often it was enqueued.
        unsure: the reply to that was lost: it may have been enqueued, or not.
        deed: of an item of a management job.
    """

    project: str
    may: frozenset[str]
    entries: int = 1
    unsure: bool = False
    deed: Deed | None = None


def job(name: str, tokens: int = 0, target: str = "", size: int = 0) -> dict[str, str]:
    """The fields of one entry."""
    message: dict[str, Any] = {"data": {"id": name}}
    if size:
        message["data"]["filling"] = "x" * size
    if tokens:
        values = [f"{name}-{place}:APA91b{'x' * 40}" for place in range(tokens)]
        return {"id": name, "message": json.dumps(message), "tokens": json.dumps(values)}
    message["token"] = target or f"{name}:APA91b{'x' * 40}"
    return {"id": name, "message": json.dumps(message)}


def to_group(name: str, key: str) -> dict[str, str]:
    """The fields of a message to a device group."""
    return {"id": name, "message": json.dumps({"data": {"id": name}}), "group": key}


def errand(name: str, operation: str, /, **request: Any) -> dict[str, str]:
    """The fields of a management job."""
    return {"id": name, "operation": operation, "request": json.dumps(request)}


def messages_of(fields: dict[str, str]) -> list[Message]:
    """The messages that an entry of ours stands for, also after its tokens were cut."""
    if "operation" in fields:
        return list(deeds_of(fields))
    message = json.loads(fields["message"])
    name = message["data"]["id"]
    if "tokens" in fields:
        return [(name, value) for value in json.loads(fields["tokens"])]
    value = fields.get("group") or next(
        message[kind] for kind in ("token", "topic", "condition") if kind in message
    )
    return [(name, value)]


def deeds_of(fields: dict[str, str]) -> dict[Message, Deed]:
    """What the emulator calls the items of a management job; nothing for a message."""
    if "operation" not in fields:
        return {}
    operation, request = fields["operation"], json.loads(fields["request"])
    if operation.startswith("group."):
        # With a key the outcome is about that; the emulator always writes down the name.
        item = (fields["id"], request.get("key") or request["name"])
        return {item: (operation, request["name"], request["name"])}
    subject = request.get("topic") or request.get("application", "")
    values = request.get("tokens") or request.get("apns_tokens") or [request["token"]]
    return {(fields["id"], value): (operation, subject, value) for value in values}

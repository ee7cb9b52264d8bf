"""Jobs as the harness enqueues them, and as its logs know them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

Message = tuple[str, str]
"""(id in its data, target value): how all three logs know one message."""


@dataclass
class Asked:
    """One message in the producer's log: what may become of it.

    Attributes:
        project: where.
        may: the statuses that are right for it.
        entries: how often it was enqueued.
        unsure: the reply to that was lost: it may have been enqueued, or not.
    """

    project: str
    may: frozenset[str]
    entries: int = 1
    unsure: bool = False


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


def messages_of(fields: dict[str, str]) -> list[Message]:
    """The messages that an entry of ours stands for, also after its tokens were cut."""
    message = json.loads(fields["message"])
    name = message["data"]["id"]
    return (
        [(name, value) for value in json.loads(fields["tokens"])]
        if "tokens" in fields
        else [(name, message["token"])]
    )

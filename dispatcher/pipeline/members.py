"""The members of a device group that did not get a message which others of the group got.

They are sent to as tokens, and each has an outcome of its own. The group's outcome has the place 0, theirs count from 1:
a job and a place stay one message. They begin where the group's send left off: it was their first.
"""

from __future__ import annotations

import msgspec

from dispatcher.model import Fate, Job, JobState, SendError, SendResponse
from dispatcher.protocol.job import MAX_TOKENS
from dispatcher.protocol.lifetimes import decode_layer
from dispatcher.queue.settlement import Settled

_encode = msgspec.json.Encoder().encode

MISSED = SendError(
    Fate.ANSWERED,
    http_status=200,
    is_json=True,
    wire="legacy",
    word="Unavailable",
    reason="the device group's answer names it among those that failed",
)
"""What the group's answer says of a member, in a word of the table."""


def members_job(job: Job, tokens: tuple[str, ...]) -> Job:
    """The job for these members, as if it were the producer's own, sent as often as the group's.

    Args:
        job: the group's, as it was sent.
        tokens: of the members, each once.
    """
    # A group's key may also stand where a token does. Places behind those of any token of such a job are nobody's.
    first = MAX_TOKENS if job.multicast else 1
    state = job.state or JobState(job.entry_id, job.lane, job.enqueued_at)
    message = job.message if job.kind == "group" or job.multicast else _without_token(job.message)
    fields: list[bytes] = []
    asked = job.fields
    for name, value in zip(asked[::2], asked[1::2], strict=True):
        if name not in (b"group", b"tokens", b"message"):
            fields += (name, value)
    fields += (b"message", message, b"tokens", _encode(tokens))
    return msgspec.structs.replace(
        job,
        entry=fields,
        message=message,
        kind="token",
        values=list(tokens),
        multicast=True,
        state=msgspec.structs.replace(state, places=list(range(first, first + len(tokens)))),
    )


def missed(response: SendResponse) -> list[SendResponse]:
    """What the group's answer says of each of the members that failed."""
    return [SendResponse(error=MISSED)] * len(response.failed_tokens)


def joined(group: Settled, members: Settled) -> Settled:
    """The effects of both on the one entry there is."""
    counts: dict[str, int] = {}
    for part in (group, members):
        for name, count in (part.campaign[1] if part.campaign else {}).items():
            counts[name] = counts.get(name, 0) + count
    return msgspec.structs.replace(
        group,
        outcomes=b",".join(filter(None, (group.outcomes, members.outcomes))),
        delayed=[*group.delayed, *members.delayed],
        dead=[*group.dead, *members.dead],
        campaign=(group.campaign[0], counts) if group.campaign else None,
    )


def _without_token(message: bytes) -> bytes:
    layer = decode_layer(message)
    layer.pop("token", None)
    return _encode(layer)

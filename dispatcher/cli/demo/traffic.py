"""What the demo enqueues, and what must become of each message."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import orjson

from dispatcher.client.producer import Producer
from dispatcher.model import Status

PROJECT = "demo-orchard-41"
GONE = "gone"
BUSY_TOKEN = "busy00000001:APA91b" + "B" * 121
BUSY_TOPIC = "harvest-news"
RETRY_AFTER_S = 2.0

BUSY_TOKEN_MESSAGES = 40
BUSY_TOPIC_MESSAGES = 15
MULTICAST = 500
MULTICAST_SHARE = 10
"""One message in so many travels in a multicast job."""
GONE_SHARE = 100
"""One token in so many is unregistered."""
CHUNK = 2000
"""Jobs enqueued at a time."""


class Asked(msgspec.Struct, gc=False):
    """One message that was asked for.

    Attributes:
        id: `id` in its data, by which the emulator's ledger knows it.
        kind, value: its target.
        status: what must become of it.
    """

    id: str
    kind: str
    value: str
    status: Status


class Plan:
    """All messages of one run.

    Args:
        total: how many messages.

    Attributes:
        asked: by (job, index): filled while enqueueing.
        total: messages.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.asked: dict[tuple[str, int], Asked] = {}

    async def enqueue(self, producer: Producer) -> None:
        """Enqueue everything: multicasts first, then single messages with the busy targets' among the first."""
        number = 0
        for _ in range(self.total // MULTICAST_SHARE // MULTICAST):
            number += 1
            tokens = [_token(number * MULTICAST + place) for place in range(MULTICAST)]
            message = {"notification": {"title": "Harvest", "body": "To all"}, "data": {"id": f"m{number}"}}
            job = await producer.send(PROJECT, message, tokens=tokens)
            for place, token in enumerate(tokens):
                self.asked[job, place] = Asked(f"m{number}", "token", token, _fate(token))
        singles = list(self._singles(self.total - number * MULTICAST))
        for start in range(0, len(singles), CHUNK):
            chunk = singles[start : start + CHUNK]
            jobs = await producer.send_many(PROJECT, [_message(asked) for asked in chunk])
            for job, asked in zip(jobs, chunk, strict=True):
                self.asked[job, 0] = asked

    def _singles(self, count: int) -> Iterator[Asked]:
        busy = [Asked(f"b{n}", "token", BUSY_TOKEN, Status.ACCEPTED) for n in range(BUSY_TOKEN_MESSAGES)]
        busy += [Asked(f"t{n}", "topic", BUSY_TOPIC, Status.ACCEPTED) for n in range(BUSY_TOPIC_MESSAGES)]
        every = max(1, count // 10 // len(busy))  # spread over the first tenth
        for number in range(count):
            if busy and number % every == 0:
                yield busy.pop()
            else:
                token = _token(10_000_000 + number)
                yield Asked(str(number), "token", token, _fate(token))


def busy(asked: Asked) -> bool:
    """Whether this message goes to one of the two throttled targets."""
    return asked.value in (BUSY_TOKEN, BUSY_TOPIC)


def _token(number: int) -> str:
    name = f"{GONE if number % GONE_SHARE == 0 else 'demo'}{number:08d}"
    return f"{name}:APA91b{'x' * 121}"


def _fate(token: str) -> Status:
    return Status.INVALID_TOKEN if token.startswith(GONE) else Status.ACCEPTED


def _message(asked: Asked) -> bytes:
    notification = {"title": "Harvest", "body": "The apples are ripe, come to the orchard at eight."}
    return orjson.dumps(
        {asked.kind: asked.value, "notification": notification, "data": {"id": asked.id, "row": "17"}}
    )

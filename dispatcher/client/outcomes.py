"""Reading what became of messages, plainly: in order, from a place on, without a consumer group.

Example:
    async with OutcomeReader.at(REDIS_URL, PROJECT) as reader:
        for record in await reader.read():
            for outcome in record.outcomes:
                print(outcome.job, outcome.status, outcome.target)

Whoever has to see every outcome, over restarts and with several processes, reads as a group: group.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self, Unpack
from uuid import uuid4

import msgspec

from dispatcher.client.cancellation import raise_if_cancelled
from dispatcher.errors import ProtocolError
from dispatcher.model import Outcome
from dispatcher.protocol.outcome import decode_outcomes
from dispatcher.queue.address import Login
from dispatcher.queue.store import Queue

_BLOCK_MS = 5000
"""How long one read waits at the server."""


class OutcomeRecord(msgspec.Struct):
    """One entry of the outcome stream: what one settled batch came to.

    Attributes:
        entry_id: its place; reading goes on after it.
        outcomes: one for each message.
    """

    entry_id: str
    outcomes: list[Outcome]


class OutcomeReader:
    """Reads the outcome stream of one project from a place on.

    Args:
        queue: a view of Redis; closed by `aclose`.
        project: Firebase project id.
        after: read entries after this id; `0-0`: all that are kept.

    Attributes:
        position: id of the last entry read; keep it to go on there later.
    """

    def __init__(self, queue: Queue, project: str, after: str = "0-0") -> None:
        self.position = after
        self._queue = queue
        self._project = project

    @classmethod
    def at(
        cls,
        redis_url: str,
        project: str,
        *,
        after: str = "0-0",
        namespace: str = "fcm",
        **login: Unpack[Login],
    ) -> Self:
        """A reader with a connection of its own, which is made with the first read (see `Producer.at`)."""
        consumer = f"reader-{uuid4().hex[:12]}"
        queue = Queue.at(redis_url, consumer=consumer, namespace=namespace, **login)
        return cls(queue, project, after)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._queue.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def skip_to_end(self) -> None:
        """Go on with what is written from now on."""
        self.position = await self._queue.last_record(self._project, "outcomes")

    async def read(self, count: int = 100, wait_s: float = 0.0) -> list[OutcomeRecord]:
        """The next entries, oldest first; empty if there are none.

        Args:
            count: at most so many entries (one may hold hundreds of outcomes).
            wait_s: how long to wait for the first one.

        Raises:
            QueueError: Redis does not answer.
            ProtocolError: an entry is no list of outcomes; reading again goes on after it.
        """
        if wait_s > 0:
            block_ms = min(_BLOCK_MS, max(1, int(wait_s * 1000)))
            entries = await self._queue.wait_records(
                self._project, "outcomes", after=self.position, count=count, block_ms=block_ms
            )
        else:
            entries = await self._queue.records(self._project, "outcomes", after=self.position, count=count)
        return [self._decode(entry_id, fields) for entry_id, fields in entries]

    async def __aiter__(self) -> AsyncIterator[Outcome]:
        """Every outcome from the position on, waiting for new ones without end."""
        while True:
            raise_if_cancelled()
            for record in await self.read(wait_s=_BLOCK_MS / 1000):
                for outcome in record.outcomes:
                    yield outcome

    def _decode(self, entry_id: str, fields: list[bytes]) -> OutcomeRecord:
        self.position = entry_id
        return decoded(entry_id, fields)


def decoded(entry_id: str, fields: list[bytes]) -> OutcomeRecord:
    """An entry of the outcome stream.

    Raises:
        ProtocolError: it is no list of outcomes.
    """
    for name, value in zip(fields[::2], fields[1::2], strict=True):
        if name == b"outcomes":
            return OutcomeRecord(entry_id, decode_outcomes(value))
    raise ProtocolError(f"outcomes: entry {entry_id} has no field `outcomes`")

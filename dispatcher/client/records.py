"""What the readers of a project's records share: a place in a stream, and a connection of their own."""

from __future__ import annotations

from typing import ClassVar, Self, Unpack
from uuid import uuid4

from dispatcher.client.connected import Connected
from dispatcher.queue.address import Login
from dispatcher.queue.keys import Which
from dispatcher.queue.reading import Entry
from dispatcher.queue.store import Queue

BLOCK_MS = 5000
"""How long one read waits at the server."""


class RecordReader(Connected):
    """Reads a stream of records of one project from a place on.

    Args:
        queue: a view of Redis; closed by `aclose`.
        project: Firebase project id.
        after: read entries after this id; `0-0`: all that are kept.

    Attributes:
        which: the stream.
        position: id of the last entry read; keep it to go on there later.
    """

    which: ClassVar[Which]

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

    async def skip_to_end(self) -> None:
        """Go on with what is written from now on."""
        self.position = await self._queue.last_record(self._project, self.which)

    async def _entries(self, count: int, wait_s: float) -> list[Entry]:
        """The next entries, oldest first; waits so long for the first one."""
        if wait_s <= 0:
            return await self._queue.records(self._project, self.which, after=self.position, count=count)
        block_ms = min(BLOCK_MS, max(1, int(wait_s * 1000)))
        return await self._queue.wait_records(
            self._project, self.which, after=self.position, count=count, block_ms=block_ms
        )

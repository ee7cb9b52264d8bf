"""Reading what devices sent and which messages they have, over XMPP: in order, from a place on.

Example:
    async with UpstreamReader.at(REDIS_URL, PROJECT) as reader:
        for message in await reader.read():
            print(message.type, message.sender, message.data)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self, Unpack
from uuid import uuid4

import msgspec
import orjson

from dispatcher.client.cancellation import raise_if_cancelled
from dispatcher.errors import ProtocolError
from dispatcher.queue.address import Login
from dispatcher.queue.store import Queue

_BLOCK_MS = 5000
"""How long one read waits at the server."""


class UpstreamMessage(msgspec.Struct):
    """One entry of the upstream stream (README: messages from devices).

    Attributes:
        entry_id: its place; reading goes on after it.
        type: `upstream` or `receipt`.
        sender: the device's token; of a receipt the server's name.
        message_id: unique for the sender.
        category: the app.
        data: what the app sent; of a receipt what it says.
    """

    entry_id: str
    type: str
    sender: str
    message_id: str
    category: str
    data: dict[str, Any]


class UpstreamReader:
    """Reads the upstream stream of one project from a place on. Several that shall share it read with XREADGROUP.

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
        self.position = await self._queue.last_record(self._project, "upstream")

    async def read(self, count: int = 100, wait_s: float = 0.0) -> list[UpstreamMessage]:
        """The next entries, oldest first; empty if there are none.

        Args:
            count: at most so many.
            wait_s: how long to wait for the first one.

        Raises:
            QueueError: Redis does not answer.
            ProtocolError: an entry is not one of ours; reading again goes on after it.
        """
        if wait_s > 0:
            block_ms = min(_BLOCK_MS, max(1, int(wait_s * 1000)))
            entries = await self._queue.wait_records(
                self._project, "upstream", after=self.position, count=count, block_ms=block_ms
            )
        else:
            entries = await self._queue.records(self._project, "upstream", after=self.position, count=count)
        messages: list[UpstreamMessage] = []
        for entry_id, fields in entries:
            try:
                messages.append(_decoded(entry_id, fields))
            except ProtocolError:
                if messages:
                    break  # these first; the next call comes back to it
                self.position = entry_id
                raise
            self.position = entry_id
        return messages

    async def __aiter__(self) -> AsyncIterator[UpstreamMessage]:
        """Every message from the position on, waiting for new ones without end."""
        while True:
            raise_if_cancelled()
            for message in await self.read(wait_s=_BLOCK_MS / 1000):
                yield message


def _decoded(entry_id: str, fields: list[bytes]) -> UpstreamMessage:
    given = {name.decode(): value for name, value in zip(fields[::2], fields[1::2], strict=True)}
    try:
        kind, sender, message_id, category = (
            given[name].decode() for name in ("type", "from", "message_id", "category")
        )
        data = orjson.loads(given["data"])
    except (KeyError, UnicodeDecodeError, orjson.JSONDecodeError) as error:
        raise ProtocolError(f"upstream: entry {entry_id} is not one of ours ({error!r})") from None
    return UpstreamMessage(entry_id, kind, sender, message_id, category, data)

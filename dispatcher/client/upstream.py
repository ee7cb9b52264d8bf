"""Reading what devices sent and which messages they have, over XMPP: in order, from a place on.

Example:
    async with UpstreamReader.at(REDIS_URL, PROJECT) as reader:
        for message in await reader.read():
            print(message.type, message.sender, message.data)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import orjson

from dispatcher.client.cancellation import raise_if_cancelled
from dispatcher.client.records import BLOCK_MS, RecordReader
from dispatcher.errors import ProtocolError


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


class UpstreamReader(RecordReader):
    """Reads the upstream stream of one project from a place on. Several that shall share it read with XREADGROUP."""

    which = "upstream"

    async def read(self, count: int = 100, wait_s: float = 0.0) -> list[UpstreamMessage]:
        """The next entries, oldest first; empty if there are none.

        Args:
            count: at most so many.
            wait_s: how long to wait for the first one.

        Raises:
            QueueError: Redis does not answer.
            ProtocolError: an entry is not one of ours; reading again goes on after it.
        """
        messages: list[UpstreamMessage] = []
        for entry_id, fields in await self._entries(count, wait_s):
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
            for message in await self.read(wait_s=BLOCK_MS / 1000):
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

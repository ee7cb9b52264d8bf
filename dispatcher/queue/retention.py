"""Trimming outcomes and dead letters."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from dispatcher.errors import QueueError
from dispatcher.queue.access import Access
from dispatcher.queue.keys import next_id


class Trimmed(msgspec.Struct, gc=False):
    """What was cut.

    Attributes:
        read: entries that every consumer group had read and acknowledged.
        unread: entries cut although somebody had not read them; alert on these.
        left: entries still there.
    """

    read: int
    unread: int
    left: int


class Retention(Access):
    """Keeps the record streams from growing for ever."""

    async def trim(
        self,
        project: str,
        which: Literal["outcomes", "dead"],
        *,
        retention_s: float,
        max_entries: int,
        read_for_s: float = 3600.0,
    ) -> Trimmed:
        """Cut what every group has read after an hour, and the rest by age and number.

        A stream without groups counts as unread. Over `max_entries`, read entries go first.
        """
        key = self.keys.outcomes(project) if which == "outcomes" else self.keys.dead(project)
        now_ms = int(await self.server.time() * 1000)
        read_end = await self._read_by_all(key)
        read = unread = 0
        if read_end is not None:
            young = f"{now_ms - round(min(read_for_s, retention_s) * 1000)}-0"
            read += await self.server.call("XTRIM", key, "MINID", min(read_end, young, key=_order))
        # Whatever is older than this and has been read is gone by now: what goes here was unread.
        unread += await self.server.call("XTRIM", key, "MINID", f"{now_ms - round(retention_s * 1000)}-0")
        left = await self.server.call("XLEN", key)
        if left > max_entries and read_end is not None:
            read += await self.server.call("XTRIM", key, "MINID", read_end)
        if left > max_entries:
            unread += await self.server.call("XTRIM", key, "MAXLEN", max_entries)
            left = await self.server.call("XLEN", key)
        return Trimmed(read, unread, left)

    async def _read_by_all(self, key: str) -> str | None:
        """The id below which every group has read and acknowledged everything; None: there is no group."""
        try:
            groups = await self.server.call("XINFO", "GROUPS", key)
        except QueueError as error:
            if "no such key" in str(error):
                return None
            raise
        ends = []
        for flat in groups:
            facts: dict[bytes, Any] = dict(zip(flat[::2], flat[1::2], strict=True))
            ends.append(next_id(facts[b"last-delivered-id"].decode()))
            if facts[b"pending"]:
                summary = await self.server.call("XPENDING", key, facts[b"name"])
                if summary[1] is not None:
                    ends.append(summary[1].decode())
        return min(ends, key=_order) if ends else None


def _order(entry_id: str) -> tuple[int, int]:
    ms, _, seq = entry_id.partition("-")
    return int(ms), int(seq)

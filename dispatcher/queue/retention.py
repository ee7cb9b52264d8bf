"""Trimming the record streams."""

from __future__ import annotations

from typing import Any

import msgspec

from dispatcher.errors import QueueError
from dispatcher.queue.access import Access
from dispatcher.queue.keys import Which, entry_time, next_id


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


class Unread(msgspec.Struct, gc=False):
    """How far the readers of a record stream are behind.

    Attributes:
        entries: those that not every consumer group has read and acknowledged; all, if there is no group.
        age: seconds since the oldest of them was written; 0.0: there is none.
    """

    entries: int
    age: float


class Retention(Access):
    """Keeps the record streams from growing for ever."""

    async def unread(self, project: str, which: Which = "outcomes") -> Unread:
        """How much of a record stream still waits for a reader.

        Servers before 7.0, and later ones after some restarts, do not count how far a group is behind; then the
        number is taken from how much of the stream's time it has read.
        """
        key = self.keys.record(project, which)
        replies = await self.server.pipeline(
            [("XLEN", key), ("XRANGE", key, "-", "+", "COUNT", 1), ("XREVRANGE", key, "+", "-", "COUNT", 1)]
        )
        for reply in replies:
            if isinstance(reply, QueueError):
                raise reply
        length, first, last = replies
        if not first or not last:
            return Unread(0, 0.0)
        now = await self.server.time()
        groups = await self._groups(key)
        if not groups:
            return Unread(length, max(0.0, now - entry_time(first[0][0].decode())))
        start, end = entry_time(first[0][0].decode()), entry_time(last[0][0].decode())
        entries = 0
        for group in groups:
            lag, at = group.get(b"lag"), group[b"last-delivered-id"].decode()
            if _order(at) >= _order(last[0][0].decode()):
                lag = 0
            elif lag is None:
                share = (end - entry_time(at)) / (end - start) if end > start else 1.0
                lag = max(1, round(length * min(1.0, share)))
            entries = max(entries, lag + group[b"pending"])
        read_end = await self._read_by_all(key)
        oldest = await self.server.call("XRANGE", key, read_end or "-", "+", "COUNT", 1)
        if not oldest:
            return Unread(0, 0.0)
        return Unread(max(1, min(length, entries)), max(0.0, now - entry_time(oldest[0][0].decode())))

    async def _groups(self, key: str) -> list[dict[bytes, Any]]:
        try:
            groups = await self.server.call("XINFO", "GROUPS", key)
        except QueueError as error:
            if "no such key" in str(error):
                return []
            raise
        return [dict(zip(flat[::2], flat[1::2], strict=True)) for flat in groups]

    async def trim(
        self,
        project: str,
        which: Which,
        *,
        retention_s: float,
        max_entries: int,
        read_for_s: float = 3600.0,
    ) -> Trimmed:
        """Cut what every group has read after an hour, and the rest by age and number.

        A stream without groups counts as unread. Over `max_entries`, read entries go first.
        """
        key = self.keys.record(project, which)
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
        ends = []
        for facts in await self._groups(key):
            ends.append(next_id(facts[b"last-delivered-id"].decode()))
            if facts[b"pending"]:
                summary = await self.server.call("XPENDING", key, facts[b"name"])
                if summary[1] is not None:
                    ends.append(summary[1].decode())
        return min(ends, key=_order) if ends else None


def _order(entry_id: str) -> tuple[int, int]:
    ms, _, seq = entry_id.partition("-")
    return int(ms), int(seq)

"""Listing outcomes, dead letters, and what came by itself."""

from __future__ import annotations

from dispatcher.queue.access import Access
from dispatcher.queue.connection import MAX_BLOCK_MS
from dispatcher.queue.keys import Which
from dispatcher.queue.reading import Entry, entries


class Records(Access):
    """Plain reads of the record streams, without a group."""

    async def records(
        self, project: str, which: Which, *, after: str = "0-0", until: str = "+", count: int = 100
    ) -> list[Entry]:
        """Entries after this id, up to and with `until`, oldest first."""
        reply = await self.server.call(
            "XRANGE", self.keys.record(project, which), f"({after}", until, "COUNT", count
        )
        return entries(reply)

    async def record(self, project: str, which: Which, entry_id: str) -> Entry | None:
        """One entry; None: it is not there."""
        found = entries(
            await self.server.call("XRANGE", self.keys.record(project, which), entry_id, entry_id)
        )
        return found[0] if found else None

    async def last_record(self, project: str, which: Which) -> str:
        """Id of the newest entry; `0-0` if there is none."""
        reply = await self.server.call("XREVRANGE", self.keys.record(project, which), "+", "-", "COUNT", 1)
        return entries(reply)[0][0] if reply else "0-0"

    async def wait_records(
        self, project: str, which: Which, *, after: str, count: int, block_ms: int
    ) -> list[Entry]:
        """The same, waiting up to `block_ms` for the first one."""
        key = self.keys.record(project, which)
        block_ms = min(max(block_ms, 1), MAX_BLOCK_MS)
        reply = await self.server.block(
            key, "XREAD", "COUNT", count, "BLOCK", block_ms, "STREAMS", key, after
        )
        return entries(reply[0][1]) if reply else []

"""Listing outcomes and dead letters."""

from __future__ import annotations

from typing import Literal

from dispatcher.queue.access import Access
from dispatcher.queue.reading import Entry


class Records(Access):
    """Plain reads of the record streams, without a group."""

    async def records(
        self, project: str, which: Literal["outcomes", "dead"], *, after: str = "0-0", count: int = 100
    ) -> list[Entry]:
        """Entries after this id, oldest first."""
        raise NotImplementedError

    async def last_record(self, project: str, which: Literal["outcomes", "dead"]) -> str:
        """Id of the newest entry; `0-0` if there is none."""
        raise NotImplementedError

    async def wait_records(
        self, project: str, which: Literal["outcomes", "dead"], *, after: str, count: int, block_ms: int
    ) -> list[Entry]:
        """The same, waiting up to `block_ms` for the first one."""
        raise NotImplementedError

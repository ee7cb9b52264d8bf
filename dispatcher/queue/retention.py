"""Trimming outcomes and dead letters."""

from __future__ import annotations

from typing import Literal

import msgspec

from dispatcher.queue.access import Access


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
        raise NotImplementedError

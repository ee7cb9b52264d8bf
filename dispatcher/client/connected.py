"""What has a connection of its own, and closes it at the end of an `async with`."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from dispatcher.queue.store import Queue


class Connected:
    """Owner of a view of Redis."""

    _queue: Queue

    async def aclose(self) -> None:
        """Close the connection."""
        await self._queue.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

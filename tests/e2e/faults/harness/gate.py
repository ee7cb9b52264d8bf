"""The other end of `blockable.py`: knows when a loop stands still, and lets it go on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Self


class Gate:
    """A unix socket that a worker's loop stands still at; an async context manager.

    Args:
        path: of the socket.

    Attributes:
        reached: set when a loop stands still.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reached = asyncio.Event()
        self._open = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._hold, self.path)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.open()
        if self._server is not None:
            self._server.close()

    def open(self) -> None:
        """Let it go on, now and whenever it comes again."""
        self._open.set()

    async def _hold(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reached.set()
        await self._open.wait()
        writer.close()

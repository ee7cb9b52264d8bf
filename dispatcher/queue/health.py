"""Whether the server is fit to hold jobs."""

from __future__ import annotations

import msgspec

from dispatcher.queue.access import Access


class ServerReport(msgspec.Struct):
    """What the server says of itself.

    Attributes:
        version: as `7.0.15`.
        mode: `standalone`, `sentinel` or `cluster`.
        policy: `maxmemory_policy`.
        maxmemory: bytes; 0: no limit.
        aof: append-only file on.
        findings: sentences for the operator, gravest first; empty: all is well.
    """

    version: str
    mode: str
    policy: str
    maxmemory: int
    aof: bool
    findings: list[str]


class Health(Access):
    """Checks of the server."""

    async def ping(self) -> float:
        """Whether it answers; returns the Redis clock, seconds."""
        return await self.server.time()

    async def check_server(self) -> ServerReport:
        """Look at version, eviction policy, persistence and rights.

        Raises:
            QueueMisconfigured: it cannot do this work at all (older than 6.2, no scripts, no rights).
        """
        raise NotImplementedError

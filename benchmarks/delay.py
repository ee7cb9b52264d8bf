"""A wire of some length: whatever a server answers comes so many milliseconds later. Bytes only, so TLS passes.

Or a slow server at the end of a short wire: with `FREE_BYTES`, what it says waits only once a client has sent more than
that, and so is past its handshake.

    python benchmarks/delay.py PORT LATENCY_MS [FREE_BYTES]
"""

from __future__ import annotations

import asyncio
import sys

import uvloop


class Back(asyncio.Protocol):
    """The server's side of a connection."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client
        self.latency_s = 0.0
        self.ready: asyncio.Future[asyncio.Transport] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Requests may pass."""
        self.ready.set_result(transport)

    def data_received(self, data: bytes) -> None:
        """An answer, or a part of one."""
        if self.latency_s:
            asyncio.get_running_loop().call_later(self.latency_s, self._answer, data)
        else:
            self._client.write(data)

    def _answer(self, data: bytes) -> None:
        if not self._client.is_closing():  # it did not wait
            self._client.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        """So does the client's end, after what is under way to it."""
        asyncio.get_running_loop().call_later(self.latency_s, self._client.close)


class Front(asyncio.Protocol):
    """The client's side."""

    def __init__(self, port: int, latency_s: float, free: int) -> None:
        self._port = port
        self._latency_s = latency_s
        self._free = free
        self._early: list[bytes] = []
        self._server: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Go on to the server."""
        self._back = Back(transport)
        self._spend(0)
        self._opening = asyncio.ensure_future(self._open())

    def _spend(self, size: int) -> None:
        self._free -= size
        if self._free < 0:
            self._back.latency_s = self._latency_s

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self._back, "127.0.0.1", self._port)
        self._server = await self._back.ready
        self._server.write(b"".join(self._early))

    def data_received(self, data: bytes) -> None:
        """Requests go on at once."""
        self._spend(len(data))
        if self._server is None:
            self._early.append(data)
        else:
            self._server.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        """So does the server's end."""
        if self._server is not None:
            self._server.close()


async def main(port: int, latency_s: float, free: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Front(port, latency_s, free), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(
        main(int(sys.argv[1]), float(sys.argv[2]) / 1000, int(sys.argv[3]) if len(sys.argv) > 3 else -1)
    )

"""A TCP proxy that does to a connection what networks do: it loses, delays, cuts and falls silent, on demand.

Bytes are passed on as they come. A `Fault` waits for a request in which its pattern stands, so that one can say
"the reply to the next settlement is lost" without knowing when that will be. That works by chunks because both
protocols behind it (RESP as our client speaks it, HTTP/1.1) have one exchange under way on a connection. XMPP is one
long stream each way, and encrypted: of it a `Break` names a place.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

CHUNK = 64 << 10

Action = Literal["drop request", "drop reply", "hold request", "hold reply", "reset", "cut reply", "dribble"]
Direction = Literal["up", "down"]
Upstream = Path | tuple[str, int]


@dataclass
class Fault:
    """Something that happens to requests that match.

    Attributes:
        match: bytes that stand in the request; empty: any request.
        action: what happens. Dropping ends the connection, unless `silent`; holding lasts until `release()`, or
            `seconds`; cutting lets `keep` bytes of the reply through and then breaks the connection off; dribbling
            does so too and keeps the rest for `seconds`.
        times: how often; None: until `clear()`.
        skip: so many matching requests pass before.
        silent: after dropping, the connection stays open and nothing comes any more.
        before: awaited with the request at the proxy and not yet passed on (for "reply" actions: with the reply
            there, not yet passed on).
        hits: how often it happened.
        kept: of a cut: what was let through.
    """

    match: bytes = b""
    action: Action = "drop reply"
    times: int | None = 1
    skip: int = 0
    silent: bool = False
    seconds: float | None = None
    keep: int = 0
    before: Callable[[], Awaitable[None]] | None = None
    hits: int = 0
    kept: bytes = b""
    hit: asyncio.Event = field(default_factory=asyncio.Event)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """End holding, now and for good."""
        self._released.set()

    def takes(self, data: bytes) -> bool:
        """Whether this request is one of those it happens to."""
        if self.times == 0 or self.match not in data:
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True

    async def begin(self) -> None:
        """It happens now."""
        if self.before is not None:
            await self.before()
        self.hits += 1
        self.hit.set()

    async def held(self) -> None:
        """Wait until it is released."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.seconds):
                await self._released.wait()


@dataclass
class Break:
    """A place in the stream of one connection at which it breaks.

    Attributes:
        after: bytes in `direction` that still arrive, counted from when the connection has this.
        direction: upwards are the near side's own.
        how: `close` ends the connection in good order, `reset` does not; `silence`: nothing passes any more, either way,
            and nobody is told.
        around: entered at that place; the connection breaks inside.
        hit: set when it has.
    """

    after: int
    direction: Direction
    how: Literal["close", "reset", "silence"]
    around: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
    hit: asyncio.Event = field(default_factory=asyncio.Event)


class Proxy:
    """One listening port of this machine in front of one upstream; an async context manager.

    Args:
        upstream: a unix socket's path, or (host, port).

    Attributes:
        port: where it listens.
        bytes_per_s: throttles each direction of each connection; None: as fast as it goes.
        lost_up, lost_down: bytes in this direction are swallowed while it is set.
        accepted: connections so far.
        requests: bytes that came from the near side so far.
    """

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.port = 0
        self.bytes_per_s: float | None = None
        self.lost_up = False
        self.lost_down = False
        self.accepted = 0
        self.requests = 0
        self._faults: list[Fault] = []
        self._breaks: deque[Break] = deque()
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.refuse()

    async def listen(self) -> None:
        """Take connections (again)."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Reset every connection and refuse new ones, until `listen`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    def reset(self) -> None:
        """Reset every connection."""
        for link in list(self._links):
            link.abort()

    def inject(self, fault: Fault) -> Fault:
        """From now on this happens."""
        self._faults.append(fault)
        return fault

    def break_off(self, place: Break) -> Break:
        """One connection breaks there: an open one that is not to break yet, else the next one that is opened."""
        whole = next((link for link in self._links if link.place is None), None)
        if whole is None:
            self._breaks.append(place)
        else:
            whole.place = place
        return place

    def clear(self) -> None:
        """Nothing happens any more; what is held goes on."""
        self._breaks.clear()
        for link in self._links:
            link.place = None
        faults, self._faults = self._faults, []
        for fault in faults:
            fault.times = 0
            fault.release()
        self.bytes_per_s = None
        self.lost_up = self.lost_down = False

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._links)

    def choose(self, data: bytes) -> Fault | None:
        """The fault that meets this request."""
        return next((fault for fault in self._faults if fault.takes(data)), None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            if isinstance(self.upstream, Path):
                far = await asyncio.open_unix_connection(self.upstream)
            else:
                far = await asyncio.open_connection(*self.upstream)
        except OSError:
            _abort(writer)
            return
        link = _Link(self, (reader, writer), far)
        if self._breaks:
            link.place = self._breaks.popleft()
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)


class _Link:
    """One connection through the proxy.

    Attributes:
        place: where it breaks; None: nowhere.
    """

    def __init__(
        self,
        proxy: Proxy,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._near, self._to_near = near
        self._far, self._to_far = far
        self.place: Break | None = None
        self._reply_fault: Fault | None = None
        self._silent = False

    def abort(self) -> None:
        """Reset both ends: unsent bytes are lost."""
        _abort(self._to_near)
        _abort(self._to_far)

    async def run(self) -> None:
        """Pass on until either end closes."""
        pumps = {asyncio.create_task(self._up()), asyncio.create_task(self._down())}
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._to_near.close()
            self._to_far.close()

    async def _up(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self._near.read(CHUNK):
                self._proxy.requests += len(data)
                fault = self._proxy.choose(data)
                if fault is not None and not await self._request(fault):
                    continue
                if not (self._silent or self._proxy.lost_up):
                    await self._carry("up", data)

    async def _request(self, fault: Fault) -> bool:
        """What happens to a request; whether it is passed on."""
        match fault.action:
            case "drop reply" | "hold reply" | "cut reply" | "dribble":
                self._reply_fault = fault
                return True
            case "hold request":
                await fault.begin()
                await fault.held()
                return True
            case "drop request":
                await fault.begin()
            case "reset":
                await fault.begin()
                self.abort()
                return False
        self._end(fault)
        return False

    async def _down(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self._far.read(CHUNK):
                fault, self._reply_fault = self._reply_fault, None
                if fault is not None:
                    await fault.begin()
                    match fault.action:
                        case "drop reply":
                            self._end(fault)
                        case "cut reply":
                            data = await self._whole(data, fault.keep)
                            fault.kept = data[: fault.keep]
                            await self._pass(self._to_near, fault.kept)
                            await flushed(self._to_near)
                            self.abort()
                            return
                        case "dribble":
                            await self._pass(self._to_near, data[: fault.keep])
                            data = data[fault.keep :]
                            await fault.held()
                        case _:
                            await fault.held()
                if not (self._silent or self._proxy.lost_down or (fault and fault.action == "drop reply")):
                    await self._carry("down", data)

    async def _whole(self, data: bytes, wanted: int) -> bytes:
        """The answer that begins with `data`, as much of it as is wanted: a server may write it in pieces."""
        head, _, body = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        missing = min(wanted - len(data), int(length[1]) - len(body) if length else 0)
        while missing > 0 and (piece := await self._far.read(CHUNK)):
            data += piece
            missing -= len(piece)
        return data

    def _end(self, fault: Fault) -> None:
        if fault.silent:
            self._silent = True
        else:
            self.abort()

    async def _carry(self, direction: Direction, data: bytes) -> None:
        """Pass on as much as arrives before the connection breaks."""
        writer = self._to_far if direction == "up" else self._to_near
        place = self.place
        if place is None or place.direction != direction:
            await self._pass(writer, data)
            return
        kept = data[: place.after]
        place.after -= len(kept)
        await self._pass(writer, kept)
        if len(kept) == len(data):
            return
        await flushed(writer)
        async with place.around():
            place.hit.set()
            if place.how == "silence":
                self._silent = True
                return
            if place.how == "reset":
                self.abort()
            raise ConnectionAbortedError  # ends both directions

    async def _pass(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        rate = self._proxy.bytes_per_s
        if rate is None:
            writer.write(data)
            await writer.drain()
            return
        piece = max(1, int(rate / 20))
        for start in range(0, len(data), piece):
            part = data[start : start + piece]
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(len(part) / rate)


async def flushed(writer: asyncio.StreamWriter) -> None:
    """Wait until the kernel has everything: a reset would take what it has not."""
    while writer.transport.get_write_buffer_size():  # noqa: ASYNC110 - there is no event for it
        await asyncio.sleep(0)  # asyncio tells nobody when a buffer is empty


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close with a reset instead of an orderly end."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()

"""Peers of every kind: small servers that answer byte by byte as a test says, and the emulator as a process."""

import asyncio
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvloop

from dispatcher.model import Batch, Job
from dispatcher.transport.session import Session


class Exchange:
    """One request that a peer has read, and the connection to answer it on."""

    def __init__(self, peer: "Peer", writer: asyncio.StreamWriter, head: bytes, body: bytes) -> None:
        self.peer = peer
        self.writer = writer
        self.head = head
        self.body = body

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    def hang_up(self) -> None:
        self.writer.close()

    async def say_nothing(self) -> None:
        await self.peer.over.wait()

    def reset(self) -> None:
        self.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.writer.transport.abort()


Behave = Callable[[Exchange], Awaitable[None] | None]


class Peer:
    """A server that reads requests and leaves the rest to `behave`."""

    def __init__(self, behave: Behave) -> None:
        self.behave = behave
        self.exchanges: list[Exchange] = []
        self.connections = 0
        self.url = ""
        self.over = asyncio.Event()
        self._serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._serving.add(asyncio.current_task())
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                exchange = Exchange(self, writer, head, await reader.readexactly(length))
                self.exchanges.append(exchange)
                done = self.behave(exchange)
                if done is not None:
                    await done
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def end(self) -> None:
        self.over.set()
        for exchange in self.exchanges:
            exchange.writer.transport.abort()
        if self._serving:
            await asyncio.wait(self._serving)


@asynccontextmanager
async def _serve(behave: Behave, **options: object) -> AsyncIterator[Peer]:
    """A listening `Peer`; `options` are those of `asyncio.start_server`."""
    peer = Peer(behave)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, limit=1 << 24, **options)
    scheme = "https" if "ssl" in options else "http"
    peer.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield peer
    finally:
        server.close()
        await peer.end()
        await server.wait_closed()


def _whole(
    body: bytes = b"", status: str = "200 OK", content_type: str = "application/json", **headers: str
) -> bytes:
    """A whole HTTP answer with a Content-Length."""
    head = {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in head.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The worker's own loop: what is left of a broken connection differs between loops."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def serve() -> Callable[..., object]:
    """`async with serve(behave) as peer`."""
    return _serve


@pytest.fixture
def whole() -> Callable[..., bytes]:
    """`whole(body, status, content_type, **headers)`: the bytes of an answer."""
    return _whole


@pytest.fixture
def batch_of() -> Callable[..., Batch]:
    """`batch_of(*targets, project=, kind=, **message)`."""
    return _batch_of


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    async with Session() as session:
        yield session


def _batch_of(*values: str, project: str = "demo", kind: str = "token", **message: object) -> Batch:
    """A batch of one-message jobs; the message's data say which it is."""
    now = time.time()
    jobs = []
    for number, value in enumerate(values):
        content = json.dumps({kind: value, "data": {"id": f"{number}"}, **message}).encode()
        jobs.append(
            Job(
                entry_id=f"{number}-0",
                stream="normal",
                project=project,
                fields=[],
                nbytes=len(content),
                id=str(number),
                lane="normal",
                message=content,
                kind=kind,
                values=[value],
                multicast=False,
                enqueued_at=now,
                expires_at=now + 3600,
            )
        )
    return Batch(project, "normal", jobs, len(jobs), sum(job.nbytes for job in jobs), 1)


class Emulator:
    """A running emulator and its admin API."""

    def __init__(self, ready: dict[str, object]) -> None:
        self.url = str(ready["url"])
        self.keys = ready["credentials"]
        self._admin = httpx.Client(base_url=f"{self.url}/_emulator/", trust_env=False)

    def get(self, path: str, **query: object) -> dict[str, object]:
        return self._admin.get(path, params=query).raise_for_status().json()

    def put(self, path: str, **body: object) -> None:
        self._admin.put(path, json=body).raise_for_status()

    def reset(self) -> None:
        self._admin.post("reset", json={}).raise_for_status()
        self.put("oauth", expires_in=3599, refuse="")

    def close(self) -> None:
        self._admin.close()


@pytest.fixture(scope="session")
def running_emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    keys = tmp_path_factory.mktemp("keys")
    command = [sys.executable, "-m", "dispatcher.emulator", "--write-credentials", str(keys)]
    command += ["--projects", "demo,other"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
    try:
        emulator = Emulator(json.loads(process.stdout.readline()))
        yield emulator
        emulator.close()
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@pytest.fixture
def emulator(running_emulator: Emulator) -> Emulator:
    running_emulator.reset()
    return running_emulator

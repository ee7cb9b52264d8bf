"""Peers of every kind: small servers that answer byte by byte as a test says, and the emulator as a process."""

import asyncio
import datetime as dt
import ipaddress
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dispatcher.model import Batch, Job
from dispatcher.transport.http2 import Http2Transport
from dispatcher.transport.http2_connect import Place
from dispatcher.transport.http2_link import Patience
from dispatcher.transport.http2_pool import Http2Pool
from dispatcher.transport.route import Route
from dispatcher.transport.session import Session
from dispatcher.transport.wire import Observe, Timeouts


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
                entry=[],
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


class Certificate:
    """A self-signed certificate for localhost: its own CA."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = dt.datetime.now(dt.UTC)
        signed = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self.cert.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """`program("nginx")`: its path; where it is missing the test is skipped, or fails if all is to be there."""

    def find(name: str) -> str:
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
        if path is None:
            message = f"{name} is not installed"
            if os.environ.get("CI") == "true":
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def running() -> Callable[..., object]:
    """`with running(command, port)`: a server process that listens there."""
    return _running


@contextmanager
def _running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]}: {process.stderr.read().decode()}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.01)  # until it listens
        yield
    finally:
        process.terminate()
        process.wait(10)
        process.stderr.close()


class Emulator:
    """A running emulator and its admin API."""

    def __init__(self, ready: dict[str, object], verify: ssl.SSLContext | bool = True) -> None:
        self.url = str(ready["url"])
        self.keys = ready["credentials"]
        self._admin = httpx.Client(base_url=f"{self.url}/_emulator/", trust_env=False, verify=verify)

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


@pytest.fixture(scope="session")
def running_tls_emulator(certificate: Certificate) -> Iterator[Emulator]:
    command = [sys.executable, "-m", "dispatcher.emulator", "--tls-cert", str(certificate.cert)]
    command += ["--tls-key", str(certificate.key), "--max-streams", "20", "--host", "127.0.0.1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
    try:
        trust = ssl.create_default_context(cafile=certificate.cert)
        emulator = Emulator({"credentials": {}, **json.loads(process.stdout.readline())}, trust)
        yield emulator
        emulator.close()
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@pytest.fixture
def tls_emulator(running_tls_emulator: Emulator) -> Emulator:
    running_tls_emulator.reset()
    return running_tls_emulator


@pytest.fixture
def emulator(running_emulator: Emulator) -> Emulator:
    running_emulator.reset()
    return running_emulator


@pytest.fixture
def listen(certificate):
    """`async with listen(serve, alpn=["h2"]) as port`: a TLS server; [] it knows no ALPN; None: no TLS."""

    @asynccontextmanager
    async def start(serve, *, alpn: list[str] | None):
        tasks: set[asyncio.Task[None]] = set()
        writers: list[asyncio.StreamWriter] = []

        async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.current_task())
            writers.append(writer)
            try:
                await serve(reader, writer)
            except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError):
                pass
            except asyncio.CancelledError:
                pass
            finally:
                writer.close()

        context = None
        if alpn is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.cert, certificate.key)
            if alpn:
                context.set_alpn_protocols(alpn)
        server = await asyncio.start_server(guarded, "127.0.0.1", 0, ssl=context)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            for writer in writers:
                writer.transport.abort()
            if tasks:
                await asyncio.wait(tasks)
            await server.wait_closed()

    return start


@pytest.fixture
async def http2_to(certificate):
    """`http2_to(url, observe, ...)`: an `Http2Transport` with a pool of its own, closed at the end."""
    made = []

    def make(
        url: str,
        observe: Observe,
        *,
        timeout_s: float = 10.0,
        links: int = 1,
        only: bool = False,
        route: Route | None = None,
        patience: Patience | None = None,
    ) -> Http2Transport:
        route = route or Route(ca_file=str(certificate.cert))
        made.append(
            Http2Pool(Place.of(url, route, only_http2=only), lambda: links, only=only, patience=patience)
        )
        return Http2Transport(made[-1], url, Timeouts(timeout_s, timeout_s), observe)

    yield make
    for pool in made:
        await pool.aclose()

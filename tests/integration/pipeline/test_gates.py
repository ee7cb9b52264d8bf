"""What messages may cost others, counted and not timed: Redis commands, bytes of its log, connections, TLS handshakes.

Through a worker as it comes, over each wire, to a server over TLS that counts at its own side. What they cost the worker's
own process is counted in test_gates_python.py.
"""

from __future__ import annotations

import asyncio
import math
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from importlib.resources import files

import pytest
import redis.asyncio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded
from h2.settings import SettingCodes
from harness.certificates import Authority

from dispatcher.protocol.batch_server import SubAnswer, encode_response
from dispatcher.queue.embedded import EmbeddedRedis
from dispatcher.queue.script import Script

BATCHES = 20
BATCH = 500
MESSAGES = BATCHES * BATCH

READS = 3
"""Most reads (XREADGROUP) a batch, those that find a lane empty included: one or two are usual."""
COMMANDS = 2.2
"""Most Redis commands a batch beside its reads and what is periodic: a grant and a settlement, in ten batches one more of each."""
AOF_BYTES = 750
"""Most bytes of Redis's log that a message of about 300 bytes may need after it is in: read, settled, its outcome."""
BATCH_HANDSHAKES = 4
"""Most connections for 10,000 messages over `batch`: 20 requests to a server that answers at once. One or two are usual."""
HTTP11_HANDSHAKES = 100
"""The same over `v1` and HTTP/1.1, where as many requests may be on the wire at once: each has a connection, and a worker opens
all that it may, once. Less than a third of the default, 320 (288 in use beside the high lane's tenth), since so many handshakes in
the test's own process take so long on a busy machine that connections are given up."""
HTTP2_HANDSHAKES = 10
"""The same over `v1` and HTTP/2, with Google's 100 streams a connection. Six or seven are usual; the limit is 34."""

AT_START = Counter(info=1, exists=16, scan=1, rights=1, acquire=1, group=4, time=2)
"""What a worker sends once, before the first rounds of its duties: is this Redis fit, may it do what is needed, its leases."""
ROUNDS = (
    (0.25, Counter(listen=1)),  # the listener at quiet lanes, an XREADGROUP that blocks
    (0.4, Counter(promote=1)),
    (0.64, Counter(hgetall=1)),  # the control hash
    (1.6, Counter(xlen=6, xrange=4, xpending=4, zcard=2, zcount=1, zrange=1)),  # figures for the metrics
    (4.0, Counter(pexpire=1, xinfo=4, exists=1)),  # leases, its own and those of the dead
    (8.0, Counter(xtrim=4, xlen=4, xrange=2, xrevrange=1, xinfo=8, exists=1, time=5)),  # upkeep
    (8.0, Counter(zremrangebyrank=1, zremrangebyscore=2, zcard=1, info=1)),
    (24.0, Counter(xpending=4)),  # what Redis counts as this worker's
    (48.0, Counter(scan=1, xlen=4)),  # lanes that nobody serves
)
"""What a worker sends by the clock, whether it has messages or not: the shortest time between two rounds in seconds, a fifth
less than the duty's own, and commands a round for one project."""
SPARE = 3
"""So many times as often as by the clock they may come, for rounds that are made sooner now and then."""
SCRIPTS = {
    script.sha: script.name
    for file in files("dispatcher.queue").joinpath("scripts").iterdir()
    for script in [Script(file.name.removesuffix(".lua"))]
}

GOOGLES_STREAMS = 100
NAME = b'{"name":"projects/demo-orchard-41/messages/0:1731000000222333%5f0e1d2c00000001"}'


def message(number: int) -> dict[str, object]:
    return {
        "token": f"bench{number:011d}:APA91b" + "x" * 118,
        "notification": {"title": "New message", "body": "Anna: see you at the harbour at eight?"},
        "data": {"chat": "4711", "kind": "text"},
        "android": {"priority": "high"},
    }


class Server:
    """FCM's part over TLS: accepts every message, by HTTP/2 or HTTP/1.1 as the client prefers, and counts.

    Attributes:
        accepted: connections.
        handshakes: those of them that came to speak.
        messages: in all requests.
        versions: of HTTP.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.handshakes = 0
        self.messages = 0
        self.versions: set[str] = set()
        self.url = ""

    def answer(self, head: bytes, body: bytes) -> tuple[str, bytes]:
        """Content type and body."""
        if not head.startswith(b"POST /batch "):
            self.messages += 1
            return "application/json", NAME
        count = body.count(b"Content-ID: ")
        self.messages += count
        answers = [SubAnswer(str(number), 200, NAME) for number in range(1, count + 1)]
        return 'multipart/mixed; boundary="b"', encode_response(answers, "b")


class Connection(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: Server) -> None:
        self.server = server
        server.accepted += 1
        self.http2: H2Connection | None = None
        self.read = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """The handshake is done."""
        self.server.handshakes += 1
        self.transport = transport
        chosen = transport.get_extra_info("ssl_object").selected_alpn_protocol()
        self.server.versions.add(chosen or "http/1.1")
        if chosen == "h2":
            self.http2 = H2Connection(H2Configuration(client_side=False, validate_inbound_headers=False))
            self.http2.local_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = GOOGLES_STREAMS
            self.http2.initiate_connection()
            transport.write(self.http2.data_to_send())

    def data_received(self, data: bytes) -> None:
        """Answer what is whole."""
        if self.http2 is None:
            self.read += data
            while self.answered():
                pass
            return
        for event in self.http2.receive_data(data):
            if isinstance(event, DataReceived):
                self.http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                kind, body = self.server.answer(b"", b"")
                headers = [(":status", "200"), ("content-type", kind)]
                self.http2.send_headers(event.stream_id, headers)
                self.http2.send_data(event.stream_id, body, end_stream=True)
        self.transport.write(self.http2.data_to_send())

    def answered(self) -> bool:
        """Answer the first request that was read, if it is whole."""
        head, end, rest = self.read.partition(b"\r\n\r\n")
        if not end:
            return False
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return False
        self.read = rest[length:]
        kind, body = self.server.answer(head, rest[:length])
        lines = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(lines.encode() + body)
        return True


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def fcm(authority: Authority) -> AsyncIterator[Server]:
    made = Server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign("server"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: Connection(made), "127.0.0.1", 0, ssl=context)
    made.url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield made
    listening.close()


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    """One that writes its log, as it should in production."""
    with EmbeddedRedis(options=("--appendonly", "yes", "--appendfsync", "no")) as running:
        yield running


@pytest.fixture
async def served(serve, desk, fcm: Server, authority: Authority):
    """`await served("v1-h2")`: a worker with its default settings, and all messages in its lane."""

    async def start(wire: str, **settings: object):
        transport, _, version = wire.partition("-h")
        return await serve(
            transport=transport, http_version={"1": "1.1", "2": "2"}.get(version), fcm_endpoint=fcm.url,
            ca_file=authority.ca, credentials="none", projects=desk.project, **{"linger_ms": None} | settings,
        )  # fmt: skip

    for first in range(0, MESSAGES, 1000):
        await desk.add_many("normal", [message(number) for number in range(first, first + 1000)])
    return start


async def all_settled(desk, fcm: Server) -> None:
    """Wait for the outcome of every message."""
    # Redis is asked last: to read thousands of outcomes again and again takes long where all of this is in one process.
    await desk.until(lambda: fcm.messages >= MESSAGES, within=60)
    await desk.outcomes(MESSAGES, within=30)


def periodic(seconds: float) -> Counter[str]:
    """The most of each periodic command in a worker's first seconds."""
    most = Counter(AT_START)
    for every_s, commands in ROUNDS:
        for name, count in commands.items():
            most[name] += count * math.ceil(1 + SPARE * seconds / every_s)
    return most


async def watch(client: redis.asyncio.Redis, seen: Counter[str], ready: asyncio.Event) -> None:
    """Count what clients send until one says ECHO; scripts by their names."""
    async with client.monitor() as monitor:
        ready.set()
        while True:
            found = await monitor.next_command()
            if found["client_type"] == "lua":
                continue
            name, *rest = found["command"].split(" ", 2)
            name = name.lower()
            if name == "echo":
                return
            if name == "evalsha":
                name = SCRIPTS.get(rest[0], "other script")
            elif name == "xreadgroup" and " BLOCK " in found["command"]:
                name = "listen"
            elif name == "xrange" and ":outcomes " in found["command"]:
                continue  # this test's own
            seen[name] += 1


@pytest.mark.parametrize("wire", ["batch", "v1-h2"])
async def test_a_batch_takes_few_redis_commands_and_a_message_little_of_the_log(
    served, desk, fcm, server, wire
):
    before = (await desk.redis.info("persistence"))["aof_current_size"]
    seen: Counter[str] = Counter()
    client = redis.asyncio.Redis.from_url(server.url, protocol=2, socket_timeout=None)
    ready = asyncio.Event()
    loop = asyncio.get_running_loop()
    began = loop.time()
    watching = asyncio.create_task(watch(client, seen, ready))
    await ready.wait()
    # A worker that stumbles on a busy machine must not close its batches half full for that.
    worker = await served(wire, quota_per_minute=100_000_000, linger_ms=1000)

    await all_settled(desk, fcm)

    await desk.redis.echo("that is all")
    await watching
    await client.aclose()
    written = (await desk.redis.info("persistence"))["aof_current_size"] - before
    sent = await worker.face.metric("batch_messages_count")
    assert BATCHES <= sent <= BATCHES + 4
    assert seen["settle"] == sent
    # The text of a script goes to Redis once, when it does not know it.
    assert seen.pop("eval", 0) <= len(SCRIPTS)
    by_the_clock = periodic(loop.time() - began)
    often = {name: seen.pop(name, 0) for name in by_the_clock}
    assert {name: count for name, count in often.items() if count > by_the_clock[name]} == {}
    assert seen.pop("xreadgroup") <= READS * sent
    assert seen.total() <= COMMANDS * sent, seen
    assert written <= AOF_BYTES * MESSAGES, written / MESSAGES


@pytest.mark.parametrize(
    ("wire", "most"),
    [("batch", BATCH_HANDSHAKES), ("v1-h1", HTTP11_HANDSHAKES), ("v1-h2", HTTP2_HANDSHAKES)],
)
async def test_ten_thousand_messages_share_connections_and_tls_handshakes(served, desk, fcm, wire, most):
    await served(wire, **({"max_concurrent_requests": HTTP11_HANDSHAKES} if wire == "v1-h1" else {}))
    await all_settled(desk, fcm)
    assert fcm.messages == MESSAGES
    assert fcm.versions == {"h2" if wire == "v1-h2" else "http/1.1"}
    assert fcm.handshakes == fcm.accepted <= most

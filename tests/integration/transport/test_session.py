"""One POST over real sockets: every way it can fail is a value that says what is known of the messages."""

import asyncio
import gc
import socket
import ssl
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dispatcher.model import Fate, SendError
from dispatcher.transport.route import Route
from dispatcher.transport.session import Answer, Session

MOST = 1 << 16
LONG = 10.0


async def post(
    session: Session, url: str, body: bytes = b"{}", timeout_s: float = LONG
) -> Answer | SendError:
    return await session.post(url, body, {"Content-Type": "application/json"}, timeout_s, most=MOST)


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


async def test_an_answer_comes_whole_with_the_headers_that_count(session, serve, whole) -> None:
    async with serve(lambda it: it.say(whole(b"[1]", "429 Slow", Retry_After="7", Date="now"))) as peer:
        got = await post(session, f"{peer.url}/x", b"body")
    assert got == Answer(429, "application/json", "7", "now", b"[1]")
    assert peer.exchanges[0].body == b"body"
    head = peer.exchanges[0].head.lower().split(b"\r\n")
    assert head[0] == b"post /x http/1.1"
    assert {line.partition(b":")[0] for line in head[1:] if line} == {
        b"host",
        b"content-type",
        b"content-length",
        b"accept-encoding",
    }


async def test_a_request_without_a_body_brings_no_header_that_nobody_asked_for(session, serve, whole) -> None:
    async with serve(lambda it: it.say(whole(b"[1]"))) as peer:
        await session.request("GET", f"{peer.url}/x", b"", {"Authorization": "key=k"}, LONG, most=MOST)
    head = peer.exchanges[0].head.lower().split(b"\r\n")
    assert {line.partition(b":")[0] for line in head[1:] if line} == {
        b"host",
        b"authorization",
        b"content-length",
        b"accept-encoding",
    }


async def test_connections_are_kept_and_counted(session, serve, whole) -> None:
    async with serve(lambda it: it.say(whole())) as peer:
        for _ in range(5):
            await post(session, peer.url)
        assert session.connections == 1
        await asyncio.gather(*(post(session, peer.url) for _ in range(3)))
        assert session.connections == 3
    assert peer.connections == 3


async def test_a_chunked_answer_is_read(session, serve) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    async with serve(lambda it: it.say(chunked)) as peer:
        got = await post(session, peer.url)
    assert (got.body, got.broken) == (b"abc", "")


async def test_an_answer_that_ends_with_its_connection_is_read(session, serve) -> None:
    def behave(it) -> None:
        it.say(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        it.hang_up()

    async with serve(behave) as peer:
        got = await post(session, peer.url)
    assert (got.body, got.broken) == (b"all of it", "")


async def test_a_redirect_is_an_answer_and_not_followed(session, serve, whole) -> None:
    async with serve(lambda it: it.say(whole(b"", "307 Elsewhere", Location="/other"))) as peer:
        got = await post(session, peer.url)
    assert got.status == 307
    assert len(peer.exchanges) == 1


async def test_a_refused_connection_is_not_sent(session) -> None:
    got = await post(session, f"http://127.0.0.1:{closed_port()}")
    assert (got.fate, got.whole_request) == (Fate.NOT_SENT, True)
    assert "ClientConnectorError" in got.reason


@pytest.mark.parametrize(
    "url",
    [
        "http://no-such-host.invalid/",
        "http://",
        "http://[::1/",
        "ftp://127.0.0.1/",
        "http://127.0.0.1:99999/",
    ],
)
async def test_an_address_that_leads_nowhere_is_not_sent(session, url: str) -> None:
    assert (await post(session, url)).fate is Fate.NOT_SENT


async def test_a_header_that_cannot_be_sent_is_not_sent_and_not_quoted(session, serve, whole) -> None:
    async with serve(lambda it: it.say(whole())) as peer:
        bad = {"Authorization": "Bearer secret\r\nX: y"}
        got = await session.post(peer.url, b"", bad, LONG, most=MOST)
    assert got.fate is Fate.NOT_SENT
    assert "secret" not in got.reason
    assert peer.exchanges == []


async def test_no_connection_in_time_is_not_sent(session) -> None:
    # A server whose queue of connections is full: the handshake is never answered.
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        first.connect(deaf.getsockname())
        second.setblocking(False)
        second.connect_ex(deaf.getsockname())
        got = await post(session, "http://{}:{}".format(*deaf.getsockname()), timeout_s=0.1)
    assert got.fate is Fate.NOT_SENT
    assert "nothing more within 0.1 s" in got.reason


async def test_no_answer_in_time_is_of_unknown_fate(session, serve) -> None:
    async with serve(lambda it: it.say_nothing()) as peer:
        got = await post(session, peer.url, timeout_s=0.1)
        assert session.connections == 0
    assert got.fate is Fate.UNKNOWN
    assert got.reason == "no answer: nothing more within 0.1 s"


async def test_half_a_body_in_time_is_kept_as_broken(session, serve) -> None:
    async def behave(it) -> None:
        it.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await it.say_nothing()

    async with serve(behave) as peer:
        got = await post(session, peer.url, timeout_s=0.1)
    assert (got.status, got.body) == (200, b"half")
    assert got.broken == "nothing more within 0.1 s"


@pytest.mark.parametrize("how", ["hang_up", "reset"])
@pytest.mark.parametrize("said", [b"", b"HTTP/1.", b"HTTP/1.1 200 OK\r\nContent-Le"])
async def test_an_end_before_the_head_is_whole_is_of_unknown_fate(
    session, serve, how: str, said: bytes
) -> None:
    def behave(it) -> None:
        it.say(said)
        getattr(it, how)()

    async with serve(behave) as peer:
        got = await post(session, peer.url)
    assert (got.fate, got.http_status) == (Fate.UNKNOWN, 0)


async def test_what_arrived_of_a_body_in_one_gulp_with_the_end_is_kept(session, serve) -> None:
    def behave(it) -> None:
        it.say(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nhalf")
        it.hang_up()

    async with serve(behave) as peer:
        got = await post(session, peer.url)
        assert session.connections == 0
    assert (got.status, got.content_type, got.body) == (200, "text/plain", b"half")
    assert "ClientPayloadError" in got.broken


@pytest.mark.parametrize(
    "said",
    [
        b"220 mail.example ESMTP\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(500)) + b"\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\nab",
    ],
    ids=lambda said: said[:40].decode("latin-1"),
)
async def test_what_is_no_http_answer_is_of_unknown_fate(session, serve, said: bytes) -> None:
    def behave(it) -> None:
        it.say(said)
        it.hang_up()

    async with serve(behave) as peer:
        got = await post(session, peer.url)
        assert session.connections == 0
    assert isinstance(got, SendError)
    assert got.fate is Fate.UNKNOWN
    assert "\n" not in got.reason


async def test_a_chunk_out_of_shape_leaves_the_fate_unknown(session, serve) -> None:
    async with serve(
        lambda it: it.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    ) as peer:
        got = await post(session, peer.url)
        assert session.connections == 0
    assert got.fate is Fate.UNKNOWN


async def test_bytes_behind_an_answer_are_nobodys(session, serve, whole) -> None:
    async with serve(lambda it: it.say(whole(b"%d" % len(it.peer.exchanges)) + b"more")) as peer:
        got = [await post(session, peer.url) for _ in range(3)]
    assert [one.body for one in got if isinstance(one, Answer)] == [
        b"%d" % (number + 1) for number, one in enumerate(got) if isinstance(one, Answer)
    ]
    assert all(one.fate is Fate.UNKNOWN for one in got if isinstance(one, SendError))
    assert peer.connections == 3


@pytest.mark.parametrize("length", [b"", b"Content-Length: 10000000\r\n"])
async def test_an_answer_without_end_is_cut_at_the_limit(session, serve, length: bytes) -> None:
    async def behave(it) -> None:
        it.say(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n")
        while True:
            it.say(b"x" * 8192)
            await it.writer.drain()

    async with serve(behave) as peer:
        got = await post(session, peer.url)
        assert session.connections == 0
    assert got.broken == "more than 64 KiB"
    assert MOST < len(got.body) < 8 * MOST


async def test_a_connection_that_the_server_closed_while_idle_is_replaced(session, serve, whole) -> None:
    closed = asyncio.Event()

    async def behave(it) -> None:
        it.say(whole(b"%d" % len(it.peer.exchanges)))
        if len(it.peer.exchanges) == 1:
            it.hang_up()
            await it.writer.wait_closed()
            closed.set()

    async with serve(behave) as peer:
        first = await post(session, peer.url)
        await closed.wait()
        for _ in range(5):  # the loop sees that it is closed
            await asyncio.sleep(0)
        second = await post(session, peer.url)
    assert (first.body, second.body) == (b"1", b"2")
    assert peer.connections == 2


async def test_a_connection_closed_upon_the_next_request_leaves_its_fate_unknown(
    session, serve, whole
) -> None:
    def behave(it) -> None:
        if len(it.peer.exchanges) == 1:
            it.say(whole())
        else:
            it.hang_up()

    async with serve(behave) as peer:
        await post(session, peer.url)
        got = await post(session, peer.url)
    assert got.fate is Fate.UNKNOWN
    assert len(peer.exchanges) == 2, "it must not be repeated by itself"


async def test_a_second_answer_is_never_taken_for_the_next_requests(session, serve, whole) -> None:
    """It would tell one message what was said of another."""
    late = asyncio.Event()

    def behave(it) -> None:
        number = len(it.peer.exchanges)
        it.say(whole(b"%d" % number))
        if number == 1:
            asyncio.get_running_loop().call_soon(again, it)

    def again(it) -> None:
        it.say(whole(b"1 again"))
        late.set()

    async with serve(behave) as peer:
        assert (await post(session, peer.url)).body == b"1"
        await late.wait()
        for _ in range(5):  # the loop sees what has come in
            await asyncio.sleep(0)
        assert (await post(session, peer.url)).body == b"2"
    assert peer.connections == 2


async def test_an_answer_before_the_body_has_left_is_read(session, whole) -> None:
    class Early(asyncio.Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.pause_reading()
            self.transport.write(whole(b"too large", "413 Too Large"))
            connections.append(self.transport)

    connections: list[asyncio.Transport] = []
    server = await asyncio.get_running_loop().create_server(Early, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        got = await session.post(f"http://127.0.0.1:{port}", b"x" * 30_000_000, {}, LONG, most=MOST)
        assert isinstance(got, Answer)
        assert (got.status, got.body) == (413, b"too large")
        assert session.connections == 0
    finally:
        connections[0].abort()
        server.close()


async def test_an_answer_before_any_request_is_nobodys(session, whole) -> None:
    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(whole(b"too many connections", "503 Busy"))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hasty, "127.0.0.1", 0)
    try:
        got = await post(session, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        # Whether its bytes or ours were first is up to the network.
        assert isinstance(got, Answer) or got.fate is Fate.NOT_SENT
    finally:
        server.close()


async def test_a_body_over_a_mebibyte_goes_without_a_warning(session, serve, whole) -> None:
    async with serve(lambda it: it.say(whole())) as peer:
        assert (await post(session, peer.url, b"x" * 3_000_000)).status == 200
    assert len(peer.exchanges[0].body) == 3_000_000


async def test_the_end_of_a_drain_leaves_what_is_known(session, serve, whole) -> None:
    on_the_wire = asyncio.Event()

    async def behave(it) -> None:
        if it.body == b"answered":
            it.say(whole(b"yes"))
        else:
            if it.body == b"half":
                it.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                await it.writer.drain()
            if len(it.peer.exchanges) == 3:
                on_the_wire.set()
            await it.say_nothing()

    async with serve(behave) as peer:
        assert (await post(session, peer.url, b"answered")).body == b"yes"
        waiting = [asyncio.create_task(post(session, peer.url, body)) for body in (b"silent", b"half")]
        await on_the_wire.wait()
        await asyncio.sleep(0)
        session.cut_off()
        silent, half = await asyncio.gather(*waiting)
        assert (silent.fate, silent.reason) == (Fate.UNKNOWN, "no answer: the worker stopped")
        assert isinstance(half, SendError) or half.broken == "the worker stopped"
        assert (await post(session, peer.url)).fate is Fate.NOT_SENT
    assert len(peer.exchanges) == 3


async def test_the_end_of_a_drain_meets_calls_that_are_just_ending(session, serve) -> None:
    asked = asyncio.Event()

    async def behave(it) -> None:
        asked.set()
        await it.say_nothing()

    async with serve(behave) as peer:
        waiting = asyncio.create_task(post(session, peer.url))
        await asked.wait()
        session.cut_off()
        (limit,) = session._waiting
        while not limit.expired():
            await asyncio.sleep(0)
            session.cut_off()
        assert (await waiting).fate is Fate.UNKNOWN


async def test_a_caller_that_is_cancelled_leaves_no_connection_behind(session, serve) -> None:
    asked = asyncio.Event()

    async def behave(it) -> None:
        asked.set()
        await it.say_nothing()

    async with serve(behave) as peer:
        calling = asyncio.create_task(post(session, peer.url))
        await asked.wait()
        calling.cancel()
        await asyncio.wait([calling])
        assert calling.cancelled()
        assert session.connections == 0


@pytest.mark.parametrize("failure", ["refused", "hung up", "timed out", "cut", "no HTTP"])
async def test_a_failed_request_leaves_nothing_for_the_collector(session, serve, whole, failure) -> None:
    """Libraries tie exceptions to the frames they came through: megabytes, where a server is away for seconds."""

    def cut(it) -> None:
        it.say(whole(b"12345")[:-2])
        it.hang_up()

    behave = {
        "hung up": lambda it: it.hang_up(),
        "timed out": lambda it: None,
        "cut": cut,
        "no HTTP": lambda it: it.say(b"SSH-2.0\r\n\r\n"),
    }
    body = b"{" + b" " * 5000 + b"}"
    gc.collect()
    gc.disable()
    try:
        held = sys.getrefcount(body)
        if failure == "refused":
            await post(session, f"http://127.0.0.1:{closed_port()}", body)
        else:
            async with serve(behave[failure]) as peer:
                await post(session, peer.url, body, 0.2 if failure == "timed out" else LONG)
                assert len(peer.exchanges) == 1
        assert sys.getrefcount(body) == held
    finally:
        gc.enable()


async def test_a_session_is_used_inside_its_with(serve, whole) -> None:
    with pytest.raises(RuntimeError, match="outside"):
        await post(Session(), "http://127.0.0.1:1")
    assert Session().connections == 0


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "pair.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return file


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_a_private_authority_is_trusted_when_named(
    serve, whole, server_tls: ssl.SSLContext, certificate: Path
) -> None:
    async with (
        serve(lambda it: it.say(whole(b"ok")), ssl=server_tls) as peer,
        Session(Route(ca_file=str(certificate))) as session,
    ):
        assert (await post(session, peer.url)).body == b"ok"


async def test_a_certificate_nobody_vouches_for_is_not_sent(
    session, serve, whole, server_tls: ssl.SSLContext
) -> None:
    async with serve(lambda it: it.say(whole()), ssl=server_tls) as peer:
        got = await post(session, peer.url)
    assert got.fate is Fate.NOT_SENT
    assert "certificate" in got.reason.lower()
    assert peer.exchanges == []


async def test_a_handshake_with_what_speaks_no_tls_is_not_sent(session, serve, whole) -> None:
    async with serve(lambda it: it.say(whole())) as peer:
        got = await post(session, peer.url.replace("http:", "https:"), timeout_s=0.3)
    assert got.fate is Fate.NOT_SENT


async def test_a_proxy_that_is_not_there_or_refuses_is_not_sent() -> None:
    async with Session(Route(f"http://127.0.0.1:{closed_port()}")) as session:
        assert (await post(session, "http://fcm.invalid/")).fate is Fate.NOT_SENT

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with Session(Route(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")) as session:
        got = await post(session, "https://fcm.invalid/")
    server.close()
    assert got.fate is Fate.NOT_SENT
    assert "403" in got.reason


async def test_through_a_proxy_that_is_itself_reached_by_tls(
    serve, whole, server_tls: ssl.SSLContext, certificate: Path
) -> None:
    heads: list[bytes] = []

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        host, port = heads[-1].split(b" ")[1].decode().split(":")
        back, forth = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65_536):
                sink.write(data)
            sink.close()

        await asyncio.gather(pipe(reader, forth), pipe(back, writer))

    server = await asyncio.start_server(join, "127.0.0.1", 0, ssl=server_tls)
    proxy = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with (
        serve(lambda it: it.say(whole(b"ok")), ssl=server_tls) as peer,
        Session(Route(proxy, ca_file=str(certificate))) as session,
    ):
        assert (await post(session, peer.url)).body == b"ok"
    server.close()
    assert len(heads) == 1

"""HTTP/2 against servers that say goodbye, refuse, fall silent, or speak something else."""

import asyncio
import base64
import ssl
from collections import Counter
from contextlib import asynccontextmanager

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import PingReceived, RequestReceived, StreamEnded
from h2.settings import SettingCodes

from dispatcher.model import Fate
from dispatcher.transport import http2_connect, http2_link
from dispatcher.transport.http2 import Http2Transport
from dispatcher.transport.http2_link import PINGS, Patience
from dispatcher.transport.route import Route
from dispatcher.transport.session import Session
from dispatcher.transport.sessions import Sessions
from dispatcher.transport.v1 import V1Transport
from dispatcher.transport.wire import Timeouts

SETTINGS_ACK = bytes.fromhex("000000 04 01 00000000")
PROBE = b"probe"
ANSWER = b'{"name":"projects/demo/messages/0:1"}'


class Conversation:
    """One connection of a scripted server: h2 keeps its books, the script decides what it says."""

    def __init__(self, server: "Server", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.reader, self.writer = reader, writer
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.number = server.connections
        self.requests = 0
        self.over = False

    async def run(self, script, begun: bytes = b"") -> None:
        self.h2.initiate_connection()
        self.h2.receive_data(begun)
        for key, value in self.server.settings.items():
            self.h2.update_settings({key: value})
        self.flush()
        while not self.over and (data := await self.reader.read(65_536)):
            for event in self.h2.receive_data(data):
                if isinstance(event, StreamEnded):
                    self.requests += 1
                    self.server.whole += 1
                    await script(self, event.stream_id)
                elif isinstance(event, RequestReceived):
                    self.server.begun += 1
                elif isinstance(event, PingReceived):
                    self.server.pings += 1
            self.flush()

    def flush(self) -> None:
        if not self.over and not self.writer.is_closing():
            data = self.h2.data_to_send()
            self.writer.write(data if self.server.acknowledges else data.replace(SETTINGS_ACK, b""))

    def answer(self, stream: int, body: bytes = ANSWER, status: bytes = b"200", *, last: bool = True) -> None:
        self.h2.send_headers(stream, [(b":status", status), (b"content-type", b"application/json")])
        self.h2.send_data(stream, body, end_stream=last)

    def goaway(self, last: int, code: int = 0) -> None:
        self.flush()
        self.writer.write(b"\0\0\x08\x07\0\0\0\0\0" + last.to_bytes(4, "big") + code.to_bytes(4, "big"))

    def cut(self) -> None:
        self.flush()
        self.over = True
        self.writer.close()


class Server:
    def __init__(self, settings: dict[int, int]) -> None:
        self.settings = settings
        self.url = ""
        self.port = 0
        self.acknowledges = True
        self.connections = self.begun = self.whole = self.pings = 0


@pytest.fixture
def scripted(listen):
    """`async with scripted(script, **settings) as server`: `script(conversation, stream)` for each request."""

    @asynccontextmanager
    async def start(script, settings: dict[int, int] | None = None, *, alpn: list[str] | None = None):
        server = Server(settings or {})

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            server.connections += 1
            server.talk = Conversation(server, reader, writer)
            await server.talk.run(script)

        async with listen(serve, alpn=alpn or ["h2"]) as server.port:
            server.url = f"https://localhost:{server.port}"
            yield server

    return start


@pytest.fixture
def pool(http2_to):
    """`pool(url, **options)`: an `Http2Transport`, closed at the end."""
    return lambda url, **options: http2_to(url, lambda *_: None, **{"links": 1} | options)


async def send(transport, batch, at_once: int = 1000):
    return await transport.send(batch, "token", now=0.0, at_once=at_once)


def fates(responses) -> Counter[str]:
    return Counter(response.error.fate if response.error else "accepted" for response in responses)


def call_of(transport: Http2Transport):
    """The responses of its only batch, as far as they have come."""
    (call,) = transport.pool._running
    return call.responses


async def until(condition) -> None:
    while not condition():  # noqa: ASYNC110 - some are of things that know no events
        await asyncio.sleep(0.01)


def rest(transport: Http2Transport) -> None:
    """As if its connections had been left alone for a while."""
    for link in transport.pool._links:
        link._heard -= 2 * Patience().rest_s


async def probe(port: int, certificate) -> None:
    """Another connection to the same server, there and back: what was begun before it has arrived, too."""
    trust = ssl.create_default_context(cafile=certificate.cert)
    trust.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("localhost", port, ssl=trust)
    writer.write(PROBE)
    assert await reader.readexactly(len(PROBE)) == PROBE
    writer.close()


def many(count: int) -> list[str]:
    return [str(number) for number in range(count)]


async def well(it: Conversation, stream: int) -> None:
    it.answer(stream)


# Goodbyes and refusals.


async def test_above_a_goaway_messages_go_out_again_and_below_their_answers_come(
    scripted, pool, batch_of
) -> None:
    held: list[int] = []

    async def script(it: Conversation, stream: int) -> None:
        if it.number > 1:
            it.answer(stream)
            return
        held.append(stream)
        if it.requests == 50:
            it.goaway(held[29])
            it.flush()
            await until(lambda: it.server.connections == 2)
            for one in held[:30]:
                it.answer(one)

    async with scripted(script) as server:
        assert fates(await send(pool(server.url), batch_of(*many(50)))) == {"accepted": 50}
        assert (server.connections, server.whole) == (2, 70)


async def test_what_a_goodbye_leaves_open_is_of_unknown_fate(scripted, pool, batch_of) -> None:
    async def script(it: Conversation, stream: int) -> None:
        if it.number > 1:
            it.answer(stream)
        elif it.requests == 20:
            it.goaway(9, ErrorCodes.ENHANCE_YOUR_CALM)
            it.cut()

    async with scripted(script) as server:
        responses = await send(pool(server.url), batch_of(*many(20)))
    assert fates(responses) == {Fate.UNKNOWN: 5, "accepted": 15}


async def test_refused_streams_go_out_again_but_not_for_ever(scripted, pool, batch_of) -> None:
    async def script(it: Conversation, stream: int) -> None:
        it.h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)

    async with scripted(script) as server:
        responses = await send(pool(server.url), batch_of(*"abc"))
        assert fates(responses) == {Fate.NOT_SENT: 3}
        assert server.whole == 18
        assert "REFUSED_STREAM" in responses[0].error.reason


async def test_a_server_that_leaves_after_each_request_gets_no_pile_of_connections(
    scripted, pool, batch_of
) -> None:
    async def script(it: Conversation, stream: int) -> None:
        it.goaway(stream)
        it.answer(stream)

    async with scripted(script, {SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as server:
        transport = pool(server.url)
        assert fates(await send(transport, batch_of(*many(20)))) == {"accepted": 20}
        assert transport.pool.opened == server.connections == 20


async def test_a_cut_connection_leaves_each_message_its_own_fate(scripted, pool, batch_of) -> None:
    async def script(it: Conversation, stream: int) -> None:
        if it.requests == 1:
            it.answer(stream)
        elif it.requests == 2:
            it.answer(stream, b'{"error":{"code":404,"details":[{', b"404", last=False)
        elif it.requests == 3:
            it.answer(stream, last=False)  # whole, but for the word that it is
        elif it.requests == 5:
            it.cut()

    async with scripted(script) as server:
        responses = await send(pool(server.url), batch_of(*many(5)))
    assert [r.error.fate if r.error else "accepted" for r in responses] == [
        "accepted",
        Fate.UNKNOWN,
        "accepted",
        Fate.UNKNOWN,
        Fate.UNKNOWN,
    ]
    assert responses[1].error.http_status == 404


# Limits.


async def test_one_stream_is_one_stream_from_the_first_byte(scripted, pool, batch_of) -> None:
    async def script(it: Conversation, stream: int) -> None:
        assert it.server.begun <= it.server.whole  # none was begun beside this one
        it.answer(stream)

    async with scripted(script, {SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as server:
        transport = pool(server.url)
        assert fates(await send(transport, batch_of(*many(40)))) == {"accepted": 40}
        assert server.connections == 1


@pytest.mark.parametrize(
    ("settings", "begun"),
    [
        ({SettingCodes.INITIAL_WINDOW_SIZE: 0}, 3),
        ({SettingCodes.MAX_CONCURRENT_STREAMS: 0}, 0),
    ],
    ids=["window", "streams"],
)
async def test_a_server_that_takes_nothing_has_been_sent_nothing(
    scripted, pool, batch_of, settings, begun: int
) -> None:
    async with scripted(well, settings) as server:
        responses = await send(pool(server.url, timeout_s=0.3), batch_of(*"abc"))
        assert fates(responses) == {Fate.NOT_SENT: 3}
        assert (server.begun, server.whole) == (begun, 0)


async def test_a_batch_may_take_longer_than_each_of_its_requests(scripted, pool, batch_of) -> None:
    async def script(it: Conversation, stream: int) -> None:
        await asyncio.sleep(0.1)
        it.answer(stream)

    async with scripted(script) as server:
        responses = await send(pool(server.url, timeout_s=0.5), batch_of(*many(12)), at_once=1)
    assert fates(responses) == {"accepted": 12}


async def test_no_more_are_under_way_than_asked_for(scripted, pool, batch_of) -> None:
    most = 0
    open_now: list[int] = []

    async def script(it: Conversation, stream: int) -> None:
        nonlocal most
        open_now.append(stream)
        most = max(most, len(open_now))
        if it.server.begun == it.server.whole:
            while open_now:
                it.answer(open_now.pop())

    async with scripted(script) as server:
        assert fates(await send(pool(server.url), batch_of(*many(30)), at_once=7)) == {"accepted": 30}
    assert most <= 7


async def test_a_late_answer_is_not_waited_for_and_the_rest_is(scripted, pool, batch_of) -> None:
    async def script(it: Conversation, stream: int) -> None:
        if it.requests % 5:
            it.answer(stream)

    async with scripted(script) as server:
        transport = pool(server.url, timeout_s=0.4)
        assert fates(await send(transport, batch_of(*many(20)))) == {"accepted": 16, Fate.UNKNOWN: 4}
        assert fates(await send(transport, batch_of(*many(4)))) == {"accepted": 4}
        assert server.connections == 1


# Silence.


async def test_a_server_that_never_says_settings_gets_nothing(
    listen, pool, batch_of, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2_connect, "CONNECT_TIMEOUT_S", 0.3)
    heard = bytearray()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            heard.extend(data)

    async with listen(mute, alpn=["h2"]) as port:
        responses = await send(pool(f"https://localhost:{port}"), batch_of(*"abc"))
    assert fates(responses) == {Fate.NOT_SENT: 3}
    assert "SETTINGS" in responses[0].error.reason
    assert b"demo" not in heard


@pytest.mark.parametrize("table", [0, 4096])
async def test_a_server_that_never_acknowledges_our_settings_is_understood(
    scripted, pool, batch_of, table: int
) -> None:
    async def script(it: Conversation, stream: int) -> None:
        it.h2.encoder.header_table_size = (
            table  # 4096: it has never heard of ours, and refers to earlier headers
        )
        if it.requests % 3:
            it.answer(stream)
        else:
            it.answer(stream, b'{"error":{"code":404}}', b"404")

    async with scripted(script) as server:
        server.acknowledges = False
        transport = pool(server.url)
        for _ in range(3):
            responses = await send(transport, batch_of(*many(60)))
            statuses = Counter(r.error.http_status if r.error else 200 for r in responses)
            assert statuses == {200: 40, 404: 20}
        assert (server.connections, server.whole) == (1, 180)


@pytest.mark.parametrize("noise", [b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(50), b"\xff" * 5000, b""])
async def test_a_server_that_speaks_something_else_after_alpn_gets_nothing(
    listen, pool, batch_of, noise: bytes
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(noise)
        await writer.drain()

    async with listen(serve, alpn=["h2"]) as port:
        responses = await send(pool(f"https://localhost:{port}"), batch_of(*"abc"))
    assert fates(responses) == {Fate.NOT_SENT: 3}


async def test_a_half_open_connection_is_pinged_and_given_up(scripted, pool, batch_of) -> None:
    async def script(it: Conversation, stream: int) -> None:
        if it.number == 1:
            await asyncio.sleep(3600)  # reads no more either: pings find nobody
        it.answer(stream)

    async with scripted(script) as server:
        transport = pool(server.url, timeout_s=30.0, patience=Patience(silence_s=0.5))
        responses = await send(transport, batch_of(*"abc"))
        assert fates(responses) == {Fate.UNKNOWN: 3}
        assert "no sign of life" in responses[0].error.reason
        assert fates(await send(transport, batch_of(*"abc"))) == {"accepted": 3}
        assert server.connections == 2


@pytest.mark.parametrize("links", [1, 2])
async def test_a_connection_that_died_at_rest_gets_no_message_and_leaves_none_of_unknown_fate(
    scripted, pool, batch_of, links: int
) -> None:
    async def script(it: Conversation, stream: int) -> None:
        it.answer(stream)
        if it.number == 1 and it.requests == 3:
            it.flush()
            await asyncio.sleep(3600)  # reads no more

    async with scripted(script) as server:
        transport = pool(server.url, links=links, timeout_s=30.0, patience=Patience(silence_s=1.0))
        assert fates(await send(transport, batch_of(*"abc"))) == {"accepted": 3}
        (dead,) = transport.pool._links
        rest(transport)
        assert fates(await send(transport, batch_of(*"def"))) == {"accepted": 3}
        assert (server.connections, server.begun) == (2, 6)
        await until(lambda: dead.gone)


async def test_a_connection_at_rest_is_asked_once_a_use_and_no_other_is_opened_beside_it(
    scripted, pool, batch_of, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2_link, "WAKES_WITHIN_S", 60.0)
    async with scripted(well) as server:
        transport = pool(server.url, links=5, patience=Patience(silence_s=60.0))
        for uses in range(4):
            assert fates(await send(transport, batch_of(*many(50)))) == {"accepted": 50}
            assert (server.pings, server.connections) == (uses, 1)
            rest(transport)


async def test_connections_that_were_used_lately_are_not_asked(scripted, pool, batch_of) -> None:
    async with scripted(well) as server:
        transport = pool(server.url)
        for _ in range(10):
            assert fates(await send(transport, batch_of(*many(50)))) == {"accepted": 50}
        assert (server.pings, server.connections) == (0, 1)


async def test_a_slow_answer_with_signs_of_life_is_waited_for(scripted, pool, batch_of) -> None:
    async def script(it: Conversation, stream: int) -> None:
        it.stream = stream
        it.server.slow = it

    async with scripted(script) as server:
        transport = pool(server.url, timeout_s=30.0, patience=Patience(silence_s=0.2))
        sending = asyncio.ensure_future(send(transport, batch_of("a")))
        await until(lambda: server.pings == PINGS)
        await asyncio.sleep(1.2)  # more silence than it takes to ask again: a third ping is abuse
        assert server.pings == PINGS
        server.slow.answer(server.slow.stream)
        server.slow.flush()
        assert fates(await sending) == {"accepted": 1}
        assert server.connections == 1


# Without ALPN.


async def test_a_tls_server_without_alpn_is_spoken_to_over_http1(
    serve, whole, pool, batch_of, certificate
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)
    async with (
        serve(lambda it: it.say(whole(ANSWER)), ssl=context) as peer,
        Session(Route(ca_file=str(certificate.cert))) as session,
    ):
        http2 = pool(peer.url)
        v1 = V1Transport(session, peer.url, Timeouts(), lambda *_: None, http2)
        for _ in range(2):
            assert fates(await send(v1, batch_of(*"abc"))) == {"accepted": 3}
        assert (v1.carrier, http2.pool.opened) == ("v1", 0)
        assert all(it.head.startswith(b"POST ") for it in peer.exchanges)
        assert len(peer.exchanges) == 6


async def test_where_only_http2_will_do_a_tls_server_without_alpn_hears_nothing(
    listen, pool, batch_of, certificate
) -> None:
    heard = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            heard.extend(data)
            writer.write(data)

    async with listen(serve, alpn=[]) as port:
        responses = await send(pool(f"https://localhost:{port}", only=True), batch_of(*"abc"))
        assert fates(responses) == {Fate.NOT_SENT: 3}
        assert "does not speak HTTP/2" in responses[0].error.reason
        await probe(port, certificate)
    assert heard == PROBE


# Ends.


async def test_the_end_of_a_drain_leaves_each_message_its_own_fate(scripted, pool, batch_of) -> None:
    answered = asyncio.Event()

    async def script(it: Conversation, stream: int) -> None:
        if it.requests <= 4:
            it.answer(stream)
        if it.requests == 10:
            answered.set()

    async with scripted(script, {SettingCodes.MAX_CONCURRENT_STREAMS: 12}) as server:
        transport = pool(server.url)
        sending = asyncio.ensure_future(send(transport, batch_of(*many(30)), at_once=10))
        await answered.wait()
        await until(lambda: sum(not r.error and bool(r.message_id) for r in call_of(transport)) == 4)
        transport.pool.cut_off()
        found = fates(await sending)
        assert found["accepted"] == 4
        assert found[Fate.UNKNOWN] == 10
        assert found[Fate.NOT_SENT] == 16
        assert fates(await send(transport, batch_of("a"))) == {Fate.NOT_SENT: 1}


async def test_projects_with_an_equal_way_to_the_same_place_share_a_pool(
    scripted, certificate, batch_of
) -> None:
    route = Route(ca_file=str(certificate.cert))
    async with scripted(well) as server, Sessions() as sessions:
        pool = sessions.http2(server.url + "/a", route, only=False)
        assert sessions.http2(server.url + "/b", route, only=False) is pool
        assert sessions.http2(server.url, route, only=True) is not pool
        assert sessions.http2(server.url, Route(verify=False), only=False) is not pool
        assert sessions.http2("https://localhost:1", route, only=False) is not pool
        for project in "ab":
            transport = Http2Transport(pool, f"{server.url}/{project}", Timeouts(), lambda *_: None)
            assert fates(await send(transport, batch_of("x"))) == {"accepted": 1}
        assert sessions.connections == server.connections == 1
        sessions.cut_off()
        assert fates(await send(transport, batch_of("x"))) == {Fate.NOT_SENT: 1}
    assert sessions.connections == 0
    assert not pool.connections


async def test_the_workers_sessions_count_cut_off_and_close_the_pools(scripted, pool, batch_of) -> None:
    async with scripted(well) as server:
        transport = pool(server.url)
        async with Sessions() as sessions:
            sessions.adopt(transport.pool)
            await send(transport, batch_of("a"))
            assert sessions.connections == 1
            sessions.cut_off()
            assert fates(await send(transport, batch_of("a"))) == {Fate.NOT_SENT: 1}
        assert sessions.connections == 0


async def test_an_unused_connection_is_closed_and_an_old_one_replaced(scripted, pool, batch_of) -> None:
    async with scripted(well) as server:
        transport = pool(server.url, patience=Patience(idle_s=0.1))
        await send(transport, batch_of("a"))
        await until(lambda: not transport.pool.connections)
        await send(transport, batch_of("a"))
        assert server.connections == 2
        old = pool(server.url, patience=Patience(age_s=0.2))
        await send(old, batch_of("a"))
        await until(lambda: old.pool._links[0].retired if old.pool._links else True)
        assert fates(await send(old, batch_of("a"))) == {"accepted": 1}
        assert server.connections == 4


async def test_what_is_under_way_on_an_old_connection_ends_well_and_what_is_new_goes_to_another(
    scripted, pool, batch_of
) -> None:
    held: list[int] = []

    async def script(it: Conversation, stream: int) -> None:
        if it.number > 1:
            it.answer(stream)
            return
        held.append(stream)
        it.server.first = it

    async with scripted(script) as server:
        transport = pool(server.url)
        early = asyncio.ensure_future(send(transport, batch_of(*many(5))))
        await until(lambda: len(held) == 5)
        (old,) = transport.pool._links
        old._old_at -= 2 * Patience().age_s
        assert fates(await send(transport, batch_of(*many(30)))) == {"accepted": 30}
        assert not early.done()
        assert (server.first.requests, server.connections) == (5, 2)
        for stream in held:
            server.first.answer(stream)
        server.first.flush()
        assert fates(await early) == {"accepted": 5}
        await until(lambda: old.gone)
        assert fates(await send(transport, batch_of(*many(30)))) == {"accepted": 30}
        assert (server.first.requests, server.connections) == (5, 2)


async def test_a_cancelled_send_leaves_nothing_behind(scripted, pool, batch_of) -> None:
    began = asyncio.Event()

    async def script(it: Conversation, stream: int) -> None:
        began.set()

    async with scripted(script) as server:
        transport = pool(server.url)
        sending = asyncio.ensure_future(send(transport, batch_of(*"abc")))
        await began.wait()
        sending.cancel()
        await asyncio.wait([sending])
        assert not transport.pool._running
        assert sum(link.busy for link in transport.pool._links) == 0


@pytest.fixture
def slow_to_open(listen):
    """`async with slow_to_open(script, **settings) as (server, gate)`: says its SETTINGS when `gate` is released."""

    @asynccontextmanager
    async def start(script, settings: dict[int, int]):
        server = Server(settings)
        server.opening = server.most_opening = 0
        gate = asyncio.Semaphore(0)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            first = await reader.readexactly(len(PROBE))
            if first == PROBE:
                writer.write(PROBE)
                return
            server.connections += 1
            server.opening += 1
            server.most_opening = max(server.most_opening, server.opening)
            await gate.acquire()
            server.opening -= 1
            await Conversation(server, reader, writer).run(script, first)

        async with listen(serve, alpn=["h2"]) as server.port:
            server.url = f"https://localhost:{server.port}"
            yield server, gate

    return start


async def test_while_a_connection_is_being_opened_no_other_one_is_whoever_asks(
    slow_to_open, pool, batch_of, certificate
) -> None:
    async with slow_to_open(well, {SettingCodes.MAX_CONCURRENT_STREAMS: 5}) as (server, gate):
        transport = pool(server.url, links=4)
        sending = [asyncio.ensure_future(send(transport, batch_of(*many(400)))) for _ in range(3)]
        await until(lambda: server.connections == 1)
        sending += [asyncio.ensure_future(send(transport, batch_of(*many(400)))) for _ in range(3)]
        await until(lambda: len(transport.pool._running) == 6)
        await probe(server.port, certificate)
        assert (server.connections, server.begun) == (1, 0)
        for _ in range(4):
            gate.release()
        assert sum(map(fates, await asyncio.gather(*sending)), Counter()) == {"accepted": 2400}
        assert server.most_opening == 1
        assert 1 <= server.connections <= 4


@pytest.mark.parametrize(
    ("messages", "under_way", "connections"),
    [
        (4, 4, 1),  # of 5 streams a project that is alone has 4, of 10 it has 8, of 20 it has 17
        (5, 5, 2),
        (8, 8, 2),
        (9, 9, 3),
        (17, 17, 4),
        (40, 17, 4),
    ],
)
async def test_as_many_connections_are_opened_as_there_is_to_send(
    slow_to_open, pool, batch_of, messages: int, under_way: int, connections: int
) -> None:
    held: list[tuple[Conversation, int]] = []
    free = False

    async def script(it: Conversation, stream: int) -> None:
        if free:
            it.answer(stream)
        else:
            held.append((it, stream))

    async with slow_to_open(script, {SettingCodes.MAX_CONCURRENT_STREAMS: 5}) as (server, gate):
        transport = pool(server.url, links=4)
        sending = asyncio.ensure_future(send(transport, batch_of(*many(messages))))
        for number in range(1, connections + 1):
            await until(lambda number=number: server.connections == number)
            gate.release()
        await until(lambda: len(held) == under_way)
        free = True
        for it, stream in held:
            it.answer(stream)
            it.flush()
        assert fates(await sending) == {"accepted": messages}
        assert transport.pool.opened == server.connections == connections
        assert server.most_opening == 1


# The lease.


async def test_once_it_says_no_nothing_more_leaves(scripted, pool, batch_of) -> None:
    async with scripted(well) as server:
        responses = await pool(server.url).send(
            batch_of(*many(10)), "", now=0.0, at_once=1, may_send=lambda: server.whole < 4
        )
        assert fates(responses) == {"accepted": 4, Fate.NOT_SENT: 6}
        assert server.begun == 4
        assert "lease" in responses[-1].error.reason


async def test_a_body_that_waits_for_a_window_is_taken_back(scripted, pool, batch_of) -> None:
    async with scripted(well, {SettingCodes.INITIAL_WINDOW_SIZE: 0}) as server:
        ours = True
        sending = asyncio.ensure_future(
            pool(server.url).send(batch_of(*"abc"), "", now=0.0, at_once=9, may_send=lambda: ours)
        )
        await until(lambda: server.begun == 3)
        ours = False
        server.talk.h2.increment_flow_control_window(10_000, 1)
        server.talk.flush()
        assert fates(await sending) == {Fate.NOT_SENT: 3}
        assert server.whole == 0


# Proxies.


@pytest.fixture
def proxied(listen):
    """`async with proxied(answer) as (port, heads)`: a CONNECT proxy that joins both sides if `answer` says 200."""

    @asynccontextmanager
    async def start(answer: bytes = b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"):
        heads: list[bytes] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            if b" 200 " not in answer:
                return
            host, port = heads[-1].split(b" ")[1].decode().split(":")
            back, forth = await asyncio.open_connection(host, int(port))

            async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                while data := await source.read(65_536):
                    sink.write(data)
                sink.close()

            try:
                await asyncio.gather(pipe(reader, forth), pipe(back, writer))
            finally:
                forth.close()

        async with listen(serve, alpn=None) as port:
            yield port, heads

    return start


async def test_through_a_proxy(scripted, proxied, pool, batch_of, certificate) -> None:
    async with scripted(well) as server, proxied() as (port, heads):
        route = Route(proxy=f"http://127.0.0.1:{port}", ca_file=str(certificate.cert))
        transport = pool(server.url, route=route)
        assert fates(await send(transport, batch_of(*many(50)))) == {"accepted": 50}
        assert heads == [
            f"CONNECT localhost:{server.port} HTTP/1.1\r\nHost: localhost:{server.port}\r\n\r\n".encode()
        ]
        await transport.pool.aclose()


async def test_through_a_proxy_that_asks_who_it_is(scripted, proxied, pool, batch_of, certificate) -> None:
    async with scripted(well) as server, proxied() as (port, heads):
        route = Route(proxy=f"http://us%40er:p%3Aw@127.0.0.1:{port}", ca_file=str(certificate.cert))
        transport = pool(server.url, route=route)
        assert fates(await send(transport, batch_of("a"))) == {"accepted": 1}
        told = heads[0].partition(b"Proxy-Authorization: Basic ")[2].partition(b"\r\n")[0]
        assert base64.b64decode(told) == b"us@er:p:w"
        await transport.pool.aclose()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407"),
        (b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n", "503"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "refuses"),
        (b"", "does not answer"),
        (b"x" * 20_000, "does not answer"),
    ],
)
async def test_a_proxy_that_refuses_has_let_nothing_through(
    scripted, proxied, pool, batch_of, certificate, answer: bytes, why: str
) -> None:
    async with scripted(well) as server, proxied(answer) as (port, _):
        route = Route(proxy=f"http://user:secret@127.0.0.1:{port}", ca_file=str(certificate.cert))
        (response,) = await send(pool(server.url, route=route), batch_of("a"))
    assert response.error.fate is Fate.NOT_SENT
    assert why in response.error.reason
    assert "secret" not in response.error.reason


async def test_a_proxy_that_never_answers(listen, pool, batch_of, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2_connect, "CONNECT_TIMEOUT_S", 0.3)
    heard = bytearray()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            heard.extend(data)

    async with listen(mute, alpn=None) as port:
        route = Route(proxy=f"http://user:secret@127.0.0.1:{port}")
        responses = await send(pool("https://fcm.invalid", route=route), batch_of(*"abc"))
    assert fates(responses) == {Fate.NOT_SENT: 3}
    reason = responses[0].error.reason
    assert f"the proxy http://127.0.0.1:{port}" in reason
    assert "secret" not in reason
    assert heard.startswith(b"CONNECT fcm.invalid:443 HTTP/1.1\r\n")
    assert b"demo" not in heard


async def test_a_proxy_that_is_not_there(scripted, pool, batch_of, free_port: int) -> None:
    async with scripted(well) as server:
        route = Route(proxy=f"http://user:secret@127.0.0.1:{free_port}")
        (response,) = await send(pool(server.url, route=route), batch_of("a"))
    assert response.error.fate is Fate.NOT_SENT
    assert "cannot reach the proxy" in response.error.reason
    assert "secret" not in response.error.reason

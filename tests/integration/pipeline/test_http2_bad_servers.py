"""A worker whose server is bad at HTTP/2: each message ends once, and projects with a good server never notice."""

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from harness.certificates import Authority
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame, PingFrame, SettingsFrame

from dispatcher.protocol.http2.connection import USUAL_STREAMS
from dispatcher.transport import http2_connect
from dispatcher.transport.sessions import MOST_STREAMS

FIRST, SECOND = "demo-orchard-41", "second-42"
ATTEMPTS = 2
FEW = [f"m{number}" for number in range(3)]
MANY = [f"m{number}" for number in range(60)]
MOST_CONNECTIONS = -(-MOST_STREAMS // USUAL_STREAMS)
ANSWER = b'{"name":"projects/demo/messages/0:1"}'
STATUS_200 = b"\x88"
"""Its whole header block: an entry of HPACK's static table."""


class Server:
    """A listening port, and what came in on it.

    Attributes:
        behave: what its next connections are like.
        heard: ids of messages that came whole, in order.
        begun: requests over HTTP/2 whose headers came.
        most_at_once: of those, unanswered on one connection.
        others_served: until then, whoever makes its clients wait may go on doing so.
    """

    def __init__(self, context: ssl.SSLContext, behave: "Behave") -> None:
        self.behave = behave
        self.url = ""
        self.connections = self.begun = self.most_at_once = 0
        self.heard: list[str] = []
        self.others_served = asyncio.Event()
        self.talks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._context = context

    def start_again_as_a_good_one(self) -> None:
        self.behave = well
        self._context.set_alpn_protocols(["h2"])
        for writer in self.talks.values():
            writer.transport.abort()


class Talk:
    """One connection. Frames are written as a script says: a library that obeys the rules could not break them."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self._unanswered: set[int] = set()

    def say(self, *frames: Frame) -> None:
        self.writer.write(b"".join(frame.serialize() for frame in frames))

    def settings(self, **values: int) -> None:
        self.say(
            SettingsFrame(settings={getattr(SettingsFrame, name): each for name, each in values.items()})
        )

    def answer(self, stream: int) -> None:
        self._unanswered.discard(stream)
        self.say(
            HeadersFrame(stream, STATUS_200, flags=["END_HEADERS"]),
            DataFrame(stream, ANSWER, flags=["END_STREAM"]),
        )

    async def requests(self, *, acknowledge: bool = True):
        """Streams, as soon as their requests are whole."""
        bodies: dict[int, bytes] = {}
        await self.reader.readuntil(b"SM\r\n\r\n")
        while True:
            frame, length = Frame.parse_frame_header(memoryview(await self.reader.readexactly(9)))
            frame.parse_body(memoryview(await self.reader.readexactly(length)))
            if isinstance(frame, SettingsFrame) and acknowledge and "ACK" not in frame.flags:
                self.say(SettingsFrame(flags=["ACK"]))
            elif isinstance(frame, HeadersFrame):
                self._unanswered.add(frame.stream_id)
                self.server.begun += 1
                self.server.most_at_once = max(self.server.most_at_once, len(self._unanswered))
            elif isinstance(frame, DataFrame):
                body = bodies[frame.stream_id] = bodies.get(frame.stream_id, b"") + frame.data
                if "END_STREAM" in frame.flags:
                    self.hear(body)
                    yield frame.stream_id

    def hear(self, body: bytes) -> None:
        self.server.heard.append(json.loads(body)["message"]["data"]["id"])


Behave = Callable[[Talk], Awaitable[None]]


async def well(talk: Talk) -> None:
    talk.settings()
    async for stream in talk.requests():
        talk.answer(stream)


# Bad, and yet everything gets through in the end.


async def speak_http11(talk: Talk) -> None:
    while True:
        head = await talk.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"POST "):
            return  # such a server hangs up on the preface of HTTP/2
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        talk.hear(await talk.reader.readexactly(length))
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        talk.writer.write(head % len(ANSWER) + ANSWER)


async def take_one_at_a_time(talk: Talk) -> None:
    async def read() -> None:
        async for stream in talk.requests():
            if talk.server.others_served.is_set():
                talk.answer(stream)
            else:
                held.append(stream)

    held: list[int] = []
    talk.settings(MAX_CONCURRENT_STREAMS=1)
    async with asyncio.TaskGroup() as both:
        both.create_task(read())
        await talk.server.others_served.wait()
        for stream in held:
            talk.answer(stream)


async def open_no_window_for_a_while(talk: Talk) -> None:
    async def read() -> None:
        async for stream in talk.requests():
            talk.answer(stream)

    talk.settings(INITIAL_WINDOW_SIZE=0)
    async with asyncio.TaskGroup() as both:
        both.create_task(read())
        await talk.server.others_served.wait()
        assert not talk.server.heard
        talk.settings(INITIAL_WINDOW_SIZE=65_535)


async def never_acknowledge(talk: Talk) -> None:
    talk.settings()
    async for stream in talk.requests(acknowledge=False):
        talk.answer(stream)


# what is bad -> ALPN, behaviour, messages, connections at least and at most, requests on one at a time at most
RECOVERABLE = {
    "no HTTP/2": (["http/1.1"], speak_http11, FEW, (2, 1 + len(FEW)), 0),
    "no ALPN": ([], speak_http11, FEW, (2, 1 + len(FEW)), 0),
    "one stream": (["h2"], take_one_at_a_time, MANY, (MOST_CONNECTIONS, MOST_CONNECTIONS), 1),
    "no window for a while": (["h2"], open_no_window_for_a_while, FEW, (1, 1), len(FEW)),
    "our SETTINGS unacknowledged": (["h2"], never_acknowledge, FEW, (1, 1), len(FEW)),
}

# Bad for ever.


async def say_nothing(talk: Talk) -> None:
    async for _ in talk.requests(acknowledge=False):
        pass


async def open_no_window(talk: Talk) -> None:
    talk.settings(INITIAL_WINDOW_SIZE=0)
    async for _ in talk.requests():
        pass


def noise(data: bytes) -> Behave:
    """Something else than HTTP/2, after having agreed on it."""

    async def behave(talk: Talk) -> None:
        await talk.reader.readuntil(b"SM\r\n\r\n")
        talk.writer.write(data)
        await talk.writer.drain()

    return behave


def flood(frames: Callable[[int], tuple[list[Frame], list[Frame]]]) -> Behave:
    """Some frames, and others without end, once all messages are on the wire: on the first connection all, on others one again."""

    async def behave(talk: Talk) -> None:
        talk.settings()
        async for stream in talk.requests():
            if set(talk.server.heard) == set(FEW):
                first, endless = frames(stream)
                talk.say(*first)
                while True:
                    talk.say(*endless)
                    await talk.writer.drain()

    return behave


PINGS = flood(lambda _: ([], 100 * [PingFrame(0, bytes(8))]))
SETTINGS = flood(lambda _: ([], 100 * [SettingsFrame()]))
LARGE_BLOCK, EMPTY_BLOCK = (
    flood(
        lambda stream, piece=piece: (
            [HeadersFrame(stream, STATUS_200)],
            10 * [ContinuationFrame(stream, piece)],
        )
    )
    for piece in (bytes(16_000), b"")
)

# what is bad -> ALPN, settings of its project, behaviour, what the reason names, whether messages are on the wire
HOPELESS = {
    "no HTTP/2 where nothing else will do": (
        ["http/1.1"], 'http_version = "2"', speak_http11, "does not speak HTTP/2", False,
    ),
    "HTTP/1.1 after ALPN": (["h2"], "", noise(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "broke HTTP/2", False),
    "zeros after ALPN": (["h2"], "", noise(bytes(50)), "the first frame is not SETTINGS", False),
    "nothing after ALPN": (["h2"], "", noise(b""), "the server hung up", False),
    "never SETTINGS": (["h2"], "", say_nothing, "no SETTINGS of HTTP/2 within", False),
    "never a window": (["h2"], "request_timeout_s = 1", open_no_window, "no answer within", False),
    "a flood of PING": (["h2"], "", PINGS, "a flood of control frames", True),
    "a flood of SETTINGS": (["h2"], "", SETTINGS, "a flood of control frames", True),
    "a header block without end": (["h2"], "", LARGE_BLOCK, "a header block without end", True),
    "a header block of nothing": (["h2"], "", EMPTY_BLOCK, "a flood of control frames", True),
}  # fmt: skip


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def signed(authority):
    return authority.sign("server")


@pytest.fixture
def listen(signed):
    """`async with listen(behave, ["h2"]) as server`."""

    @asynccontextmanager
    async def start(behave: Behave, alpn: list[str]):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*signed)
        if alpn:
            context.set_alpn_protocols(alpn)
        made = Server(context, behave)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            made.talks[asyncio.current_task()] = writer
            made.connections += 1
            try:
                await made.behave(Talk(made, reader, writer))
            except* (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                writer.close()

        listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        made.url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        try:
            yield made
        finally:
            listening.close()
            for task, writer in made.talks.items():
                task.cancel()
                writer.transport.abort()
            await asyncio.gather(*made.talks)
            await listening.wait_closed()

    return start


@pytest.fixture
def serve_both(serve, authority, tmp_path):
    """A worker with a project for each of two servers; `settings` are the first one's own, as TOML."""

    async def start(bad: Server, good: Server, settings: str = ""):
        config = tmp_path / "dispatcher.toml"
        config.write_text(
            f'[projects."{FIRST}"]\nfcm_endpoint = "{bad.url}"\n{settings}\n'
            f'[projects."{SECOND}"]\nfcm_endpoint = "{good.url}"\n'
        )
        return await serve(
            config=config,
            fcm_endpoint=None,
            transport="v1",
            credentials="none",
            projects=f"{FIRST},{SECOND}",
            ca_file=authority.ca,
            max_attempts=ATTEMPTS,
        )

    return start


async def add(desk, *ids: str) -> None:
    await desk.add_many("normal", [{"token": f"to-{each}", "data": {"id": each}} for each in ids])


async def others_are_served(desk, good: Server) -> None:
    """A project with a good server gets all that it should, at the first attempt."""
    other = type(desk)(desk.redis, SECOND)
    await add(other, *MANY)
    outcomes = await other.outcomes(len(MANY), within=60)
    assert {(o["status"], o["attempts"], "possible_duplicate" in o) for o in outcomes} == {
        ("accepted", 1, False)
    }
    assert sorted(good.heard) == sorted(MANY)


@pytest.mark.parametrize("what", RECOVERABLE)
async def test_all_get_through_in_the_end_once(what, serve_both, desk, listen):
    alpn, behave, ids, (connections, most_connections), most_at_once = RECOVERABLE[what]
    async with listen(behave, alpn) as bad, listen(well, ["h2"]) as good:
        worker = await serve_both(bad, good, "request_timeout_s = 100")
        await add(desk, *ids)
        await desk.until(lambda: bad.connections >= connections, within=60)
        await others_are_served(desk, good)
        bad.others_served.set()
        outcomes = await desk.outcomes(len(ids), within=60)
        assert {(o["status"], o["attempts"]) for o in outcomes} == {("accepted", 1)}
        assert not any("possible_duplicate" in o for o in outcomes)
        assert sorted(bad.heard) == sorted(ids)
        assert bad.connections <= most_connections
        assert bad.most_at_once <= most_at_once
        assert await desk.backlog() == 0
        assert await worker.face.metric("retries_total") == 0


@pytest.mark.parametrize("what", HOPELESS)
async def test_all_end_with_the_right_reason_and_the_next_are_accepted_once_the_server_is_good(
    what, serve_both, desk, listen, monkeypatch
):
    monkeypatch.setattr(http2_connect, "CONNECT_TIMEOUT_S", 1.5)
    alpn, settings, behave, named, on_the_wire = HOPELESS[what]
    async with listen(behave, alpn) as bad, listen(well, ["h2"]) as good:
        await serve_both(bad, good, settings)
        await add(desk, *FEW)
        await desk.until(lambda: bad.connections)
        await others_are_served(desk, good)
        outcomes = await desk.outcomes(len(FEW), within=60)
        code = "unknown-fate" if on_the_wire else "server-unavailable"
        assert {(o["status"], o["code"], o["attempts"]) for o in outcomes} == {("failed", code, ATTEMPTS)}
        assert {o.get("possible_duplicate", False) for o in outcomes} == {on_the_wire}
        assert [named in o["reason"] for o in outcomes] == [True] * len(FEW)
        heard = Counter(bad.heard)
        assert heard.keys() == (set(FEW) if on_the_wire else set())
        assert max(heard.values(), default=0) <= ATTEMPTS
        assert bad.connections <= len(FEW) * ATTEMPTS
        assert len(await desk.dead()) == len(FEW)
        bad.start_again_as_a_good_one()
        await add(desk, "later")
        outcomes = await desk.outcomes(len(FEW) + 1, within=60)
        assert (outcomes[-1]["status"], bad.heard[-1]) == ("accepted", "later")
        assert await desk.backlog() == 0

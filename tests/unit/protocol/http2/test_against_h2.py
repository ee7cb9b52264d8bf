"""The core against another implementation: the server side of python-hyper's h2, driven by a state machine."""

from collections.abc import Iterator

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dispatcher.model import Fate
from dispatcher.protocol.http2.connection import Connection
from dispatcher.protocol.http2.streams import Answered, Closed, Failed

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

HEADERS = [
    ((b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"x"), (b":path", b"/v1"), (b"a", value))
    for value in (b"token one", b"token two")
]


def frames(data: bytes) -> Iterator[bytes]:
    """What a client wrote, cut into frames; its preface comes with the first.

    A server takes its new limit of a frame's size into use with the ACK of its SETTINGS. h2 does so only when it is given
    the next bytes: it would measure a frame that stands behind that ACK by the old limit.
    """
    end = 0
    while end < len(data):
        head = end + len(PREFACE) if data.startswith(PREFACE, end) else end
        start, end = end, head + 9 + int.from_bytes(data[head : head + 3], "big")
        yield data[start:end]


class AgainstH2(RuleBasedStateMachine):
    """Requests and answers interleaved, with all that a server may do meanwhile.

    Bytes go both ways after every step, cut at random places. h2 raises on whatever breaks a rule.
    """

    def __init__(self) -> None:
        super().__init__()
        self.client = Connection()
        self.server = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.sent: dict[int, bytes] = {}
        self.arrived: dict[int, bytearray] = {}
        self.whole: set[int] = set()
        self.answered: dict[int, tuple[int, bytes]] = {}
        self.begun: set[int] = set()
        self.refused: set[int] = set()
        self.reset: set[int] = set()
        self.cancelled: set[int] = set()
        self.told: dict[int, Answered | Failed] = {}
        self.last = None
        self.cut = 1 << 20
        self.server.initiate_connection()
        self.exchange()

    # Bytes.

    def exchange(self) -> None:
        for _ in range(10):
            out = self.client.take()
            for frame in frames(out):
                for event in self.server.receive_data(frame):
                    self.on_server_event(event)
            back = self.server.data_to_send()
            for start in range(0, len(back), self.cut):
                for event in self.client.receive(back[start : start + self.cut]):
                    self.on_client_event(event)
            if not out and not back:
                return

    def on_server_event(self, event: object) -> None:
        if isinstance(event, RequestReceived):
            assert tuple((bytes(n), bytes(v)) for n, v in event.headers) in HEADERS
            self.arrived[event.stream_id] = bytearray()
        elif isinstance(event, DataReceived):
            self.arrived[event.stream_id] += event.data
        elif isinstance(event, StreamEnded):
            self.whole.add(event.stream_id)
        elif isinstance(event, StreamReset):
            assert event.error_code == ErrorCodes.CANCEL
            self.begun.discard(event.stream_id)

    def on_client_event(self, event: object) -> None:
        if isinstance(event, Closed):
            assert self.last is not None, event.reason
            return
        assert event.stream not in self.told
        assert event.stream not in self.cancelled
        self.told[event.stream] = event
        if isinstance(event, Failed):
            above = self.last is not None and event.stream > self.last
            safe = event.stream in self.refused or above or event.stream not in self.whole
            assert event.fate is (Fate.NOT_SENT if safe else Fate.UNKNOWN)

    def open_at_server(self) -> list[int]:
        gone = self.answered.keys() | self.reset | self.cancelled
        return [s for s in self.arrived if s not in gone and (self.last is None or s <= self.last)]

    # The client.

    @precondition(lambda self: self.client.room)
    @rule(which=st.integers(0, 1), size=st.integers(1, 40_000), count=st.integers(1, 5))
    def request(self, which: int, size: int, count: int) -> None:
        for _ in range(min(count, self.client.room)):
            body = bytes([65 + size % 26]) * size
            stream = self.client.request(HEADERS[which], body)
            self.sent[stream] = body
        self.exchange()

    @rule(data=st.data())
    def cancel(self, data) -> None:
        under_way = [s for s in self.sent if s not in self.told and s not in self.cancelled]
        if under_way:
            stream = data.draw(st.sampled_from(under_way))
            whole = stream in self.whole
            known = self.client.cancel(stream, "late")
            unknown = isinstance(known, Answered) or known.fate is Fate.UNKNOWN
            assert unknown is (whole or stream in self.begun)
            self.cancelled.add(stream)
            self.exchange()

    @precondition(lambda self: not self.client.closed)
    @rule()
    def ping(self) -> None:
        self.client.ping()
        self.exchange()
        assert self.client.closed or not self.client.unanswered_ping

    # The server.

    @rule(cut=st.sampled_from([1, 7, 100, 1 << 20]))
    def cut_differently(self, cut: int) -> None:
        self.cut = cut

    @rule(
        data=st.data(),
        status=st.sampled_from([200, 200, 404, 503]),
        body=st.binary(max_size=3000),
        interim=st.booleans(),
        trailers=st.booleans(),
        pad=st.sampled_from([None, 0, 9]),
    )
    def answer(self, data, status: int, body: bytes, interim: bool, trailers: bool, pad: int | None) -> None:
        ready = [s for s in self.open_at_server() if s not in self.begun]
        if not ready:
            return
        stream = data.draw(st.sampled_from(ready))
        if interim:
            self.server.send_headers(stream, [(b":status", b"103"), (b"link", b"x")])
        self.server.send_headers(stream, [(b":status", b"%d" % status), (b"retry-after", b"5")])
        self.begun.add(stream)
        self.exchange()
        half = len(body) // 2
        self.server.send_data(stream, body[:half], pad_length=pad)
        if trailers:
            self.server.send_data(stream, body[half:], pad_length=pad)
            self.server.send_headers(stream, [(b"x-trailer", b"1")], end_stream=True)
        else:
            self.server.send_data(stream, body[half:], pad_length=pad, end_stream=True)
        self.answered[stream] = (status, body)
        self.exchange()

    @rule(data=st.data(), refuse=st.booleans())
    def reset_one(self, data, refuse: bool) -> None:
        ready = [s for s in self.open_at_server() if s not in self.begun]
        if ready:
            stream = data.draw(st.sampled_from(ready))
            self.server.reset_stream(
                stream, ErrorCodes.REFUSED_STREAM if refuse else ErrorCodes.INTERNAL_ERROR
            )
            self.reset.add(stream)
            if refuse:
                self.refused.add(stream)
            self.exchange()

    @precondition(lambda self: not self.client.closed)
    @rule(
        streams=st.integers(0, 8),
        window=st.sampled_from([0, 1, 1000, 65_535, 1 << 20]),
        frame=st.sampled_from([16_384, 20_000]),
        table=st.sampled_from([0, 100, 4096, 65_536]),
    )
    def change_settings(self, streams: int, window: int, frame: int, table: int) -> None:
        self.server.update_settings(
            {
                SettingCodes.MAX_CONCURRENT_STREAMS: streams,
                SettingCodes.INITIAL_WINDOW_SIZE: window,
                SettingCodes.MAX_FRAME_SIZE: frame,
                SettingCodes.HEADER_TABLE_SIZE: table,
            }
        )
        self.exchange()

    @precondition(lambda self: not self.client.closed)
    @rule(data=st.data(), size=st.integers(1, 100_000))
    def open_windows(self, data, size: int) -> None:
        self.server.increment_flow_control_window(size)
        for stream in self.open_at_server():
            if stream not in self.whole and data.draw(st.booleans()):
                self.server.increment_flow_control_window(size, stream)
        self.exchange()

    @precondition(lambda self: not self.client.closed)
    @rule()
    def server_pings(self) -> None:
        self.server.ping(b"12345678")
        self.exchange()

    @precondition(lambda self: self.last is None and self.arrived)
    @rule(data=st.data())
    def say_goodbye(self, data) -> None:
        self.last = data.draw(st.sampled_from([0, *self.arrived]))
        # By hand: h2's own goodbye closes its side at once, and answers could not follow.
        goaway = b"\0\0\x08\x07\0\0\0\0\0" + self.last.to_bytes(4, "big") + bytes(4)
        for event in self.client.receive(goaway):
            self.on_client_event(event)

    # What must hold.

    @invariant()
    def what_arrives_is_what_was_sent(self) -> None:
        for stream, body in self.arrived.items():
            assert self.sent[stream].startswith(body)
            if stream in self.whole:
                assert self.sent[stream] == bytes(body)

    @invariant()
    def every_answer_is_told_once_and_whole(self) -> None:
        for stream, (status, body) in self.answered.items():
            if stream in self.cancelled:
                continue
            event = self.told[stream]
            if self.last is None or stream <= self.last:
                assert isinstance(event, Answered)
                assert (event.status, event.body, event.broken) == (status, body, "")
                assert status == 200 or (b"retry-after", b"5") in event.headers

    @invariant()
    def no_more_streams_than_allowed(self) -> None:
        assert self.client.streams == len(self.sent) - len(self.told) - len(self.cancelled)


TestAgainstH2 = AgainstH2.TestCase
TestAgainstH2.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_a_frame_larger_than_before_follows_the_ack_of_the_settings_that_allow_it() -> None:
    steps = AgainstH2()
    steps.change_settings(frame=16_384, streams=1, table=0, window=0)
    steps.request(count=1, size=16_385, which=0)
    steps.change_settings(frame=20_000, streams=0, table=0, window=65_535)
    assert steps.whole == {1}
    steps.what_arrives_is_what_was_sent()


def test_ten_thousand_requests_on_one_connection() -> None:
    client, server = Connection(), H2Connection(H2Configuration(client_side=False, header_encoding=None))
    server.initiate_connection()
    server.receive_data(client.take())
    assert client.receive(server.data_to_send()) == []
    answers = 0
    while answers < 10_000:
        for _ in range(client.room):
            client.request(HEADERS[answers % 2], b'{"message":{}}')
        for event in server.receive_data(client.take()):
            if isinstance(event, StreamEnded):
                server.send_headers(event.stream_id, [(b":status", b"200"), (b"date", b"today")])
                server.send_data(event.stream_id, b'{"name":"projects/p/messages/1"}', end_stream=True)
            elif isinstance(event, DataReceived):
                server.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        events = client.receive(server.data_to_send())
        assert all(type(event) is Answered for event in events)
        answers += len(events)
    assert client.streams == 0
    assert client.close("done") == [Closed("done")]


@pytest.mark.parametrize("acknowledged", [True, False])
def test_error_answers_are_read_whether_or_not_the_table_was_switched_off(acknowledged: bool) -> None:
    client, server = Connection(), H2Connection(H2Configuration(client_side=False, header_encoding=None))
    server.initiate_connection()
    hello = server.data_to_send()
    hold = client.take()
    if acknowledged:
        server.receive_data(hold)
        hello += server.data_to_send()
    client.receive(hello)
    if not acknowledged:
        # The server has not seen our SETTINGS yet: its blocks build on each other.
        server.receive_data(PREFACE + b"\0\0\0\x04\0\0\0\0\0")
        server.data_to_send()
    for _ in range(3):
        client.request(HEADERS[0], b"{}")
    server.receive_data(client.take())
    for stream in (1, 3, 5):
        server.send_headers(stream, [(b":status", b"404"), (b"x-why", b"a reason of some length")])
        server.send_data(stream, b"{}", end_stream=True)
    events = client.receive(server.data_to_send())
    assert [(e.status, e.headers[1][1]) for e in events] == [(404, b"a reason of some length")] * 3

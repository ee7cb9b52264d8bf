"""One XMPP connection to the emulator: the handshake of the protocol's document, then messages, flow control, faults."""

from base64 import b64encode

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.emulator.credentials import Account, number_of, server_key_of
from dispatcher.emulator.faults import Rule, Scenario
from dispatcher.emulator.state import State
from dispatcher.emulator.xmpp import MOST_PENDING, UpstreamOrder, Xmpp
from dispatcher.emulator.xmpp_session import Outlet, Session
from dispatcher.protocol.xml_stream import Element, StreamReader, header
from dispatcher.protocol.xmpp import Ack, Control, Incoming, Nack, acknowledgement, read_message, stanza

PROJECT = "demo-orchard-41"
NUMBER, KEY = number_of(PROJECT), server_key_of(PROJECT)
OPEN = header("jabber:client", {"to": "fcm.googleapis.com", "version": "1.0"})
BIND = b'<iq type="set" id="b1"><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"/></iq>'


def login(user=f"{NUMBER}@fcm.googleapis.com", key=KEY, mechanism="PLAIN"):
    secret = b64encode(f"\0{user}\0{key}".encode()).decode()
    return f'<auth xmlns="urn:ietf:params:xml:ns:xmpp-sasl" mechanism="{mechanism}">{secret}</auth>'.encode()


class Peer:
    """A sender's end of a connection."""

    def __init__(self, xmpp):
        self.said, self.later, self.closed = b"", [], ""
        self.session = Session(
            xmpp,
            Outlet(
                self._write,
                lambda delay, call: self.later.append((delay, call)),
                lambda: self._close("end"),
                lambda: self._close("abort"),
            ),
        )

    def _write(self, data):
        self.said += data

    def _close(self, how):
        self.closed = self.closed or how

    def says(self, data):
        """What comes back."""
        self.said = b""
        self.session.receive(data)
        return self.said

    def enters(self):
        self.says(OPEN + login())
        self.says(OPEN)
        self.says(BIND)
        return self

    def sends(self, message_id="m", to="token", **more):
        body = orjson.dumps({"to": to, "message_id": message_id, **more}).decode()
        return heard(self.says(stanza(message_id, body)))


def heard(data):
    """The messages in what a server said."""
    reader = StreamReader()
    reader.feed(OPEN)
    return [read_message(event) for event in reader.feed(data) if isinstance(event, Element)]


@pytest.fixture
def xmpp():
    state = State()
    state.authority.trust(Account(PROJECT, "account", "key", None, NUMBER, KEY))
    return Xmpp(state, lambda: 1_731_000_000.0)


@pytest.fixture
def peer(xmpp):
    return Peer(xmpp).enters()


def script(xmpp, **rule):
    xmpp._state.install(Scenario(rules=[Rule(wire="xmpp", **rule)]))


def test_the_handshake_is_that_of_the_document(xmpp):
    peer = Peer(xmpp)
    offered = peer.says(OPEN)
    assert b"<mechanism>PLAIN</mechanism>" in offered
    assert b"<success" in peer.says(login())
    assert b"urn:ietf:params:xml:ns:xmpp-bind" in peer.says(OPEN)
    assert f"{NUMBER}@fcm.googleapis.com/".encode() in peer.says(BIND)
    assert xmpp.counts["opened"] == 1


def test_the_local_part_alone_is_a_login_too(xmpp):
    peer = Peer(xmpp)
    assert b"<success" in peer.says(OPEN + login(user=NUMBER))


@pytest.mark.parametrize(
    "auth",
    [
        login(key="AAAAwrong"),
        login(user="1@fcm.googleapis.com"),
        login(mechanism="X-OAUTH2"),
        b'<auth xmlns="urn:ietf:params:xml:ns:xmpp-sasl" mechanism="PLAIN">!</auth>',
        b'<auth xmlns="urn:ietf:params:xml:ns:xmpp-sasl" mechanism="PLAIN">YQ==</auth>',
    ],
)
def test_a_wrong_login_ends_the_connection(xmpp, auth):
    peer = Peer(xmpp)
    said = peer.says(OPEN + auth)
    assert b"<not-authorized/>" in said
    assert (peer.closed, xmpp.counts["refused"]) == ("end", 1)


def test_a_message_before_login_ends_the_connection(xmpp):
    peer = Peer(xmpp)
    assert b"not-authorized" in peer.says(OPEN + stanza("m", "{}"))
    assert peer.closed


def test_a_session_may_be_asked_for_and_nothing_else_is_there(peer):
    session = b'<iq type="set" id="s"><session xmlns="urn:ietf:params:xml:ns:xmpp-session"/></iq>'
    assert peer.says(session) == b'<iq type="result" id="s"/>'
    assert b"service-unavailable" in peer.says(
        b'<iq type="get" id="r"><query xmlns="jabber:iq:roster"/></iq>'
    )


def test_a_message_is_acknowledged_and_stands_in_the_ledger(peer, xmpp):
    assert peer.sends("m-1", data={"id": "x"}) == [Ack("m-1", "token")]
    ((_, row),) = xmpp._state.ledger.rows()
    assert (row.target, row.id, row.code) == ("token", "x", "OK")


def test_each_state_of_a_token_is_a_nack_of_its_own(peer, xmpp):
    states = {
        "unregistered": "DEVICE_UNREGISTERED",
        "invalid": "BAD_REGISTRATION",
        "wrong-sender": "SENDER_ID_MISMATCH",
        "apns-auth-error": "INVALID_APNS_CREDENTIAL",
    }
    xmpp._state.messages.registry.set_tokens(PROJECT, {state: state for state in states}, {})
    assert {state: peer.sends(to=state)[0].word for state in states} == states


@pytest.mark.parametrize(
    "wrong",
    [
        {"condition": "'a' in topics"},
        {"registration_ids": ["a"]},
        {"restricted_package_name": "com.example"},
        {"time_to_live": "600"},
        {"data": {"from": "x"}},
        {"data": {"k": "x" * 4097}},
    ],
)
def test_what_is_wrong_in_a_message_is_invalid_json(peer, wrong):
    (nack,) = peer.sends(**wrong)
    assert (nack.word, nack.message_id) == ("INVALID_JSON", "m")


@pytest.mark.parametrize("payload", ["{", "[]", '{"to":"t"}'])
def test_a_message_without_a_name_is_a_stanza_error(peer, payload):
    (nack,) = heard(peer.says(stanza("7", payload)))
    assert (nack.message_id, nack.http_status) == ("7", 400)


@pytest.mark.parametrize(
    "text", [b"<a></b>", b"<!-- -->", b"<!DOCTYPE x>", b"<a>&boo;</a>", b"text", b"<" * 9]
)
def test_a_stream_that_cannot_be_read_is_closed_with_an_error(peer, xmpp, text):
    said = peer.says(text)
    assert b"<stream:error>" in said
    assert said.endswith(b"</stream:stream>")
    assert (peer.closed, xmpp.counts["malformed"]) == ("end", 1)


def test_more_than_a_hundred_without_an_answer_are_violations(peer, xmpp):
    xmpp._state.install(Scenario(latency=1.0))
    for number in range(MOST_PENDING + 2):
        assert peer.sends(f"m{number}") == []
    assert (xmpp.counts["violations"], xmpp.counts["most_pending"]) == (2, MOST_PENDING + 2)
    peer.said = b""
    for _, answer in peer.later:
        answer()
    assert len(heard(peer.said)) == MOST_PENDING + 2


def test_a_draining_connection_says_so_refuses_what_comes_and_is_closed(peer):
    peer.said = b""
    peer.session.drain()
    assert heard(peer.said) == [Control("CONNECTION_DRAINING")]
    (nack,) = peer.sends()
    assert nack.word == "CONNECTION_DRAINING"
    ((_, end),) = peer.later
    end()
    assert peer.closed == "end"


def test_a_scripted_nack_of_draining_drains_the_connection(peer, xmpp):
    script(xmpp, error="CONNECTION_DRAINING", times=1)
    assert [peer.sends()[0].word for _ in range(2)] == ["CONNECTION_DRAINING"] * 2


@pytest.mark.parametrize(("cut", "code"), [("before", "CUT"), ("after", "OK")])
def test_a_connection_can_be_cut_before_and_after_a_message_is_processed(peer, xmpp, cut, code):
    script(xmpp, cut=cut)
    assert peer.sends() == []
    assert peer.closed == "abort"
    ((_, row),) = xmpp._state.ledger.rows()
    assert row.code == code


def test_a_scripted_status_is_a_stanza_error(peer, xmpp):
    script(xmpp, status=503)
    (nack,) = peer.sends("m-1")
    assert nack == Nack("m-1", "token", "SERVICE_UNAVAILABLE", "stanza error ", 503)


@pytest.mark.parametrize(
    ("rule", "condition"),
    [({"status": 401}, b"not-authorized"), ({"status": 503}, b"temporary-auth-failure")],
)
def test_logins_can_be_refused_by_a_rule_for_requests(xmpp, rule, condition):
    script(xmpp, per="request", **rule)
    assert condition in Peer(xmpp).says(OPEN + login())


def order(xmpp, count, start=0):
    xmpp.order(PROJECT, [UpstreamOrder("d", f"u{n}") for n in range(start, start + count)])


def test_a_device_s_message_comes_again_on_another_connection_until_it_is_acknowledged(peer, xmpp):
    peer.said = b""
    order(xmpp, 1)
    assert [one.message_id for one in heard(peer.said)] == ["u0"]
    peer.session.lost()
    other = Peer(xmpp).enters()
    assert [one.message_id for one in heard(other.said[other.said.index(b"<message") :])] == ["u0"]
    other.says(acknowledgement("d", "u0"))
    other.session.lost()
    third = Peer(xmpp).enters()
    assert b"<message" not in third.said


def test_no_more_than_a_hundred_are_sent_without_an_ack(peer, xmpp):
    peer.said = b""
    order(xmpp, MOST_PENDING + 5)
    assert (len(heard(peer.said)), xmpp.waiting) == (MOST_PENDING, 5)
    peer.says(acknowledgement("d", "u0"))
    assert (len(heard(peer.said)), xmpp.waiting) == (1, 4)


def test_a_receipt_follows_a_message_that_asks_for_it(peer):
    ack, receipt = sorted(
        peer.sends("m-1", delivery_receipt_requested=True), key=lambda each: str(type(each))
    )
    assert ack == Ack("m-1", "token")
    assert isinstance(receipt, Incoming)
    assert (receipt.message_id, receipt.receipt) == ("dr2:m-1", True)


def test_an_ack_of_nothing_is_counted(peer, xmpp):
    peer.says(acknowledgement("d", "never"))
    assert xmpp.counts["stray_acks"] == 1


def test_a_silent_server_answers_nothing(peer, xmpp):
    xmpp.silent = True
    assert peer.sends() == []


@given(
    st.lists(
        st.sampled_from(
            [
                OPEN,
                login(),
                BIND,
                stanza("m", '{"to":"t","message_id":"m"}'),
                b"<a/>",
                b"</",
                b"\xff",
                b"</stream:stream>",
            ]
        )
        | st.binary(max_size=20),
        max_size=8,
    )
)
@settings(max_examples=60)
def test_nothing_that_a_client_sends_makes_the_session_raise(pieces):
    peer = Peer(Xmpp(State(), lambda: 0.0))
    for piece in pieces:
        peer.says(piece)
    peer.session.lost()
    assert peer.session.owed == {}

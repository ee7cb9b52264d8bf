"""XMPP's messages as a sender writes and reads them, held against the server's side of the same codec."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.model import Fate, SendError
from dispatcher.policy.classify import classify
from dispatcher.protocol import xmpp, xmpp_server
from dispatcher.protocol.xml_stream import Element, StreamReader, header
from dispatcher.protocol.xmpp import (
    CODES,
    MESSAGE,
    PAYLOAD,
    Ack,
    Control,
    Incoming,
    Nack,
    Strange,
    answer_of,
    read_message,
    word_in,
)

TOKEN = "fQ7xK2tLmN8:APA91bExample000001"
SENT = xmpp_server.Sent("m-204", TOKEN, b'{"to":"x"}')


def parsed(stanza):
    """The one element that these bytes are."""
    reader = StreamReader()
    reader.feed(header("jabber:client", {}))
    (element,) = reader.feed(stanza)
    return element


def said(body, **attributes):
    """A message with this payload."""
    text = body if isinstance(body, str) else orjson.dumps(body).decode()
    return Element(MESSAGE, attributes, [Element(PAYLOAD, {}, [], text)])


def test_an_ack_names_the_message():
    assert read_message(parsed(xmpp_server.ack(SENT))) == Ack("m-204", TOKEN)


def test_an_ack_may_bring_the_token_to_use_instead():
    ack = read_message(parsed(xmpp_server.ack(SENT, "hNEW")))
    assert answer_of(ack, "m-204").replacement_token == "hNEW"


def test_a_group_s_partial_ack_lacks_the_id_and_names_those_who_missed_it():
    members = {"success": 1, "failure": 2, "failed_registration_ids": ["a", "b"]}
    ack = read_message(parsed(xmpp_server.ack(SENT, members=members)))
    assert (ack.message_id, ack.sender) == ("", TOKEN)
    response = answer_of(ack, "m-7")
    assert (response.message_id, response.error) == ("m-7", None)
    assert response.failed_tokens == ("a", "b")
    assert orjson.loads(response.result) == members


def test_a_group_that_got_it_whole_has_a_result_too():
    response = answer_of(
        read_message(said({"message_type": "ack", "from": "k", "success": 3, "failure": 0})), "m"
    )
    assert orjson.loads(response.result) == {"success": 3, "failure": 0}


def test_an_ack_without_members_has_no_result():
    assert answer_of(Ack("m", TOKEN), "m").result == b""


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_is_read_and_means_something(code):
    nack = read_message(parsed(xmpp_server.nack(SENT, code, "why")))
    assert nack == Nack("m-204", TOKEN, code, "why")
    error = answer_of(nack, "m-204").error
    assert (error.wire, error.word, error.fate) == ("xmpp", code, Fate.ANSWERED)
    assert classify(error, "token").code != "unknown-error"


@pytest.mark.parametrize(
    ("error", "word"),
    [
        ('InvalidJson : INVALID_TTL : Invalid value (-1) for "time_to_live"', "INVALID_TTL"),
        ("InvalidJson: JSON_PARSING_ERROR : Missing Required Field: message_id", "INVALID_JSON"),
        ("TopicsMessageRateExceeded", "TOPICS_MESSAGE_RATE_EXCEEDED"),
        ("NotRegistered", "DEVICE_UNREGISTERED"),
        ("SERVICE_UNAVAILABLE or so", "SERVICE_UNAVAILABLE"),
        ("NEW_CODE", "NEW_CODE"),
        ("", "(no error)"),
    ],
)
def test_the_first_known_word_in_a_text_is_the_code(error, word):
    assert word_in(error) == word


def test_a_code_nobody_knows_is_tried_again_and_never_costs_the_token():
    error = answer_of(
        read_message(said({"message_type": "nack", "message_id": "m", "error": "NEW"})), "m"
    ).error
    assert classify(error, "token").code == "unknown-error"


@pytest.mark.parametrize(
    ("body", "read"),
    [
        ({"message_id": "m-9"}, Ack("m-9")),
        ({"message_id": 1023456789}, Ack("1023456789")),
        (
            {"error": "TopicsMessageRateExceeded"},
            Nack("", "", "TOPICS_MESSAGE_RATE_EXCEEDED", "TopicsMessageRateExceeded"),
        ),
    ],
)
def test_topics_may_be_answered_in_the_short_form_of_http(body, read):
    assert read_message(said(body)) == read


def test_a_stanza_error_is_a_refusal_of_what_it_echoes():
    unreadable = xmpp_server.Unreadable(
        "JSON_PARSING_ERROR : Missing Required Field: message_id", "3", '{"a":"<&>"}'
    )
    nack = read_message(parsed(xmpp_server.stanza_error(unreadable, "1@fcm.googleapis.com/5B2C")))
    assert (nack.message_id, nack.word, nack.http_status) == ("3", "INVALID_JSON", 400)
    assert "Missing Required Field" in nack.reason


def test_the_id_in_an_echoed_payload_wins_over_that_of_the_stanza():
    element = parsed(
        xmpp_server.stanza_error_of(xmpp_server.Sent("m-1", TOKEN, b'{"message_id":"m-2"}'), 503)
    )
    nack = read_message(element)
    assert (nack.message_id, nack.word, nack.http_status) == ("m-2", "SERVICE_UNAVAILABLE", 503)


@pytest.mark.parametrize(
    ("kind", "code", "word"),
    [
        ("wait", "", "SERVICE_UNAVAILABLE"),
        ("modify", "", "INVALID_JSON"),
        ("cancel", "500", "INTERNAL_SERVER_ERROR"),
        ("cancel", "not a number", "INVALID_JSON"),
    ],
)
def test_a_stanza_error_without_known_words_is_judged_by_its_type(kind, code, word):
    error = Element("jabber:client error", {"type": kind, "code": code})
    assert read_message(Element(MESSAGE, {"id": "m", "type": "error"}, [error])).word == word


def test_a_device_s_message_and_a_receipt_come_in():
    assert read_message(
        parsed(xmpp_server.upstream(TOKEN, "u-1", "com.example", {"hello": "x"}))
    ) == Incoming(TOKEN, "u-1", "com.example", b'{"hello":"x"}')
    receipt = read_message(
        parsed(xmpp_server.receipt("m-204", TOKEN, "com.example", 17, "fcm.googleapis.com"))
    )
    assert (receipt.sender, receipt.message_id, receipt.receipt) == ("fcm.googleapis.com", "dr2:m-204", True)
    assert orjson.loads(receipt.data)["original_message_id"] == "m-204"


def test_a_device_s_message_that_cannot_be_acknowledged_is_strange():
    assert isinstance(read_message(said({"data": {"a": "b"}, "from": TOKEN})), Strange)


def test_draining_is_told_by_a_control_message():
    assert read_message(parsed(xmpp_server.control("CONNECTION_DRAINING"))) == Control("CONNECTION_DRAINING")


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", "null", '{"message_type":"new"}', "{}"])
def test_what_means_nothing_is_strange_and_nothing_worse(text):
    assert isinstance(read_message(said(text)), Strange)


def test_our_ack_is_read_by_the_server():
    element = parsed(xmpp.acknowledgement(TOKEN, "dr2:m-204"))
    assert xmpp_server.read_sent(element) == xmpp_server.Acked(TOKEN, "dr2:m-204")


@pytest.mark.parametrize(
    ("kind", "value", "members"),
    [
        ("token", TOKEN, {"to": TOKEN, "message_id": "m"}),
        ("group", "APA91bGroup", {"to": "APA91bGroup", "message_id": "m"}),
        ("topic", "news", {"to": "/topics/news", "message_id": "m"}),
        ("condition", "'a' in topics", {"condition": "'a' in topics", "message_id": "m"}),
    ],
)
def test_a_target_goes_where_the_wire_has_it(kind, value, members):
    found = xmpp.recipient(kind, value, "m", receipt=False)
    assert orjson.loads(b"{" + found + b"}") == members


def test_a_receipt_is_asked_for():
    found = orjson.loads(b"{" + xmpp.recipient("token", TOKEN, "m", receipt=True) + b"}")
    assert found["delivery_receipt_requested"] is True


TEXTS = st.text(max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)
NAMES = st.sampled_from(
    [
        "message_type",
        "message_id",
        "from",
        "error",
        "data",
        "category",
        "success",
        "failed_registration_ids",
        "x",
    ]
)
KINDS = st.sampled_from(["ack", "nack", "receipt", "control", "upstream"])


@given(st.dictionaries(NAMES, JSON | KINDS), st.dictionaries(st.sampled_from(["id", "type"]), TEXTS))
def test_no_payload_makes_the_reader_raise_and_every_answer_is_judged(body, attributes):
    received = read_message(said(body, **attributes))
    if isinstance(received, Ack | Nack):
        response = answer_of(received, "m")
        assert (response.error is None) == isinstance(received, Ack)
        if isinstance(response.error, SendError):
            assert classify(response.error, "token").action


@given(st.text(min_size=1, max_size=20), TEXTS)
def test_whatever_is_in_a_message_arrives_as_it_was(message_id, text):
    payload = orjson.dumps({"to": text, "message_id": message_id, "data": {"k": text}})
    sent = xmpp_server.read_sent(parsed(xmpp.stanza("m", payload.decode())))
    assert (sent.message_id, sent.target) == (message_id, text)
    assert orjson.loads(sent.body)["data"] == {"k": text}

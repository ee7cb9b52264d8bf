"""What the decoders of XMPP promise: streams cut anywhere, stanzas of any kind, both directions."""

from __future__ import annotations

import random
from collections.abc import Callable

from corpus import mutated, wrong
from verdicts import judged

from dispatcher.protocol import xmpp, xmpp_server
from dispatcher.protocol.xml_stream import Broken, Element, Event, StreamReader, header
from dispatcher.protocol.xmpp import Ack, Nack, answer_of, read_message

SENT = xmpp_server.Sent("m-204", "fQ7xK2tLmN8:APA91b", b'{"to":"x","message_id":"m-204"}')
HEADER = header(xmpp.CLIENT, {"from": "fcm.googleapis.com", "id": "7A31", "version": "1.0"})
STANZAS = [
    xmpp_server.ack(SENT, "hNEW"),
    xmpp_server.ack(SENT, members={"success": 1, "failure": 1, "failed_registration_ids": ["a"]}),
    xmpp_server.nack(SENT, "InvalidJson : INVALID_TTL : -1", "why & <what>"),
    xmpp_server.receipt("m-204", "token", "com.example", 17, "fcm.googleapis.com"),
    xmpp_server.upstream("token", "u-1", "com.example", {"k": "é ✓ <&>"}),
    xmpp_server.control("CONNECTION_DRAINING"),
    xmpp_server.stanza_error(xmpp_server.Unreadable("JSON_PARSING_ERROR", "3", '{"a":1}'), "1@x/5B2C"),
    xmpp_server.stanza_error_of(SENT, 503),
    xmpp.acknowledgement("token", "u-1"),
    xmpp.stanza("m-1", '{"to":"t","message_id":"m-1","data":{"k":"v"}}'),
    b'<iq type="result" id="b1"><bind xmlns="urn:ietf:params:xml:ns:xmpp-bind"><jid>a@b/c</jid></bind></iq>',
    b"<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
    b"<!DOCTYPE x [<!ENTITY a 'boo'>]>",
    b"<message><![CDATA[{}]]></message>",
    b"</stream:stream>",
    b" ",
]
PAYLOADS = [
    b'{"message_type":"ack","from":"t","message_id":"m","success":1,"failure":2,"failed_registration_ids":["a"]}',
    b'{"message_type":"nack","from":"t","message_id":"m","error":"BAD_REGISTRATION","error_description":"d"}',
    b'{"message_type":"receipt","from":"f","message_id":"dr2:m","category":"c","data":{"message_status":"S"}}',
    b'{"category":"c","data":{"hello":"x"},"message_id":"u","from":"t"}',
    b'{"message_type":"control","control_type":"CONNECTION_DRAINING"}',
    b'{"error":"TopicsMessageRateExceeded"}',
    b'{"message_id":1023456789}',
]


def fuzz_stream(rng: random.Random) -> tuple[object, Callable[[], str]]:
    stream = HEADER + b"".join(rng.choices(STANZAS, k=rng.randint(1, 4)))
    data = mutated(stream, STANZAS, rng) if rng.random() < 0.8 else stream
    cut = rng.randint(0, len(data))

    def run() -> str:
        whole, parts = StreamReader(4096), StreamReader(4096)
        events = whole.feed(data)
        # Where it breaks is always the same; of two reasons at one place, the pieces decide which is seen first.
        assert _but_for_why(parts.feed(data[:cut]) + parts.feed(data[cut:])) == _but_for_why(events)
        assert all(not isinstance(event, Broken) for event in events[:-1])
        for event in events:
            if isinstance(event, Element):
                _received(event)
                xmpp_server.read_sent(event)
        return "broken" if events and isinstance(events[-1], Broken) else "whole"

    return (data, cut), run


def _but_for_why(events: list[Event]) -> list[Event]:
    return [Broken("", "") if isinstance(event, Broken) else event for event in events]


def fuzz_payload(rng: random.Random) -> tuple[object, Callable[[], str]]:
    text = wrong(PAYLOADS, rng).decode("utf-8", "replace")
    element = Element(xmpp.MESSAGE, {}, [Element(xmpp.PAYLOAD, {}, [], text)])

    def run() -> str:
        return _received(element)

    return text, run


def _received(element: Element) -> str:
    received = read_message(element)
    if isinstance(received, Ack | Nack):
        response = answer_of(received, "m")
        if response.error is not None:
            assert response.error.wire == "xmpp"
            judged(response.error)
    return type(received).__name__

"""XML streams: whole stanzas out of bytes however they are cut, and the end at the first forbidden thing."""

from itertools import pairwise

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dispatcher.protocol.xml_stream import (
    MOST_DEPTH,
    Broken,
    Element,
    Ended,
    Opened,
    StreamReader,
    escaped,
    header,
    quoted,
)

HEAD = header("jabber:client", {"from": "fcm.googleapis.com", "version": "1.0"})
STANZA = b'<message id="m-1"><gcm xmlns="google:mobile:data">{"a":1}</gcm></message>'
PARSED = Element(
    "jabber:client message", {"id": "m-1"}, [Element("google:mobile:data gcm", {}, [], '{"a":1}')], ""
)


def opened(**options):
    reader = StreamReader(**options)
    assert reader.feed(HEAD) == [
        Opened("http://etherx.jabber.org/streams stream", {"from": "fcm.googleapis.com", "version": "1.0"})
    ]
    return reader


def test_a_stanza_is_an_event():
    assert opened().feed(STANZA) == [PARSED]


def test_byte_by_byte_it_is_the_same_and_comes_with_its_last_byte():
    reader = opened()
    events = [reader.feed(bytes([byte])) for byte in STANZA]
    assert events == [[]] * (len(STANZA) - 1) + [[PARSED]]


@given(st.lists(st.integers(0, len(HEAD + STANZA * 3)), max_size=6))
def test_however_the_bytes_are_cut_the_events_are_the_same(cuts):
    data = HEAD + STANZA * 3
    places = [0, *sorted(cuts), len(data)]
    reader = StreamReader()
    events = [e for a, b in pairwise(places) for e in reader.feed(data[a:b])]
    assert events[1:] == [PARSED] * 3


def test_a_prefix_is_as_good_as_a_default_namespace():
    (found,) = opened().feed(b'<message><data:gcm xmlns:data="google:mobile:data">x</data:gcm></message>')
    assert found.child("google:mobile:data gcm").text == "x"


def test_cdata_is_text():
    (found,) = opened().feed(
        b'<message><gcm xmlns=\'google:mobile:data\'><![CDATA[{"a":"<&>"}]]></gcm></message>'
    )
    assert found.children[0].text == '{"a":"<&>"}'


def test_the_end_of_the_stream_is_an_event():
    assert opened().feed(b"</stream:stream>") == [Ended()]


@pytest.mark.parametrize(
    "forbidden",
    [
        b"<!-- a comment -->",
        b"<?php echo 1 ?>",
        b"<message><!-- a comment --></message>",
    ],
)
def test_what_xmpp_forbids_ends_the_stream(forbidden):
    (broken,) = opened().feed(forbidden)
    assert broken.condition == "restricted-xml"


def test_a_document_type_ends_the_stream_before_any_entity_of_it_is_declared():
    bomb = b"<!DOCTYPE s [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;'>]>" + HEAD + b"<message>&b;</message>"
    (broken,) = StreamReader().feed(bomb)
    assert broken.condition == "restricted-xml"


def test_an_entity_that_nobody_declared_is_malformed():
    (broken,) = opened().feed(b"<message>&boo;</message>")
    assert broken.condition == "not-well-formed"


def test_what_came_whole_before_the_fault_is_not_lost():
    reader = opened()
    *good, broken = reader.feed(STANZA + b"</message>")
    assert good == [PARSED]
    assert broken == Broken("not-well-formed", "mismatched tag")
    assert reader.feed(STANZA) == []


def test_a_stanza_without_end_ends_the_stream():
    reader = opened(most_bytes=1000)
    events = []
    for _ in range(200):
        events += reader.feed(b"<a>" if not events else b"")
        events += reader.feed(b"xxxxxxxx")
    assert [event.condition for event in events] == ["policy-violation"]


def test_a_tag_without_end_ends_the_stream():
    reader = opened(most_bytes=1000)
    reader.feed(b"<message ")
    (broken,) = reader.feed(b"a" * 1001)
    assert broken.condition == "policy-violation"


def test_any_number_of_stanzas_and_signs_of_life_may_pass():
    reader = opened(most_bytes=len(HEAD) + len(STANZA))
    assert [reader.feed(b" ") + reader.feed(STANZA) for _ in range(100)] == [[PARSED]] * 100


def test_elements_too_deep_end_the_stream():
    (broken,) = opened().feed(b"<a>" * (MOST_DEPTH + 1))
    assert broken.condition == "policy-violation"


def test_text_between_stanzas_ends_the_stream():
    (broken,) = opened().feed(b"hello")
    assert broken.condition == "bad-format"


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
@example("￾ \uffff <>&\"' \x7f\x00")
def test_json_comes_through_as_it_was(value):
    text = orjson.dumps(value).decode()
    (found,) = opened().feed(f"<message>{escaped(text)}</message>".encode())
    assert orjson.loads(found.text) == value


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])))
def test_an_attribute_comes_through_as_it_was(value):
    cleaned = value.replace("\ufffe", "").replace("\uffff", "")
    (found,) = opened().feed(f"<message id={quoted(cleaned)}/>".encode())
    assert found.attributes == {"id": cleaned}


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_nothing_makes_the_reader_raise(data):
    reader = StreamReader(most_bytes=100)
    events = reader.feed(data) + reader.feed(data)
    assert sum(isinstance(event, Broken) for event in events) <= 1


@given(st.lists(st.sampled_from([b"<a>", b"</a>", b" ", b"&lt;", b"<!", b"]]>", b"\xff", STANZA, HEAD])))
def test_nothing_comes_after_the_break(parts):
    reader = StreamReader()
    events = [event for part in parts for event in reader.feed(part)]
    assert all(not isinstance(event, Broken) for event in events[:-1])

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.protocol.legacy import encode_request
from dispatcher.protocol.legacy_server import Call, Unreadable, multicast_body, read_call

JSON = "application/json"


def read(document, content_type=JSON):
    return read_call(content_type, orjson.dumps(document))


@pytest.mark.parametrize(
    ("document", "recipients", "values"),
    [
        ({"to": "t"}, "token", ["t"]),
        ({"notification_key": "k"}, "token", ["k"]),
        ({"to": "/topics/news"}, "topic", ["news"]),
        ({"condition": "'a' in topics"}, "condition", ["'a' in topics"]),
        ({"registration_ids": ["t", "u"]}, "multicast", ["t", "u"]),
        ({"registration_ids": ["t"]}, "multicast", ["t"]),
    ],
)
def test_recipients_are_told_apart(document, recipients, values):
    call = read(document)
    assert (call.recipients, call.values, call.plain) == (recipients, values, False)


@pytest.mark.parametrize(
    ("document", "status", "word"),
    [
        ({}, 200, "MissingRegistration"),
        ({"to": ""}, 200, "MissingRegistration"),
        ({"registration_ids": []}, 200, "MissingRegistration"),
        ({"to": 7}, 400, "InvalidParameters"),
        ({"to": "/topics/not a topic"}, 400, "InvalidParameters"),
        ({"condition": "'a' in topics &&"}, 400, "InvalidParameters"),
        ({"to": "t", "condition": "c"}, 400, "InvalidParameters"),
        ({"to": "t", "registration_ids": ["u"]}, 400, "InvalidParameters"),
        ({"registration_ids": "t"}, 400, "InvalidParameters"),
        ({"registration_ids": ["t"] * 1001}, 400, "InvalidParameters"),
        ([], 400, "InvalidParameters"),
    ],
)
def test_what_names_no_recipient_or_two_is_refused(document, status, word):
    call = read(document)
    assert isinstance(call, Unreadable)
    assert (call.status, call.word) == (status, word)


def test_without_a_content_type_it_is_plain_text():
    body = b"registration_id=t&collapse_key=c&time_to_live=60&data.k=v%20w&dry_run=1"
    for content_type in (None, "application/x-www-form-urlencoded;charset=UTF-8"):
        call = read_call(content_type, body)
        assert call.plain
        assert call.values == ["t"]
        assert call.document == {
            "collapse_key": "c",
            "time_to_live": 60,
            "data": {"k": "v w"},
            "dry_run": True,
        }


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "MissingRegistration"),
        (b"data.k=v", "MissingRegistration"),
        (b"registration_id=t&time_to_live=soon", "InvalidParameters"),
        (b"registration_id=t&time_to_live=--0", "InvalidParameters"),
        (b"registration_id=%ff", "InvalidParameters"),
        (b"&".join(b"data.k%d=v" % n for n in range(300)), "InvalidParameters"),
    ],
)
def test_a_form_that_cannot_be_read_is_refused_in_text(body, word):
    call = read_call(None, body)
    assert (call.word, call.plain) == (word, True)


def test_the_id_of_a_multicast_keeps_its_digits():
    assert b'"multicast_id":18446744073709551615' in multicast_body(2**64 - 1, [])


@given(
    st.sampled_from(["token", "topic", "condition", "group"]),
    st.lists(st.text("ab-~é ", min_size=1, max_size=5), min_size=1, max_size=4),
)
@settings(max_examples=60)
def test_what_a_client_writes_a_server_reads(kind, values):
    many = values if kind == "token" else values[:1]
    if kind == "topic":
        many = ["a-b~c"]
    elif kind == "condition":
        many = ["'a' in topics"]
    call = read_call(JSON, encode_request(kind, many, b'"time_to_live":60,', b'"data":{"k":"v"}'))
    assert isinstance(call, Call)
    assert call.values == many
    assert call.document["data"] == {"k": "v"}


@given(st.none() | st.just(JSON), st.binary(max_size=60))
@settings(max_examples=80)
def test_whatever_comes_is_read_or_refused(content_type, body):
    assert isinstance(read_call(content_type, body), Call | Unreadable)

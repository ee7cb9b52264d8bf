"""dispatcher.protocol.call"""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.model import Fate
from dispatcher.policy.classify import classify
from dispatcher.protocol.answer import fcm_error, rpc_error
from dispatcher.protocol.call import (
    bearer_headers,
    glance,
    key_headers,
    read_failure,
    text_error,
    unknown_answer,
)

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
HTML = b"<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>"


def read(status, body, *, about_token=False):
    return read_failure(status, None, DATE, body, about_token=about_token)


def action(error):
    return classify(error, "token").action


def test_a_bearer_token_is_announced_as_one_and_a_key_stands_behind_its_prefix():
    assert bearer_headers("ya29.x") == {"Authorization": "Bearer ya29.x", "access_token_auth": "true"}
    assert key_headers("AAAA:b") == {"Authorization": "key=AAAA:b"}


@given(st.text(max_size=80), st.sampled_from([400, 401, 403, 404, 429, 500, 503]))
@settings(max_examples=40)
def test_a_text_error_is_read_as_it_was_written(text, status):
    error = read(status, text_error(text))
    assert (error.reason, error.http_status, error.is_json, error.wire) == (text, status, True, "iid")
    assert error.whole_request


def test_a_404_about_a_token_is_held_against_the_token():
    error = read(404, text_error("No information found about this instance id."), about_token=True)
    assert (error.word, error.whole_request, action(error)) == ("NOT_FOUND", False, "DROP_TOKEN")


def test_googles_own_404_about_a_token_is_read_as_well():
    error = read(404, rpc_error(404, "NOT_FOUND", "Requested entity was not found.")[1], about_token=True)
    assert (error.word, action(error)) == ("NOT_FOUND", "DROP_TOKEN")


@pytest.mark.parametrize("body", [HTML, b"", b"404: Not Found", b"[]"])
def test_a_404_of_a_front_end_never_touches_a_token(body):
    error = read(404, body, about_token=True)
    assert (error.word, action(error)) == ("", "SWITCH_ROUTE")


def test_a_404_on_a_bulk_path_is_about_the_path():
    error = read(404, text_error("Not found"))
    assert (error.word, error.whole_request, action(error)) == ("", True, "SWITCH_ROUTE")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("InvalidToken", "DROP_TOKEN"),
        ("The registration token is not valid: invalid argument", "DROP_TOKEN"),
        ("The registration token is not a valid FCM registration token", "DROP_TOKEN"),
        ("InvalidTopicName", "FIX_REQUEST"),
        ("TOO_MANY_TOPICS", "FIX_REQUEST"),
        ("", "FIX_REQUEST"),
    ],
)
def test_a_400_is_held_against_the_token_only_if_it_names_it(text, expected):
    assert action(read(400, text_error(text), about_token=True)) == expected


def test_a_400_about_a_whole_call_condemns_no_token():
    assert action(read(400, text_error("InvalidToken"))) == "FIX_REQUEST"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("UNREGISTERED", "DROP_TOKEN"),
        ("SENDER_ID_MISMATCH", "WRONG_PROJECT"),
        ("QUOTA_EXCEEDED", "PAUSE_PROJECT"),
    ],
)
def test_an_fcm_error_of_the_v1_resource_keeps_its_meaning(code, expected):
    assert action(read(*fcm_error(code), about_token=True)) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, "REFRESH_CREDS"),
        (403, "PAUSE_PROJECT"),
        (429, "PAUSE_PROJECT"),
        (500, "RETRY"),
        (503, "RETRY"),
        (413, "FIX_REQUEST"),
    ],
)
@pytest.mark.parametrize("about_token", [True, False])
@pytest.mark.parametrize(
    "body", [HTML, b"", text_error("PERMISSION_DENIED"), rpc_error(403, "PERMISSION_DENIED", "no")[1]]
)
def test_every_other_status_means_the_same_whatever_the_body(status, expected, about_token, body):
    assert action(read(status, body, about_token=about_token)) == expected


def test_a_retry_after_is_honoured():
    assert read_failure(429, "42", None, b"").retry_after == 42.0
    assert read_failure(503, "Sun, 06 Nov 1994 08:50:37 GMT", DATE, b"").retry_after == 60.0


@given(st.integers(300, 599), st.binary(max_size=60), st.booleans())
@settings(max_examples=60)
def test_any_bytes_are_some_error_of_this_wire(status, body, about_token):
    error = read(status, body, about_token=about_token)
    assert (error.wire, error.fate, error.http_status) == ("iid", Fate.ANSWERED, status)
    assert classify(error, "token")


def test_an_answer_that_does_not_say_it_leaves_the_fate_unknown():
    error = unknown_answer(200, "no token").error
    assert (error.fate, error.http_status, error.wire, error.reason) == (Fate.UNKNOWN, 200, "iid", "no token")


def test_a_glance_is_one_short_line():
    assert glance(b"a\nb" * 200) == " ".join((b"a\nb" * 200)[:120].decode().split())
    assert glance(b"") == "no body"
    assert orjson.loads(text_error("x")) == {"error": "x"}

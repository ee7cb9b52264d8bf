"""dispatcher.protocol.device_group"""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.model import Fate
from dispatcher.policy.classify import classify
from dispatcher.protocol.call import Denied, text_error
from dispatcher.protocol.device_group import (
    PATH,
    Change,
    add_request,
    asked_name,
    create_request,
    decode_change,
    get_request,
    key_body,
    read_group,
    remove_request,
)

TEXTS = st.text(min_size=1, max_size=30)
MEMBERS = st.lists(TEXTS, min_size=1, max_size=4)


@given(TEXTS, TEXTS, MEMBERS)
@settings(max_examples=40)
def test_the_server_reads_a_change_as_it_was_written(name, key, tokens):
    assert decode_change(create_request(name, tokens).body) == Change("create", name, "", tokens)
    assert decode_change(add_request(name, key, tokens).body) == Change("add", name, key, tokens)
    assert decode_change(remove_request("", key, tokens).body) == Change("remove", "", key, tokens)


@given(TEXTS)
@settings(max_examples=60)
def test_the_server_reads_which_group_is_asked_for(name):
    call = get_request(name)
    path, _, query = call.path.partition("?")
    assert (call.method, path, asked_name(query)) == ("GET", PATH, name)


def test_a_group_is_created_without_a_key():
    body = orjson.loads(create_request("user-771", ["t1"]).body)
    assert body == {"operation": "create", "notification_key_name": "user-771", "registration_ids": ["t1"]}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "BadRequest"),
        (b'{"operation":"rename"}', "BadRequest"),
        (create_request("a", []).body, "no valid registration ids"),
        (create_request("", ["t"]).body, "notification_key_name is missing"),
        (add_request("a", "", ["t"]).body, "notification_key is missing"),
    ],
)
def test_a_change_that_is_not_as_it_should_be_is_denied(body, text):
    assert decode_change(body) == Denied(text)


@given(TEXTS)
@settings(max_examples=30)
def test_a_key_is_read_as_it_was_written(key):
    assert orjson.loads(read_group(200, None, None, key_body(key)).result) == {"notification_key": key}


@pytest.mark.parametrize(
    ("text", "word", "code"),
    [
        ("notification_key already exists", "GROUP_EXISTS", "invalid-argument"),
        ("Notification_Key  ALREADY EXISTS for this project", "GROUP_EXISTS", "invalid-argument"),
        ("notification_key not found", "GROUP_NOT_FOUND", "invalid-argument"),
        ("no valid registration ids", "NO_VALID_MEMBERS", "invalid-recipient"),
        ("No valid registration_ids found", "NO_VALID_MEMBERS", "invalid-recipient"),
        ("something else", "", "invalid-argument"),
    ],
)
def test_the_texts_that_say_what_to_do_are_told_apart(text, word, code):
    error = read_group(400, None, None, text_error(text)).error
    verdict = classify(error, "group_name")
    assert (error.word, verdict.action, verdict.code) == (word, "FIX_REQUEST", code)
    assert error.reason.startswith(text)


def test_a_front_ends_404_is_about_the_path():
    error = read_group(404, None, None, b"<html>not found</html>").error
    assert classify(error, "group_name").action == "SWITCH_ROUTE"


def test_after_the_last_member_there_is_no_key():
    assert read_group(200, None, None, b"{}", removed=True).error is None
    assert read_group(200, None, None, b"{}").error.fate is Fate.UNKNOWN


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"notification_key":7}'])
def test_a_200_without_a_key_leaves_the_fate_unknown(body):
    assert read_group(200, None, None, body, removed=True).error.fate is Fate.UNKNOWN


@given(st.integers(201, 599), st.binary(max_size=60))
@settings(max_examples=40)
def test_any_other_answer_is_an_error(status, body):
    assert read_group(status, None, None, body).error.http_status == status

"""dispatcher.protocol.web_push"""

import base64

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.model import Fate
from dispatcher.policy.classify import classify
from dispatcher.protocol.call import Denied, text_error
from dispatcher.protocol.web_push import (
    VAPID_PUBLIC_KEY,
    Asked,
    decode_subscription,
    delete_request,
    import_request,
    read_delete,
    read_import,
    read_path,
    read_refresh,
    refresh_request,
    token_body,
)

TOKENS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)
SUBSCRIPTION = {
    "endpoint": "https://fcm.googleapis.com/fcm/send/dQ8:APA91b",
    "expirationTime": None,
    "keys": {"auth": "a" * 22, "p256dh": "b" * 87},
}


@given(TOKENS)
@settings(max_examples=60)
def test_the_server_reads_which_token_is_meant(token):
    refresh, delete = refresh_request(token, SUBSCRIPTION), delete_request(token)
    assert read_path(refresh.method, refresh.path) == Asked("refresh", token)
    assert read_path(delete.method, delete.path) == Asked("delete", token)


def test_a_subscription_goes_through_unchanged():
    call = import_request(SUBSCRIPTION)
    assert (read_path(call.method, call.path), orjson.loads(call.body)) == (Asked("import"), SUBSCRIPTION)
    assert decode_subscription(call.body).endpoint == SUBSCRIPTION["endpoint"]


def test_paths_have_no_iid_in_front():
    assert import_request(SUBSCRIPTION).path == "/v1/web/iid"
    assert refresh_request("a:b", SUBSCRIPTION).path == "/v1/web/iid/a:b:refresh"


@pytest.mark.parametrize(
    "method_and_path",
    [
        ("GET", "/v1/web/iid"),
        ("POST", "/v1/web/iid/a"),
        ("POST", "/v1/web/iid/:refresh"),
        ("DELETE", "/v1/web/iid"),
    ],
)
def test_the_service_has_nothing_else(method_and_path):
    assert read_path(*method_and_path) is None


@pytest.mark.parametrize(
    "changed",
    [
        {"endpoint": "http://example.com"},
        {"endpoint": 7},
        {"keys": {}},
        {"keys": {"auth": "", "p256dh": "x"}},
        {"keys": None},
    ],
)
def test_what_is_no_subscription_is_denied(changed):
    assert decode_subscription(orjson.dumps({**SUBSCRIPTION, **changed})) == Denied("InvalidSubscription")
    assert decode_subscription(b"") == Denied("InvalidSubscription")


@given(st.text(min_size=1, max_size=40))
@settings(max_examples=40)
def test_a_token_is_read_as_it_was_written(token):
    assert read_import(201, None, None, token_body(token)).replacement_token == token
    assert read_refresh(200, None, None, token_body(token)).replacement_token == token


def test_a_deletion_has_no_answer_but_its_status():
    assert read_delete(204, None, None, b"").error is None
    assert read_delete(200, None, None, b"{}").error is None


@pytest.mark.parametrize("body", [b"", b"{}", b'{"token":""}', b'{"token":7}', b"<html>"])
def test_a_success_without_a_token_leaves_the_fate_unknown(body):
    assert read_import(201, None, None, body).error.fate is Fate.UNKNOWN
    assert read_refresh(200, None, None, body).error.fate is Fate.UNKNOWN


def test_a_404_is_about_the_token_where_the_path_names_one():
    body = text_error("NotFound")
    assert classify(read_refresh(404, None, None, body).error, "token").action == "DROP_TOKEN"
    assert classify(read_delete(404, None, None, body).error, "token").action == "DROP_TOKEN"
    assert classify(read_import(404, None, None, body).error, "subscription").action == "SWITCH_ROUTE"


@given(st.integers(202, 599), st.binary(max_size=60))
@settings(max_examples=40)
def test_any_other_answer_is_an_error(status, body):
    assert read_import(status, None, None, body).error is not None
    assert read_refresh(status, "9", None, body).error.retry_after == 9.0


def test_fcms_public_key_is_a_point_on_the_curve():
    raw = base64.urlsafe_b64decode(VAPID_PUBLIC_KEY + "=")
    assert (len(raw), raw[0]) == (65, 4)

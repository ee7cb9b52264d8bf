"""dispatcher.protocol.topic_subscription"""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.policy.classify import classify
from dispatcher.protocol.answer import fcm_error, rpc_error
from dispatcher.protocol.topic_subscription import (
    Asked,
    Subscription,
    create_request,
    delete_request,
    encode_list,
    encode_subscription,
    read_create,
    read_delete,
    read_path,
    subscription_name,
)

TOKENS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)
TOPICS = st.from_regex(r"[a-zA-Z0-9\-_.~%]{1,40}", fullmatch=True)
P = "demo-orchard-41"


def asked(call):
    path, _, query = call.path.partition("?")
    return read_path(call.method, path, query)


@given(TOKENS, TOPICS)
@settings(max_examples=60)
def test_the_server_reads_what_the_client_asks_for(token, topic):
    assert asked(create_request(P, token, topic)) == Asked("create", P, token, topic)
    assert asked(delete_request(P, token, topic)) == Asked("delete", P, token, topic, allow_missing=True)


def test_options_are_read_in_the_spelling_of_the_sdks_as_well():
    base = f"/v1/projects/{P}/registrations/t/topicSubscriptions"
    assert read_path("POST", base, "topic_name=50%25") == Asked("create", P, "t", "50%")
    assert read_path("DELETE", f"{base}/news", "allow_missing=true").allow_missing
    assert not read_path("DELETE", f"{base}/news", "allow_missing=false").allow_missing


def test_colons_of_tokens_and_percent_signs_of_topics_are_encoded():
    assert delete_request(P, "a:b", "50%").path == (
        f"/v1/projects/{P}/registrations/a%3Ab/topicSubscriptions/50%25?allowMissing=true"
    )
    assert create_request(P, "a:b", "50%").path.endswith("/a%3Ab/topicSubscriptions?topicName=50%25")


def test_one_and_all_can_be_looked_at():
    base = f"/v1/projects/{P}/registrations/t/topicSubscriptions"
    assert read_path("GET", base) == Asked("list", P, "t")
    assert read_path("GET", f"{base}/news") == Asked("get", P, "t", "news")


@pytest.mark.parametrize("tail", ["topicSubscriptions/a/b", "subscriptions", ""])
def test_the_service_has_nothing_else(tail):
    assert read_path("POST", f"/v1/projects/{P}/registrations/t/{tail}") is None
    assert read_path("PUT", f"/v1/projects/{P}/registrations/t/topicSubscriptions") is None


def test_subscribing_twice_is_a_success():
    status, body = rpc_error(409, "ALREADY_EXISTS", "Requested entity already exists.")
    assert read_create(200, None, None, b"{}").error is None
    assert read_create(status, None, None, body).error is None


def test_another_409_is_none():
    assert read_create(409, None, None, rpc_error(409, "ABORTED", "try again")[1]).error.http_status == 409
    assert read_create(409, None, None, b"<html>").error is not None
    assert read_delete(*(409, None, None), rpc_error(409, "ALREADY_EXISTS", "x")[1]).error is not None


def test_taking_off_is_done_whatever_the_200_says():
    assert read_delete(200, None, None, b"{}").error is None
    assert read_delete(204, None, None, b"").error is None


@pytest.mark.parametrize("read", [read_create, read_delete])
@pytest.mark.parametrize(
    ("answer", "action", "code"),
    [
        (rpc_error(404, "NOT_FOUND", "no"), "DROP_TOKEN", "registration-token-not-registered"),
        (
            rpc_error(400, "INVALID_ARGUMENT", "Invalid registration"),
            "DROP_TOKEN",
            "invalid-registration-token",
        ),
        (rpc_error(400, "INVALID_ARGUMENT", "Invalid topic name"), "FIX_REQUEST", "invalid-argument"),
        (rpc_error(401, "UNAUTHENTICATED", "no"), "REFRESH_CREDS", "authentication-error"),
        (rpc_error(403, "PERMISSION_DENIED", "no"), "PAUSE_PROJECT", "mismatched-credential"),
        (fcm_error("SENDER_ID_MISMATCH"), "WRONG_PROJECT", "mismatched-credential"),
        (rpc_error(429, "RESOURCE_EXHAUSTED", "slow"), "PAUSE_PROJECT", "topics-subscription-rate-exceeded"),
        (rpc_error(503, "UNAVAILABLE", "later"), "RETRY", "server-unavailable"),
        ((404, b"<html>"), "SWITCH_ROUTE", "unknown-error"),
    ],
)
def test_every_answer_means_what_the_table_says(read, answer, action, code):
    status, body = answer
    verdict = classify(read(status, None, None, body).error, "token")
    assert (verdict.action, verdict.code) == (action, code)


def test_a_subscription_is_shown_by_its_name_topic_and_time():
    one = Subscription(subscription_name(P, "t", "news"), "news", "2026-09-01T10:00:00Z")
    assert orjson.loads(encode_subscription(one)) == {
        "name": f"projects/{P}/registrations/t/topicSubscriptions/news",
        "topic_name": "news",
        "create_time": "2026-09-01T10:00:00Z",
    }
    assert len(orjson.loads(encode_list([one, one]))["topicSubscriptions"]) == 2

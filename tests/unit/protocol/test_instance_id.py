"""dispatcher.protocol.instance_id"""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.model import Fate
from dispatcher.policy.classify import classify
from dispatcher.protocol.call import Denied, text_error
from dispatcher.protocol.instance_id import (
    BULK_LIMIT,
    Asked,
    Bulk,
    bulk_request,
    decode_bulk,
    encode_results,
    info_request,
    read_bulk,
    read_info,
    read_path,
    read_relation,
    relation_request,
)

TOKEN = "fQ7xK2tLmN8:APA91bExample000001"
TOKENS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)
TOPICS = st.from_regex(r"[a-zA-Z0-9\-_.~%]{1,40}", fullmatch=True)
WORDS = ("NOT_FOUND", "INVALID_ARGUMENT", "INTERNAL", "TOO_MANY_TOPICS", "RESOURCE_EXHAUSTED")


def asked(call):
    path, _, query = call.path.partition("?")
    return read_path(call.method, path, query)


def read(status, body, count=2, retry_after=None):
    return read_bulk(status, retry_after, None, body, count)


# Requests.


@given(TOKENS, st.booleans())
@settings(max_examples=60)
def test_the_server_reads_which_token_is_asked_about(token, details):
    assert asked(info_request(token, details=details)) == Asked("info", token, details=details)


@given(TOKENS, TOPICS)
@settings(max_examples=60)
def test_the_server_reads_which_token_shall_follow_which_topic(token, topic):
    call = relation_request(token, topic)
    assert (asked(call), call.body) == (Asked("relation", token, topic), b"")


@given(TOPICS, st.lists(TOKENS, min_size=1, max_size=5), st.booleans())
@settings(max_examples=60)
def test_the_server_reads_a_bulk_call_as_it_was_written(topic, tokens, remove):
    call = bulk_request(topic, tokens, remove=remove)
    assert asked(call) == Asked("remove" if remove else "add")
    assert decode_bulk(call.body) == Bulk(topic, tokens)


def test_a_colon_of_a_token_stays_raw_and_a_percent_sign_of_a_topic_does_not():
    assert info_request(TOKEN).path == f"/iid/info/{TOKEN}"
    assert relation_request(TOKEN, "50%").path == f"/iid/v1/{TOKEN}/rel/topics/50%25"
    assert info_request("a/b?c", details=True).path == "/iid/info/a%2Fb%3Fc?details=true"


def test_the_body_of_a_bulk_call_names_the_topic_with_its_prefix():
    body = bulk_request("harvest-news", [TOKEN]).body
    assert orjson.loads(body) == {"to": "/topics/harvest-news", "registration_tokens": [TOKEN]}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/iid/info/x"),
        ("GET", "/iid/v1:batchAdd"),
        ("GET", "/iid/info/"),
        ("POST", "/iid/v1:batchSend"),
        ("DELETE", "/iid/v1/x/rel/topics/y"),
    ],
)
def test_the_service_has_nothing_else(method, path):
    assert read_path(method, path) is None


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "InvalidRequest"),
        (b"[]", "InvalidRequest"),
        (b'{"to":7}', "InvalidRequest"),
        (b'{"to":"news","registration_tokens":["a"]}', "InvalidTopicName"),
        (b'{"to":"/topics/news"}', "MissingRegistrationTokens"),
        (bulk_request("news", ["a"] * (BULK_LIMIT + 1)).body, "TooManyRegistrationTokens"),
    ],
)
def test_a_bulk_call_that_is_not_as_it_should_be_is_denied(body, text):
    assert decode_bulk(body) == Denied(text)


def test_a_thousand_tokens_are_not_too_many():
    assert len(decode_bulk(bulk_request("news", ["a"] * BULK_LIMIT).body).tokens) == BULK_LIMIT


# Answers.


@given(st.lists(st.sampled_from(["", *WORDS]), min_size=1, max_size=20))
@settings(max_examples=60)
def test_results_are_read_in_the_order_they_were_written(errors):
    found = read(200, encode_results(errors), len(errors))
    assert [response.error.word if response.error else "" for response in found] == errors


@pytest.mark.parametrize(
    ("word", "action", "code"),
    [
        ("NOT_FOUND", "DROP_TOKEN", "registration-token-not-registered"),
        ("INVALID_ARGUMENT", "DROP_TOKEN", "invalid-registration-token"),
        ("INTERNAL", "RETRY", "internal-error"),
        ("TOO_MANY_TOPICS", "FIX_REQUEST", "too-many-topics"),
        ("RESOURCE_EXHAUSTED", "PAUSE_PROJECT", "topics-subscription-rate-exceeded"),
        ("PERMISSION_DENIED", "WRONG_PROJECT", "mismatched-credential"),
        ("DEADLINE_EXCEEDED", "RETRY", "server-unavailable"),
        ("UNKNOWN", "RETRY", "unknown-error"),
        ("NEVER_HEARD_OF", "RETRY", "unknown-error"),
    ],
)
def test_every_error_of_a_token_means_what_the_table_says(word, action, code):
    ok, bad = read(200, encode_results(["", word]))
    verdict = classify(bad.error, "token")
    assert (ok.error, verdict.action, verdict.code) == (None, action, code)


def test_an_error_of_a_token_honours_the_retry_after_of_the_call():
    _, bad = read(200, encode_results(["", "RESOURCE_EXHAUSTED"]), retry_after="7")
    assert bad.error.retry_after == 7.0


def test_tokens_without_a_result_may_or_may_not_have_been_served():
    first, second, third = read(200, encode_results(["", "NOT_FOUND"]), 3)
    assert (first.error, second.error.word) == (None, "NOT_FOUND")
    assert third.error.fate is Fate.UNKNOWN


def test_with_more_results_than_tokens_nobody_knows_whose_is_whose():
    found = read(200, encode_results(["", "NOT_FOUND", ""]))
    assert [response.error.fate for response in found] == [Fate.UNKNOWN] * 2


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"<html>", b'{"results":7}', b'{"results":[7,8]}', b"\xff", b'{"error":"x"}']
)
def test_a_200_without_results_leaves_every_fate_unknown(body):
    found = read(200, body)
    assert [(r.error.fate, r.error.whole_request) for r in found] == [(Fate.UNKNOWN, True)] * 2


def test_an_answer_cut_at_any_byte_condemns_and_serves_nobody():
    whole = encode_results(["", "NOT_FOUND"])
    for length in range(len(whole)):
        assert {r.error.fate for r in read(200, whole[:length])} == {Fate.UNKNOWN}
    assert {r.error.fate for r in read(200, whole + b"x")} == {Fate.UNKNOWN}


def test_an_error_of_a_token_in_googles_form_is_read_as_well():
    _, bad = read(200, b'{"results":[{},{"error":{"status":"NOT_FOUND","message":"gone"}}]}')
    assert (bad.error.word, bad.error.reason) == ("NOT_FOUND", "gone")
    _, nameless = read(200, b'{"results":[{},{"error":{}}]}')
    assert nameless.error.word == "UNKNOWN"


def test_a_failed_call_fails_for_each_of_its_tokens():
    found = read(403, text_error("SenderId mismatch"), 3)
    assert len(found) == 3
    assert {(r.error.http_status, r.error.whole_request, r.error.word) for r in found} == {(403, True, "")}


@given(st.integers(200, 599), st.binary(max_size=60), st.integers(0, 4))
@settings(max_examples=60)
def test_any_bytes_are_one_response_a_token(status, body, count):
    assert len(read(status, body, count)) == count


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.none()
        | st.booleans()
        | st.text(max_size=8)
        | st.dictionaries(st.text(max_size=3), st.integers(0, 9)),
        max_size=5,
    )
)
@settings(max_examples=40)
def test_all_fields_that_the_service_knows_of_a_token_are_kept(known):
    response = read_info(200, None, None, orjson.dumps(known, option=orjson.OPT_INDENT_2))
    assert (orjson.loads(response.result), response.error) == (known, None)


@pytest.mark.parametrize("body", [b"", b"[]", b"<html>", b"7", b'{"a"'])
def test_information_that_is_no_object_is_none(body):
    assert read_info(200, None, None, body).error.fate is Fate.UNKNOWN


def test_a_token_that_nobody_knows_is_gone():
    error = read_info(404, None, None, text_error("No information found about this instance id.")).error
    assert classify(error, "token").action == "DROP_TOKEN"
    assert read_relation(404, None, None, text_error("NotFound")).error.word == "NOT_FOUND"


def test_a_relation_is_made_whatever_the_200_says():
    assert read_relation(200, None, None, b"{}").error is None
    assert read_relation(200, None, None, b"").error is None
    assert read_relation(503, "5", None, b"").error.retry_after == 5.0

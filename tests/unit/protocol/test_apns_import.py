"""dispatcher.protocol.apns_import"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.model import Fate
from dispatcher.policy.classify import classify
from dispatcher.protocol.apns_import import (
    IMPORT_LIMIT,
    PATH,
    Import,
    Imported,
    decode_import,
    encode_results,
    import_request,
    read_import,
)
from dispatcher.protocol.call import Denied, text_error

APNS = st.from_regex(r"[0-9a-f]{8,64}", fullmatch=True)
A, B = "3f2a" * 16, "9bc1" * 16


def read(body, tokens=(A, B), status=200, retry_after=None):
    return read_import(status, retry_after, None, body, list(tokens))


def ok(apns_token, token="kM1nO2pQ3rS:APA91bExample000010"):
    return Imported(apns_token, "OK", token)


@given(st.text(min_size=1, max_size=30), st.lists(APNS, min_size=1, max_size=5), st.booleans())
@settings(max_examples=40)
def test_the_server_reads_an_import_as_it_was_written(application, tokens, sandbox):
    call = import_request(application, tokens, sandbox=sandbox)
    assert (call.method, call.path) == ("POST", PATH)
    assert decode_import(call.body) == Import(application, tokens, sandbox)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "InvalidRequest"),
        (b'{"application":"a"}', "InvalidRequest"),
        (import_request("", [A]).body, "MissingApplication"),
        (import_request("a", []).body, "MissingApnsTokens"),
        (import_request("a", [A] * (IMPORT_LIMIT + 1)).body, "TooManyApnsTokens"),
    ],
)
def test_an_import_that_is_not_as_it_should_be_is_denied(body, text):
    assert decode_import(body) == Denied(text)


@given(st.lists(APNS, min_size=1, max_size=6, unique=True), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_results_are_matched_by_their_apns_token_in_any_order(tokens, dice):
    results = [ok(token.upper(), f"fcm:{token}") for token in tokens]
    dice.shuffle(results)
    found = read(encode_results(results), tokens)
    assert [response.replacement_token for response in found] == [f"fcm:{token}" for token in tokens]


def test_results_that_name_no_apns_token_are_matched_by_place():
    found = read(encode_results([Imported("", "OK", "x"), Imported("", "OK", "y")]))
    assert [response.replacement_token for response in found] == ["x", "y"]


@pytest.mark.parametrize(
    ("status", "word", "action"),
    [
        ("Internal Server Error", "INTERNAL", "RETRY"),
        ("service is temporarily UNAVAILABLE", "UNAVAILABLE", "RETRY"),
        ("INVALID_APNS_TOKEN", "IMPORT_REFUSED", "FIX_REQUEST"),
        ("Bad Request", "IMPORT_REFUSED", "FIX_REQUEST"),
        ("", "IMPORT_REFUSED", "FIX_REQUEST"),
    ],
)
def test_only_a_status_that_speaks_of_the_services_own_trouble_is_tried_again(status, word, action):
    found, bad = read(encode_results([ok(A), Imported(B, status)]), retry_after="3")
    assert found.error is None
    assert (bad.error.word, classify(bad.error, "apns_token").action, bad.error.retry_after) == (
        word,
        action,
        3.0,
    )


def test_an_apns_token_without_a_result_may_or_may_not_have_been_imported():
    found, lost = read(encode_results([ok(A)]))
    assert (found.error, lost.error.fate) == (None, Fate.UNKNOWN)
    assert read(encode_results([ok(A), ok(B), ok("ff")]))[1].error is None


def test_ok_without_a_token_is_no_success():
    assert read(encode_results([Imported(A, "OK")]), [A])[0].error.fate is Fate.UNKNOWN


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"results":{}}', b'{"results":[1]}'])
def test_a_200_without_results_leaves_every_fate_unknown(body):
    assert [response.error.fate for response in read(body)] == [Fate.UNKNOWN] * 2


def test_an_answer_cut_at_any_byte_imports_nothing():
    whole = encode_results([ok(A), ok(B)])
    for length in range(len(whole)):
        assert {response.error.fate for response in read(whole[:length])} == {Fate.UNKNOWN}


def test_a_failed_call_fails_for_each_of_its_tokens():
    assert {r.error.http_status for r in read(text_error("no"), status=400)} == {400}
    assert {classify(r.error, "apns_token").action for r in read(b"", status=404)} == {"SWITCH_ROUTE"}


@given(st.integers(200, 599), st.binary(max_size=60))
@settings(max_examples=40)
def test_any_bytes_are_one_response_a_token(status, body):
    assert len(read(body, status=status)) == 2

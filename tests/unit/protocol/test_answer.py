from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.model import Fate
from dispatcher.protocol import answer
from dispatcher.protocol.answer import (
    FCM_CODES,
    bad_request,
    error_info,
    fcm_error,
    is_json_error,
    read_answer,
    read_error,
    read_retry_after,
    rpc_error,
    success_body,
)

DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
NAME = "projects/demo-orchard-41/messages/0:1731000000123456%5f0e1d2c5f0e1d2c"


def read(status, body, retry_after=None):
    return read_error(status, retry_after, DATE, body)


# Success.


@given(st.text(min_size=1, max_size=30))
@settings(max_examples=30)
def test_a_name_is_read_as_it_was_given(name):
    found = read_answer(200, None, None, success_body(name))
    assert (found.message_id, found.error) == (name, None)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"name":""}', b'{"name":1}', b"<html>", b"[]", b'{"name":"\xff"}', b"[" * 9999]
)
def test_a_200_without_a_name_leaves_the_fate_unknown(body):
    error = read_answer(200, None, None, body).error
    assert (error.fate, error.http_status) == (Fate.UNKNOWN, 200)


def test_a_success_cut_at_any_byte_is_never_a_success():
    whole = success_body(NAME).rstrip()
    assert read_answer(200, None, None, whole + b"\n\r\n").message_id == NAME
    for length in range(len(whole)):
        assert read_answer(200, None, None, whole[:length]).error.fate is Fate.UNKNOWN
    assert read_answer(200, None, None, whole + b"x").error.fate is Fate.UNKNOWN


# Errors, as FCM writes them.


@pytest.mark.parametrize("code", FCM_CODES)
def test_every_code_is_read_as_the_server_writes_it(code):
    status, body = fcm_error(code)
    error = read_answer(status, None, None, body).error
    assert (error.fate, error.http_status, error.fcm_code, error.is_json) == (
        Fate.ANSWERED,
        status,
        code,
        True,
    )
    assert error.rpc_status == orjson.loads(body)["error"]["status"]
    assert not error.whole_request


def test_a_bad_token_names_its_field():
    error = read(
        *fcm_error("INVALID_ARGUMENT", violations=[("message.token", "not a valid registration token")])
    )
    assert error.violations == ["message.token"]
    assert error.reason.endswith("message.token: not a valid registration token")


def test_a_bad_payload_has_no_fcm_code():
    text = "Invalid value at 'message.data[2].value' (TYPE_STRING), 17"
    error = read(*bad_request(text, [("message.data[2].value", "Invalid value (TYPE_STRING), 17")]))
    assert (error.fcm_code, error.rpc_status) == ("", "INVALID_ARGUMENT")
    assert error.violations == ["message.data[2].value"]


def test_a_quota_names_whose_it_is():
    error = read(
        *fcm_error("QUOTA_EXCEEDED", quota=[("project:demo", "per-minute message quota")]), retry_after="42"
    )
    assert error.quota_subjects == ["project:demo", "per-minute message quota"]
    assert error.retry_after == 42.0


def test_a_quota_of_the_layer_in_front_is_told_from_fcms_own():
    error = read(
        *error_info(
            429, "RESOURCE_EXHAUSTED", "q", reason="RATE_LIMIT_EXCEEDED", domain="googleapis.com", metadata={}
        )
    )
    assert (error.fcm_code, error.error_info, error.http_status) == ("", "RATE_LIMIT_EXCEEDED", 429)


def test_a_bad_apns_key_is_told_from_a_bad_access_token():
    theirs = read(*fcm_error("THIRD_PARTY_AUTH_ERROR", apns=(403, "InvalidProviderToken")))
    ours = read(
        *error_info(401, "UNAUTHENTICATED", "x", reason="ACCESS_TOKEN_EXPIRED", domain="d", metadata={})
    )
    assert (theirs.fcm_code, ours.fcm_code) == ("THIRD_PARTY_AUTH_ERROR", "")
    assert ours.error_info == "ACCESS_TOKEN_EXPIRED"
    assert "APNs 403 InvalidProviderToken" in theirs.reason


def test_an_error_in_an_array_is_read():
    error = read(*rpc_error(400, "INVALID_ARGUMENT", "Failed to parse batch request", in_array=True))
    assert (error.rpc_status, error.reason) == ("INVALID_ARGUMENT", "Failed to parse batch request")


def test_an_error_that_is_only_text_is_read():
    error = read(401, b'{"error":"invalid_grant"}')
    assert (error.reason, error.is_json, error.rpc_status) == ("invalid_grant", True, "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>The requested URL /batch was not found</html>",
        b"[]",
        b"{}",
        b'{"error":7}',
        b"\xff",
        b"[[]]",
        b"7",
    ],
)
def test_anything_else_is_known_by_its_status_only(body):
    error = read(404, body)
    assert (error.fate, error.http_status, error.is_json, error.fcm_code) == (Fate.ANSWERED, 404, False, "")
    assert error.reason.startswith("HTTP 404")


def test_details_in_any_order_and_of_any_shape_do_no_harm():
    details = [None, 7, {}, {"@type": 7}, {"@type": "x/google.rpc.BadRequest", "fieldViolations": 3}]
    details += [
        {"@type": "x/google.rpc.QuotaFailure", "violations": [1, {}]},
        {"@type": "type.googleapis.com/google.rpc.Help"},
    ]
    details += [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "UNREGISTERED"}]
    error = read(404, orjson.dumps({"error": {"details": details, "message": 7}}))
    assert (error.fcm_code, error.violations, error.quota_subjects) == ("UNREGISTERED", [], [])
    assert read(404, b'{"error":{"details":{}}}').fcm_code == ""


def test_one_error_never_shares_its_lists_with_another():
    read(*fcm_error("INVALID_ARGUMENT", violations=[("message.token", "x")]))
    assert read(*fcm_error("INVALID_ARGUMENT")).violations == []


def test_an_error_cut_at_any_byte_is_no_json_error():
    whole = fcm_error("UNREGISTERED")[1].rstrip()
    assert is_json_error(whole)
    assert not any(is_json_error(whole[:length]) for length in range(len(whole)))
    assert not is_json_error(whole + b"}")


def test_the_whole_request_is_marked():
    assert read_error(429, None, None, b"", whole_request=True).whole_request


@given(st.integers(100, 599), st.binary(max_size=60))
@settings(max_examples=60)
def test_any_bytes_are_some_error(status, body):
    assert read_answer(status, "x", "y", body).error is not None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=4),
        lambda c: (
            st.lists(c, max_size=3)
            | st.dictionaries(
                st.sampled_from(["error", "details", "message", "status", "@type", "violations"]),
                c,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
@settings(max_examples=60)
def test_any_json_is_some_error(document):
    assert read_answer(500, None, None, orjson.dumps(document)).error.http_status == 500


# Retry-After.


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *(("0", 0.0), ("42", 42.0), (" 7 ", 7.0), ("9" * 500, 1e9)),
        *(("Sun, 06 Nov 1994 08:50:37 GMT", 60.0), ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0)),
        *(("Fri, 31 Dec 9999 23:59:59 GMT", 1e9), ("99999999999", 1e9)),
        *(
            ("Sunday, 06-Nov-94 08:50:37 GMT", 60.0),
            ("Sun Nov  6 08:50:37 1994", 60.0),
            ("Sun, 06 Nov 1994 08:50:37 -0000", 60.0),
        ),
        *(
            (None, None),
            ("", None),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("٣", None),
            ("Sun, 99 Nov 1994 08:50:37 GMT", None),
        ),
    ],
)
def test_every_form_of_retry_after_is_read(header, seconds):
    assert read_retry_after(header, DATE) == seconds


def test_a_retry_date_means_nothing_without_the_date_of_the_answer():
    assert read_retry_after(DATE, None) is None
    assert read_retry_after(DATE, "now") is None
    assert read_retry_after("5", None) == 5.0


@pytest.mark.parametrize(
    ("delay", "header", "seconds"),
    [("3.5s", None, 3.5), ("3.5s", "60", 60.0), ("90s", "60", 90.0), ("soon", None, None)],
)
def test_a_retry_info_binds_as_the_header_does(delay, header, seconds):
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}]
    assert read(*rpc_error(503, "UNAVAILABLE", "x", details), retry_after=header).retry_after == seconds


@given(st.text(max_size=40))
@settings(max_examples=60)
def test_any_retry_after_is_seconds_or_nothing(header):
    found = read_retry_after(header, DATE)
    assert found is None or 0 <= found <= answer._RETRY_AFTER_LIMIT

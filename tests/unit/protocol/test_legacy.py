from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.model import Action, ErrorCode, Fate
from dispatcher.policy.classify import classify
from dispatcher.protocol.legacy import encode_request, read_answer, read_group
from dispatcher.protocol.legacy_server import Result, broadcast_body, group_body, multicast_body, plain_body

DATE = "Sun, 22 Nov 2026 10:00:00 GMT"


def read(body, count=1, status=200, retry_after=None):
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return read_answer(count, status, retry_after, DATE, raw)


def one(body, **other):
    (response,) = read(body, **other)
    return response


def words(responses):
    return [response.error.word if response.error else response.message_id for response in responses]


def test_one_token_is_addressed_alone_and_several_together():
    assert encode_request("token", ["t"]) == b'{"to":"t"}'
    assert encode_request("token", ["t", "u"], b'"time_to_live":60,', b'"data":{}') == (
        b'{"registration_ids":["t","u"],"time_to_live":60,"data":{}}'
    )


def test_the_other_targets_have_their_own_keys():
    assert encode_request("topic", ["news"]) == b'{"to":"/topics/news"}'
    assert encode_request("group", ["APA91key"]) == b'{"to":"APA91key"}'
    condition = "'a' in topics"
    assert orjson.loads(encode_request("condition", [condition])) == {"condition": condition}


def test_results_belong_to_recipients_by_their_places():
    body = multicast_body(
        1,
        [
            Result("0:1%2", registration_id="new"),
            Result(error="NotRegistered"),
            Result(error="InvalidRegistration"),
            Result("0:2%2"),
        ],
    )
    responses = read(body, count=4)
    assert words(responses) == ["0:1%2", "NotRegistered", "InvalidRegistration", "0:2%2"]
    assert [response.replacement_token for response in responses] == ["new", "", "", ""]
    assert [classify(r.error, "token").action for r in responses[1:3]] == [Action.DROP_TOKEN] * 2


def test_a_short_answer_leaves_the_rest_unknown():
    responses = read({"results": [{"message_id": "m"}]}, count=3)
    assert responses[0].message_id == "m"
    assert [response.error.fate for response in responses[1:]] == [Fate.UNKNOWN] * 2


def test_a_long_answer_says_nothing_of_anybody():
    responses = read({"results": [{"error": "NotRegistered"}] * 3}, count=2)
    assert [response.error.fate for response in responses] == [Fate.UNKNOWN] * 2


def test_a_result_that_says_nothing_is_unknown_and_the_others_count():
    responses = read({"results": [{}, {"message_id": "m"}, 7, {"message_id": []}, {"error": 1}]}, count=5)
    assert [response.error is None for response in responses] == [False, True, False, False, False]
    assert all(r.error.fate is Fate.UNKNOWN for r in responses if r.error)


def test_the_closed_service_speaks_for_everybody_and_drops_nobody():
    body = multicast_body(1, [Result(error="DeprecatedApi")])
    for count in (1, 1000):
        responses = read(body, count=count)
        assert words(responses) == ["DeprecatedApi"] * count
        assert {classify(r.error, "token").action for r in responses} == {Action.SWITCH_ROUTE}


def test_retry_after_is_for_those_who_are_to_wait():
    results = ["Unavailable", "InternalServerError", "DeviceMessageRateExceeded", "NotRegistered"]
    responses = read(multicast_body(1, [Result(error=word) for word in results]), count=4, retry_after="7")
    assert [response.error.retry_after for response in responses] == [7.0, 7.0, None, None]


def test_topics_and_conditions_answer_with_a_number_or_a_word():
    assert one(broadcast_body(1023456789)).message_id == "1023456789"
    assert one({"message_id": "1023456789"}).message_id == "1023456789"
    error = one(broadcast_body(error="TopicsMessageRateExceeded"), retry_after="9").error
    assert (error.word, error.retry_after) == ("TopicsMessageRateExceeded", 9.0)


@pytest.mark.parametrize("number", [6254812345678901234, 2**64 - 1, 10**30])
def test_no_digit_of_a_number_is_lost(number):
    assert one(b'{"message_id":%d}' % number).message_id == str(number)
    body = b'{"multicast_id":%d,"results":[{"message_id":%d}]}' % (number, number)
    assert one(body).message_id == str(number)


def test_a_group_that_all_got_is_accepted():
    response = one(group_body(2, []))
    assert (response.error, response.result, response.failed_tokens) == (None, b"", ())


def test_a_group_that_some_got_is_accepted_with_those_who_did_not():
    response = one(group_body(1, ["a", "b"]))
    assert response.error is None
    assert response.failed_tokens == ("a", "b")
    assert orjson.loads(response.result) == {
        "success": 1,
        "failure": 2,
        "failed_registration_ids": ["a", "b"],
    }


def test_a_group_without_members_is_no_recipient():
    error = one(group_body(0, [])).error
    verdict = classify(error, "group")
    assert (verdict.action, verdict.code) == (Action.FIX_REQUEST, ErrorCode.INVALID_RECIPIENT)


def test_a_group_that_nobody_got_is_sent_again():
    error = one(group_body(0, ["a"]), retry_after="5").error
    assert (error.word, error.retry_after) == ("Unavailable", 5.0)


def test_what_a_group_lists_is_bounded_and_each_once():
    document = {"success": 1, "failure": 9, "failed_registration_ids": ["a", "a", "", 7]}
    assert read_group(document).failed_tokens == ("a",)
    document["failed_registration_ids"] = [str(number) for number in range(5000)]
    assert len(read_group(document).failed_tokens) == 500


def test_plain_text_is_read():
    assert one(plain_body(Result("0:1"))).message_id == "0:1"
    replaced = one(plain_body(Result("0:1", registration_id="new")))
    assert (replaced.message_id, replaced.replacement_token) == ("0:1", "new")
    assert one(plain_body(Result(error="NotRegistered"))).error.word == "NotRegistered"


@pytest.mark.parametrize("body", [b"", b"id=", b"Error=", b"ok", b"\xff", b"[]", b"{}", b'{"results":7}'])
def test_a_success_that_says_nothing_is_of_unknown_fate(body):
    assert one(body).error.fate is Fate.UNKNOWN
    assert [response.error.fate for response in read(body, count=2)] == [Fate.UNKNOWN] * 2


@pytest.mark.parametrize(
    ("status", "body", "action"),
    [
        (400, b"MissingRegistration?", Action.FIX_REQUEST),
        (400, b'{"error":"InvalidParameters"}', Action.FIX_REQUEST),
        (400, b"Error=InvalidParameters", Action.FIX_REQUEST),
        (401, b"<html>", Action.REFRESH_CREDS),
        (403, b"<html>", Action.PAUSE_PROJECT),
        (404, b'{"error":"NotRegistered"}', Action.SWITCH_ROUTE),
        (404, b"<html>", Action.SWITCH_ROUTE),
        (410, b"", Action.SWITCH_ROUTE),
        (429, b"", Action.PAUSE_PROJECT),
        (500, b'{"error":"InternalServerError"}', Action.RETRY),
        (503, b"", Action.RETRY),
        (302, b"", Action.RETRY),
    ],
)
def test_an_error_of_http_is_that_of_all_and_never_drops_a_token(status, body, action):
    responses = read(body, count=3, status=status, retry_after="4")
    assert len(responses) == 3
    for response in responses:
        assert classify(response.error, "token").action is action
        assert response.error.retry_after == 4.0


def test_every_error_of_the_table_has_a_row_of_its_own():
    for word, code in {
        "MissingRegistration": "invalid-recipient",
        "InvalidRegistration": "invalid-registration-token",
        "NotRegistered": "registration-token-not-registered",
        "InvalidPackageName": "invalid-package-name",
        "MismatchSenderId": "mismatched-credential",
        "InvalidParameters": "invalid-argument",
        "MessageTooBig": "payload-size-limit-exceeded",
        "InvalidDataKey": "invalid-data-payload-key",
        "InvalidTtl": "invalid-options",
        "Unavailable": "server-unavailable",
        "InternalServerError": "internal-error",
        "DeviceMessageRateExceeded": "device-message-rate-exceeded",
        "TopicsMessageRateExceeded": "topics-message-rate-exceeded",
        "InvalidApnsCredential": "third-party-auth-error",
        "SomethingNew": "unknown-error",
    }.items():
        (response,) = read({"results": [{"error": word}]})
        assert classify(response.error, "token").code == code


RESULTS = st.builds(
    Result,
    message_id=st.text("0123:%", min_size=1, max_size=5),
    registration_id=st.just("") | st.text(min_size=1, max_size=5),
) | st.builds(Result, error=st.sampled_from(["NotRegistered", "Unavailable", "Other"]))


@given(st.lists(RESULTS, min_size=1, max_size=6), st.integers(0, 2**64 - 1))
@settings(max_examples=60)
def test_what_a_server_writes_a_client_reads(results, number):
    responses = read(multicast_body(number, results), count=len(results))
    assert words(responses) == [result.error or result.message_id for result in results]
    assert [response.replacement_token for response in responses] == [r.registration_id for r in results]


@given(st.binary(max_size=60), st.integers(1, 4), st.sampled_from([200, 204, 400, 401, 404, 500, 503]))
@settings(max_examples=100)
def test_whatever_comes_there_is_an_answer_for_each(body, count, status):
    responses = read(body, count=count, status=status)
    assert len(responses) == count
    for response in responses:
        assert response.error is not None or response.message_id

"""dispatcher.policy.classify"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.model import Action, ErrorCode, Fate, SendError
from dispatcher.policy.classify import classify, must_halve, quota_scope

PROJECT_QUOTA = ["project:demo-orchard-41", "per-minute message quota"]


def answer(http=0, fcm="", rpc="", **facts):
    return SendError(
        facts.pop("fate", Fate.ANSWERED),
        http_status=http,
        fcm_code=fcm,
        rpc_status=rpc,
        is_json=facts.pop("is_json", bool(fcm or rpc)),
        **facts,
    )


def whole(http, **facts):
    return answer(http, whole_request=True, **facts)


def told(error, kind="token", **more):
    verdict = classify(error, kind, **more)
    return verdict.action, str(verdict.code)


def test_an_answer_that_never_came_is_judged_by_what_is_known_of_the_request():
    assert told(answer(fate=Fate.NOT_SENT)) == (Action.RETRY, "server-unavailable")
    assert told(answer(fate=Fate.UNKNOWN)) == (Action.RETRY, "unknown-fate")


def test_an_unknown_fate_outranks_whatever_was_readable_of_the_answer():
    assert told(answer(200, fate=Fate.UNKNOWN)) == (Action.RETRY, "unknown-fate")
    assert told(answer(404, "UNREGISTERED", fate=Fate.UNKNOWN)) == (Action.RETRY, "unknown-fate")


def test_a_refusal_known_not_to_have_been_processed_is_still_judged_by_its_status():
    assert told(answer(429, fate=Fate.NOT_SENT, whole_request=True))[0] is Action.PAUSE_PROJECT


def test_the_fcm_code_outranks_everything_else_in_the_answer():
    error = answer(401, "UNREGISTERED", "UNAUTHENTICATED", error_info="ACCESS_TOKEN_EXPIRED")
    assert told(error) == (Action.DROP_TOKEN, "registration-token-not-registered")


def test_error_info_outranks_the_status():
    error = answer(401, rpc="UNAUTHENTICATED", error_info="SERVICE_DISABLED")
    assert told(error) == (Action.PAUSE_PROJECT, "mismatched-credential")


def test_an_unknown_error_info_says_nothing():
    assert told(answer(503, rpc="UNAVAILABLE", error_info="NEWS")) == (Action.RETRY, "server-unavailable")


def test_the_status_outranks_http():
    assert told(answer(500, rpc="UNAVAILABLE")) == (Action.RETRY, "server-unavailable")
    assert told(answer(400, rpc="FAILED_PRECONDITION")) == (Action.FIX_REQUEST, "invalid-argument")


@pytest.mark.parametrize("json", [True, False])
@pytest.mark.parametrize(
    ("status", "action"),
    [(401, Action.REFRESH_CREDS), (403, Action.PAUSE_PROJECT), (404, Action.SWITCH_ROUTE)],
)
def test_no_token_is_blamed_for_a_bare_401_403_or_404(status, action, json):
    assert told(answer(status, is_json=json))[0] is action
    assert told(whole(status, is_json=json))[0] is action


def test_bare_statuses_are_faults_of_the_project_although_the_sdks_blame_the_token():
    assert told(answer(404, rpc="NOT_FOUND"))[0] is Action.SWITCH_ROUTE
    assert told(answer(401, rpc="UNAUTHENTICATED")) == (Action.REFRESH_CREDS, "authentication-error")
    assert told(answer(403, rpc="PERMISSION_DENIED")) == (Action.PAUSE_PROJECT, "mismatched-credential")


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "invalid-argument"),
        (401, "authentication-error"),
        (403, "authentication-error"),
        (500, "internal-error"),
        (503, "server-unavailable"),
        (418, "unknown-error"),
    ],
)
def test_html_is_named_as_the_sdks_name_it(status, code):
    assert told(answer(status, is_json=False))[1] == code


def test_the_answer_to_a_whole_batch_never_condemns_a_token():
    violation = {"violations": ["message.token"]}
    assert told(whole(404, fcm="UNREGISTERED", rpc="NOT_FOUND"))[0] is Action.SWITCH_ROUTE
    assert told(whole(403, fcm="SENDER_ID_MISMATCH", rpc="PERMISSION_DENIED"))[0] is Action.PAUSE_PROJECT
    assert told(whole(400, fcm="INVALID_ARGUMENT", **violation))[0] is Action.FIX_REQUEST
    assert told(whole(400, fcm="INVALID_ARGUMENT"), twin_accepted=True)[0] is Action.FIX_REQUEST


def test_an_invalid_argument_drops_the_token_only_on_proof():
    error = answer(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT")
    assert told(error) == (Action.FIX_REQUEST, "invalid-argument")
    assert told(error, twin_accepted=True) == (Action.DROP_TOKEN, "invalid-registration-token")
    named = answer(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", violations=["message.data", "message.token"])
    assert told(named) == (Action.DROP_TOKEN, "invalid-registration-token")


def test_a_twin_proves_nothing_when_another_field_is_blamed_or_there_is_no_fcm_error():
    package = answer(400, "INVALID_ARGUMENT", violations=["message.android.restrictedPackageName"])
    assert told(package, twin_accepted=True) == (Action.FIX_REQUEST, "invalid-package-name")
    assert told(answer(400, rpc="INVALID_ARGUMENT"), twin_accepted=True)[0] is Action.FIX_REQUEST
    assert told(answer(400), twin_accepted=True)[0] is Action.FIX_REQUEST


def test_a_token_violation_means_nothing_for_a_topic():
    error = answer(400, "INVALID_ARGUMENT", violations=["message.token"])
    assert told(error, "topic")[0] is Action.FIX_REQUEST
    assert told(error, "group")[0] is Action.DROP_TOKEN


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("message.topic", "invalid-recipient"),
        ("message.condition", "invalid-recipient"),
        ("message.tokens", "invalid-argument"),
        ("message", "invalid-argument"),
        ("message.data[2].key", "invalid-data-payload-key"),
        ("message.data.from.key", "invalid-data-payload-key"),
        ("message.data[2].value", "invalid-payload"),
        ("message.notification.title", "invalid-payload"),
        ("message.android.notification.color", "invalid-payload"),
        ("message.apns.payload.aps", "invalid-payload"),
        ("message.android.ttl", "invalid-options"),
        ("message.android.collapseKey", "invalid-options"),
        ("message.webpush.headers", "invalid-options"),
        ("message.apns.headers.apns-priority", "invalid-options"),
        ("message.android.restricted_package_name", "invalid-package-name"),
    ],
)
@pytest.mark.parametrize("fcm", ["INVALID_ARGUMENT", ""])
def test_the_field_that_is_blamed_names_the_mistake(field, code, fcm):
    error = answer(400, fcm, "INVALID_ARGUMENT", violations=[field])
    assert told(error) == (Action.FIX_REQUEST, code)


@pytest.mark.parametrize(
    ("subjects", "scope"),
    [
        ([], None),
        (["somebody"], None),
        (PROJECT_QUOTA, "project"),
        (["projects/884400112233"], "project"),
        (["for consumer 'project_number:12'"], "project"),
        (["project:my-topic-device-app", "messages per minute"], "project"),
        (["project:demo", "messages per device per minute"], "device"),
        (["token:abc-topic"], "device"),
        (["token bucket of the project"], "project"),
        (["topic:device-news"], "topic"),
        (["Topic message rate"], "topic"),
    ],
)
def test_whose_quota_it_was_is_read_from_words_not_from_customers_names(subjects, scope):
    assert quota_scope(subjects) == scope


@pytest.mark.parametrize(
    ("fcm", "rpc"),
    [
        ("QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED"),
        ("", "RESOURCE_EXHAUSTED"),
        ("", ""),
        ("NEW_CODE", ""),
        ("UNSPECIFIED_ERROR", ""),
    ],
)
@pytest.mark.parametrize(
    ("facts", "told_"),
    [
        ({}, (Action.PAUSE_TARGET, "message-rate-exceeded")),
        ({"quota_subjects": ["something"]}, (Action.PAUSE_TARGET, "message-rate-exceeded")),
        ({"quota_subjects": ["device:x"]}, (Action.PAUSE_TARGET, "device-message-rate-exceeded")),
        ({"quota_subjects": ["topic:x"]}, (Action.PAUSE_TARGET, "topics-message-rate-exceeded")),
        ({"quota_subjects": PROJECT_QUOTA}, (Action.PAUSE_PROJECT, "message-rate-exceeded")),
        ({"whole_request": True}, (Action.PAUSE_PROJECT, "message-rate-exceeded")),
        (
            {"whole_request": True, "quota_subjects": ["device:x"]},
            (Action.PAUSE_PROJECT, "message-rate-exceeded"),
        ),
    ],
)
def test_a_429_pauses_whom_it_names_and_the_target_when_it_names_nobody(fcm, rpc, facts, told_):
    assert told(answer(429, fcm, rpc, **facts)) == told_


def test_a_rate_limit_of_googles_quota_layer_is_the_projects():
    for fcm in ("", "QUOTA_EXCEEDED"):
        error = answer(429, fcm, "RESOURCE_EXHAUSTED", error_info="RATE_LIMIT_EXCEEDED")
        assert told(error) == (Action.PAUSE_PROJECT, "message-rate-exceeded")


def test_an_unlisted_code_is_retried_a_little():
    for error in (
        answer(500, "NEW_CODE"),
        answer(500, "UNSPECIFIED_ERROR"),
        answer(507),
        answer(302),
        answer(0),
    ):
        verdict = classify(error, "token")
        assert (verdict.action, verdict.code, verdict.retries) == (Action.RETRY, ErrorCode.UNKNOWN_ERROR, 3)


def test_only_the_refused_body_of_a_whole_batch_is_halved():
    assert must_halve(whole(413), 500)
    assert must_halve(whole(400), 2)
    assert not must_halve(whole(413), 1)
    assert not must_halve(answer(400), 500)
    assert not must_halve(whole(503), 500)
    assert not must_halve(whole(400, fate=Fate.UNKNOWN), 500)


names = st.sampled_from(
    ["", "UNREGISTERED", "INVALID_ARGUMENT", "QUOTA_EXCEEDED", "SENDER_ID_MISMATCH", "INTERNAL", "X", "*"]
)
statuses = st.sampled_from(
    ["", "NOT_FOUND", "UNAUTHENTICATED", "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "X", "*"]
)
errors = st.builds(
    SendError,
    fate=st.sampled_from(Fate),
    http_status=st.sampled_from([0, 200, 302, 400, 401, 403, 404, 405, 410, 413, 429, 500, 503, 504, 999]),
    fcm_code=names,
    error_info=st.sampled_from(["", "RATE_LIMIT_EXCEEDED", "ACCESS_TOKEN_EXPIRED", "X", "*"]),
    rpc_status=statuses,
    violations=st.lists(st.sampled_from(["message.token", "message.data", "", "("]), max_size=2),
    quota_subjects=st.lists(st.sampled_from(["project:p", "device", "x"]), max_size=2),
    whole_request=st.booleans(),
    is_json=st.booleans(),
)
kinds = st.sampled_from(["token", "topic", "condition", "fid", "group"])


@settings(max_examples=300, deadline=None)
@given(errors, kinds, st.booleans())
def test_every_answer_has_a_verdict_and_no_token_is_dropped_without_an_fcm_error_or_a_named_field(
    error, kind, twin
):
    verdict = classify(error, kind, twin_accepted=twin)
    assert verdict.action is not Action.OK
    if verdict.action in {Action.DROP_TOKEN, Action.WRONG_PROJECT}:
        assert error.fate is not Fate.UNKNOWN
        assert not error.whole_request
        assert error.fcm_code or "message.token" in error.violations
    if verdict.action in {Action.RETRY, Action.PAUSE_TARGET, Action.PAUSE_PROJECT, Action.HOLD_MESSAGE}:
        assert verdict.base > 0

"""dispatcher.policy.settle: each row of the error table, and what follows from it"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.model import (
    Action,
    Attempt,
    Disposition,
    ErrorCode,
    Fate,
    Job,
    JobState,
    SendError,
    Status,
)
from dispatcher.policy.classify import classify
from dispatcher.policy.error_table import TABLE
from dispatcher.policy.settle import Rules, decide, doubted_state, next_state, together

NOW = 1_731_000_000.0


def job(*, kind="token", expires_in=1e9, on_unknown="resend", values=("t1",), **state):
    return Job(
        entry_id="1-0",
        stream="normal",
        project="demo-orchard-41",
        entry=[],
        nbytes=10,
        id="1-0",
        lane="normal",
        message=b"{}",
        kind=kind,
        values=list(values),
        multicast=len(values) > 1,
        enqueued_at=NOW,
        expires_at=NOW + expires_in,
        on_unknown=on_unknown,
        state=JobState("1-0", "normal", NOW, **state) if state else None,
    )


def answer(http=0, fcm="", rpc="", **facts):
    return SendError(
        facts.pop("fate", Fate.ANSWERED),
        http_status=http,
        fcm_code=fcm,
        rpc_status=rpc,
        is_json=facts.pop("is_json", bool(fcm or rpc)),
        **facts,
    )


def decided(error, sent=None, *, chance=0.0, **more):
    return decide(sent or job(), error, now=NOW, chance=chance, **more)


def test_what_a_dead_worker_had_may_have_been_sent_whatever_it_carries():
    fresh = doubted_state(job())
    assert (fresh.id, fresh.duplicate, fresh.sends) == ("1-0", True, 0)
    carried = doubted_state(job(sends=2, held=1))
    assert (carried.duplicate, carried.sends, carried.held) == (True, 2, 1)


NONE, TARGET, PROJECT = "nobody", "target", "project"
INVALID = ("INVALID_ARGUMENT", "INVALID_ARGUMENT")
QUOTA = ("QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED")

# row -> an answer, whose target is of this kind; status (None: it waits), who is paused, floor of the delay
ROWS = [
    ("not sent", "token", answer(fate=Fate.NOT_SENT), None, NONE, 1),
    ("fate unknown", "token", answer(fate=Fate.UNKNOWN), None, NONE, 1),
    ("token invalid", "token", answer(400, *INVALID, violations=["message.token"]), "invalid_token", NONE, 0),
    ("installation gone", "fid", answer(404, "UNREGISTERED", "NOT_FOUND"), "invalid_token", NONE, 0),
    ("token gone", "token", answer(404, "UNREGISTERED", "NOT_FOUND"), "invalid_token", NONE, 0),
    ("recipient", "topic", answer(400, *INVALID, violations=["message.topic"]), "rejected", NONE, 0),
    ("data key", "token", answer(400, *INVALID, violations=["message.data[0].key"]), "rejected", NONE, 0),
    (
        "package name",
        "token",
        answer(400, *INVALID, violations=["message.android.restricted_package_name"]),
        "rejected",
        NONE,
        0,
    ),
    ("options", "token", answer(400, *INVALID, violations=["message.android.ttl"]), "rejected", NONE, 0),
    (
        "payload",
        "token",
        answer(400, "", INVALID[1], violations=["message.data[2].value"]),
        "rejected",
        NONE,
        0,
    ),
    ("too large", "token", answer(413), "rejected", NONE, 0),
    ("argument", "token", answer(400, *INVALID), "rejected", NONE, 0),
    ("argument", "token", answer(400), "rejected", NONE, 0),
    ("project too fast", "token", answer(429, whole_request=True), None, PROJECT, 60),
    ("project too fast", "token", answer(429, *QUOTA, quota_subjects=["project:p"]), None, PROJECT, 60),
    ("project too fast", "token", answer(429, error_info="RATE_LIMIT_EXCEEDED"), None, PROJECT, 60),
    ("device too fast", "token", answer(429, *QUOTA, quota_subjects=["device:d"]), None, TARGET, 60),
    ("topic too fast", "topic", answer(429, *QUOTA, quota_subjects=["topic:t"]), None, TARGET, 60),
    ("too fast", "token", answer(429, *QUOTA), None, TARGET, 60),
    ("too fast", "topic", answer(429), None, TARGET, 60),
    ("platform key", "token", answer(401, "THIRD_PARTY_AUTH_ERROR", "UNAUTHENTICATED"), None, NONE, 60),
    ("platform key", "token", answer(401, "APNS_AUTH_ERROR", "UNAUTHENTICATED"), None, NONE, 60),
    (
        "foreign token",
        "token",
        answer(403, "SENDER_ID_MISMATCH", "PERMISSION_DENIED"),
        "wrong_project",
        NONE,
        0,
    ),
    ("front end forbids", "token", answer(403), None, PROJECT, 60),
    ("project forbidden", "token", answer(403, "", "PERMISSION_DENIED"), None, PROJECT, 60),
    ("not authenticated", "token", answer(401, "", "UNAUTHENTICATED"), None, NONE, 0),
    ("unavailable", "token", answer(503, "UNAVAILABLE", "UNAVAILABLE"), None, NONE, 1),
    ("unavailable", "token", answer(502), None, NONE, 1),
    ("unavailable", "token", answer(504), None, NONE, 1),
    ("internal", "token", answer(500, "INTERNAL", "INTERNAL"), None, NONE, 1),
    ("route gone", "token", answer(404, whole_request=True), None, NONE, 0),
    # The same rows by the words of the other wires.
    ("token gone", "token", answer(200, wire="legacy", word="NotRegistered"), "invalid_token", NONE, 0),
    (
        "token invalid",
        "token",
        answer(200, wire="legacy", word="InvalidRegistration"),
        "invalid_token",
        NONE,
        0,
    ),
    ("unavailable", "token", answer(503, wire="legacy", word="NotRegistered"), None, NONE, 1),
    ("foreign token", "token", answer(200, wire="legacy", word="MismatchSenderId"), "wrong_project", NONE, 0),
    (
        "device too fast",
        "token",
        answer(200, wire="legacy", word="DeviceMessageRateExceeded"),
        None,
        TARGET,
        60,
    ),
    (
        "topic too fast",
        "topic",
        answer(200, wire="legacy", word="TopicsMessageRateExceeded"),
        None,
        TARGET,
        60,
    ),
    (
        "route gone",
        "token",
        answer(200, wire="legacy", word="DeprecatedApi", whole_request=True),
        None,
        NONE,
        0,
    ),
    ("unknown", "token", answer(200, wire="legacy", word="Novelty"), None, NONE, 1),
    ("token invalid", "token", answer(wire="xmpp", word="BAD_REGISTRATION"), "invalid_token", NONE, 0),
    ("token gone", "token", answer(wire="xmpp", word="DEVICE_UNREGISTERED"), "invalid_token", NONE, 0),
    ("project too fast", "token", answer(wire="xmpp", word="QUOTA_EXCEEDED"), None, PROJECT, 60),
    ("unavailable", "token", answer(wire="xmpp", word="CONNECTION_DRAINING"), None, NONE, 1),
    ("unknown", "token", answer(wire="xmpp", word="NOVELTY"), None, NONE, 1),
    ("token gone", "token", answer(200, wire="iid", word="NOT_FOUND"), "invalid_token", NONE, 0),
    ("foreign token", "token", answer(200, wire="iid", word="PERMISSION_DENIED"), "wrong_project", NONE, 0),
    (
        "not configured",
        "group",
        answer(501, fate=Fate.NOT_SENT, wire="iid", word="NOT_CONFIGURED"),
        "rejected",
        NONE,
        0,
    ),
    ("too many topics", "token", answer(200, wire="iid", word="TOO_MANY_TOPICS"), "rejected", NONE, 0),
    (
        "subscriptions too fast",
        "token",
        answer(200, wire="iid", word="RESOURCE_EXHAUSTED"),
        None,
        PROJECT,
        60,
    ),
    ("subscriptions too fast", "token", answer(429, wire="iid", whole_request=True), None, PROJECT, 60),
    ("project forbidden", "token", answer(403, wire="iid", whole_request=True), None, PROJECT, 60),
    ("unknown", "token", answer(500, "UNSPECIFIED_ERROR"), None, NONE, 1),
    ("unknown", "token", answer(418), None, NONE, 1),
]


def test_each_row_of_the_error_table_is_shown_below():
    assert {row.name for row in TABLE} == {name for name, *_ in ROWS}


@pytest.mark.parametrize(("name", "kind", "error", "status", "paused", "least"), ROWS)
def test_row(name, kind, error, status, paused, least):
    verdict = classify(error, kind)
    assert [row.name for row in TABLE if row.verdict is verdict] == [name]
    for chance in (0.0, 0.5):
        told = decided(error, job(kind=kind), chance=chance)
        assert told.status == status
        assert told.code == verdict.code
        assert told.action == verdict.action
        assert (told.hold_target, told.pause_project) == (paused == TARGET, paused == PROJECT)
        assert told.delay == least * (1 + chance)
        if told.status is None:
            assert told.counted == (verdict.action is Action.RETRY)


@pytest.mark.parametrize("status", [403, 429])
def test_what_stops_management_stops_nothing_else(status):
    sent = job(values=("t1", "t2"))
    sent.operation = "topic.subscribe"
    told = decided(answer(status, wire="iid", whole_request=True), sent)
    assert (told.hold_service, told.pause_project, told.hold_target, told.counted) == (
        True,
        False,
        False,
        False,
    )
    assert (told.status, told.delay) == (None, 60)
    assert together([(0, told), (1, told)]) == [([0, 1], told)]


@pytest.mark.parametrize(("name", "kind", "error", "status", "paused", "least"), ROWS)
def test_retry_after_is_the_floor_of_every_wait(name, kind, error, status, paused, least):
    for retry_after in (2.0, 7200.0):
        asked = SendError(
            **{f: getattr(error, f) for f in error.__struct_fields__} | {"retry_after": retry_after}
        )
        told = decided(asked, job(kind=kind), chance=0.25)
        if told.delay:
            floor = max(retry_after, 60) if paused == PROJECT else retry_after
            assert told.delay == floor * 1.25


UNAVAILABLE = answer(503, "UNAVAILABLE", reason="The service is currently unavailable.")
UNKNOWN = answer(500, "UNSPECIFIED_ERROR")
THROTTLED = answer(429, "QUOTA_EXCEEDED")


def run(error, sent, **more):
    """Send again and again: the delays, and what ended it."""
    delays = []
    now = NOW
    while True:
        told = decide(sent, error, now=now, chance=0.0, **more)
        if told.status is not None:
            return delays, told
        delays.append(told.delay)
        now += told.delay
        sent = Job(
            **{f: getattr(sent, f) for f in sent.__struct_fields__}
            | {"state": next_state(sent, told, error, now)}
        )


def test_a_server_that_stays_away_gets_five_sends_with_doubling_waits():
    delays, end = run(UNAVAILABLE, job())
    assert delays == [1, 2, 4, 8]
    assert (end.status, end.action, end.code) == (Status.FAILED, Action.GIVE_UP, "server-unavailable")
    assert end.reason == "given up after 5 sends: The service is currently unavailable."


def test_the_number_of_attempts_is_a_setting():
    assert run(UNAVAILABLE, job(), rules=Rules(max_attempts=2))[0] == [1]
    assert run(UNAVAILABLE, job(), rules=Rules(max_attempts=1))[0] == []


def test_an_unknown_error_is_retried_three_times():
    delays, end = run(UNKNOWN, job())
    assert delays == [1, 2, 4]
    assert (end.status, end.code) == (Status.FAILED, "unknown-error")


def test_other_failures_before_it_leave_an_unknown_error_its_own_retries():
    sent = job(sends=3, counted=3, history=[Attempt(NOW, 503, "server-unavailable")] * 3)
    assert decided(UNKNOWN, sent).status is None


def test_throttling_costs_no_attempt_and_doubles_until_the_message_expires():
    delays, end = run(THROTTLED, job(expires_in=86_400))
    assert delays[:7] == [60, 120, 240, 480, 960, 1920, 3600]
    assert set(delays[7:]) == {3600}
    assert sum(delays) < 86_400
    assert (end.status, end.action, end.code) == (Status.EXPIRED, Action.EXPIRE, "message-rate-exceeded")
    assert end.hold_target


def test_a_message_held_for_its_platforms_key_waits_doubling_until_it_expires():
    delays, end = run(answer(401, "THIRD_PARTY_AUTH_ERROR"), job(expires_in=1000))
    assert delays == [60, 120, 240, 480]
    assert (end.status, end.code) == (Status.EXPIRED, "third-party-auth-error")


def test_each_kind_of_wait_doubles_by_its_own_count():
    sent = job(sends=9, counted=1, throttled=5, held=3)
    assert decided(UNAVAILABLE, sent).delay == 2
    assert decided(THROTTLED, sent).delay == 1920
    assert decided(answer(401, "THIRD_PARTY_AUTH_ERROR"), sent).delay == 480


def test_a_wait_that_ends_at_or_after_the_expiry_ends_the_message_now():
    assert decided(UNAVAILABLE, job(expires_in=1.0)).status is Status.EXPIRED
    assert decided(UNAVAILABLE, job(expires_in=1.1)).status is None
    told = decided(answer(503, retry_after=30.0), job(expires_in=29))
    assert (told.status, told.code) == (Status.EXPIRED, "server-unavailable")
    assert told.reason == "it expires before it may be sent again in 30.0 s"


def test_an_expiring_message_still_pauses_its_project_and_its_target():
    assert decided(answer(403), job(expires_in=5)).pause_project
    assert decided(THROTTLED, job(expires_in=5)).hold_target


def test_an_unknown_fate_is_resent_and_marked():
    told = decided(answer(fate=Fate.UNKNOWN))
    assert (told.status, told.maybe_sent, told.counted) == (None, True, True)
    assert next_state(job(), told, answer(fate=Fate.UNKNOWN), NOW).duplicate


def test_an_unknown_fate_ends_a_message_that_must_not_be_repeated():
    told = decided(answer(fate=Fate.UNKNOWN), job(on_unknown="give_up"))
    assert (told.status, told.action, told.code) == (Status.FAILED, Action.GIVE_UP, "unknown-fate")
    assert told.maybe_sent


def test_a_message_that_must_not_be_repeated_is_retried_when_it_is_known_not_to_be_sent():
    assert decided(answer(fate=Fate.NOT_SENT), job(on_unknown="give_up")).status is None
    assert decided(UNAVAILABLE, job(on_unknown="give_up")).status is None


@pytest.mark.parametrize(("status", "maybe"), [(500, True), (502, True), (503, False), (504, True)])
def test_a_gateway_error_for_a_whole_batch_may_hide_sends(status, maybe):
    assert decided(answer(status, whole_request=True)).maybe_sent is maybe
    assert not decided(answer(status)).maybe_sent
    told = decided(answer(status, whole_request=True), job(on_unknown="give_up"))
    assert (told.status is Status.FAILED) is maybe


def test_refused_credentials_are_refreshed_once_then_the_project_pauses():
    error = answer(401, "", "UNAUTHENTICATED")
    first = decided(error)
    assert (first.action, first.status, first.delay, first.counted) == (Action.REFRESH_CREDS, None, 0, False)
    again = decided(error, refreshed=True)
    assert (again.action, again.pause_project, again.delay) == (Action.PAUSE_PROJECT, True, 60)
    assert again.code == "authentication-error"


def test_a_missing_endpoint_switches_the_route_and_without_another_pauses_the_project():
    assert decided(answer(404, whole_request=True)).action is Action.SWITCH_ROUTE
    again = decided(answer(404, whole_request=True), last_route=True)
    assert (again.action, again.pause_project, again.status) == (Action.PAUSE_PROJECT, True, None)


def test_a_bare_404_of_one_message_is_the_projects_not_the_endpoints():
    assert decided(answer(404)).action is Action.PAUSE_PROJECT


def test_a_remedy_used_for_one_thing_is_not_used_up_for_another():
    assert decided(answer(401), last_route=True).action is Action.REFRESH_CREDS
    assert decided(answer(404, whole_request=True), refreshed=True).action is Action.SWITCH_ROUTE


def test_a_good_twin_proves_the_token_bad():
    error = answer(400, *INVALID)
    assert decided(error).status is Status.REJECTED
    assert decided(error, twin_accepted=True).status is Status.INVALID_TOKEN


def test_a_swapped_credential_wipes_no_token_table():
    error = answer(403, "SENDER_ID_MISMATCH")
    told = decided(error, pausing={ErrorCode.MISMATCHED_CREDENTIAL})
    assert (told.action, told.status, told.pause_project, told.delay) == (
        Action.PAUSE_PROJECT,
        None,
        True,
        60,
    )


def test_while_too_few_answers_tell_whose_fault_it_is_a_foreign_token_waits_three_times():
    error = answer(403, "SENDER_ID_MISMATCH")
    doubtful = {ErrorCode.MISMATCHED_CREDENTIAL}
    told = [decided(error, job(held=held), doubtful=doubtful) for held in range(4)]
    assert [(t.action, t.status, t.delay) for t in told[:3]] == [
        (Action.HOLD_MESSAGE, None, 60 * 2**held) for held in range(3)
    ]
    assert not any(t.counted or t.pause_project for t in told[:3])
    assert told[3].status is Status.WRONG_PROJECT


def test_doubt_about_the_credential_holds_nothing_else():
    doubtful = {ErrorCode.MISMATCHED_CREDENTIAL}
    assert decided(answer(404, "UNREGISTERED"), doubtful=doubtful).status is Status.INVALID_TOKEN
    assert decided(answer(403, "", "PERMISSION_DENIED"), doubtful=doubtful).pause_project


def test_a_platform_that_refuses_everybody_pauses_the_project():
    error = answer(401, "THIRD_PARTY_AUTH_ERROR")
    assert decided(error, pausing={ErrorCode.THIRD_PARTY_AUTH_ERROR}).pause_project
    assert not decided(error, pausing={ErrorCode.MISMATCHED_CREDENTIAL}).pause_project


def test_the_retry_budget_delays_retries_and_nothing_else():
    assert decided(UNAVAILABLE, extra_delay=10.0).delay == 11
    assert decided(THROTTLED, extra_delay=10.0).delay == 60
    assert decided(UNAVAILABLE, job(expires_in=5), extra_delay=10.0).status is Status.EXPIRED


def test_the_state_keeps_identity_places_and_the_last_ten_sends():
    sent = job(sends=20, places=[4], history=[Attempt(NOW, 429, "x")] * 10, replay=2, slot=5.0)
    state = next_state(sent, decided(UNAVAILABLE, sent), UNAVAILABLE, NOW + 1)
    assert (state.id, state.places, state.replay, state.sends, state.slot) == ("1-0", [4], 2, 21, 0.0)
    assert len(state.history) == 10
    assert state.history[-1] == Attempt(NOW + 1, 503, "server-unavailable")


def waiting(action=Action.RETRY, delay=1.0, **more):
    return Disposition(action, ErrorCode.SERVER_UNAVAILABLE, delay=delay, **more)


def test_recipients_that_wait_for_the_same_reason_stay_one_job_for_the_longest_wait():
    told = together([(0, waiting(delay=1.5)), (3, waiting(delay=1.9)), (4, waiting(delay=1.1))])
    assert [(positions, d.delay) for positions, d in told] == [([0, 3, 4], 1.9)]


def test_recipients_whose_target_is_paused_wait_alone():
    held = waiting(Action.PAUSE_TARGET, hold_target=True)
    told = together([(0, held), (1, waiting()), (2, held), (5, waiting(maybe_sent=True))])
    assert [positions for positions, _ in told] == [[0], [1], [2], [5]]


errors = st.builds(
    SendError,
    fate=st.sampled_from(Fate),
    http_status=st.sampled_from([0, 200, 400, 401, 403, 404, 410, 413, 418, 429, 500, 502, 503, 504]),
    fcm_code=st.sampled_from(
        ["", "UNREGISTERED", "INVALID_ARGUMENT", "QUOTA_EXCEEDED", "THIRD_PARTY_AUTH_ERROR", "INTERNAL", "X"]
    ),
    retry_after=st.none() | st.floats(0, 10_000),
    whole_request=st.booleans(),
)


@settings(max_examples=300, deadline=None)
@given(
    error=errors,
    chance=st.floats(0, 1, exclude_max=True),
    expires_in=st.floats(0.1, 100_000),
    kind=st.sampled_from(["token", "topic", "fid"]),
    counted=st.integers(0, 6),
    throttled=st.integers(0, 50),
)
def test_a_message_either_ends_or_waits_for_less_than_its_life_and_no_less_than_it_was_asked(
    error, chance, expires_in, kind, counted, throttled
):
    sent = job(kind=kind, expires_in=expires_in, counted=counted, throttled=throttled)
    told = decided(error, sent, chance=chance)
    if told.status is None:
        assert NOW + told.delay < sent.expires_at
        if told.action in {Action.REFRESH_CREDS, Action.SWITCH_ROUTE}:
            assert told.delay == 0
        else:
            assert told.delay >= (error.retry_after or 0)
    if told.action is Action.RETRY:
        assert counted + 1 < 5
        state = next_state(sent, told, error, NOW)
        assert (state.counted, state.throttled) == (counted + 1, throttled)
    if told.action in {Action.PAUSE_TARGET, Action.PAUSE_PROJECT}:
        state = next_state(sent, told, error, NOW)
        assert (state.counted, state.throttled) == (counted, throttled + 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(errors, min_size=1, max_size=5), st.floats(10, 5_000))
def test_no_sequence_of_answers_keeps_a_message_beyond_its_expiry(answers, expires_in):
    sent = job(expires_in=expires_in)
    now, sends = NOW, 0
    while True:
        error = answers[sends % len(answers)]
        told = decide(sent, error, now=now, chance=0.5, refreshed=True, last_route=True)
        sends += 1
        if told.status is not None:
            break
        if told.delay == 0:
            # The server asked for no wait at all; only attempts bound that, or the target's schedule.
            assert error.retry_after == 0
            break
        state = next_state(sent, told, error, now)
        sent = Job(**{f: getattr(sent, f) for f in sent.__struct_fields__} | {"state": state})
        now += told.delay
        assert now < sent.expires_at
        assert state.sends == sends
        if sends > 200:
            break

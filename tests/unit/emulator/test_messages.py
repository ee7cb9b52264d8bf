import orjson
import pytest

from dispatcher.emulator.faults import Faults, Limit, Rule, Scenario
from dispatcher.emulator.limits import Limits
from dispatcher.emulator.messages import Answered, Messages, Trouble, project_of
from dispatcher.emulator.registry import Registry
from dispatcher.protocol.answer import read_answer

NOW = 1_731_000_000.25


def rules(scenario: Scenario | None = None) -> Messages:
    scenario = scenario or Scenario()
    return Messages(Registry(), Limits(scenario), Faults(scenario), "5f0e1d2c5f0e1d2c")


def sent(messages: Messages, message: dict[str, object], now: float = NOW, **envelope: object) -> Answered:
    return messages.answer("v1", "demo", orjson.dumps({"message": message, **envelope}), now, Trouble())


def test_a_good_message_is_named_and_the_name_reads_like_fcms() -> None:
    answered = sent(rules(), {"token": "t", "data": {"id": "job-1"}})
    assert answered.status == 200
    name = read_answer(200, None, None, answered.body).message_id
    assert name == "projects/demo/messages/0:1731000000250000%5f0e1d2c5f0e1d2c"
    assert (answered.arrival.kind, answered.arrival.target, answered.arrival.id) == ("token", "t", "job-1")
    assert answered.arrival.code == "OK"


@pytest.mark.parametrize("kind", ["token", "topic", "condition", "fid"])
def test_no_two_messages_of_an_instant_share_a_name(kind: str) -> None:
    messages = rules()
    value = "'a' in topics" if kind == "condition" else "x"
    names = {sent(messages, {kind: value}).body for _ in range(100)}
    assert len(names) == 100


def test_a_message_to_be_checked_only_has_a_constant_name() -> None:
    answered = sent(rules(), {"token": "t"}, validate_only=True)
    assert b"fake_message_id" in answered.body
    assert answered.arrival.code == "VALIDATED"
    assert b"fake_message_id" in sent(rules(), {"token": "t"}, validateOnly=True).body


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [
        ("unregistered", 404, "UNREGISTERED"),
        ("invalid", 400, "INVALID_ARGUMENT"),
        ("wrong-sender", 403, "SENDER_ID_MISMATCH"),
        ("apns-auth-error", 401, "THIRD_PARTY_AUTH_ERROR"),
    ],
)
def test_each_state_of_a_token_has_its_answer(state: str, status: int, code: str) -> None:
    messages = rules()
    messages.registry.set_tokens("demo", {"t": state}, {})
    answered = sent(messages, {"token": "t"})
    error = read_answer(answered.status, None, None, answered.body).error
    assert (error.http_status, error.fcm_code) == (status, code)


def test_a_device_over_its_rate_is_told_when_to_come_back() -> None:
    messages = rules(Scenario(device_per_minute=1))
    assert sent(messages, {"token": "t"}).status == 200
    answered = sent(messages, {"token": "t"}, NOW + 20)
    assert (answered.status, answered.headers) == (429, {"Retry-After": "40"})
    assert answered.arrival.code == "QUOTA_EXCEEDED_DEVICE"
    assert sent(messages, {"token": "u"}, NOW + 20).status == 200


def test_a_limit_may_stay_silent_about_the_time() -> None:
    messages = rules(Scenario(limits=[Limit(target="news", per_second=1.0)]))
    assert sent(messages, {"topic": "news"}).status == 200
    answered = sent(messages, {"topic": "news"})
    assert (answered.status, answered.headers, answered.arrival.code) == (429, {}, "QUOTA_EXCEEDED_TOPIC")


def test_a_project_over_its_quota_is_named() -> None:
    answered = sent(rules(Scenario(quota_per_minute=0)), {"token": "t"})
    assert b"project:demo" in answered.body
    assert answered.headers == {"Retry-After": "60"}


def test_a_rule_answers_in_place_of_the_state() -> None:
    messages = rules(Scenario(rules=[Rule(prefix="t", error="UNAVAILABLE", retry_after=3, delay=1.5)]))
    trouble = Trouble()
    answered = messages.answer("v1", "demo", b'{"message":{"token":"t"}}', NOW, trouble)
    assert (answered.status, answered.headers, trouble.delay) == (503, {"Retry-After": "3"}, 1.5)


def test_a_rule_may_answer_as_a_front_end_does() -> None:
    answered = sent(rules(Scenario(rules=[Rule(status=502)])), {"token": "t"})
    assert (answered.status, answered.content_type) == (502, "text/html; charset=UTF-8")
    assert not read_answer(502, None, None, answered.body).error.is_json


def test_a_rule_may_have_a_body_of_its_own() -> None:
    answered = sent(rules(Scenario(rules=[Rule(status=200, body="{}")])), {"token": "t"})
    assert (answered.status, answered.body, answered.content_type) == (
        200,
        b"{}",
        "application/json; charset=UTF-8",
    )


def test_a_cut_before_processing_leaves_a_row_that_was_never_accepted() -> None:
    messages = rules(Scenario(rules=[Rule(cut="before")]))
    trouble = Trouble()
    answered = messages.answer("batch", "demo", b'{"message":{"token":"t"}}', NOW, trouble)
    assert trouble.cut
    assert (answered.arrival.status, answered.arrival.code) == (0, "CUT")


def test_a_topic_comes_into_being_when_it_is_sent_to() -> None:
    messages = rules()
    assert sent(messages, {"topic": "news"}).status == 200
    assert "news" in messages.registry.project("demo").topics


@pytest.mark.parametrize("path", ["/v1/projects/demo/messages:send"])
def test_the_send_path_names_the_project(path: str) -> None:
    assert project_of(path) == "demo"


@pytest.mark.parametrize(
    "path", ["/v1/projects//messages:send", "/v1/projects/a/b/messages:send", "/batch", ""]
)
def test_other_paths_name_none(path: str) -> None:
    assert project_of(path) is None

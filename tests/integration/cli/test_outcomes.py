"""`dispatcher outcomes` lists what is in the stream."""

import json

import pytest

OUTCOMES = "fcm:{demo-orchard-41}:outcomes"
ACCEPTED = {
    "job": "1700000000000-0",
    "index": 0,
    "status": "accepted",
    "attempts": 1,
    "enqueued_at": 1700000000.0,
    "settled_at": 1700000001.5,
    "target": {"topic": "news"},
    "message_id": "projects/demo-orchard-41/messages/77",
}
DEAD_TOKEN = {
    **{k: v for k, v in ACCEPTED.items() if k != "message_id"},
    "job": "order-9",
    "index": 3,
    "status": "invalid_token",
    "target": {"token": "fQ7xKd0aRk2:APA91b" + "x" * 130},
    "code": "registration-token-not-registered",
    "reason": "Requested entity was not found.",
    "possible_duplicate": True,
}


@pytest.fixture(autouse=True)
def _outcomes(shell):
    shell.redis.xadd(OUTCOMES, {"outcomes": json.dumps([ACCEPTED, DEAD_TOKEN])}, id="5-0")
    shell.redis.xadd(OUTCOMES, {"outcomes": json.dumps([{**ACCEPTED, "job": "late"}])}, id="6-0")


def jobs(shell):
    return [json.loads(line)["job"] for line in shell.out.splitlines()]


def test_text_has_a_line_for_each(shell):
    assert shell("outcomes") == 0
    first, second, third = shell.out.splitlines()
    assert first.split() == [
        "2023-11-14", "22:13:21", "accepted", "1700000000000-0[0]", "topic", "news", "projects/demo-orchard-41/messages/77",
    ]  # fmt: skip
    assert "order-9[3]" in second
    assert (
        "registration-token-not-registered Requested entity was not found. (may have been sent twice)"
        in second
    )
    assert "late[0]" in third


def test_text_shortens_tokens(shell):
    shell("outcomes")
    assert "fQ7xKd0a~" in shell.out
    assert "APA91b" not in shell.out


def test_json_is_what_producers_read(shell):
    assert shell("outcomes", "--json") == 0
    assert [json.loads(line) for line in shell.out.splitlines()] == [
        ACCEPTED,
        DEAD_TOKEN,
        {**ACCEPTED, "job": "late"},
    ]


def test_a_status_can_be_picked(shell):
    assert shell("outcomes", "--json", "--status", "invalid_token") == 0
    assert jobs(shell) == ["order-9"]


def test_a_listing_can_be_short(shell):
    assert shell("outcomes", "--json", "--limit", "1") == 0
    assert jobs(shell) == ["1700000000000-0"]


def test_a_listing_can_go_on_after_an_entry(shell):
    assert shell("outcomes", "--json", "--after", "5-0") == 0
    assert jobs(shell) == ["late"]


def test_following_shows_what_is_there_and_ends_at_its_limit(shell):
    assert shell("outcomes", "--json", "--follow", "--limit", "3") == 0
    assert len(jobs(shell)) == 3


def test_a_project_without_outcomes_has_an_empty_list(shell):
    assert shell("outcomes", "--project", "demo-other") == 0
    assert shell.out == ""


def test_redis_away_is_a_failure_in_one_line(shell, monkeypatch):
    monkeypatch.setenv("DISPATCHER_REDIS_URL", "redis://127.0.0.1:1")
    assert shell("outcomes") == 1
    assert shell.err.startswith("dispatcher: ")
    assert shell.err.count("\n") == 1


def test_jsonl_is_the_format_for_pipes(shell):
    assert shell("outcomes", "--format", "jsonl", "--status", "invalid_token") == 0
    assert [json.loads(line)["target"] for line in shell.out.splitlines()] == [DEAD_TOKEN["target"]]

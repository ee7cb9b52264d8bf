"""`dispatcher send` enqueues what was asked, and waits for its outcome on request."""

import json
import threading

import pytest
import redis

LANE = "fcm:{demo-orchard-41}:jobs:normal"
OUTCOMES = "fcm:{demo-orchard-41}:outcomes"


def only_job(shell, lane=LANE):
    ((entry_id, fields),) = shell.redis.xrange(lane)
    return entry_id.decode(), {name.decode(): value.decode() for name, value in fields.items()}


def test_a_notification_to_a_token(shell):
    assert shell("send", "--token", "t1", "--title", "Hi", "--body", "A") == 0
    entry_id, fields = only_job(shell)
    assert json.loads(fields["message"]) == {"token": "t1", "notification": {"title": "Hi", "body": "A"}}
    assert set(fields) == {"message"}
    assert shell.out == f"{entry_id} enqueued in demo-orchard-41, lane normal\n"


def test_data_to_a_topic_in_a_lane_of_choice(shell):
    assert (
        shell("send", "--topic", "news", "--data", "a=1", "--data", "b=x=y", "--lane", "high", "--json") == 0
    )
    entry_id, fields = only_job(shell, "fcm:{demo-orchard-41}:jobs:high")
    assert json.loads(fields["message"]) == {"topic": "news", "data": {"a": "1", "b": "x=y"}}
    assert json.loads(shell.out) == {"entry": entry_id}


def test_several_tokens_are_one_job(shell):
    assert shell("send", "--token", "t1", "--token", "t2", "--title", "Hi") == 0
    _, fields = only_job(shell)
    assert json.loads(fields["tokens"]) == ["t1", "t2"]
    assert json.loads(fields["message"]) == {"notification": {"title": "Hi"}}


def test_a_message_from_a_file_with_options_put_in(shell, tmp_path):
    file = tmp_path / "message.json"
    file.write_text(json.dumps({"message": {"notification": {"title": "Hi"}, "android": {"ttl": "60s"}}}))
    assert (
        shell(
            "send",
            "--file",
            str(file),
            "--condition",
            "'a' in topics",
            "--body",
            "B",
            "--id",
            "x1",
            "--validate-only",
        )
        == 0
    )
    _, fields = only_job(shell)
    assert json.loads(fields["message"]) == {
        "condition": "'a' in topics",
        "notification": {"title": "Hi", "body": "B"},
        "android": {"ttl": "60s"},
    }
    assert (fields["id"], fields["validate_only"]) == ("x1", "1")


@pytest.mark.parametrize("text", ["{", "[1]", '"text"'])
def test_a_file_that_holds_no_message(shell, tmp_path, text):
    file = tmp_path / "message.json"
    file.write_text(text)
    assert shell("send", "--file", str(file)) == 2
    assert shell.err.startswith(f"dispatcher: --file {file}: no")


@pytest.mark.parametrize(("status", "code"), [("accepted", 0), ("invalid_token", 1)])
def test_waiting_tells_what_became_of_it(shell, redis_server, status, code):
    def settle_the_next_job():
        with redis.Redis.from_url(redis_server.url, protocol=2) as server:
            ((_, ((entry_id, _),)),) = server.xread({LANE: "0"}, block=10_000)
            of_another = {
                "job": "other",
                "index": 0,
                "status": "failed",
                "attempts": 1,
                "enqueued_at": 1,
                "settled_at": 2,
            }
            ours = {**of_another, "job": entry_id.decode(), "status": status}
            server.xadd(OUTCOMES, {"outcomes": json.dumps([of_another])})
            server.xadd(OUTCOMES, {"outcomes": json.dumps([ours])})

    thread = threading.Thread(target=settle_the_next_job)
    thread.start()
    assert shell("send", "--token", "t1", "--wait", "--timeout", "20", "--json") == code
    thread.join()
    (outcome,) = json.loads(shell.out)
    assert outcome["status"] == status


def test_a_time_and_a_device_group(shell):
    given = ("--deliver-at", "1700000000", "--expires-at", "4102444800")
    assert shell("send", "--group", "g1", "--title", "Hi", *given) == 0
    assert shell.out.endswith(
        " enqueued in demo-orchard-41, lane normal, not before 2023-11-14 22:13:20 UTC\n"
    )
    _, fields = only_job(shell)
    assert (fields["group"], fields["expires_at"]) == ("g1", "4102444800")
    assert json.loads(fields["message"]) == {"notification": {"title": "Hi"}}


def test_a_scheduled_message_waits_by_the_clock_of_redis(shell):
    before = shell.redis.time()[0]
    assert shell("send", "--token", "t1", "--title", "Hi", "--deliver-at", "+2h", "--expires-at", "+3h") == 0
    after = shell.redis.time()[0] + 1
    ((_, due),) = shell.redis.zrange("fcm:{demo-orchard-41}:delayed", 0, -1, withscores=True)
    assert before + 7200 <= due / 1000 <= after + 7200
    assert shell.redis.xlen(LANE) == 0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--token", "a b"], "message.token: no token: found ' ' in 'a b'"),
        (["--token", "a", "--token", "b\n"], "tokens: no token: found"),
        (["--token", ""], "message: found no target"),
        (["--topic", "a b"], "message.topic: found 'a b'; a topic has 1 to 900 characters"),
        (["--condition", "a && b"], "message.condition: "),
        (["--token", "a", "--topic", "b"], "message: found "),
        (["--token", "a", "--expires-at", "1700000000"], "expires_at: found 1700000000, which is over"),
        (["--token", "a", "--deliver-at", "+2h", "--expires-at", "+1h"], "give a later expires_at"),
        (["--token", "a", "--data", "from=x"], "message.data"),
    ],
)
def test_a_wrong_token_topic_or_time_is_refused_with_the_reason(shell, options, reason):
    assert shell("send", "--title", "Hi", *options) == 2
    assert shell.err.startswith("dispatcher: ")
    assert reason in shell.err
    assert (shell.err.count("\n"), shell.out) == (1, "")
    assert shell.redis.keys("*") == []


def test_redis_away_is_a_failure_in_one_line(shell, monkeypatch):
    monkeypatch.setenv("DISPATCHER_REDIS_URL", "redis://127.0.0.1:1")
    for options in ([], ["--wait"], ["--deliver-at", "+1h"]):
        assert shell("send", "--token", "t1", "--title", "Hi", *options) == 1
        assert shell.err.startswith("dispatcher: Redis cannot be reached")
        assert (shell.err.count("\n"), shell.out) == (1, "")


def test_waiting_in_vain_says_what_to_look_at(shell):
    assert shell("send", "--token", "t1", "--wait", "--timeout", "0.1") == 1
    assert "see that a worker serves this project" in shell.err
    assert shell.err.count("\n") == 1

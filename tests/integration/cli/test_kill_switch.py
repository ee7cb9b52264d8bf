"""`dispatcher pause`, `resume` and `cancel` say what it is about, write the order, and undo it."""

import io
import json

import pytest

from dispatcher.model import Target

P = "demo-orchard-41"
CONTROL = f"fcm:{{{P}}}:control"


def lane(name):
    return f"fcm:{{{P}}}:jobs:{name}"


@pytest.fixture
def control(shell):
    return lambda: {name.decode(): value.decode() for name, value in shell.redis.hgetall(CONTROL).items()}


@pytest.fixture
def _jobs(shell):
    for number in range(3):
        shell.redis.xadd(lane("bulk"), {"message": '{"topic":"a"}', "campaign": "spring"})
        shell.redis.xadd(lane("normal"), {"message": "{}", "tokens": '["a","b"]', "id": f"order-{number}"})
    fields = ["message", '{"topic":"b"}', "campaign", "spring", "_state", '{"id":"1-0","lane":"bulk","at":1}']
    shell.redis.zadd(f"fcm:{{{P}}}:delayed", {"m": 9e12})
    shell.redis.hset(f"fcm:{{{P}}}:delayed:jobs", "m", json.dumps(fields))


class Terminal(io.StringIO):
    """Somebody who answers."""

    def isatty(self):
        return True


@pytest.mark.usefixtures("_jobs")
def test_a_project_is_paused_and_resumed(shell, control):
    waiting = "jobs that wait there: 3 normal, 3 bulk, 1 delayed"
    assert shell("pause", P) == 0
    assert shell.out == f"{P}, the whole project: paused; {waiting}\n"
    assert control()["stop:project"].endswith(":the whole project")
    assert shell("pause", P) == 0
    assert "was paused already" in shell.out
    assert shell("resume", P) == 0
    assert shell.out == f"{P}, the whole project: resumed; {waiting}\n"
    assert control() == {}
    assert shell("resume", P) == 0
    assert "was not paused" in shell.out


@pytest.mark.usefixtures("_jobs")
def test_a_lane_is_resumed_and_what_stays_paused_is_told(shell, control):
    assert shell("pause", P, "--lane", "bulk") == 0
    assert shell.out == f"{P}, lane bulk: paused; jobs that wait there: 3 bulk\n"
    assert shell("pause", P, "--target", "topic:news", "--json") == 0
    assert json.loads(shell.out) == {"paused": "topic news", "new": True, "waiting": {}}
    assert shell("resume", P, "--lane", "bulk") == 0
    assert shell.out.splitlines()[1] == "still paused: topic news"
    assert list(control()) == [f"stop:target:{Target('topic', 'news').key}"]


def test_a_paused_token_is_not_written_out_whole(shell, control):
    token = "fQ7xKd0aRk2:APA91b" + "x" * 130
    assert shell("pause", P, "--target", token) == 0
    assert "token fQ7xKd0a~" in shell.out
    assert token not in shell.out + str(control())
    assert list(control()) == [f"stop:target:{Target('token', token).key}"]


def test_resuming_tries_again_what_the_dispatcher_has_paused_by_itself(shell, control):
    shell.redis.hset(CONTROL, mapping={"pause:until": 9_000_000_000_000, "pause:reason": "internal-error"})
    assert shell("resume", P) == 0
    assert "its pause by FCM's answers is cut short" in shell.out
    assert float(control()["pause:until"]) < 9e12
    key = Target("topic", "news").key
    shell.redis.zadd(f"fcm:{{{P}}}:pauses", {key: 9e12, f"{key}|until": 9e12})
    assert shell("resume", P, "--target", "topic:news") == 0
    assert shell.redis.zcard(f"fcm:{{{P}}}:pauses") == 0


@pytest.mark.usefixtures("_jobs")
@pytest.mark.parametrize(
    ("options", "found", "field"),
    [
        (["--campaign", "spring"], "4 jobs with 4 messages", "cancel:campaign:spring"),
        (["--lane", "bulk"], "4 jobs with 4 messages", "cancel:lane:bulk"),
        (["--id", "order-1"], "1 job with 2 messages", "cancel:id:order-1"),
        (["--campaign", "winter"], "0 jobs with 0 messages", "cancel:campaign:winter"),
    ],
)
def test_what_is_cancelled_is_counted_and_asked_for_first(shell, control, monkeypatch, options, found, field):
    assert shell("cancel", P, *options) == 2
    assert f"Cancel {found} of {P}" in shell.err
    assert "say --yes" in shell.err
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    assert shell("cancel", P, *options) == 1
    assert shell.err.endswith("nothing was done\n")
    assert control() == {}
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert shell("cancel", P, *options) == 0
    assert f"{found} cancelled" in shell.out
    assert list(control()) == [field]


def test_a_cancellation_can_be_taken_back(shell, control):
    assert shell("cancel", P, "--campaign", "spring", "--yes", "--json") == 0
    assert json.loads(shell.out) == {"cancelled": {"campaign": "spring"}, "jobs": 0, "messages": 0}
    assert shell("cancel", P, "--campaign", "spring", "--undo") == 0
    assert control() == {}
    assert shell("cancel", P, "--campaign", "spring", "--undo") == 1
    assert "there was no such cancellation" in shell.out


def test_cancelling_a_lane_holds_for_what_came_until_now(shell, control):
    def numbers(entry):
        return tuple(int(part) for part in entry.split("-"))

    before = shell.redis.xadd(lane("bulk"), {"message": "{}"}).decode()
    assert shell("cancel", P, "--lane", "bulk", "--yes") == 0
    last = control()["cancel:lane:bulk"].partition(":")[2]
    after = shell.redis.xadd(lane("bulk"), {"message": "{}"}).decode()
    assert numbers(before) <= numbers(last) < numbers(after)


@pytest.mark.parametrize("command", [["pause", P], ["resume", P], ["cancel", P, "--id", "x", "--yes"]])
def test_redis_away_is_a_failure_in_one_line(shell, monkeypatch, command):
    monkeypatch.setenv("DISPATCHER_REDIS_URL", "redis://127.0.0.1:1")
    assert shell(*command) == 1
    assert shell.err.startswith("dispatcher: Redis cannot be reached")
    assert shell.err.count("\n") == 1


@pytest.mark.parametrize("command", [["pause"], ["pause", "--json"], ["cancel", "--id", "x", "--yes"]])
def test_an_order_for_a_project_that_nobody_knows_is_given_and_doubted(shell, command):
    assert shell(command[0], "demo-orchad-41", *command[1:]) == 0
    assert shell.err == (
        "dispatcher: Redis has nothing of demo-orchad-41: see that it, DISPATCHER_NAMESPACE and DISPATCHER_REDIS_URL are the workers'\n"
    )
    assert shell.redis.hlen("fcm:{demo-orchad-41}:control") == 1


@pytest.mark.usefixtures("_jobs")
def test_an_order_for_a_project_with_jobs_is_not_doubted(shell):
    assert shell("pause", P) == 0
    assert shell.err == ""

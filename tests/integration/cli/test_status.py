"""`dispatcher status` shows what goes on, from Redis alone."""

import asyncio
import json
import time

from dispatcher.model import Target
from dispatcher.policy.schedule import INTERVALS
from dispatcher.queue.settlement import Delayed, Hold, Settled
from dispatcher.queue.store import Queue
from dispatcher.telemetry.logs import short

P = "demo-orchard-41"


def key(name):
    return f"fcm:{{{P}}}:{name}"


def status(shell, *options):
    assert shell("status", "--json", *options) == 0
    return json.loads(shell.out)["projects"]


def outcome(now, status="accepted", wait=1.0, **more):
    times = {"enqueued_at": now - wait, "settled_at": now}
    return {"job": "1-0", "index": 0, "status": status, "attempts": 1, **times, **more}


def populate(shell):
    now, r = time.time(), shell.redis
    for number in range(3):
        r.xadd(key("jobs:normal"), {"message": "{}"}, id=f"{int((now - 90) * 1000)}-{number + 1}")
    r.xgroup_create(key("jobs:normal"), "dispatcher", "0")
    r.xreadgroup("dispatcher", "w1", {key("jobs:normal"): ">"}, count=2)
    for worker in ("w1", "w2"):
        r.set(key(f"lease:{worker}"), 1, px=15_000)
    r.zadd(key("delayed"), {"a": (now + 60) * 1000, "b": (now - 1) * 1000})
    r.xadd(key("dead"), {"message": "{}"})
    failed = outcome(now, "failed", 3.0, code="server-unavailable")
    r.xadd(key("outcomes"), {"outcomes": json.dumps([outcome(now), outcome(now, wait=2.0), failed])})
    r.zadd(key("pauses"), {"tabc": (now + 30) * 1000, "tabc|until": (now + 20) * 1000})
    orders = {
        "pause:until": int((now + 120) * 1000),
        "pause:reason": "authentication-error: no",
        "stop:lane:bulk": f"{int(now * 1000)}:lane bulk",
        "cancel:id:x": f"{int((now + 999) * 1000)}:",
        "held": 4,
    }
    r.hset(key("control"), mapping=orders)
    r.xadd(key("jobs:nomral"), {"message": "{}"})


def test_numbers_of_a_project(shell):
    populate(shell)
    (seen,) = status(shell)
    assert (seen["project"], seen["served"]) == (P, True)
    assert seen["backlog"] == {"high": 0, "due": 0, "normal": 3, "bulk": 0}
    assert (seen["in_flight"], seen["delayed"], seen["delayed_due"], seen["dead"]) == (2, 2, 1, 1)
    assert seen["latency_s"] == {"median": 2.0, "95%": 3.0}
    assert seen["statuses"] == {"accepted": 2, "failed": 1}
    assert seen["codes"] == {"server-unavailable": 1}
    assert 0 < seen["pause_s"] <= 120
    assert [stop["label"] for stop in seen["stops"]] == ["lane bulk"]
    assert (seen["cancellations"], seen["held"], seen["paused_target_count"]) == (1, 4, 1)
    (target,) = seen["paused_targets"]
    assert (target["kind"], target["target"], target["key"]) == ("token", "", "tabc")
    assert target["for_s"] < target["queue_s"] <= 30
    assert {(w["name"], w["in_flight"]) for w in seen["workers"]} == {("w1", 2), ("w2", 0)}
    assert all(0 < worker["lease_s"] <= 15 for worker in seen["workers"])
    assert seen["strangers"] == {"nomral": 1}


def test_the_same_for_people(shell):
    populate(shell)
    assert shell("status") == 0
    head, numbers, *notes = [line.rstrip() for line in shell.out.splitlines() if line.strip()]
    assert head.split()[:5] == ["project", "high", "due", "normal", "bulk"]
    assert numbers.split()[:8] == [P, "0", "0", "3", "0", "2", "2", "1"]
    for said in (
        '1 job in "nomral", which is no lane',
        "4 messages wait for what is paused",
        "authentication-error: no",
        "lane bulk",
        "1 cancellation in force",
        "a token (tabc): paused by FCM's answers; ends in ",
        "errors of the last minute: 1 server-unavailable",
        "worker w1: 2 jobs, lease for ",
    ):
        assert said in "\n".join(notes)


def hold(shell, redis_server, *targets):
    """Throttles targets as a worker does after a 429: of each, one message waits, and the target is paused."""

    async def main():
        queue = Queue.at(redis_server.url, consumer="w1")
        try:
            await queue.acquire(P, 1, 30)
            now = await queue.ping()
            for number, (target, pause_s) in enumerate(targets):
                message = json.dumps({target.kind: target.value, "data": {"a": "1"}})
                shell.redis.xadd(key("jobs:normal"), {"message": message})
                ((entry_id, _),) = await queue.read(P, "normal", 1)
                wait = Hold(target.key, INTERVALS[target.kind], now + pause_s)
                fields = json.dumps(["message", message]).encode()
                held = Delayed(f"m{number}", 0.0, fields, wait)
                await queue.settle(P, "normal", 1, [Settled(entry_id, b"", False, [held])])
        finally:
            await queue.aclose()

    asyncio.run(main())


def test_a_paused_target_has_its_name_and_its_time_and_a_token_only_its_beginning(shell, redis_server):
    token = "fQ7xKd0aRk2:APA91b" + "x" * 130
    hold(shell, redis_server, (Target("topic", "news"), 1800), (Target("token", token), 3000))
    (seen,) = status(shell)
    assert [t["target"] for t in seen["paused_targets"]] == [f"token {short(token)}", "topic news"]
    assert all(1700 < t["for_s"] <= 3000 for t in seen["paused_targets"])
    assert shell("status") == 0
    assert f"{P}: topic news: paused by FCM's answers; ends in 30 min" in shell.out
    assert f"{P}: token {short(token)}: paused by FCM's answers; ends in 50 min" in shell.out
    assert token not in shell.out


def test_of_many_paused_targets_five_are_named(shell, redis_server):
    hold(shell, redis_server, *((Target("topic", f"t{n}"), 600 + n) for n in range(6)))
    assert shell("status") == 0
    assert shell.out.count("paused by FCM's answers; ends in") == 5
    assert f"{P}: 1 more target paused by FCM's answers" in shell.out


def test_whether_a_target_is_paused_can_be_asked(shell, redis_server):
    hold(shell, redis_server, (Target("topic", "news"), 1800))
    assert shell("status", "--target", "topic:news") == 0
    assert shell.out == f"{P}, topic news: paused by FCM's answers; ends in 30 min\n"
    # A token may read like a topic.
    assert shell("status", "--target", "news") == 0
    assert shell.out.endswith(": not paused\n")
    assert shell("pause", P, "--target", "topic:old") == 0
    assert shell("status", "--target", "topic:old", "--json") == 0
    (told,) = json.loads(shell.out)
    assert (told["paused"], told["for_s"], told["stopped_since"] > 0) == (True, 0.0, True)
    assert shell("status", "--target", "topic:old", "--project", P) == 0
    assert "paused by an operator since " in shell.out


def test_a_target_of_a_paused_project_is_paused_with_it(shell):
    shell.redis.hset(
        key("control"), mapping={"pause:until": int((time.time() + 3600) * 1000), "pause:reason": "its quota"}
    )
    assert shell("status", "--target", "topic:news") == 0
    assert "topic news: the whole project is paused by FCM's answers, for 60 min more: its quota" in shell.out
    assert shell("pause", P) == 0
    assert shell("status", "--target", "topic:news") == 0
    assert shell.out.endswith("the whole project is paused by an operator\n")


def test_jobs_that_nobody_serves_and_what_the_dead_left(shell):
    shell.redis.xadd(key("jobs:high"), {"message": "{}"})
    shell.redis.xgroup_create(key("jobs:high"), "dispatcher", "0")
    shell.redis.xreadgroup("dispatcher", "gone", {key("jobs:high"): ">"})
    assert shell("status") == 0
    assert "1 job that no worker serves" in shell.out
    assert "worker gone: 1 job, no lease" in shell.out


def test_an_empty_redis_is_told(shell):
    assert shell("status") == 0
    assert "Redis holds nothing of any project" in shell.out
    assert status(shell) == []


def test_a_project_can_be_picked_and_one_that_is_not_there_is_wrong_use(shell):
    for project in ("one", "two"):
        shell.redis.xadd(f"fcm:{{{project}}}:jobs:normal", {"message": "{}"})
    assert [seen["project"] for seen in status(shell)] == ["one", "two"]
    assert [seen["project"] for seen in status(shell, "--project", "two")] == ["two"]
    assert shell("status", "--project", "three") == 2
    assert "Redis has nothing of it; there are: one, two" in shell.err


def test_redis_away_is_a_failure_in_one_line(shell, monkeypatch):
    monkeypatch.setenv("DISPATCHER_REDIS_URL", "redis://127.0.0.1:1")
    assert shell("status") == 1
    assert shell.err.count("\n") == 1

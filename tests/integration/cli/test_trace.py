"""`dispatcher outcomes --job` and `--token` answer what happened to it, wherever it is."""

import json
import time

from dispatcher.model import Target

P = "demo-orchard-41"


def key(name):
    return f"fcm:{{{P}}}:{name}"


def places(shell, *options):
    code = shell("outcomes", "--json", *options)
    return code, [json.loads(line) for line in shell.out.splitlines()]


def wait_until(shell, member, due, mark="", **fields):
    flat = [part for pair in fields.items() for part in pair]
    shell.redis.zadd(key("delayed"), {member: due * 1000})
    shell.redis.hset(key("delayed:jobs"), member, mark + json.dumps(flat))


def outcome(**fields):
    return {
        "job": "order-9",
        "index": 0,
        "status": "accepted",
        "attempts": 1,
        "enqueued_at": 1.0,
        "settled_at": 2.0,
        "target": {"token": "t9"},
        **fields,
    }


def test_a_job_that_waits_in_a_lane_and_one_that_a_worker_has(shell):
    first = shell.redis.xadd(key("jobs:bulk"), {"message": '{"token":"t1","data":{"a":"1"}}'}).decode()
    shell.redis.xadd(key("jobs:bulk"), {"message": "{}", "tokens": '["t1","t2"]', "id": "mine"})
    code, (seen,) = places(shell, "--job", first)
    assert code == 0
    assert (seen["place"], seen["lane"], seen["job"]) == ("waiting", "bulk", first)
    assert "waits in bulk to be read" in seen["text"]
    shell.redis.xgroup_create(key("jobs:bulk"), "dispatcher", "0")
    shell.redis.xreadgroup("dispatcher", "w1", {key("jobs:bulk"): ">"})
    code, found = places(shell, "--token", "t1")
    assert [seen["job"] for seen in found] == [first, "mine"]
    assert [seen["worker"] for seen in found] == ["w1", "w1"]
    assert shell("outcomes", "--job", "mine") == 0
    assert "job mine (2 messages) of lane bulk: worker w1 has it" in shell.out


def test_a_job_that_waits_for_its_time_its_target_or_an_operator(shell):
    soon = time.time() + 3600
    state = '{"id":"7-0","lane":"bulk","at":0.007,"sends":2}'
    wait_until(shell, "a", soon, message='{"token":"later"}', _state=state)
    wait_until(shell, "b", soon, "S", message='{"token":"held"}', _state=state)
    stop = f"target:{Target('token', 'parked').key}"
    wait_until(shell, "c", soon, f"P{stop}", message='{"token":"parked"}', _state=state)
    shell.redis.hset(key("control"), f"stop:{stop}", "1000:token parked")
    shell.redis.hset(key("control"), "cancel:lane:bulk", f"{int(soon * 1000)}:8-0")
    for token, why in (
        ("later", "waits for its time: due "),
        ("held", "its target is paused: due "),
        ("parked", "waits until token parked is resumed; it expires "),
    ):
        code, (seen,) = places(shell, "--token", token)
        assert code == 0
        assert why in seen["text"]
        assert "of lane bulk, sent 2 times before" in seen["text"]
        assert "cancelled with all that was in lane bulk, which a worker carries out" in seen["text"]
        assert abs(seen["due"] - soon) < 1
    assert len(places(shell, "--job", "7-0")[1]) == 3


def test_what_has_ended_is_found_among_outcomes_and_dead_letters(shell):
    listed = [outcome(), outcome(index=1, target={"token": "other"}), outcome(job="x", status="failed")]
    shell.redis.xadd(key("outcomes"), {"outcomes": json.dumps(listed)})
    letter = {"message": '{"token":"t9"}', "id": "x", "status": "failed", "code": "poison", "reason": "r"}
    shell.redis.xadd(key("dead"), {**letter, "history": "[]", "lane": "high", "died_at": "5"}, id="9-1")
    assert [seen["outcome"]["index"] for seen in places(shell, "--job", "order-9")[1]] == [0, 1]
    assert [seen["place"] for seen in places(shell, "--token", "t9")[1]] == ["outcome", "outcome", "dead"]
    assert [seen["place"] for seen in places(shell, "--job", "x")[1]] == ["outcome", "dead"]
    assert shell("outcomes", "--job", "x") == 0
    assert "dead letter 9-1: failed poison r; dispatcher dead show 9-1" in shell.out


def test_what_redis_does_not_know_is_a_failure_that_says_so(shell):
    shell.redis.xadd(key("jobs:bulk"), {"message": '{"token":"t11"}', "id": "order-91"})
    for options in (["--job", "order-9"], ["--token", "t1"]):
        assert shell("outcomes", *options) == 1
        assert shell.out == ""
        assert "Redis knows nothing of " in shell.err
        assert shell.err.count("\n") == 1

from __future__ import annotations

import pytest

from dispatcher.errors import QueueMisconfigured, QueueUnavailable
from dispatcher.queue.health import _cautions, _facts, _findings, _refuse, _refuse_uncovered

GOOD = {
    "maxmemory_policy": "noeviction",
    "maxmemory": "1000",
    "aof_enabled": "1",
    "role": "master",
    "connected_slaves": "1",
    "min_slaves_good_slaves": "1",
}


def test_a_good_server_leaves_nothing_to_say():
    assert _findings(GOOD) == _cautions(GOOD) == []
    assert _refuse(GOOD | {"redis_version": "6.2.0"}, cluster=False) is None


@pytest.mark.parametrize("policy", ["volatile-lru", "volatile-lfu", "volatile-ttl", "volatile-random"])
def test_a_policy_that_drops_only_what_runs_out_is_a_caution(policy):
    [caution] = _cautions(GOOD | {"maxmemory_policy": policy})
    assert caution.startswith(f"maxmemory-policy is {policy}: ")
    assert caution.endswith("set it to noeviction")


@pytest.mark.parametrize(
    ("facts", "error", "mend"),
    [
        ({"redis_version": "6.0.16"}, QueueMisconfigured, "6.2 is needed"),
        ({"redis_version": "5.0"}, QueueMisconfigured, "6.2 is needed"),
        ({"maxmemory_policy": "allkeys-lru"}, QueueMisconfigured, "set it to noeviction"),
        ({"maxmemory_policy": "allkeys-random"}, QueueMisconfigured, "set it to noeviction"),
        ({"redis_mode": "cluster"}, QueueMisconfigured, "use redis.cluster:"),
        ({"role": "slave"}, QueueUnavailable, "point DISPATCHER_REDIS_URL at the master"),
    ],
)
def test_what_no_job_may_be_trusted_to_is_refused(facts, error, mend):
    with pytest.raises(error, match=mend) as refused:
        _refuse(GOOD | {"redis_version": "7.0.15"} | facts, cluster=False)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"cluster_slots_assigned": "16383", "cluster_slots_ok": "16383"}, "1 of the 16384 slots"),
        ({"cluster_slots_assigned": "16384", "cluster_slots_ok": "10923"}, "5461 of the 16384 slots"),
        ({"cluster_state": "fail"}, "is down"),
    ],
)
def test_a_cluster_that_does_not_cover_all_slots_is_told(facts, says):
    whole = {"cluster_state": "ok", "cluster_slots_assigned": "16384", "cluster_slots_ok": "16384"}
    assert _refuse_uncovered(whole) is None
    with pytest.raises(QueueUnavailable, match=says):
        _refuse_uncovered(whole | facts)


@pytest.mark.parametrize(
    ("fact", "says"),
    [
        ({"maxmemory": "0"}, "maxmemory"),
        ({"aof_enabled": "0"}, "appendonly"),
    ],
)
def test_each_lack_is_told_with_its_mend(fact, says):
    [finding] = _findings(GOOD | fact)
    assert says in finding


def test_replicas_without_a_minimum_are_told():
    [finding] = _findings({name: value for name, value in GOOD.items() if not name.startswith("min_")})
    assert "min-replicas-to-write" in finding


def test_the_info_text_is_read_line_by_line():
    assert _facts(b"# Server\r\nredis_version:7.0.15\r\nos:Linux: x\r\n\r\n") == {
        "redis_version": "7.0.15",
        "os": "Linux: x",
    }

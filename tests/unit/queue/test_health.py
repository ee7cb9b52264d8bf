from __future__ import annotations

import pytest

from dispatcher.queue.health import _facts, _findings

GOOD = {
    "maxmemory_policy": "noeviction",
    "maxmemory": "1000",
    "aof_enabled": "1",
    "role": "master",
    "connected_slaves": "1",
    "min_slaves_good_slaves": "1",
}


def test_a_good_server_leaves_nothing_to_say():
    assert _findings(GOOD) == []


@pytest.mark.parametrize(
    ("fact", "says"),
    [
        ({"maxmemory_policy": "volatile-lru"}, "noeviction"),
        ({"maxmemory": "0"}, "maxmemory"),
        ({"aof_enabled": "0"}, "appendonly"),
        ({"role": "slave"}, "replica"),
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

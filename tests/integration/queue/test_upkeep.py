"""Counting, trimming, listing, and judging the server."""

from __future__ import annotations

import asyncio

import pytest

from dispatcher.errors import QueueMisconfigured
from dispatcher.queue.settlement import Delayed
from dispatcher.queue.store import Queue

P = "p"
OUTCOMES = f"fcm:{{{P}}}:outcomes"
HOUR_MS = 3_600_000


async def redis_ms(redis_client):
    seconds, micros = await redis_client.time()
    return seconds * 1000 + micros // 1000


class TestStats:
    async def test_everything_that_waits_is_counted(self, queue, redis_client):
        now = await redis_ms(redis_client)
        await redis_client.xadd(f"fcm:{{{P}}}:jobs:bulk", {"a": 1}, id=f"{now - 90_000}-0")
        await queue.enqueue(P, "bulk", [["message", "1"]] * 2)
        await queue.enqueue(P, "high", [["message", "1"]])
        await queue.delay(P, [Delayed("a", now / 1000 - 5, b"[]"), Delayed("b", now / 1000 + 500, b"[]")])
        await redis_client.xadd(OUTCOMES, {"a": 1})
        await redis_client.xadd(f"fcm:{{{P}}}:dead", {"a": 1})
        await redis_client.zadd(f"fcm:{{{P}}}:pauses", {"t": 1})
        all_stats = await queue.stats([P, "empty"])
        stats = all_stats[P]
        assert stats.lanes == {"high": 1, "due": 0, "normal": 0, "bulk": 3}
        assert stats.oldest["bulk"] == pytest.approx(90, abs=5)
        assert set(stats.oldest) == {"high", "bulk"}
        assert (stats.delayed, stats.delayed_due, stats.backlog) == (2, 1, 5)
        assert stats.next_due == pytest.approx(now / 1000 - 5, abs=0.01)
        assert (stats.dead, stats.outcomes, stats.paused_targets) == (1, 1, 1)
        assert (all_stats["empty"].backlog, all_stats["empty"].next_due) == (0, None)

    async def test_streams_that_nobody_serves_are_found(self, queue, redis_client):
        for key in (
            "fcm:{p}:jobs:normal",
            "fcm:{p}:jobs:nromal",
            "fcm:{q}:jobs:high",
            "other:{p}:jobs:x",
            "fcm:x",
        ):
            await redis_client.xadd(key, {"a": 1})
        await redis_client.set("fcm:{r}:jobs:odd", "no stream")
        assert await queue.unserved([P]) == {("p", "nromal"): 1, ("q", "high"): 1}


class TestRetention:
    @pytest.fixture
    async def aged(self, redis_client):
        """One entry per age, oldest first: 30 h, 20 h, 2 h, 1 min."""
        now = await redis_ms(redis_client)
        ids = [f"{now - age}-0" for age in (30 * HOUR_MS, 20 * HOUR_MS, 2 * HOUR_MS, 60_000)]
        for entry_id in ids:
            await redis_client.xadd(OUTCOMES, {"outcomes": "[]"}, id=entry_id)
        return ids

    async def trim(self, queue, max_entries=100):
        return await queue.trim(P, "outcomes", retention_s=86400, max_entries=max_entries)

    async def kept(self, redis_client):
        return [entry_id.decode() for entry_id, _ in await redis_client.xrange(OUTCOMES)]

    async def test_without_readers_only_the_retention_cuts(self, queue, redis_client, aged):
        trimmed = await self.trim(queue)
        assert (trimmed.read, trimmed.unread, trimmed.left) == (0, 1, 3)
        assert await self.kept(redis_client) == aged[1:]

    async def test_what_all_groups_have_read_goes_after_an_hour(self, queue, redis_client, aged):
        for group in ("a", "b"):
            await redis_client.xgroup_create(OUTCOMES, group, "0")
            await redis_client.xreadgroup(group, "c", {OUTCOMES: ">"}, noack=True)
        trimmed = await self.trim(queue)
        assert (trimmed.read, trimmed.unread, trimmed.left) == (3, 0, 1)

    async def test_what_one_group_has_not_read_stays(self, queue, redis_client, aged):
        for group, count in (("a", 4), ("b", 2)):
            await redis_client.xgroup_create(OUTCOMES, group, "0")
            await redis_client.xreadgroup(group, "c", {OUTCOMES: ">"}, count=count, noack=True)
        trimmed = await self.trim(queue)
        assert (trimmed.read, trimmed.unread) == (2, 0)
        assert await self.kept(redis_client) == aged[2:]

    async def test_what_is_pending_is_not_read_yet(self, queue, redis_client, aged):
        await redis_client.xgroup_create(OUTCOMES, "a", "0")
        await redis_client.xreadgroup("a", "c", {OUTCOMES: ">"})
        await redis_client.xack(OUTCOMES, "a", aged[0])
        trimmed = await self.trim(queue)
        assert (trimmed.read, trimmed.unread) == (1, 0)
        assert await self.kept(redis_client) == aged[1:]

    async def test_over_the_limit_read_ones_go_first_and_the_unread_are_counted(
        self, queue, redis_client, aged
    ):
        await redis_client.xgroup_create(OUTCOMES, "a", "0")
        await redis_client.xreadgroup("a", "c", {OUTCOMES: ">"}, noack=True)
        for n in range(5):
            await redis_client.xadd(OUTCOMES, {"n": n})
        trimmed = await self.trim(queue, 3)
        assert (trimmed.read, trimmed.unread, trimmed.left) == (4, 2, 3)

    async def test_dead_letters_are_trimmed_likewise(self, queue, redis_client):
        await redis_client.xadd(f"fcm:{{{P}}}:dead", {"a": 1}, id="5-0")
        trimmed = await queue.trim(P, "dead", retention_s=60, max_entries=10)
        assert (trimmed.read, trimmed.unread, trimmed.left) == (0, 1, 0)

    async def test_nothing_there_is_nothing_to_do(self, queue):
        trimmed = await self.trim(queue)
        assert (trimmed.read, trimmed.unread, trimmed.left) == (0, 0, 0)


class TestRecords:
    async def test_they_are_listed_after_an_id(self, queue, redis_client):
        assert await queue.last_record(P, "outcomes") == "0-0"
        ids = [(await redis_client.xadd(OUTCOMES, {"outcomes": n})).decode() for n in range(3)]
        assert [i for i, _ in await queue.records(P, "outcomes", count=2)] == ids[:2]
        assert await queue.records(P, "outcomes", after=ids[1]) == [(ids[2], [b"outcomes", b"2"])]
        assert await queue.last_record(P, "outcomes") == ids[2]

    async def test_they_can_be_waited_for(self, queue, redis_client):
        assert await queue.wait_records(P, "dead", after="0-0", count=10, block_ms=1) == []
        waiting = asyncio.ensure_future(queue.wait_records(P, "dead", after="0-0", count=10, block_ms=10_000))
        await redis_client.xadd(f"fcm:{{{P}}}:dead", {"a": "b"})
        assert [fields for _, fields in await waiting] == [[b"a", b"b"]]


class TestTheServer:
    async def test_is_fit_but_told_what_it_lacks(self, queue):
        report = await queue.check_server()
        assert report.version.startswith(("6.2.", "7.", "8."))
        assert (report.mode, report.policy, report.maxmemory, report.aof) == (
            "standalone",
            "noeviction",
            0,
            False,
        )
        assert [finding.partition(" ")[0] for finding in report.findings] == ["appendonly", "maxmemory"]

    async def test_that_may_throw_jobs_away_is_refused(self, queue, redis_client):
        await redis_client.config_set("maxmemory-policy", "allkeys-lru")
        with pytest.raises(
            QueueMisconfigured, match=r"maxmemory-policy is allkeys-lru: .* set it to noeviction"
        ):
            await queue.check_server()

    async def test_that_may_drop_leases_is_worth_a_caution(self, queue, redis_client):
        await redis_client.config_set("maxmemory-policy", "volatile-ttl")
        await redis_client.config_set("maxmemory", 10**9)
        report = await queue.check_server()
        assert report.cautions[0].startswith("maxmemory-policy is volatile-ttl")
        assert report.maxmemory == 10**9

    async def test_that_runs_no_scripts_is_a_misconfiguration(self, redis_server, redis_client):
        await redis_client.acl_setuser(
            "plain", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-@scripting"]
        )
        queue = Queue.at(redis_server.url.replace("unix://", "unix://plain:x@"), consumer="me")
        with pytest.raises(QueueMisconfigured):
            await queue.check_server()
        await queue.aclose()
        await redis_client.acl_deluser("plain")

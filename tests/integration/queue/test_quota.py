from __future__ import annotations

import pytest

P = "p"


async def ask(queue, n, per_minute=60_000, *, high=False, use=1.0):
    return await queue.grant(P, n, high=high, per_minute=per_minute, use=use)


async def set_bucket(redis_client, ahead_s, lead_s=0.0):
    """Puts the time until which everything is paid for `ahead_s` from now."""
    seconds, micros = await redis_client.time()
    tat = seconds * 1_000_000 + micros + ahead_s * 1e6
    await redis_client.set(f"fcm:{{{P}}}:quota", f"{tat:.3f}:{lead_s * 1e6:.0f}")


async def test_the_bucket_starts_empty(queue):
    first = await ask(queue, 400)
    assert not first.granted
    assert 0.4 < first.wait <= 0.5
    again = await ask(queue, 400)
    assert not again.granted
    assert again.wait < first.wait


async def test_a_full_bucket_grants_its_depth_and_then_what_flows_in(queue, redis_client):
    await set_bucket(redis_client, -100)
    first = await ask(queue, 450)
    assert (first.granted, first.wait, first.circuit, first.max_batch) == (True, 0.0, "closed", 450)
    second = await ask(queue, 450)
    assert not second.granted
    assert 0.3 < second.wait <= 0.45


async def test_a_tenth_is_kept_for_high(queue, redis_client):
    # The tenth is 50 ms: a machine that takes longer than that between the two calls is asked again.
    for _ in range(20):
        await set_bucket(redis_client, 0.499)
        normal = await ask(queue, 1)
        if not normal.granted:
            break
    assert not normal.granted
    high = await ask(queue, 1, high=True)
    assert (high.granted, high.max_batch) == (True, 500)


async def test_a_small_quota_grants_small_batches_but_at_least_one_message(queue, redis_client):
    await set_bucket(redis_client, -100)
    assert (await ask(queue, 1, 600, use=0.9)).max_batch == 4
    await set_bucket(redis_client, -100)
    tiny = await ask(queue, 1, 6)
    assert (tiny.granted, tiny.max_batch) == (True, 1)
    assert not (await ask(queue, 1, 6)).granted


async def test_a_batch_beyond_the_burst_is_reserved_and_must_wait(queue, redis_client):
    await set_bucket(redis_client, 0)
    big = await ask(queue, 500, 6000)
    assert big.granted
    assert big.wait == pytest.approx(5.0 - 0.45, abs=0.05)
    other = await ask(queue, 500, 6000)
    assert not other.granted
    assert other.wait == pytest.approx(big.wait, abs=0.05)


async def test_a_clock_that_was_set_back_stops_nobody_for_longer_than_a_second(queue, redis_client):
    await set_bucket(redis_client, 3600, 0.3)
    assert (await ask(queue, 1)).wait <= 1.0


async def test_the_rate_is_kept_whoever_asks(new_queue, redis_client):
    queues = [new_queue(), new_queue()]
    await set_bucket(redis_client, -100)
    grants = []
    while sum(n for _, n in grants) < 3000:
        for queue in queues:
            grant = await ask(queue, 50, 300_000)
            if grant.granted:
                grants.append((grant.now, 50))
    # On Redis's clock, so that it holds however slow this machine is: the depth, then 5 a millisecond.
    for i, (start, _) in enumerate(grants):
        for end, _ in grants[i:]:
            assert sum(n for at, n in grants if start <= at <= end) <= 2500 + 5000 * (end - start) + 1


async def test_the_number_of_paused_targets_comes_with_the_grant(queue, redis_client):
    await redis_client.zadd(f"fcm:{{{P}}}:pauses", {"told": 1, "tnew": 1e13, "tnew|until": 1e13})
    assert (await ask(queue, 1)).paused_targets == 2


async def test_a_full_redis_still_grants(queue, redis_client):
    await set_bucket(redis_client, -1)
    await redis_client.config_set("maxmemory", 1)
    assert (await ask(queue, 5)).granted


class TestAPausedProject:
    @pytest.fixture
    async def full(self, redis_client):
        await set_bucket(redis_client, -100)

    async def over(self, redis_client, ago_s=1.0):
        seconds, _ = await redis_client.time()
        await redis_client.hset(f"fcm:{{{P}}}:control", "pause:until", int((seconds - ago_s) * 1000))

    async def test_grants_nothing_until_its_end(self, queue, full):
        pause = await queue.pause_project(P, 5, "quota")
        assert pause.until - pause.now == pytest.approx(60, abs=0.01)
        grant = await ask(queue, 1)
        assert (grant.granted, grant.circuit) == (False, "open")
        assert grant.open_until == pytest.approx(pause.until)
        assert 59 < grant.wait <= 60

    async def test_lets_one_batch_of_one_worker_probe(self, new_queue, redis_client, full):
        a, b = new_queue(), new_queue()
        await a.pause_project(P, 5, "quota")
        assert not await a.claim_probe(P)
        await self.over(redis_client)
        assert await a.claim_probe(P)
        assert await a.claim_probe(P)
        assert not await b.claim_probe(P)
        assert (await ask(b, 1)).circuit == "open"
        grant = await ask(a, 5)
        assert (grant.granted, grant.circuit) == (True, "probe")
        again = await ask(a, 5)
        assert (again.granted, again.circuit) == (False, "open")
        assert again.wait <= 1.0

    async def test_gives_a_probe_that_was_not_sent_back_to_its_worker_alone(
        self, new_queue, redis_client, full
    ):
        a, b = new_queue(), new_queue()
        await a.pause_project(P, 5, "quota")
        assert not await a.keep_probe(P)
        await self.over(redis_client)
        assert await a.claim_probe(P)
        assert (await ask(a, 5)).granted
        assert not await b.keep_probe(P)
        assert await a.keep_probe(P)
        assert not await b.claim_probe(P)
        assert not (await ask(b, 5)).granted
        assert (await ask(a, 5)).circuit == "probe"

    async def test_grants_the_probe_to_whoever_asks_first(self, new_queue, redis_client, full):
        a, b = new_queue(), new_queue()
        await a.pause_project(P, 5, "quota")
        await self.over(redis_client)
        assert (await ask(b, 1)).circuit == "probe"
        assert not (await ask(a, 1)).granted

    async def test_doubles_with_each_failed_probe_and_not_with_stragglers(self, queue, redis_client, full):
        await queue.pause_project(P, 0, "quota")
        for expected in (1, 2):
            await self.over(redis_client)
            await queue.claim_probe(P)
            pause = await queue.pause_project(P, 0, "again", probe=True)
            assert pause.step == expected
            assert pause.until - pause.now == pytest.approx(60 * 2**expected, abs=0.01)
            straggler = await queue.pause_project(P, 10, "late")
            assert (straggler.step, straggler.until) == (expected, pause.until)
        assert (await queue.pause_project(P, 1000, "long")).until > pause.until + 700

    async def test_doubles_up_to_an_hour_but_keeps_what_was_asked_for(self, queue, redis_client):
        key = f"fcm:{{{P}}}:control"
        await redis_client.hset(key, mapping={"pause:until": 1, "pause:step": 50})
        pause = await queue.pause_project(P, 0, "x", probe=True)
        assert pause.until - pause.now == pytest.approx(3600, abs=0.01)
        await redis_client.delete(key)
        pause = await queue.pause_project(P, 7200, "x")
        assert pause.until - pause.now == pytest.approx(7200, abs=0.01)

    async def test_can_be_tried_before_its_time(self, queue, full):
        assert not await queue.hasten(P)
        await queue.pause_project(P, 0, "credentials")
        assert not await queue.claim_probe(P)
        assert await queue.hasten(P)
        assert not await queue.hasten(P)
        assert await queue.claim_probe(P)
        pause = await queue.pause_project(P, 0, "again", probe=True)
        assert pause.step == 1

    async def test_ramps_up_after_a_good_probe(self, queue, redis_client, full):
        await queue.pause_project(P, 0, "quota")
        assert not await queue.close(P)
        await self.over(redis_client)
        assert await queue.close(P)
        assert not await queue.close(P)
        grant = await ask(queue, 1)
        assert (grant.granted, grant.circuit) == (True, "ramp")
        assert grant.max_batch == 45
        seconds, _ = await redis_client.time()
        await redis_client.hset(f"fcm:{{{P}}}:control", "pause:ramp", (seconds - 30) * 1000)
        assert 220 <= (await ask(queue, 1)).max_batch <= 240
        await redis_client.hset(f"fcm:{{{P}}}:control", "pause:ramp", (seconds - 61) * 1000)
        assert (await ask(queue, 1)).circuit == "closed"

    async def test_is_seen_in_the_control_hash(self, queue):
        pause = await queue.pause_project(P, 0, "quota of the project")
        control = (await queue.controls([P, "other"]))[P]
        assert control.paused
        assert (control.pause_until, control.pause_reason) == (pause.until, "quota of the project")
        assert not (await queue.controls(["other"]))["other"].paused

    async def test_can_be_paused_and_probed_on_a_full_redis(self, queue, redis_client, full):
        await redis_client.config_set("maxmemory", 1)
        await queue.pause_project(P, 0, "quota")
        await redis_client.config_set("maxmemory", 0)
        await self.over(redis_client)
        await redis_client.config_set("maxmemory", 1)
        assert await queue.claim_probe(P)
        assert (await ask(queue, 1)).circuit == "probe"
        assert await queue.keep_probe(P)
        assert await queue.close(P)


async def test_verdicts_are_shared_until_they_run_out(queue, redis_client):
    await queue.set_verdict(P, "transport", "v1: yes", 100)
    await redis_client.hset(f"fcm:{{{P}}}:control", "verdict:old", "1000:batch")
    assert (await queue.controls([P]))[P].verdicts == {"transport": "v1: yes"}


async def test_management_has_a_bucket_of_its_own_and_no_circuit_before_it(queue, redis_client):
    await queue.pause_project(P, 60, "quota")
    seconds, _ = await redis_client.time()
    await redis_client.set(f"fcm:{{{P}}}:quota:management", f"{(seconds - 100) * 1e6:.3f}:0")
    assert (await ask(queue, 1)).circuit == "open"
    grant = await queue.grant_management(P, 900, high=False, per_second=2000)
    assert (grant.granted, grant.wait, grant.circuit) == (True, 0.0, "closed")
    assert not (await queue.grant_management(P, 900, high=False, per_second=2000)).granted
    large = await queue.grant_management(P, 1000, high=True, per_second=100)
    assert large.max_batch == 50
    assert "pause:probe" not in {name.decode() for name in await redis_client.hkeys(f"fcm:{{{P}}}:control")}

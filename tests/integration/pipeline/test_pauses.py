"""Who is held back, and who is not: targets, projects, single messages; credentials; the way to FCM."""

import asyncio
import itertools

import pytest

from dispatcher.model import Target
from dispatcher.policy.schedule import INTERVALS


async def paused(desk) -> dict[str, str] | None:
    """What all replicas are told of the project's pause."""
    control = await desk.control()
    return control if "pause:until" in control else None


@pytest.fixture(params=["batch", "v1"])
async def wire(request) -> str:
    return request.param


@pytest.mark.parametrize(("kind", "count"), [("token", 8), ("topic", 3)])
async def test_a_throttled_target_comes_back_in_order_one_by_one_while_others_flow(
    kind, count, wire, serve, desk, emulator
):
    emulator.script(limits=[{"kind": kind, "target": "x", "per_second": 0.001, "burst": 1, "retry_after": 5}])
    await serve(transport=wire)
    await desk.add(message={kind: "x"}, id="x-0")
    await desk.outcomes(1)
    # One of them meets the limit and tells how long to wait; the others join the queue unsent or are told as well.
    await desk.add(message={kind: "x"}, id="x-1")
    key = Target(kind, "x").key
    await desk.until(lambda: desk.redis.zscore(desk.key("pauses"), key))
    emulator.script()
    for n in range(2, count):
        await desk.add(message={kind: "x"}, id=f"x-{n}")
    # Each has a slot of its own, an interval after the one before.
    await desk.until(lambda: _waits(desk, count - 1))
    slots = [
        score / 1000 for _, score in await desk.redis.zrange(desk.key("delayed"), 0, -1, withscores=True)
    ]
    assert min(later - earlier for earlier, later in itertools.pairwise(slots)) >= INTERVALS[kind]
    for n in range(50):
        await desk.add(message={"token": f"other-{n}"}, id=f"other-{n}")
    outcomes = await desk.outcomes(count + 50, within=30)
    settled = {o["job"]: o["settled_at"] for o in outcomes}
    assert {o["status"] for o in outcomes} == {"accepted"}
    # Order: by their outcomes, which are written one by one as well.
    order = sorted((job for job in settled if job.startswith("x-")), key=settled.__getitem__)
    assert order == [f"x-{n}" for n in range(count)]
    # Nobody else waited for them.
    assert max(settled[f"other-{n}"] for n in range(50)) < settled["x-2"]
    assert {o["attempts"] for o in outcomes if o["job"].startswith("other")} == {1}


async def test_a_whole_429_stops_reading_and_puts_back_what_was_read(serve, desk, emulator):
    rule = {"per": "request", "wire": "batch", "error": "RATE_LIMIT_EXCEEDED", "retry_after": 61, "times": 1}
    emulator.script(rule)
    worker = await serve()
    await desk.add(message={"token": "first"})
    control = await desk.until(lambda: paused(desk))
    assert float(control["pause:until"]) / 1000 - await desk.now() > 59
    await desk.until(desk.delayed)
    for n in range(100):
        await desk.add(message={"token": f"t-{n}"})
    # What the listener had asked for before it heard of the pause is put back, the rest is not read.
    await desk.until(lambda: _nothing_held(desk))
    assert await desk.backlog() == 101
    assert await desk.redis.xlen(desk.key("jobs:normal")) >= 80
    assert emulator.arrivals() == []
    await desk.until(lambda: _shows_pause(worker))
    # The pause ends early, as if its time had come: a probe, and on.
    await desk.redis.hset(desk.key("control"), "pause:until", int(await desk.now() * 1000))
    for member in await desk.redis.zrange(desk.key("delayed"), 0, -1):
        await desk.redis.zadd(desk.key("delayed"), {member: 0})
    outcomes = await desk.outcomes(101, within=30)
    assert {o["status"] for o in outcomes} == {"accepted"}
    control = await desk.control()
    assert "pause:until" not in control
    assert "pause:ramp" in control
    assert len(emulator.arrivals()) == 101


async def test_another_workers_pause_gives_back_the_room(serve, desk, emulator):
    """What is packed here must not stand in the worker's room while the project is paused by somebody else."""
    emulator.script(latency=1.5)
    await serve(max_concurrent_requests=1, batch_size=10)
    await desk.add_many("normal", [{"token": f"t-{n}"} for n in range(200)])
    await desk.until(desk.recorded)
    until = int((await desk.now() + 120) * 1000)
    await desk.redis.hset(
        desk.key("control"), mapping={"pause:until": until, "pause:step": 0, "pause:reason": "told elsewhere"}
    )
    await desk.until(lambda: _nothing_held(desk))
    sent = len(await desk.recorded())
    assert sent < 200
    assert await desk.backlog() == 200 - sent


async def test_what_was_put_back_goes_on_as_soon_as_the_pause_is_ended_early(serve, desk, emulator):
    emulator.script(latency=1.5)
    await serve(max_concurrent_requests=1, batch_size=10)
    await desk.add_many("normal", [{"token": f"t-{n}"} for n in range(60)])
    await desk.until(desk.recorded)
    until = int((await desk.now() + 3600) * 1000)
    await desk.redis.hset(
        desk.key("control"), mapping={"pause:until": until, "pause:step": 6, "pause:reason": "told elsewhere"}
    )
    await desk.until(lambda: _nothing_held(desk))
    assert await desk.delayed()
    emulator.script()
    # What `dispatcher resume` does, and a new key: the probe comes first, and then all of it, not in an hour.
    await desk.redis.hset(desk.key("control"), "pause:until", int(await desk.now() * 1000))
    outcomes = await desk.outcomes(60)
    assert {o["status"] for o in outcomes} == {"accepted"}


async def _half_open(desk, reason: str = "server-unavailable") -> None:
    """The project was paused, and its pause is over."""
    await desk.redis.hset(
        desk.key("control"), mapping={"pause:until": 1, "pause:step": 0, "pause:reason": reason}
    )


async def test_a_probe_whose_messages_are_all_held_leaves_the_probe_to_the_next_batch(serve, desk, emulator):
    key = Target("topic", "x").key
    slot = int((await desk.now() + 600) * 1000)
    await desk.redis.zadd(desk.key("pauses"), {key: slot, f"{key}|until": slot})
    await _half_open(desk)
    await desk.add("high", message={"topic": "x"})
    await serve()
    # First what will be held, and only then what can be sent.
    await desk.until(desk.delayed)
    await desk.add("normal", message={"token": "t"}, id="sendable")
    await desk.until(desk.recorded)
    assert [(o["job"], o["status"]) for o in await desk.recorded()] == [("sendable", "accepted")]
    await desk.until(lambda: _goes_on(desk))


async def _goes_on(desk) -> bool:
    return not await paused(desk)


@pytest.mark.parametrize(
    ("rule", "fields"),
    [
        pytest.param({"cut": "after"}, {"on_unknown": "give_up"}, id="fate unknown, given up"),
        pytest.param({"error": "UNAVAILABLE"}, {}, id="out of attempts"),
    ],
)
async def test_a_probe_without_a_verdict_on_any_message_does_not_open_the_project(
    rule, fields, wire, serve, desk, emulator
):
    emulator.script(rule)
    await _half_open(desk)
    await desk.add(message={"token": "t"}, **fields)
    await serve(transport=wire, max_attempts=1)
    [outcome] = await desk.outcomes()
    assert outcome["status"] == "failed"
    control = await desk.until(lambda: paused(desk))
    assert (
        float(control["pause:until"]) / 1000 > await desk.now() + 60
    )  # longer than the first: the probe failed
    assert control["pause:step"] == "1"


async def test_what_waits_without_having_been_sent_counts_as_no_retry(serve, desk, emulator):
    worker = await serve()
    await desk.add(message={"token": "t"}, deliver_at=await desk.now() + 1)
    await desk.outcomes()
    assert await worker.face.metric("retries_total") == 0
    emulator.script({"error": "UNAVAILABLE", "times": 1, "retry_after": 0})
    await desk.add(message={"token": "u"})
    await desk.outcomes(2)
    assert await worker.face.metric("retries_total", code="server-unavailable") == 1
    assert await worker.face.metric("retries_total") == 1


async def _shows_pause(worker) -> bool:
    return await worker.face.metric("project_paused") == 1


async def _nothing_held(desk) -> bool:
    return await desk.pending() == 0


async def test_a_refused_access_token_is_renewed_once_for_all(wire, serve, desk, emulator):
    await serve(transport=wire)
    await desk.add(message={"token": "t"})
    await desk.outcomes(1)
    issued = emulator.get("oauth")["issued"]
    emulator.put("oauth", revoke=True)
    await desk.add_many("normal", [{"token": f"t-{n}"} for n in range(300)])
    outcomes = await desk.outcomes(301)
    assert {o["status"] for o in outcomes} == {"accepted"}
    assert {o["attempts"] for o in outcomes} == {1}
    assert emulator.get("oauth")["issued"] == issued + 1
    assert not await paused(desk)


async def test_a_token_endpoint_that_refuses_pauses_the_project(serve, desk, emulator):
    emulator.put("oauth", refuse="invalid_grant")
    await serve()
    await desk.add(message={"token": "t"})
    control = await desk.until(lambda: paused(desk))
    assert float(control["pause:until"]) / 1000 - await desk.now() > 55
    assert await desk.recorded() == []
    assert await desk.backlog() == 1


async def test_a_swapped_credential_wipes_no_token(wire, serve, desk, emulator):
    emulator.script({"error": "SENDER_ID_MISMATCH"})
    await desk.add_many("normal", [{"token": f"t-{n}"} for n in range(1500)])
    await serve(transport=wire)
    await desk.until(lambda: paused(desk))
    await desk.until(lambda: _nothing_held(desk))
    assert await desk.recorded() == []
    assert await desk.backlog() == 1500


async def _waits(desk, count: int) -> bool:
    return await desk.redis.zcard(desk.key("delayed")) >= count


async def test_a_few_foreign_tokens_are_told_as_such(serve, desk, emulator):
    emulator.script({"error": "SENDER_ID_MISMATCH", "prefix": "foreign"})
    tokens = [f"foreign-{n}" if n % 10 == 0 else f"t-{n}" for n in range(1000)]
    await desk.add_many("normal", [{"token": token} for token in tokens])
    await serve()
    statuses = [o["status"] for o in await desk.outcomes(1000)]
    assert statuses.count("wrong_project") == 100
    assert not await paused(desk)


async def test_a_bad_platform_key_of_a_tenth_leaves_the_others_at_full_rate(wire, serve, desk, emulator):
    emulator.script({"error": "THIRD_PARTY_AUTH_ERROR", "prefix": "apple"})
    tokens = [f"apple-{n}" if n % 10 == 0 else f"t-{n}" for n in range(3000)]
    await desk.add_many("normal", [{"token": token} for token in tokens])
    worker = await serve(transport=wire)
    outcomes = await desk.outcomes(2700, within=30)
    assert {o["status"] for o in outcomes} == {"accepted"}
    assert {o["attempts"] for o in outcomes} == {1}
    await desk.until(lambda: _waits(desk, 300))
    # Full rate: no pause, no halved concurrency, each token asked once.
    assert not await paused(desk)
    most = 64 if wire == "batch" else 320
    assert await worker.face.metric("concurrency_limit", project=desk.project) == most
    assert len(emulator.arrivals()) == 3000
    now = await desk.now()
    assert all(due - now > 30 for due, _ in await desk.delayed())
    assert await desk.redis.zcard(desk.key("pauses")) == 0


async def test_many_throttled_targets_halve_the_rate_and_stop_nothing(serve, desk, emulator):
    emulator.script({"error": "QUOTA_EXCEEDED", "prefix": "slow"})
    await desk.add_many("normal", [{"token": f"slow-{n}" if n % 3 == 0 else f"t-{n}"} for n in range(300)])
    worker = await serve()
    outcomes = await desk.outcomes(200)
    assert {o["status"] for o in outcomes} == {"accepted"}
    await desk.until(lambda: _limit(worker, desk, 32))
    assert not await paused(desk)


async def _limit(worker, desk, limit: int) -> bool:
    return await worker.face.metric("concurrency_limit", project=desk.project) == limit


async def test_without_a_batch_endpoint_auto_goes_on_by_v1_and_all_replicas_learn_it(serve, desk, emulator):
    emulator.script({"per": "request", "wire": "batch", "status": 404})
    await serve(transport="auto")
    await desk.add_many("normal", [{"token": f"t-{n}"} for n in range(20)])
    outcomes = await desk.outcomes(20)
    assert {o["status"] for o in outcomes} == {"accepted"}
    assert {o["attempts"] for o in outcomes} == {1}
    assert not any(o.get("possible_duplicate") for o in outcomes)
    await desk.until(lambda: _verdict(desk))
    # A replica that starts now does not ask again.
    await serve(transport="auto")
    fired = emulator.get("faults")["rules"][0]["fired"]
    await asyncio.sleep(0)
    await desk.add_many("normal", [{"token": f"u-{n}"} for n in range(20)])
    await desk.outcomes(40)
    assert emulator.get("faults")["rules"][0]["fired"] - fired <= 1  # it may have begun before it had read it


async def _verdict(desk) -> bool:
    return (await desk.control()).get("verdict:transport", "").endswith(":v1")


async def test_auto_sends_by_batch_where_there_is_one(serve, desk, emulator):
    await serve(transport="auto")
    await desk.add_many("normal", [{"token": f"t-{n}"} for n in range(20)])
    await desk.outcomes(20)
    assert emulator.get("summary")["messages_by_wire"] == {"batch": 20}


async def test_more_than_ten_topics_at_once_do_not_keep_a_token_waiting(serve, desk, emulator):
    emulator.script({"kind": "topic", "delay": 1})
    await serve(batch_size=1)
    for n in range(30):
        await desk.add(message={"topic": f"news-{n}"})
    await desk.add(message={"token": "t"})
    await desk.outcomes(31)
    topics = sorted(a["time"] for a in emulator.arrivals(kind="topic"))
    (token,) = (a["time"] for a in emulator.arrivals(kind="token"))
    # The eleventh after any waited for the second that its answer took; the token for none of them.
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(topics[::10]))
    assert token < topics[10]


async def test_a_topic_that_takes_long_has_a_longer_timeout(wire, serve, desk, emulator):
    emulator.script({"delay": 1.0})
    await serve(transport=wire, request_timeout_s=0.5, topic_timeout_s=20)
    await desk.add(message={"topic": "news"})
    [outcome] = await desk.outcomes()
    assert (outcome["status"], outcome["attempts"]) == ("accepted", 1)


async def test_a_request_that_takes_too_long_is_of_unknown_fate(wire, serve, desk, emulator):
    emulator.script({"delay": 2.0, "times": 1})
    await serve(transport=wire, request_timeout_s=0.5)
    await desk.add(message={"token": "t"})
    [outcome] = await desk.outcomes()
    assert (outcome["status"], outcome["attempts"], outcome["possible_duplicate"]) == ("accepted", 2, True)


async def test_an_unknown_fate_is_not_repeated_if_so_asked(wire, serve, desk, emulator):
    emulator.script({"cut": "after", "target": "t"})
    await serve(transport=wire)
    await desk.add(message={"token": "t"}, on_unknown="give_up")
    [outcome] = await desk.outcomes()
    assert (outcome["status"], outcome["code"], outcome["attempts"]) == ("failed", "unknown-fate", 1)
    assert outcome["possible_duplicate"] is True
    [letter] = await desk.dead()
    assert letter["on_unknown"] == "give_up"
    assert len(emulator.arrivals()) == 1


async def test_retries_are_used_up_and_leave_a_dead_letter_to_replay(wire, serve, desk, emulator):
    emulator.script({"error": "UNAVAILABLE", "retry_after": 0})
    await serve(transport=wire, max_attempts=3)
    await desk.add(message={"data": {"n": "1"}}, tokens='["a", "b"]', id="job", lane="bulk")
    outcomes = await desk.outcomes(2)
    assert {(o["status"], o["code"], o["attempts"]) for o in outcomes} == {
        ("failed", "server-unavailable", 3)
    }
    [letter] = await desk.dead()
    assert (letter["lane"], letter["tokens"], letter["id"]) == ("bulk", '["a","b"]', "job")
    assert letter["history"].count('"http_status":503') == 3
    assert "_state" in letter  # what a replay goes on from

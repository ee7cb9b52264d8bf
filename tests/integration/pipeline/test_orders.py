"""What operators order is obeyed by running workers within a second, and undone when they say so."""

import asyncio
import json

import pytest

from dispatcher.model import Target
from dispatcher.queue.store import Queue

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def orders(server):
    queue = Queue.at(server.url, consumer="operator")
    yield queue
    await queue.aclose()


async def serving(desk, serve, **settings):
    """A worker that has begun, and has looked at the control hash."""
    worker = await serve(**settings)
    await desk.add(message={"token": "warm-up", "data": {"a": "1"}})
    await desk.until(desk.recorded)
    return worker


async def obeyed():
    """As long as the promise: every replica knows within a second."""
    await asyncio.sleep(1.0)


async def statuses(desk):
    return {outcome["job"]: outcome["status"] for outcome in await desk.recorded()}


def token(number):
    return {"token": f"t{number}", "data": {"a": "1"}}


async def test_a_stopped_project_sends_nothing_until_it_is_resumed(desk, serve, orders, emulator):
    await serving(desk, serve)
    assert await orders.stop(desk.project, "project", "all")
    assert not await orders.stop(desk.project, "project", "all")
    await obeyed()
    await desk.add_many("normal", [token(n) for n in range(10)])
    await asyncio.sleep(0.5)
    assert len(emulator.arrivals()) == 1
    assert await orders.resume(desk.project, "project")
    assert not await orders.resume(desk.project, "project")
    await desk.until(lambda: len(emulator.arrivals()) == 11)


async def test_what_waits_in_a_worker_is_put_back_when_its_project_stops(desk, serve, orders, emulator):
    await serving(desk, serve, quota_per_minute=60)
    await desk.add_many("normal", [token(n) for n in range(20)])
    await desk.until(desk.pending)
    await orders.stop(desk.project, "project", "all")

    async def nothing_held():
        return await desk.pending() == 0

    await desk.until(nothing_held)
    arrived = len(emulator.arrivals())
    assert await desk.backlog() == 21 - arrived
    await asyncio.sleep(0.7)
    assert len(emulator.arrivals()) == arrived


async def _lane_paused(worker) -> bool:
    return await worker.face.metric("lane_paused", lane="bulk") == 1


async def _lane_goes_on(worker) -> bool:
    return await worker.face.metric("lane_paused") == 0


async def test_a_stopped_lane_stands_still_and_the_others_go_on(desk, serve, orders, emulator):
    worker = await serving(desk, serve)
    await orders.stop(desk.project, "lane:bulk", "lane bulk")
    await desk.until(lambda: _lane_paused(worker))
    await obeyed()
    for lane in ("bulk", "normal"):
        await desk.add(lane, {"topic": lane})
    # One that was read before, and comes back over `due`.
    state = {"id": f"{int(await desk.now() * 1000)}-0", "lane": "bulk", "at": await desk.now()}
    await desk.redis.xadd(desk.key("jobs:due"), {"message": '{"topic":"again"}', "_state": json.dumps(state)})
    await desk.until(lambda: parked(desk))
    await desk.until(lambda: "topic:normal" in emulator.counts())
    assert await desk.redis.xlen(desk.key("jobs:bulk")) == 1
    assert not {"topic:bulk", "topic:again"} & set(emulator.counts())
    ((due, _),) = await parked(desk)
    assert due > await desk.now() + 80_000  # it expires in its time all the same
    await orders.resume(desk.project, "lane:bulk")
    await desk.until(lambda: _lane_goes_on(worker))
    await desk.until(lambda: {"topic:bulk", "topic:again"} <= set(emulator.counts()))
    assert "held" not in await desk.control()


async def parked(desk):
    rows = await desk.redis.zrange(desk.key("delayed"), 0, -1, withscores=True)
    return [(score / 1000, await desk.redis.hget(desk.key("delayed:jobs"), member)) for member, score in rows]


async def test_a_stopped_target_is_held_without_end_also_within_a_multicast(desk, serve, orders, emulator):
    await serving(desk, serve)
    key = Target("token", "t1").key
    await orders.stop(desk.project, f"target:{key}", "token t1")
    await obeyed()
    await desk.add(message={"data": {"a": "1"}}, tokens='["t0","t1","t2"]', id="many")
    await desk.add(message=token(1), id="one")

    async def both_wait():
        return len(await parked(desk)) == 2

    await desk.until(both_wait)
    assert set(emulator.counts()) == {"token:warm-up", "token:t0", "token:t2"}
    assert all(fields.startswith(b"Ptarget:" + key.encode()) for _, fields in await parked(desk))
    await orders.resume(desk.project, f"target:{key}")
    await desk.until(lambda: emulator.counts().get("token:t1") == 2)

    async def index_of_the_held_one():
        return [
            o["index"] for o in await desk.recorded() if o["job"] == "many" and o["target"]["token"] == "t1"
        ]

    assert await desk.until(index_of_the_held_one) == [1]


async def test_a_cancelled_campaign_ends_unsent_also_what_is_scheduled(desk, serve, orders, emulator):
    await serving(desk, serve)
    soon = await desk.now() + 1.5
    await desk.add(message=token(1), campaign="spring", id="scheduled", deliver_at=f"{soon:.3f}")
    await desk.until(desk.delayed)
    await orders.cancel(desk.project, "campaign", "spring")
    await obeyed()
    await desk.add(message=token(2), campaign="spring", id="new")
    await desk.add(message=token(3), campaign="autumn", id="other")

    async def all_settled():
        return {"scheduled", "new", "other"} <= set(await statuses(desk))

    await desk.until(all_settled)
    found = await statuses(desk)
    assert (found["scheduled"], found["new"], found["other"]) == ("cancelled", "cancelled", "accepted")
    assert await desk.dead() == []
    reason = next(o["reason"] for o in await desk.recorded() if o["job"] == "new")
    assert reason == "cancelled with campaign spring"
    assert await orders.undo_cancel(desk.project, "campaign", "spring")
    await obeyed()
    await desk.add(message=token(4), campaign="spring", id="again")

    async def sent():
        return (await statuses(desk)).get("again") == "accepted"

    await desk.until(sent)


async def test_cancelling_a_lane_ends_what_is_in_it_and_nothing_later(desk, serve, orders, emulator):
    ids = [await desk.add("bulk", token(n)) for n in range(5)]
    await orders.cancel(desk.project, "lane", "bulk")
    later = await desk.add("bulk", token(9))
    other = "other"
    await desk.add("normal", token(8), id=other)  # entry ids are unique within a lane only
    await serve()

    async def all_settled():
        return len(await statuses(desk)) == 7

    await desk.until(all_settled)
    found = await statuses(desk)
    assert {found[entry_id] for entry_id in ids} == {"cancelled"}
    assert (found[later], found[other]) == ("accepted", "accepted")
    assert set(emulator.counts()) == {"token:t9", "token:t8"}


async def test_a_job_is_cancelled_by_its_own_id_or_by_its_entry(desk, serve, orders, emulator):
    await desk.add(message=token(1), id="mine", dedup_key="k")
    entry = await desk.add(message=token(2))
    await orders.cancel(desk.project, "id", "mine")
    await orders.cancel(desk.project, "id", entry)
    await desk.add(message=token(3), dedup_key="k", id="after")
    await serve()
    found = {o["job"]: o for o in await desk.outcomes(3)}
    assert [found[job]["status"] for job in ("mine", entry, "after")] == [
        "cancelled",
        "cancelled",
        "accepted",
    ]


async def test_a_full_redis_can_be_stopped_and_cancelled(desk, orders):
    await desk.add(message=token(1))
    await desk.redis.config_set("maxmemory", 1)
    try:
        assert await orders.stop(desk.project, "project", "all")
        await orders.cancel(desk.project, "lane", "normal")
        assert await orders.resume(desk.project, "project")
    finally:
        await desk.redis.config_set("maxmemory", 0)


async def test_a_job_parked_just_after_its_stop_was_lifted_is_due_at_once(desk, serve, orders, emulator):
    """A worker may act on what it knew a second ago."""
    await serving(desk, serve)
    await orders.stop(desk.project, "lane:bulk", "lane bulk")
    await obeyed()
    await orders.resume(desk.project, "lane:bulk")
    state = {"id": f"{int(await desk.now() * 1000)}-0", "lane": "bulk", "at": await desk.now()}
    await desk.redis.xadd(desk.key("jobs:due"), {"message": '{"topic":"again"}', "_state": json.dumps(state)})
    await desk.until(lambda: "topic:again" in emulator.counts())

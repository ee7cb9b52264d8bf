from __future__ import annotations

import pytest

P = "p"
LANE = f"fcm:{{{P}}}:jobs:normal"


async def deliveries(redis_client):
    rows = await redis_client.xpending_range(LANE, "dispatcher", "-", "+", 10_000)
    return {r["message_id"].decode(): (r["consumer"].decode(), r["times_delivered"]) for r in rows}


@pytest.fixture
async def dead(new_queue):
    """A worker that read six entries and died."""
    worker = new_queue("dead")
    await worker.acquire(P, 1, 30)
    worker.ids = await worker.enqueue(P, "normal", [["message", str(n)] for n in range(6)])
    await worker.read(P, "normal", 6)
    return worker


@pytest.fixture
async def alive(queue):
    await queue.acquire(P, 5, 30)
    return queue


async def die(redis_client, consumer="dead"):
    await redis_client.delete(f"fcm:{{{P}}}:lease:{consumer}")


async def test_nobody_with_a_lease_is_an_orphan(dead, alive):
    assert await alive.orphans(P) == []
    assert (await alive.reclaim(P, "normal", "dead", 5)).entries == []


async def test_orphans_are_found_by_their_missing_lease(dead, alive, redis_client):
    await die(redis_client)
    [orphans] = await alive.orphans(P)
    assert (orphans.stream, orphans.owner, orphans.pending) == ("normal", "dead", 6)


async def test_what_is_reclaimed_counts_one_more_delivery_and_is_mine(dead, alive, redis_client):
    await die(redis_client)
    taken = await alive.reclaim(P, "normal", "dead", 5)
    assert [i for i, _ in taken.entries] == dead.ids
    assert (taken.crashes, taken.more) == (1, False)
    assert await deliveries(redis_client) == dict.fromkeys(dead.ids, ("me", 2))
    assert taken.entries[0][1] == [b"message", b"0"]


async def test_a_worker_without_its_own_lease_reclaims_nothing(dead, alive, redis_client):
    await die(redis_client)
    assert (await alive.reclaim(P, "normal", "dead", 4)).entries == []
    await die(redis_client, "me")
    assert (await alive.reclaim(P, "normal", "dead", 5)).entries == []


async def test_suspects_are_tried_in_ever_smaller_groups(dead, alive, redis_client):
    await die(redis_client)

    async def crashed(n, count):
        for i in dead.ids[:n]:
            await redis_client.xclaim(LANE, "dispatcher", "dead", 0, [i], retrycount=count, justid=True)

    await crashed(6, 2)
    taken = await alive.reclaim(P, "normal", "dead", 5)
    assert (len(taken.entries), taken.crashes, taken.more) == (5, 2, True)
    assert len((await alive.reclaim(P, "normal", "dead", 5)).entries) == 1
    await crashed(6, 3)
    for _ in range(6):
        taken = await alive.reclaim(P, "normal", "dead", 5)
        assert (len(taken.entries), taken.crashes) == (1, 3)
    await crashed(6, 9)
    assert (await alive.reclaim(P, "normal", "dead", 5)).crashes == 9


async def test_the_innocent_are_taken_before_the_suspects(dead, alive, redis_client):
    await die(redis_client)
    await redis_client.xclaim(LANE, "dispatcher", "dead", 0, dead.ids[:1], retrycount=3, justid=True)
    taken = await alive.reclaim(P, "normal", "dead", 5)
    assert ([i for i, _ in taken.entries], taken.crashes, taken.more) == (dead.ids[1:], 1, True)
    taken = await alive.reclaim(P, "normal", "dead", 5)
    assert ([i for i, _ in taken.entries], taken.crashes, taken.more) == (dead.ids[:1], 3, False)


async def test_fifty_first_suspects_are_tried_together(new_queue, alive, redis_client):
    worker = new_queue("dead")
    await worker.enqueue(P, "normal", [["message", "1"]] * 120)
    await worker.read(P, "normal", 120)
    sizes = [len((await alive.reclaim(P, "normal", "dead", 5)).entries) for _ in range(4)]
    assert sizes == [50, 50, 20, 0]


async def test_entries_deleted_by_hand_are_cleared_from_the_pending_list(dead, alive, redis_client):
    await die(redis_client)
    await redis_client.xdel(LANE, dead.ids[0])
    taken = await alive.reclaim(P, "normal", "dead", 5)
    assert [i for i, _ in taken.entries] == dead.ids[1:]
    assert dead.ids[0] not in await deliveries(redis_client)


async def test_what_was_handed_back_unsent_is_no_crash(dead, alive, redis_client):
    assert await dead.release(P, "normal", dead.ids) == 6
    assert await dead.leave(P, 1)
    assert [(o.owner, o.pending) for o in await alive.orphans(P)] == [("released", 6)]
    taken = await alive.reclaim(P, "normal", "released", 5)
    assert (len(taken.entries), taken.crashes) == (6, 0)
    assert set((await deliveries(redis_client)).values()) == {("me", 1)}


async def test_only_own_entries_can_be_handed_back(dead, alive, redis_client):
    assert await alive.release(P, "normal", dead.ids) == 0
    assert set((await deliveries(redis_client)).values()) == {("dead", 1)}


async def test_leaving_keeps_the_consumer_while_something_is_pending(dead, redis_client):
    assert not await dead.leave(P, 1)
    assert len(await deliveries(redis_client)) == 6
    assert await redis_client.exists(f"fcm:{{{P}}}:lease:dead") == 0
    await dead.release(P, "normal", dead.ids)
    assert await dead.leave(P, 1)
    names = [c["name"] for c in await redis_client.xinfo_consumers(LANE, "dispatcher")]
    assert names == [b"released"]


async def test_leaving_drops_no_lease_of_another_epoch(alive, redis_client):
    await alive.leave(P, 4)
    assert await redis_client.get(f"fcm:{{{P}}}:lease:me") == b"5"


async def test_the_dead_are_forgotten_once_nothing_is_pending(dead, alive, redis_client):
    await die(redis_client)
    assert await alive.forget_dead(P) == 0
    await alive.reclaim(P, "normal", "dead", 5)
    assert await alive.forget_dead(P) == 1
    names = [c["name"] for c in await redis_client.xinfo_consumers(LANE, "dispatcher")]
    assert names == [b"me"]


async def test_renewing_tells_which_leases_were_lost(alive, redis_client):
    await alive.acquire("q", 5, 30)
    await die(redis_client, "me")
    assert (await alive.renew([P, "q"], 60)).lost == {P}
    assert 59_000 < await redis_client.pttl("fcm:{q}:lease:me") <= 60_000


async def test_pending_entries_are_counted_over_pages(new_queue):
    worker = new_queue("w")
    ids = await worker.enqueue(P, "normal", [["message", "1"]] * 2300)
    assert await worker.pending_mine(P, "normal") == {}
    await worker.read(P, "normal", 2300)
    assert await worker.pending_mine(P, "normal") == dict.fromkeys(ids, 1)


async def test_adopting_fetches_without_counting_a_delivery(dead, alive, redis_client):
    taken = await dead.adopt(P, "normal", 1, dead.ids[:2])
    assert taken == [(dead.ids[0], [b"message", b"0"], 0), (dead.ids[1], [b"message", b"1"], 0)]
    assert set((await deliveries(redis_client)).values()) == {("dead", 1)}


async def test_only_own_entries_under_the_own_lease_can_be_adopted(dead, alive):
    assert await alive.adopt(P, "normal", 5, dead.ids) == []
    assert await dead.adopt(P, "normal", 9, dead.ids) == []


async def test_still_mine_are_those_nobody_took(dead, alive, redis_client):
    await die(redis_client)
    await redis_client.execute_command("XCLAIM", LANE, "dispatcher", "me", 0, dead.ids[0])
    assert await dead.still_mine(P, "normal", dead.ids[:3]) == set(dead.ids[1:3])


async def test_projects_without_streams_are_no_error(alive):
    assert await alive.orphans("nothing") == []
    assert await alive.forget_dead("nothing") == 0
    assert await alive.leave("nothing", 1)

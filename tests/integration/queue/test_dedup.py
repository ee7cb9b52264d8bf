from __future__ import annotations

P = "p"


async def test_the_first_wins_and_a_later_one_learns_whom_it_repeats(queue):
    assert await queue.first_sight(P, [("k", "1-0"), ("l", "1-1"), ("k", "1-2")], 60) == [None, None, "1-0"]
    assert await queue.first_sight(P, [("l", "9-9")], 60) == ["1-1"]


async def test_a_job_is_no_duplicate_of_itself(queue):
    for _ in range(2):
        assert await queue.first_sight(P, [("k", "1-0")], 60) == [None]


async def test_a_key_is_held_for_the_window(queue, redis_client):
    await queue.first_sight(P, [("k", "1-0")], 60)
    assert 59_000 < await redis_client.pttl(f"fcm:{{{P}}}:dedup:k") <= 60_000


async def test_a_full_redis_still_tells_duplicates(queue, redis_client):
    await redis_client.config_set("maxmemory", 1)
    assert await queue.first_sight(P, [("k", "1-0")], 60) == [None]
    assert await queue.first_sight(P, [("k", "2-0")], 60) == ["1-0"]


async def test_thousands_of_keys_are_split_over_calls(queue):
    keys = [(f"k{n}", f"{n}-0") for n in range(2500)]
    assert await queue.first_sight(P, keys, 60) == [None] * 2500
    assert await queue.first_sight(P, [(k, "x") for k, _ in keys], 60) == [origin for _, origin in keys]

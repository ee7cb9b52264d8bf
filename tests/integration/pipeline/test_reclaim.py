"""What dead workers left: taken over, suspects of poison in ever smaller company."""

from pathlib import Path


async def left_behind(desk, deaths: int, *tokens: str, stream: str = "normal") -> list[str]:
    """Jobs that a worker which is dead now held, and that were present at so many deaths."""
    key = desk.key(f"jobs:{stream}")
    ids = [await desk.add(stream, {"token": token}, id=token) for token in tokens]
    await desk.redis.xgroup_create(key, "dispatcher", "0")
    await desk.redis.xreadgroup("dispatcher", "dead", {key: ">"})
    await desk.redis.xclaim(key, "dispatcher", "dead", 0, ids, retrycount=deaths, justid=True)
    return ids


async def owner(desk, entry_id: str, stream: str = "normal") -> str:
    found = await desk.redis.xpending_range(
        desk.key(f"jobs:{stream}"), "dispatcher", entry_id, entry_id, count=1
    )
    return found[0]["consumer"].decode() if found else ""


async def test_a_job_that_was_present_at_six_deaths_is_poison(serve, desk, emulator):
    await left_behind(desk, 6, "killer")
    await serve(lease_s=1)
    await desk.add(message={"token": "good"}, id="good")
    outcomes = {o["job"]: o for o in await desk.outcomes(2)}
    assert outcomes["good"]["status"] == "accepted"
    assert (outcomes["killer"]["status"], outcomes["killer"]["code"]) == ("failed", "poison")
    assert [job for job, outcome in outcomes.items() if outcome.get("possible_duplicate")] == ["killer"]
    assert [a["target"] for a in emulator.arrivals()] == ["good"]
    [letter] = await desk.dead()
    assert (letter["code"], letter["id"], letter["message"]) == ("poison", "killer", '{"token": "killer"}')


async def test_suspects_that_do_nothing_are_sent_after_all(serve, desk, emulator):
    await left_behind(desk, 1, *(f"t-{n}" for n in range(120)))
    await serve(lease_s=1)
    outcomes = await desk.outcomes(120)
    assert {(o["status"], o["attempts"]) for o in outcomes} == {("accepted", 1)}
    # Whether the dead one had sent them nobody knows.
    assert all(o["possible_duplicate"] for o in outcomes)
    requests: dict[int, int] = {}
    for arrival in emulator.arrivals():
        requests[arrival["request"]] = requests.get(arrival["request"], 0) + 1
    assert max(requests.values()) <= 50


async def test_a_project_that_is_slow_keeps_no_other_waiting_for_what_its_dead_worker_held(
    serve, desk, emulator, tmp_path
):
    config = tmp_path / "config.toml"
    config.write_text('[projects."demo-orchard-41"]\nquota_per_minute = 60\n')
    other = type(desk)(desk.redis, "second-42")
    await left_behind(desk, 1, *(f"t-{n}" for n in range(120)))
    await left_behind(other, 1, *(f"t-{n}" for n in range(120)))
    folder = Path(emulator.credentials["second-42"]).parent
    await serve(config=config, credentials=folder, lease_s=1)
    await other.outcomes(120)
    assert len(await desk.recorded()) < 120


async def test_suspects_of_three_deaths_in_two_projects_have_their_turns(serve, desk, emulator):
    other = type(desk)(desk.redis, "second-42")
    await left_behind(desk, 3, "a", "b")
    await left_behind(other, 4, "c", "d")
    await serve(credentials=Path(emulator.credentials["second-42"]).parent, lease_s=1)
    await desk.outcomes(2)
    await other.outcomes(2)
    assert len({arrival["request"] for arrival in emulator.arrivals()}) == 4


async def test_a_suspect_of_three_deaths_is_alone_even_if_the_lease_lapses_while_it_waits(
    serve, desk, emulator
):
    emulator.script({"target": "slow", "delay": 3})
    [suspect] = await left_behind(desk, 3, "suspect", stream="bulk")
    await desk.add(message={"token": "slow"})
    await serve(lease_s=1)
    await desk.until(lambda: _taken_over(desk, suspect))
    assert [a["target"] for a in await desk.until(emulator.arrivals)] == ["slow"]
    # A lapse asks for reconciliation, which must not find the suspect forgotten and send it at once.
    [lease] = [key async for key in desk.redis.scan_iter(desk.key("lease:*"))]
    await desk.redis.delete(lease)
    outcomes = await desk.outcomes(2, within=20)
    settled = {o["target"]["token"]: o["settled_at"] for o in outcomes}
    assert settled["slow"] <= settled["suspect"]
    assert [a["target"] for a in emulator.arrivals()] == ["slow", "suspect"]


async def test_a_suspect_does_not_wait_for_what_a_small_quota_keeps_waiting(serve, desk):
    await left_behind(desk, 3, "suspect", stream="bulk")
    await desk.add_many("normal", [{"token": f"t-{n}"} for n in range(200)])
    await serve(lease_s=1, quota_per_minute=120)
    await desk.until(lambda: _ended(desk, "suspect"), 20)
    # All of them were in this worker, and would have kept it for more than a minute.
    assert len(await desk.recorded()) < 50
    assert await desk.pending() > 0


async def _ended(desk, token: str) -> bool:
    return any(outcome["target"]["token"] == token for outcome in await desk.recorded())


async def test_suspects_of_a_takeover_whose_reply_got_lost_are_tried_apart(serve, desk, emulator):
    await serve(lease_s=1, linger_ms=500)
    await desk.add(message={"token": "a"})
    await desk.outcomes(1)
    [lease] = [key async for key in desk.redis.scan_iter(desk.key("lease:*"))]
    me = lease.decode().rpartition(":lease:")[2]
    script = (
        "for i = 2, #ARGV do local id = redis.call('XADD', KEYS[1], '*', 'message', ARGV[i]) "
        "redis.call('XREADGROUP', 'GROUP', 'dispatcher', ARGV[1], 'COUNT', 1, 'STREAMS', KEYS[1], '>') "
        "redis.call('XCLAIM', KEYS[1], 'dispatcher', ARGV[1], 0, id, 'RETRYCOUNT', 4) end "
        "redis.call('DEL', KEYS[2])"
    )
    suspects = ['{"token":"s1"}', '{"token":"s2"}']
    await desk.redis.eval(script, 2, desk.key("jobs:bulk"), lease, me, *suspects)
    outcomes = {o["target"]["token"]: o for o in await desk.outcomes(3)}
    assert outcomes["s1"]["possible_duplicate"]
    assert outcomes["s2"]["possible_duplicate"]
    assert len({arrival["request"] for arrival in emulator.arrivals()}) == 3


async def test_what_a_failover_took_back_is_settled_again_and_not_sent(serve, desk, emulator):
    """The entry is there again, pending for the worker that has settled it."""
    emulator.script({"target": "t", "delay": 1})
    await serve(lease_s=1)
    await desk.add(message={"token": "t"})
    await desk.until(emulator.arrivals)
    before = await desk.redis.dump(desk.key("jobs:normal"))
    outcomes = await desk.outcomes(1)
    [lease] = [key async for key in desk.redis.scan_iter(desk.key("lease:*"))]
    pipe = desk.redis.pipeline()
    pipe.restore(desk.key("jobs:normal"), 0, before, replace=True)
    pipe.delete(desk.key("outcomes"), lease)
    await pipe.execute()
    assert await desk.outcomes(1) == outcomes
    await desk.until(lambda: _nothing_left(desk))
    assert len(emulator.arrivals()) == 1


async def _nothing_left(desk) -> bool:
    return not await desk.backlog()


async def test_what_a_failover_made_unread_again_is_not_sent_either(serve, desk, emulator):
    await serve(lease_s=1)
    await desk.add(message={"token": "first"})
    await desk.outcomes(1)
    key = desk.key("jobs:bulk")
    # As it is before anybody has read it.
    script = (
        "local id = redis.call('XADD', KEYS[1], '*', 'message', ARGV[1]) return redis.call('DUMP', KEYS[1])"
    )
    before = await desk.redis.eval(script, 1, key, '{"token":"t"}')
    outcomes = await desk.outcomes(2)
    await desk.redis.client_kill_filter(_type="normal", skipme=True)
    await desk.redis.restore(key, 0, before, replace=True)
    found = await desk.outcomes(3)
    assert found[1:] == [outcomes[1]] * 2
    assert [arrival["target"] for arrival in emulator.arrivals()] == ["first", "t"]


async def _taken_over(desk, entry_id: str) -> bool:
    return await owner(desk, entry_id, "bulk") not in ("", "dead")


async def test_a_lapsed_lease_is_taken_again_and_nothing_is_repeated(serve, desk, emulator):
    emulator.script(latency=0.5)
    await serve(lease_s=1, batch_size=5, max_concurrent_requests=2)
    await desk.add_many("normal", [{"token": f"t-{n}"} for n in range(60)])
    await desk.until(desk.recorded)
    [lease] = [key async for key in desk.redis.scan_iter(desk.key("lease:*"))]
    await desk.redis.delete(lease)
    outcomes = await desk.outcomes(60, within=30)
    assert {(o["status"], o["attempts"]) for o in outcomes} == {("accepted", 1)}
    assert len(emulator.arrivals()) == 60


async def test_what_a_read_with_a_lost_reply_left_is_found(serve, desk):
    """Pending for a living worker and unknown to it."""
    await serve(lease_s=1)
    await desk.add(message={"token": "a"})
    await desk.outcomes(1)
    [lease] = [key async for key in desk.redis.scan_iter(desk.key("lease:*"))]
    me = lease.decode().rpartition(":lease:")[2]
    # Read in the worker's name, faster than it can: all lanes at rest are watched by it.
    key = desk.key("jobs:bulk")
    script = (
        "local id = redis.call('XADD', KEYS[1], '*', 'message', ARGV[2]) "
        "redis.call('XREADGROUP', 'GROUP', 'dispatcher', ARGV[1], 'STREAMS', KEYS[1], '>') "
        "redis.call('DEL', KEYS[2]) return id"
    )
    await desk.redis.eval(script, 2, key, lease, me, '{"token":"lost"}')
    outcomes = await desk.outcomes(2)
    assert {o["target"]["token"] for o in outcomes} == {"a", "lost"}


async def test_a_late_acceptance_counts_once_and_is_marked(serve, desk, emulator):
    """The answer comes when the entry is somebody else's already."""
    emulator.script({"target": "t", "delay": 1.5, "times": 1})
    await serve()
    entry = await desk.add(message={"token": "t"})
    await desk.until(emulator.arrivals)
    [lease] = [key async for key in desk.redis.scan_iter(desk.key("lease:*"))]
    await desk.redis.delete(lease)
    await desk.redis.xclaim(desk.key("jobs:normal"), "dispatcher", "another", 0, [entry], justid=True)
    [outcome] = await desk.outcomes(1)
    assert (outcome["status"], outcome["possible_duplicate"]) == ("accepted", True)


async def test_a_late_failure_does_not_count(serve, desk, emulator):
    emulator.script({"target": "t", "delay": 1.5, "times": 1, "error": "UNREGISTERED"})
    worker = await serve(lease_s=2)
    entry = await desk.add(message={"token": "t"})
    await desk.until(emulator.arrivals)
    [lease] = [key async for key in desk.redis.scan_iter(desk.key("lease:*"))]
    await desk.redis.delete(lease)
    await desk.redis.set(desk.key("lease:another"), 1)
    await desk.redis.xclaim(desk.key("jobs:normal"), "dispatcher", "another", 0, [entry], justid=True)
    await desk.until(lambda: _stale(worker))
    assert await desk.recorded() == []
    assert await owner(desk, entry) == "another"
    # Its owner dies: the job is sent again, and now the token is there.
    await desk.redis.delete(desk.key("lease:another"))
    [outcome] = await desk.outcomes(1)
    assert outcome["status"] == "accepted"


async def _stale(worker) -> bool:
    return await worker.face.metric("stale_settlements_total") == 1

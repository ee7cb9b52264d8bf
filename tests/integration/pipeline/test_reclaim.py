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
    assert [a["target"] for a in emulator.arrivals()] == ["good"]
    [letter] = await desk.dead()
    assert (letter["code"], letter["id"], letter["message"]) == ("poison", "killer", '{"token": "killer"}')


async def test_suspects_that_do_nothing_are_sent_after_all(serve, desk, emulator):
    await left_behind(desk, 1, *(f"t-{n}" for n in range(120)))
    await serve(lease_s=1)
    outcomes = await desk.outcomes(120)
    assert {(o["status"], o["attempts"]) for o in outcomes} == {("accepted", 1)}
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
    assert [a["target"] for a in emulator.arrivals()] == ["slow"]
    # A lapse asks for reconciliation, which must not find the suspect forgotten and send it at once.
    [lease] = [key async for key in desk.redis.scan_iter(desk.key("lease:*"))]
    await desk.redis.delete(lease)
    outcomes = await desk.outcomes(2, within=20)
    settled = {o["target"]["token"]: o["settled_at"] for o in outcomes}
    assert settled["slow"] <= settled["suspect"]
    assert [a["target"] for a in emulator.arrivals()] == ["slow", "suspect"]


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

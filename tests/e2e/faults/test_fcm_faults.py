"""FCM refuses, stumbles, lies and falls silent: each message still ends once, and only the unknown is repeated."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

import pytest
from harness.ledger import read_outcomes, repeated_unmarked
from harness.proxy import Fault
from harness.stage import Stage
from harness.waiting import until
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

BATCH = b"POST /batch"
PARTS = 20
"""In a batch, where answers are cut."""

STREAMS = 100
"""Messages under way on an HTTP/2 connection to the emulator, at most."""


@pytest.mark.thorough
async def test_connections_are_refused(stage: Stage, close):
    """Nothing left, so nothing is repeated."""
    worker = await stage.worker(max_attempts=100)
    # Retries are a fifth of the first sends before them at most: enough of those.
    await stage.produce(500)
    await stage.settled()
    await worker.fcm.refuse()
    stage.faults += 1
    await stage.produce(50)
    await until(lambda: refused(worker, 50))
    await worker.fcm.listen()
    await stage.settled()
    found = await close(stage)
    assert (found["sends"], found["duplicates"], found["marked"]) == (550, 0, 0)


@pytest.mark.thorough
@pytest.mark.parametrize("slow", ["headers", "body"])
async def test_an_answer_that_takes_too_long(stage: Stage, close, slow):
    """Its messages are of unknown fate: sent again, and marked."""
    worker = await stage.worker(request_timeout_s=5, topic_timeout_s=5)
    note = stage.noting(worker, "slow answer to")
    action, keep = ("hold reply", 0) if slow == "headers" else ("dribble", 300)
    worker.fcm.inject(Fault(BATCH, action, keep=keep, before=note))  # type: ignore[arg-type]
    await stage.produce(1, tokens=100)
    await stage.settled()
    found = await close(stage)
    assert found["duplicates"] == found["bound"] == 100
    assert found["marked"] == 100


async def test_a_connection_that_went_half_open(stage: Stage, close):
    """The request arrives, and nothing ever comes back on that connection."""
    worker = await stage.worker(request_timeout_s=5)
    worker.fcm.inject(Fault(BATCH, "drop reply", silent=True, before=stage.noting(worker, "half-open for")))
    await stage.produce(1, tokens=100)
    await stage.settled()
    found = await close(stage)
    assert found["duplicates"] == found["marked"] == 100


@pytest.mark.thorough
@pytest.mark.parametrize("direction", ["up", "down"])
async def test_one_direction_is_a_black_hole(stage: Stage, close, direction):
    """Upwards nothing arrived, downwards everything did: the worker cannot know, and repeats once."""
    worker = await stage.worker(request_timeout_s=5)
    hole = Fault(
        BATCH, "drop request" if direction == "up" else "drop reply", silent=True,
        before=stage.noting(worker, f"black hole {direction} for"),
    )  # fmt: skip
    worker.fcm.inject(hole)
    await stage.produce(1, tokens=50)
    await stage.settled()
    found = await close(stage)
    assert found["duplicates"] == (0 if direction == "up" else 50)


async def test_answers_are_cut_anywhere(stage: Stage, close):
    """Hypothesis chooses where, in head and body: parts that came whole are believed, exactly the others repeated."""
    worker = await stage.worker(max_attempts=20, batch_size=PARTS)
    loop = asyncio.get_running_loop()

    @seed(stage.seed)
    @settings(max_examples=6, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(st.lists(st.one_of(st.integers(0, 400), st.integers(0, 5000)), min_size=1, max_size=6))
    def cut_at(places: list[int]) -> None:
        asyncio.run_coroutine_threadsafe(answers_cut_at(stage, worker, places), loop).result()

    await asyncio.to_thread(cut_at)
    found = await close(stage)
    found["measured"] = (
        f"{len(stage.cuts)} answers of {PARTS} parts cut, {found['duplicates']} of "
        f"{PARTS * len(stage.cuts)} messages sent again"
    )
    assert found["duplicates"] == found["marked"]


async def answers_cut_at(stage: Stage, worker, places: list[int]) -> None:
    # Retries are a fifth of the first sends before them at most: enough of those.
    await stage.produce(6 * PARTS * len(places))
    await stage.settled()
    cuts = {}
    for place in places:
        name = stage.new_name()
        # A job that fills a batch, and so is the one job of its request.
        cuts[name] = worker.fcm.inject(
            Fault(
                b'"%b-0:' % name.encode(),
                "cut reply",
                keep=place,
                before=stage.noting(worker, "cut answer of"),
            )
        )
        await stage.produce(1, names=[name], tokens=PARTS, lane="high")
    await stage.settled()
    sends = Counter(row["id"] for row in await stage.emulator.rows())
    for name, fault in cuts.items():
        whole = whole_parts(fault.kept)
        # Of the last part all may have come, or its delimiter without the end of its line.
        assert fault.hits == 1
        assert abs(sends[name] - 2 * PARTS + whole) <= 1, (len(fault.kept), sends[name], whole)


@pytest.mark.thorough
async def test_http2_connections_break_anywhere(make_stage, close):
    """In order or reset, in the midst of frames or of a handshake: what was under way goes again, and is marked."""
    stage: Stage = await make_stage(tls=True)
    worker = await stage.worker(transport="v1-h2", max_attempts=20, max_concurrent_requests=3 * STREAMS)
    # Retries are a fifth of the first sends before them at most: enough of those.
    await stage.produce(2000)
    await stage.settled()
    await stage.emulator.script(latency=0.1)
    before = worker.fcm.accepted
    places = [stage.break_somewhere(worker, worker.fcm, 20_000) for _ in range(3)]
    # For those that are opened instead: none of them gets as far as a request.
    handshakes = [stage.break_somewhere(worker, worker.fcm, 500) for _ in range(2)]
    await stage.produce(1500)
    await until(lambda: all(place.hit.is_set() for place in places), what="all connections broke")
    worker.fcm.clear()
    await stage.settled()
    found = await close(stage)
    assert found["duplicates"] <= 3 * STREAMS
    assert not await repeated_unmarked(stage)
    broken = 3 + sum(place.hit.is_set() for place in handshakes)
    assert worker.fcm.accepted <= before + 3 + broken
    found["measured"] = f"{broken} connections broke, {found['duplicates']} messages sent again"


@pytest.mark.thorough
async def test_an_http2_connection_that_went_half_open(make_stage, close):
    """A PING that nobody answers tells: what was under way goes again, marked, over another connection."""
    stage: Stage = await make_stage(tls=True)
    worker = await stage.worker(transport="v1-h2", request_timeout_s=100)
    await stage.produce(1000)
    await stage.settled()
    await stage.emulator.script(latency=0.1)
    place = stage.half_open_somewhere(worker, worker.fcm, 20_000)
    await stage.produce(1000)
    await until(place.hit.is_set, what="the connection fell silent")
    await stage.settled()
    found = await close(stage)
    assert 0 < found["duplicates"] <= STREAMS
    assert not await repeated_unmarked(stage)


def whole_parts(answer: bytes) -> int:
    """Parts of a multipart answer behind which another delimiter begins."""
    named = re.search(rb"boundary=(\S+)\r\n", answer)
    body = answer.partition(b"\r\n\r\n")[2]
    return max(0, body.count(b"--" + named[1]) - 1) if named else 0


@pytest.mark.thorough
async def test_a_front_end_answers_200_with_html(stage: Stage, close):
    """What it did with the messages nobody knows; they are sent again, and marked."""
    await stage.worker()
    await stage.emulator.script(
        {"per": "request", "wire": "batch", "status": 200, "body": "<html>Welcome</html>", "times": 1}
    )
    await stage.produce(1, tokens=10)
    await stage.settled()
    stage.faults += 1
    found = await close(stage)
    assert (found["sends"], found["duplicates"], found["marked"]) == (10, 0, 10)


async def test_a_storm_of_401_costs_one_refresh(stage: Stage, close):
    """Twenty requests are refused at once because the token was revoked: one new token serves them all."""
    await stage.emulator.script(latency=0.2)
    worker = await stage.worker(batch_size=10, max_concurrent_requests=20)
    await stage.produce(10)
    await stage.settled()
    issued = (await stage.emulator.get("oauth"))["issued"]
    await stage.emulator.put("oauth", revoke=True)
    stage.faults += 1
    await stage.produce(400)
    await stage.settled()
    assert (await stage.emulator.get("oauth"))["issued"] == issued + 1
    await until(lambda: refreshed(worker))
    found = await close(stage)
    assert (found["sends"], found["duplicates"]) == (410, 0)


async def refreshed(worker) -> bool:
    return await worker.counted("credential_refreshes_total", result="ok") == 2


@pytest.mark.thorough
@pytest.mark.parametrize("trouble", [{"delay": 3.0}, {"status": 503, "times": 3}], ids=["slow", "failing"])
async def test_the_token_endpoint_is_in_trouble_at_the_start(stage: Stage, close, trouble):
    """Nothing is sent without a token, and nothing is lost."""
    await stage.emulator.script({"per": "request", "wire": "oauth", **trouble})
    await stage.produce(50)
    stage.faults += 1
    await stage.worker()
    if "status" in trouble:
        await until(lambda: rule_fired(stage, 1))
        # A project whose credentials fail is paused for a minute; an operator would say: go on.
        await stage.emulator.script()
        await until(lambda: resumed(stage), 30)
    await stage.settled()
    found = await close(stage)
    assert (found["sends"], found["duplicates"]) == (50, 0)


async def resumed(stage: Stage) -> bool:
    """Nothing is paused; where the project is, its pause is brought forward (harness, not product)."""
    client = stage.redis.client
    key = stage.keys.control(stage.projects[0])
    if not await client.hexists(key, "pause:until"):
        return not await stage.waiting()
    await client.hset(key, "pause:until", 1)
    delayed_key = stage.keys.delayed(stage.projects[0])
    for member in await client.zrange(delayed_key, 0, -1):
        await client.zadd(delayed_key, {member: 1}, xx=True)
    return False


async def rule_fired(stage: Stage, times: int) -> bool:
    return (await stage.emulator.get("faults"))["rules"][0]["fired"] >= times


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("retry_after", "form", "least"),
    [(2, "seconds", 2.0), (3, "date", 1.5), (0, "seconds", 0.0), (10**9, "seconds", None)],
    ids=["seconds", "date", "past", "absurd"],
)
async def test_a_storm_of_429_with_every_form_of_retry_after(stage: Stage, close, retry_after, form, least):
    """Each device waits as long as it was told, at least; what would outlive its expiry ends as expired."""
    await stage.worker()
    rule = {
        "error": "QUOTA_EXCEEDED_DEVICE",
        "retry_after": retry_after,
        "retry_after_form": form,
        "times": 40,
    }
    await stage.emulator.script({"prefix": "m", **rule})
    stage.faults += 40
    await stage.produce(40, may=["accepted"] if least is not None else ["expired"])
    await stage.settled()
    found = await close(stage)
    if least is None:
        assert found["sends"] == 40
        return
    rows = await stage.emulator.rows()
    first = {row["target"]: row["time"] for row in reversed(rows) if row["status"] == 429}
    gaps = [
        row["time"] - first[row["target"]] for row in rows if row["status"] == 200 and row["target"] in first
    ]
    assert len(gaps) == 40
    assert min(gaps) >= least
    assert found["duplicates"] == 0


@pytest.mark.thorough
async def test_a_brownout_and_the_recovery_from_it(stage: Stage, close):
    """A third of the answers is 503 for a while: retried with backoff, within the budget, nothing given up."""
    await stage.worker(max_attempts=20)
    await stage.produce(2000)
    await stage.settled()
    await stage.emulator.script({"error": "UNAVAILABLE", "rate": 0.3, "times": 200}, seed=stage.seed)
    stage.faults += 1
    await stage.produce(1500)
    await stage.settled(90)
    found = await close(stage)
    assert found["duplicates"] == 0


@pytest.mark.thorough
async def test_a_topic_that_answers_after_29_seconds(stage: Stage, close):
    """Its own timeout lets it; meanwhile tokens are sent as ever."""
    await stage.worker()
    await stage.emulator.script({"kind": "topic", "delay": 29.0})
    stage.faults += 1
    key = stage.keys.stream(stage.projects[0], "normal")
    fields = {"id": "to-topic", "message": '{"topic":"news","data":{"id":"to-topic"}}'}
    await stage.redis.client.xadd(key, fields)
    stage.expect_message("to-topic", "news")
    await until(stage.emulator.arrived)
    await stage.produce(300)
    await until(lambda: outcomes_are(stage, 300))
    await stage.settled(60)
    found = await close(stage)
    assert (found["sends"], found["duplicates"]) == (301, 0)


async def outcomes_are(stage: Stage, count: int) -> bool:
    return len(await read_outcomes(stage)) >= count


async def refused(worker, count: int) -> bool:
    return await worker.counted("retries_total") >= count

"""DeadLetters lists, puts back and removes, and a letter never becomes two jobs."""

import asyncio
import json

import pytest

from dispatcher.client import DeadFilter, DeadLetters, Producer
from dispatcher.errors import QueueFull
from dispatcher.model import Attempt, Job, JobState, Status
from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.protocol.letter import encode_letter

PROJECT = "demo-orchard-41"
DEAD = f"fcm:{{{PROJECT}}}:dead"
LIMITS = DecodeLimits()


@pytest.fixture
async def dead(redis_server, redis_client):
    async with DeadLetters.at(redis_server.url) as made:
        yield made


async def die(
    client, *, entry="*", lane="normal", status=Status.FAILED, code="server-unavailable", state=None, **fields
):
    """A letter as a worker leaves it, for every target of the job."""
    fields = {"message": '{"token":"t1"}', **fields}
    if state is not None:
        fields["_state"] = state
    flat = [text.encode() for pair in fields.items() for text in pair]
    job: Job = decode_entry(PROJECT, lane, "1700000000000-5", flat, LIMITS)
    letter = encode_letter(
        job,
        list(range(max(1, len(job.values)))),
        status=status,
        code=code,
        reason="because",
        history=[Attempt(1700000001.5, 503, code)],
        died_at=1700000002.0,
        duplicate=False,
    )
    return (await client.execute_command("XADD", DEAD, entry, *letter)).decode()


async def jobs(client, lane="normal"):
    entries = await client.xrange(f"fcm:{{{PROJECT}}}:jobs:{lane}")
    return [
        decode_entry(PROJECT, lane, i.decode(), [x for pair in f.items() for x in pair], LIMITS)
        for i, f in entries
    ]


async def listed(dead, *arguments, **options):
    return [letter async for letter in dead.letters(PROJECT, *arguments, **options)]


async def test_a_letter_says_what_died_and_why(dead, redis_client):
    entry = await die(redis_client, lane="high", campaign="spring", attributes='{"user":7}')
    (letter,) = await listed(dead)
    assert (letter.entry_id, letter.project, letter.job) == (entry, PROJECT, "1700000000000-5")
    assert (letter.status, letter.code, letter.reason) == ("failed", "server-unavailable", "because")
    assert (letter.lane, letter.died_at, letter.replay) == ("high", 1700000002.0, 0)
    assert [(t.kind, t.value) for t in letter.targets] == [("token", "t1")]
    assert letter.history == [Attempt(1700000001.5, 503, "server-unavailable")]
    assert letter.texts() == {"message": '{"token":"t1"}', "campaign": "spring", "attributes": '{"user":7}'}
    assert await dead.get(PROJECT, entry) == letter
    assert await dead.get(PROJECT, "1-1") is None
    assert await dead.projects() == [PROJECT]


async def test_a_replay_is_a_new_run_of_the_same_job(dead, redis_client):
    await die(redis_client, lane="bulk", id="order-9")
    done = await dead.replay(PROJECT)
    assert (done.jobs, done.messages, done.expired, done.gone) == (1, 1, 0, 0)
    assert await redis_client.xlen(DEAD) == 0
    (job,) = await jobs(redis_client, "bulk")
    assert (job.refusal, job.id, job.origin_id, job.lane) == (None, "order-9", "1700000000000-5", "bulk")
    assert (job.state.replay, job.state.sends, job.state.counted) == (1, 0, 0)
    assert job.state.history == [Attempt(1700000001.5, 503, "server-unavailable")]
    seconds, _ = await redis_client.time()
    assert job.expires_at == pytest.approx(seconds + 86_400, abs=5)


async def test_the_places_of_dead_tokens_survive_two_replays(dead, redis_client):
    state = json.dumps({"id": "5-0", "lane": "normal", "at": 1.0, "places": [7, 9], "replay": 1})
    await die(redis_client, message="{}", tokens='["g","i"]', state=state)
    assert (await dead.replay(PROJECT)).messages == 2
    (job,) = await jobs(redis_client)
    assert (job.values, job.state.places, job.state.replay, job.id) == (["g", "i"], [7, 9], 2, "5-0")


async def test_a_letter_is_replayed_once_however_many_try(dead, redis_client, redis_server):
    for number in range(450):
        await die(redis_client, message=json.dumps({"token": f"t{number}"}))
    async with DeadLetters.at(redis_server.url) as rival:
        both = await asyncio.gather(dead.replay(PROJECT), rival.replay(PROJECT))
    assert sum(done.jobs for done in both) == 450
    assert sorted(job.values[0] for job in await jobs(redis_client)) == sorted(f"t{n}" for n in range(450))
    assert (await dead.replay(PROJECT)).jobs == 0


async def test_filters(dead, redis_client):
    await die(redis_client, entry="1000-0", code="internal-error")
    await die(redis_client, entry="2000-0", status=Status.REJECTED, code="invalid-payload", id="mine")
    fresh = await die(redis_client, message="{}", tokens='["a","b"]', campaign="spring")
    topic = await die(redis_client, message='{"topic":"news"}')

    async def found(**chosen):
        return [letter.entry_id for letter in await listed(dead, DeadFilter(**chosen))]

    assert await found() == ["1000-0", "2000-0", fresh, topic]
    assert await found(code="internal-error") == ["1000-0"]
    assert await found(status="rejected") == ["2000-0"]
    assert await found(job="mine") == ["2000-0"]
    assert await found(campaign="spring") == await found(target="b") == [fresh]
    assert await found(target="news") == [topic]
    assert await found(younger_than_s=3600) == [fresh, topic]
    assert await found(older_than_s=3600) == ["1000-0", "2000-0"]
    assert await found(younger_than_s=10**11) == await found()
    assert await found(older_than_s=3600, code="invalid-payload") == ["2000-0"]
    assert await found(until="2000-0") == ["1000-0", "2000-0"]
    counted = await dead.count(PROJECT, DeadFilter(younger_than_s=3600))
    assert (counted.letters, counted.messages, counted.last) == (2, 3, topic)
    assert counted.codes == {("failed", "server-unavailable"): 3}
    assert [x.entry_id for x in await listed(dead, after="1000-0", limit=2)] == ["2000-0", fresh]


async def test_by_id_and_by_number(dead, redis_client):
    ids = [await die(redis_client) for _ in range(4)]
    assert (await dead.replay(PROJECT, [ids[2], ids[2], "1-1"])).gone == 1
    assert (await dead.replay(PROJECT, limit=2)).jobs == 2
    assert [x.entry_id for x in await listed(dead)] == [ids[3]]
    assert await dead.purge(PROJECT, ids) == 1
    for wrong in ("", "12", "a-b", "-"):
        with pytest.raises(ValueError, match="no id of a dead letter"):
            await dead.replay(PROJECT, [wrong])
    with pytest.raises(ValueError, match="no id"):
        await dead.get(PROJECT, "x")


async def test_what_has_expired_stays_unless_it_gets_a_new_end(dead, redis_client):
    await die(redis_client, expires_at="1700000001")
    assert (await dead.replay(PROJECT)).expired == 1
    with pytest.raises(ValueError, match="which is over"):
        await dead.replay(PROJECT, expires_at=5.0)
    assert (await dead.replay(PROJECT, expires_at=4102444800.25)).jobs == 1
    ((_, fields),) = await redis_client.xrange(f"fcm:{{{PROJECT}}}:jobs:normal")
    assert fields[b"expires_at"] == b"4102444800.250"


async def test_what_dies_again_meanwhile_is_left_alone(dead, redis_client):
    for _ in range(3):
        await die(redis_client)
    seen = []
    async for letter in dead.letters(PROJECT):
        seen.append(letter)
        await die(redis_client)
    assert len(seen) == 3


async def test_purging_removes_for_good(dead, redis_client):
    for number in range(450):
        await die(redis_client, code="a" if number % 2 else "b")
    told = []
    assert await dead.purge(PROJECT, DeadFilter(code="a"), progress=told.append) == 225
    assert told[-1] == 225
    assert (await dead.count(PROJECT)).codes == {("failed", "b"): 225}
    assert await redis_client.xlen(f"fcm:{{{PROJECT}}}:jobs:normal") == 0


async def test_a_full_redis_keeps_its_letters(dead, redis_client):
    await die(redis_client)
    await redis_client.config_set("maxmemory", 1)
    with pytest.raises(QueueFull):
        await dead.replay(PROJECT)
    assert await redis_client.xlen(DEAD) == 1


async def test_a_lane_that_is_no_stream_keeps_the_letter(dead, redis_client):
    await die(redis_client)
    await redis_client.set(f"fcm:{{{PROJECT}}}:jobs:normal", "x")
    with pytest.raises(Exception, match="WRONGTYPE"):
        await dead.replay(PROJECT)
    assert await redis_client.xlen(DEAD) == 1


async def test_a_letter_that_nobody_of_ours_wrote_can_be_seen_and_removed(dead, redis_client):
    await redis_client.xadd(DEAD, {"x": b"\xff", "tokens": "17", "history": "no"}, id="7-0")
    (letter,) = await listed(dead)
    assert (letter.job, letter.code, letter.targets, letter.history) == ("7-0", "", [], [])
    assert letter.texts() == {"x": "\N{REPLACEMENT CHARACTER}", "tokens": "17"}
    assert await dead.purge(PROJECT) == 1


async def test_a_replay_keeps_its_dedup_key_and_its_options(dead, redis_client, redis_server):
    async with Producer.at(redis_server.url) as producer:
        await producer.send(PROJECT, {"token": "t1"}, dedup_key="k", campaign="spring", attributes=[1])
    (job,) = await jobs(redis_client)
    flat = [x.decode() for x in job.fields]
    await redis_client.xtrim(f"fcm:{{{PROJECT}}}:jobs:normal", maxlen=0)
    await die(redis_client, **dict(zip(flat[::2], flat[1::2], strict=True)))
    await dead.replay(PROJECT)
    (again,) = await jobs(redis_client)
    assert (again.dedup_key, again.campaign, again.attributes) == ("k", "spring", b"[1]")
    assert again.state == JobState(
        "1700000000000-5", "normal", again.state.at, replay=1, history=again.state.history
    )

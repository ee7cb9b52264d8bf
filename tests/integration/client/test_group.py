"""A group of readers: each outcome to one member, again to another if the first does not acknowledge it."""

import asyncio
import json

import pytest

from dispatcher.client import OutcomeGroupReader
from dispatcher.errors import ProtocolError

PROJECT = "demo-orchard-41"
KEY = f"fcm:{{{PROJECT}}}:outcomes"


@pytest.fixture
async def member(redis_server, redis_client):
    made = []

    def new(name="", **options):
        made.append(OutcomeGroupReader.at(redis_server.url, PROJECT, "cleanup", member=name, **options))
        return made[-1]

    yield new
    for reader in made:
        await reader.aclose()


async def settle(client, *jobs, entry="*"):
    outcomes = [
        {"job": job, "index": 0, "status": "accepted", "attempts": 1, "enqueued_at": 1, "settled_at": 2}
        for job in jobs
    ]
    return (await client.xadd(KEY, {"outcomes": json.dumps(outcomes)}, id=entry)).decode()


def names(records):
    return [outcome.job for record in records for outcome in record.outcomes]


async def pending(client):
    return (await client.xpending(KEY, "cleanup"))["pending"]


async def test_members_share_and_no_entry_goes_to_two(member, redis_client):
    for number in range(20):
        await settle(redis_client, f"j{number}")
    one, two = member(), member()
    seen = []
    while records := [*await one.read(count=3), *await two.read(count=3)]:
        seen += names(records)
        await one.ack(*records)
    assert sorted(seen) == sorted(f"j{number}" for number in range(20))
    assert await pending(redis_client) == 0


async def test_groups_do_not_share(member, redis_client, redis_server):
    await settle(redis_client, "a")
    async with OutcomeGroupReader.at(redis_server.url, PROJECT, "billing") as other:
        assert names(await other.read()) == names(await member().read()) == ["a"]


async def test_a_member_of_the_same_name_resumes_at_once(member, redis_client):
    await settle(redis_client, "a", "b")
    await settle(redis_client, "c")
    first = member("pod-0")
    done, _ = await first.read()
    await first.ack(done)
    await settle(redis_client, "d")
    again = member("pod-0")
    assert names(await again.read()) == ["c"]
    assert names(await again.read()) == ["d"]


async def test_what_a_member_left_is_another_ones_after_a_while(member, redis_client):
    for job in "abc":
        await settle(redis_client, job)
    assert len(await member("gone", claim_after_s=60).read()) == 3
    assert await member("early", claim_after_s=60).read() == []
    heir = member("heir", claim_after_s=0.001)
    seen = []
    while len(seen) < 3:
        records = await heir.read(count=2)
        seen += names(records)
        await heir.ack(*records)
    assert seen == ["a", "b", "c"]
    assert await pending(redis_client) == 0


async def test_a_slow_member_does_not_take_from_itself(member, redis_client):
    await settle(redis_client, "a")
    reader = member(claim_after_s=0.001)
    assert names(await reader.read()) == ["a"]
    for _ in range(20):
        assert await reader.read(wait_s=0.002) == []


async def test_an_entry_is_acknowledged_when_the_loop_goes_on(member, redis_client):
    await settle(redis_client, "a", "b")
    await settle(redis_client, "c")
    reader = member()
    async for outcome in reader:
        if outcome.job == "b":
            assert await pending(redis_client) == 2
        if outcome.job == "c":
            break
    assert await pending(redis_client) == 1


async def test_waiting_for_what_is_not_there_yet(member, redis_client):
    reader = member(from_start=False)
    await settle(redis_client, "old")
    assert await reader.read() == []
    reading = asyncio.create_task(reader.read(wait_s=5))
    while not any(client["cmd"] == "xreadgroup" for client in await redis_client.client_list()):
        pass
    await settle(redis_client, "new")
    assert names(await reading) == ["new"]


async def test_what_is_no_outcome_is_told_once_and_passed(member, redis_client):
    await settle(redis_client, "a")
    await redis_client.xadd(KEY, {"x": "1"})
    await settle(redis_client, "b")
    reader = member("pod-0")
    assert names(await reader.read()) == ["a"]
    with pytest.raises(ProtocolError, match="no field `outcomes`"):
        await reader.read()
    assert names(await reader.read()) == ["b"]
    assert names(await member("pod-0").read()) == ["a", "b"]


async def test_what_was_trimmed_meanwhile_is_forgotten(member, redis_client):
    entry = await settle(redis_client, "a")
    await settle(redis_client, "b")
    await member("pod-0").read()
    await redis_client.xdel(KEY, entry)
    assert names(await member("pod-0").read()) == ["b"]
    heir = member("heir", claim_after_s=0.001)
    while not (found := await heir.read()):
        pass
    assert names(found) == ["b"]
    await heir.ack(*found)
    while await pending(redis_client):
        await heir.read()


async def test_a_deleted_stream_is_read_anew(member, redis_client):
    reader = member()
    await settle(redis_client, "a")
    await reader.ack(*await reader.read())
    await redis_client.delete(KEY)
    await settle(redis_client, "b")
    assert names(await reader.read()) == ["b"]


async def test_a_member_that_is_done_leaves_no_trace(redis_server, redis_client):
    await settle(redis_client, "a")
    async with OutcomeGroupReader.at(redis_server.url, PROJECT, "cleanup") as reader:
        await reader.ack(*await reader.read())
    assert await redis_client.xinfo_consumers(KEY, "cleanup") == []
    async with OutcomeGroupReader.at(redis_server.url, PROJECT, "cleanup") as reader:
        await settle(redis_client, "b")
        await reader.read()
    assert len(await redis_client.xinfo_consumers(KEY, "cleanup")) == 1

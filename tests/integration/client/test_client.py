"""The Producer writes jobs as the contract has them, and the OutcomeReader reads them back."""

import json
import re

import pytest

from dispatcher.client import MessageWarning, OutcomeReader, Producer
from dispatcher.errors import ProtocolError, QueueUnavailable
from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.protocol.rules import Checks

PROJECT = "demo-orchard-41"
HI = {"notification": {"title": "Hi"}}


@pytest.fixture
async def producer(redis_server, redis_client):
    async with Producer.at(redis_server.url) as made:
        yield made


@pytest.fixture
async def reader(redis_server, redis_client):
    async with OutcomeReader.at(redis_server.url, PROJECT) as made:
        yield made


async def jobs(client, lane="normal"):
    entries = await client.xrange(f"fcm:{{{PROJECT}}}:jobs:{lane}")
    return [
        decode_entry(PROJECT, lane, i.decode(), [x for pair in f.items() for x in pair], DecodeLimits())
        for i, f in entries
    ]


async def test_the_smallest_job(producer, redis_client):
    entry_id = await producer.send(PROJECT, {"token": "t1", **HI})
    (job,) = await jobs(redis_client)
    assert (job.id, job.values, job.refusal) == (entry_id, ["t1"], None)


async def test_a_message_as_json_goes_in_unchanged(producer, redis_client):
    await producer.send(PROJECT, b'{ "token":"t1" }', lane="high")
    ((_, fields),) = await redis_client.xrange(f"fcm:{{{PROJECT}}}:jobs:high")
    assert fields == {b"message": b'{ "token":"t1" }'}


async def test_every_option_arrives(producer, redis_client):
    await producer.send(
        PROJECT,
        HI,
        tokens=["t1", "t2"],
        id="order-9",
        expires_at=4102444800.25,
        dedup_key="k",
        on_unknown="give_up",
        campaign="spring",
        validate_only=True,
        attributes={"user": 7},
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )
    (job,) = await jobs(redis_client)
    assert job.refusal is None
    assert (job.id, job.values, job.multicast) == ("order-9", ["t1", "t2"], True)
    assert (job.expires_at, job.dedup_key, job.on_unknown) == (4102444800.25, "k", "give_up")
    assert (job.campaign, job.validate_only, json.loads(job.attributes)) == ("spring", True, {"user": 7})
    assert job.traceparent.startswith("00-4bf9")


async def test_a_device_group(producer, redis_client):
    await producer.send(PROJECT, HI, group="APA91-key")
    (job,) = await jobs(redis_client)
    assert (job.kind, job.values) == ("group", ["APA91-key"])


async def test_a_long_list_of_tokens_is_split_into_jobs(producer, redis_client):
    tokens = [f"t{n}" for n in range(1001)]
    done = await producer.multicast(PROJECT, HI, tokens, lane="bulk", dedup_key="k")
    found = await jobs(redis_client, "bulk")
    assert [job.id for job in found] == done.ids
    assert done.messages == 1001
    assert [len(job.values) for job in found] == [500, 500, 1]
    assert [token for job in found for token in job.values] == tokens
    assert [job.dedup_key for job in found] == ["k", "k#1", "k#2"]


async def test_many_messages_in_one_call(producer, redis_client):
    ids = await producer.send_many(PROJECT, [{"token": f"t{n}"} for n in range(1200)])
    found = await jobs(redis_client)
    assert [job.id for job in found] == ids
    assert [job.values[0] for job in found] == [f"t{n}" for n in range(1200)]


@pytest.mark.parametrize(
    ("message", "options", "mend"),
    [
        ({"token": object()}, {}, "writable as JSON"),
        (HI, {"tokens": ["t"] * 501}, "use multicast"),
        (HI, {"attributes": object()}, "writable as JSON"),
        (HI, {"deliver_at": float("nan")}, "give Unix seconds"),
        (HI, {"deliver_at": float("inf")}, "give Unix seconds"),
    ],
)
async def test_what_would_be_no_job_is_refused_at_once(producer, redis_client, message, options, mend):
    with pytest.raises(ValueError, match=mend):
        await producer.send(PROJECT, message, **options)
    assert await redis_client.keys("*") == []


@pytest.mark.parametrize(
    ("message", "options", "said"),
    [
        (HI, {}, "message: found no target; give exactly one of token"),
        (
            {"token": "t", "data": {"k": 17}},
            {},
            "message.data.k: found the number 17; every value is a string",
        ),
        ({"token": "t", "notificaton": {}}, {}, "message.notificaton: found an unknown name; did you mean"),
        ({"token": "t"}, {"tokens": ["u"]}, "message.token: found a target; take it out"),
        ({"token": "t"}, {"attributes": "x" * 2000}, "attributes: found 2002 bytes"),
        (
            {"token": "t"},
            {"deliver_at": 9.0, "expires_at": 8.0},
            "deliver_at: found a time at or after the expiry",
        ),
    ],
)
async def test_what_the_worker_would_reject_is_refused_in_its_words(
    producer, redis_client, message, options, said
):
    with pytest.raises(ValueError, match=re.escape(said)):
        await producer.send(PROJECT, message, **options)
    assert await redis_client.keys("*") == []


async def test_a_message_for_many_tokens_is_checked_too(producer, redis_client):
    with pytest.raises(ValueError, match=r"message\.token: found a target"):
        await producer.multicast(PROJECT, {"token": "t"}, ["u"] * 501)
    assert await redis_client.keys("*") == []


async def test_one_wrong_message_keeps_all_of_a_call_out(producer, redis_client):
    with pytest.raises(ValueError, match="found no target"):
        await producer.send_many(PROJECT, [{"token": "t"}, HI])
    assert await redis_client.keys("*") == []


async def test_a_producer_may_leave_the_checks_to_the_worker_or_set_its_own(redis_server, redis_client):
    async with Producer.at(redis_server.url, limits=None) as unchecked:
        await unchecked.send(PROJECT, HI)
    (job,) = await jobs(redis_client)
    assert job.refusal.code == "invalid-recipient"
    narrow = DecodeLimits(checks=Checks(narrow_keys=True))
    async with Producer.at(redis_server.url, limits=narrow) as producer:
        await producer.send(PROJECT, {"token": "t", "data": {"gcm": "x"}})


async def test_what_only_looks_wrong_is_enqueued_with_a_warning(producer, redis_client):
    with pytest.warns(MessageWarning, match='badge: found the string "42"') as told:
        await producer.send(PROJECT, {"token": "t", "apns": {"payload": {"aps": {"badge": "42"}}}})
    assert told[0].filename == __file__
    assert len(await jobs(redis_client)) == 1


async def test_lists_that_make_no_sense_are_refused(producer):
    with pytest.raises(ValueError, match="at least one"):
        await producer.multicast(PROJECT, HI, [])
    with pytest.raises(ValueError, match="would be duplicates"):
        await producer.send_many(PROJECT, [HI], dedup_key="k")


async def test_a_job_for_later_waits_among_the_delayed(producer, redis_client, queue):
    seconds, _ = await redis_client.time()
    deliver_at = seconds + 3600.5
    entry_id = await producer.send(PROJECT, {"token": "t1"}, lane="high", deliver_at=deliver_at, id="order-9")
    assert await jobs(redis_client, "high") == []
    ((member, score),) = await redis_client.zrange(f"fcm:{{{PROJECT}}}:delayed", 0, -1, withscores=True)
    assert score == pytest.approx(deliver_at * 1000)
    fields = json.loads(await redis_client.hget(f"fcm:{{{PROJECT}}}:delayed:jobs", member))
    job = decode_entry(PROJECT, "due", "99-0", [text.encode() for text in fields], DecodeLimits())
    assert job.refusal is None
    assert (job.id, job.origin_id, job.lane, job.values) == ("order-9", entry_id, "high", ["t1"])
    assert job.expires_at == pytest.approx(seconds + 86400, abs=2)
    promotion = await queue.promote(PROJECT)
    assert (promotion.moved, promotion.next_due) == (0, pytest.approx(deliver_at))


async def test_a_time_that_has_come_needs_no_waiting(producer, redis_client):
    await producer.send(PROJECT, {"token": "t1"}, deliver_at=1.0)
    assert len(await jobs(redis_client)) == 1


async def test_a_server_that_is_away():
    async with Producer.at("redis://127.0.0.1:1") as producer:
        with pytest.raises(QueueUnavailable):
            await producer.send(PROJECT, {"token": "t1"})


async def settle(client, *jobs_, entry="*"):
    outcomes = [
        {"job": job, "index": 0, "status": "accepted", "attempts": 1, "enqueued_at": 1, "settled_at": 2}
        for job in jobs_
    ]
    return (
        await client.xadd(f"fcm:{{{PROJECT}}}:outcomes", {"outcomes": json.dumps(outcomes)}, id=entry)
    ).decode()


async def test_reading_goes_on_where_it_stopped(reader, redis_client):
    await settle(redis_client, "a", "b")
    last = await settle(redis_client, "c")
    assert [[o.job for o in record.outcomes] for record in await reader.read(count=1)] == [["a", "b"]]
    assert [record.entry_id for record in await reader.read()] == [last]
    assert reader.position == last
    assert await reader.read() == []


async def test_reading_may_begin_at_the_end(reader, redis_client):
    await settle(redis_client, "old")
    await reader.skip_to_end()
    await settle(redis_client, "new")
    (record,) = await reader.read(wait_s=5)
    assert [o.job for o in record.outcomes] == ["new"]


async def test_iterating_yields_each_outcome(reader, redis_client):
    await settle(redis_client, "a", "b")
    await settle(redis_client, "c")
    seen = []
    async for outcome in reader:
        seen.append(outcome.job)
        if len(seen) == 3:
            break
    assert seen == ["a", "b", "c"]


async def test_an_entry_that_is_no_outcome_is_told_and_passed(reader, redis_client):
    await redis_client.xadd(f"fcm:{{{PROJECT}}}:outcomes", {"x": "1"}, id="1-0")
    await settle(redis_client, "a")
    with pytest.raises(ProtocolError, match="entry 1-0 has no field"):
        await reader.read()
    (record,) = await reader.read()
    assert record.outcomes[0].job == "a"

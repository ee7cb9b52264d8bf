"""A producer's limits: a backlog that is long enough, replicas that must have it, long lists, long tokens."""

import asyncio
import itertools
import json
import socket

import pytest

from dispatcher.client import Producer
from dispatcher.errors import QueueBusy, QueueFull, QueueNotReplicated
from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.queue.embedded import EmbeddedRedis

PROJECT = "demo-orchard-41"
LANE = f"fcm:{{{PROJECT}}}:jobs:normal"
HI = {"notification": {"title": "Hi"}}


@pytest.fixture
async def make(redis_server, redis_client):
    made = []

    def new(**options):
        made.append(Producer.at(redis_server.url, **options))
        return made[-1]

    yield new
    for producer in made:
        await producer.aclose()


async def jobs(client, lane="normal"):
    entries = await client.xrange(f"fcm:{{{PROJECT}}}:jobs:{lane}")
    return [
        decode_entry(PROJECT, lane, i.decode(), [x for pair in f.items() for x in pair], DecodeLimits())
        for i, f in entries
    ]


async def test_beyond_the_limit_a_producer_is_told_that_the_queue_is_busy(make, redis_client):
    producer = make(max_backlog=3)
    await producer.send_many(PROJECT, [{"token": "a"}, {"token": "b"}])
    with pytest.raises(
        QueueBusy, match=r"busy: 2 jobs of demo-orchard-41 wait, of at most 3; nothing"
    ) as told:
        await producer.send_many(PROJECT, [{"token": "c"}, {"token": "d"}])
    assert (told.value.backlog, told.value.max_backlog, told.value.entries) == (2, 3, [])
    await producer.send(PROJECT, {"token": "c"})
    assert await redis_client.xlen(LANE) == 3
    await make().send(PROJECT, {"token": "d"})


async def test_all_lanes_count_and_other_projects_do_not(make, redis_client):
    producer = make(max_backlog=2)
    await redis_client.xadd(f"fcm:{{{PROJECT}}}:jobs:due", {"message": "{}"})
    await producer.send(PROJECT, {"token": "a"}, lane="high")
    for lane in ("high", "normal", "bulk"):
        with pytest.raises(QueueBusy):
            await producer.send(PROJECT, {"token": "b"}, lane=lane)
    await producer.send("another", {"token": "b"})


async def test_what_is_scheduled_counts_when_it_is_due(make, redis_client):
    producer = make(max_backlog=1)
    for number in range(3):
        later = {"deliver_at": 4102444800.0 + number, "expires_at": 4102448400.0}
        await producer.send(PROJECT, {"token": f"t{number}"}, **later)
    await producer.send(PROJECT, {"token": "now"})
    with pytest.raises(QueueBusy, match="1 job of demo-orchard-41 waits, of at most 1"):
        await producer.send(PROJECT, {"token": "now"})
    await redis_client.delete(LANE)
    await redis_client.xadd(f"fcm:{{{PROJECT}}}:jobs:due", {"message": "{}"})
    with pytest.raises(QueueBusy):
        await producer.send(PROJECT, {"token": "now"})


async def test_what_went_in_before_there_was_no_room_is_named(make, redis_client):
    with pytest.raises(QueueBusy, match="500 of this call are in") as told:
        await make(max_backlog=700).send_many(PROJECT, [{"token": f"t{n}"} for n in range(1200)])
    entries = [entry.decode() for entry, _ in await redis_client.xrange(LANE)]
    assert told.value.entries == entries
    assert len(entries) == 500


async def test_a_patient_producer_goes_on_as_soon_as_there_is_room(make, redis_client):
    producer = make(max_backlog=2, patience_s=60)
    sending = asyncio.create_task(producer.send_many(PROJECT, [{"token": f"t{n}"} for n in range(6)]))
    seen = []
    while not sending.done():
        for entry, fields in await redis_client.xrange(LANE):
            seen.append(json.loads(fields[b"message"])["token"])
            await redis_client.xdel(LANE, entry)
    seen += [json.loads(fields[b"message"])["token"] for _, fields in await redis_client.xrange(LANE)]
    assert len(await sending) == 6
    assert seen == [f"t{n}" for n in range(6)]


async def test_patience_ends(make, redis_client):
    producer = make(max_backlog=1, patience_s=0.1)
    await producer.send(PROJECT, {"token": "a"})
    with pytest.raises(QueueBusy):
        await producer.send(PROJECT, {"token": "b"})


async def test_without_replicas_none_can_confirm(make, redis_client):
    producer = make(replicas=1, replica_timeout_s=0.01)
    with pytest.raises(QueueNotReplicated, match="only 0 of 1 replicas") as told:
        await producer.send(PROJECT, {"token": "a"})
    ((entry, _),) = await redis_client.xrange(LANE)
    assert told.value.entries == [entry.decode()]
    with pytest.raises(QueueNotReplicated):
        await producer.send(PROJECT, {"token": "a"}, deliver_at=4102444800.0, expires_at=4102444900.0)


async def test_a_replica_confirms(redis_server):
    port = str(_free_port())
    first = ("--port", port, "--bind", "127.0.0.1", "--repl-diskless-sync-delay", "0")
    with (
        EmbeddedRedis(redis_server.binary, first),
        EmbeddedRedis(redis_server.binary, ("--replicaof", "127.0.0.1", port)),
    ):
        async with Producer.at(f"redis://127.0.0.1:{port}", replicas=1, replica_timeout_s=4) as producer:
            for number in itertools.count():
                try:
                    await producer.send(PROJECT, {"token": f"t{number}"})
                    break
                except QueueNotReplicated:
                    assert number < 20
            assert len(await producer.send_many(PROJECT, [{"token": f"t{n}"} for n in range(600)])) == 600
            await producer.send(PROJECT, {"token": "t"}, deliver_at=4102444800.0, expires_at=4102444900.0)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    "options", [{"max_backlog": -1}, {"replicas": -1}, {"replica_timeout_s": 0}, {"replica_timeout_s": 5}]
)
def test_options_that_make_no_sense(options):
    with pytest.raises(ValueError, match=r"max_backlog and replicas|replica_timeout_s"):
        Producer.at("redis://localhost", **options)


@pytest.mark.parametrize(
    ("project", "lane", "said"),
    [
        ("p", "urgent", 'lane: found "urgent"; use high, normal, bulk'),
        ("", "high", 'project: found ""'),
        ("{p}", "high", "project id"),
    ],
)
async def test_a_place_that_no_worker_looks_at(make, redis_client, project, lane, said):
    producer = make()
    for call in (
        producer.send(project, {"token": "t"}, lane=lane),
        producer.send_many(project, [{"token": "t"}], lane=lane),
        producer.multicast(project, HI, ["t"], lane=lane),
        producer.manage(project, "token.info", {"token": "t"}, lane=lane),
    ):
        with pytest.raises(ValueError, match=said):
            await call
    assert await redis_client.keys("*") == []


async def test_tokens_may_come_one_by_one_and_from_anywhere(make, redis_client):
    async def later():
        for number in range(9001):
            yield f"t{number}"

    told = []
    done = await make().multicast(PROJECT, HI, later(), progress=lambda sums: told.append(sums.messages))
    assert done.messages == told[-1] == 9001
    found = await jobs(redis_client)
    assert [token for job in found for token in job.values] == [f"t{n}" for n in range(9001)]
    assert [len(job.values) for job in found] == [500] * 18 + [1]
    assert [job.id for job in found] == done.ids
    assert all(job.refusal is None for job in found)


async def test_very_long_tokens_make_smaller_jobs(make, redis_client):
    tokens = [f"{n:03d}" + "x" * 1500 for n in range(500)]
    done = await make().multicast(PROJECT, HI, tokens, dedup_key="k", campaign="spring")
    found = await jobs(redis_client)
    assert [token for job in found for token in job.values] == tokens
    assert len({job.dedup_key for job in found}) == len(done.ids) == len(found) > 1
    assert all(job.refusal is None and job.campaign == "spring" for job in found)
    with pytest.raises(ValueError, match="MAX_JOB_BYTES"):
        await make(limits=DecodeLimits(max_job_bytes=2000)).multicast(PROJECT, HI, ["x" * 4000])
    with pytest.raises(ValueError, match="no token: 300000 bytes"):
        await make().multicast(PROJECT, HI, ["x" * 300_000])


async def test_a_wrong_message_is_told_before_a_token_is_taken(make, redis_client):
    def untouched():
        raise AssertionError
        yield

    with pytest.raises(ValueError, match=r"message\.token: found a target"):
        await make().multicast(PROJECT, {"token": "t"}, untouched())


@pytest.mark.parametrize(
    ("wrong", "said"), [("", "the one after 't1' is empty"), (7, "as text"), (None, "as text")]
)
async def test_a_wrong_token_is_refused(make, redis_client, wrong, said):
    with pytest.raises(ValueError, match=said):
        await make().multicast(PROJECT, HI, ["t0", "t1", wrong, "t3"])
    assert await redis_client.xlen(LANE) == 0


async def test_options_of_many_messages_are_theirs_in_common(make, redis_client):
    messages = [{"token": "a"}, '{"topic":"news"}', b'{"condition":"\'a\' in topics"}']
    await make().send_many(PROJECT, messages, campaign="spring", attributes=[1], id="x")
    found = await jobs(redis_client)
    assert [(job.kind, job.campaign, job.attributes, job.id) for job in found] == [
        ("token", "spring", b"[1]", "x"),
        ("topic", "spring", b"[1]", "x"),
        ("condition", "spring", b"[1]", "x"),
    ]
    with pytest.raises(ValueError, match="an entry of 2"):
        await make(limits=DecodeLimits(max_job_bytes=200)).send_many(
            PROJECT, [{"token": "a"}, {"token": "b" * 180}], campaign="spring"
        )
    await make().send_many(PROJECT, [HI, HI], group="key")


async def test_a_full_redis_takes_nothing(make, redis_client):
    await redis_client.config_set("maxmemory", 1)
    with pytest.raises(QueueFull):
        await make().send_many(PROJECT, [{"token": f"t{n}"} for n in range(10)])
    assert await redis_client.xlen(LANE) == 0


async def test_scripts_may_be_flushed_at_any_time(make, redis_client):
    producer, careful = make(), make(replicas=1, replica_timeout_s=0.01)
    for _ in range(2):
        await producer.send(PROJECT, {"token": "t"})
        await redis_client.script_flush()
        with pytest.raises(QueueNotReplicated):
            await careful.send(PROJECT, {"token": "t"})
        await redis_client.script_flush()
    assert await redis_client.xlen(LANE) == 4


async def test_a_management_job(make, redis_client):
    producer = make()
    await producer.manage(
        PROJECT, "topic.subscribe", {"topic": "news", "tokens": ["a"]}, id="mine", lane="bulk"
    )
    ((_, fields),) = await redis_client.xrange(f"fcm:{{{PROJECT}}}:jobs:bulk")
    assert fields == {
        b"operation": b"topic.subscribe", b"request": b'{"topic":"news","tokens":["a"]}', b"id": b"mine",
    }  # fmt: skip
    for operation, request, said in (
        ("topic.dance", {}, "use one of topic.subscribe"),
        ("topic.subscribe", {"topic": "news"}, "missing required field `tokens`"),
        ("token.info", {"token": "t", "detials": 1}, "detials"),
        ("token.info", {"token": b"t"}, "token.info"),
        ("apns.import", {"application": "a", "apns_tokens": ["x"] * 101}, "length <= 100"),
    ):
        with pytest.raises(ValueError, match=said):
            await producer.manage(PROJECT, operation, request)

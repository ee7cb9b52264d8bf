"""The producer without asyncio: from any thread, with or without a loop, on both sides of a fork."""

import os
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from dispatcher.client import MessageWarning, SyncProducer
from dispatcher.errors import QueueBusy, QueueUnavailable, SettingsError

PROJECT = "demo-orchard-41"
LANE = f"fcm:{{{PROJECT}}}:jobs:normal"
HI = {"notification": {"title": "Hi"}}


@pytest.fixture
def producer(redis_server, redis_client):
    with SyncProducer.at(redis_server.url) as made:
        yield made


async def test_it_works_within_somebody_elses_loop(producer, redis_client):
    entry_id = producer.send(PROJECT, {"token": "t1", **HI})
    ids = producer.send_many(PROJECT, [{"token": f"t{n}"} for n in range(1200)])
    done = producer.multicast(PROJECT, HI, (f"t{n}" for n in range(1001)))
    managed = producer.manage(PROJECT, "token.info", {"token": "t"}, id="mine")
    entries = [entry.decode() for entry, _ in await redis_client.xrange(LANE)]
    assert entries == [entry_id, *ids, *done.ids, managed]
    assert (len(ids), done.messages, len(done.ids)) == (1200, 1001, 3)


async def test_many_threads_share_one(producer, redis_client):
    with ThreadPoolExecutor(8) as threads:
        ids = set(threads.map(lambda n: producer.send(PROJECT, {"token": f"t{n}"}), range(200)))
    assert len(ids) == await redis_client.xlen(LANE) == 200


def test_errors_and_warnings_are_the_callers(producer, redis_server):
    with pytest.raises(ValueError, match="found no target"):
        producer.send(PROJECT, HI)
    with pytest.warns(MessageWarning) as told:
        producer.send(PROJECT, {"token": "t", "apns": {"payload": {"aps": {"badge": "42"}}}})
    assert told[0].filename == __file__
    with SyncProducer.at(redis_server.url, max_backlog=1) as small, pytest.raises(QueueBusy):
        small.send(PROJECT, {"token": "t"})
    with SyncProducer.at("redis://127.0.0.1:1") as away, pytest.raises(QueueUnavailable):
        away.send(PROJECT, {"token": "t"})
    with pytest.raises(SettingsError):
        SyncProducer.at("http://x")


async def test_it_can_be_closed_and_used_again(producer, redis_client):
    producer.close()
    producer.send(PROJECT, {"token": "t1"})
    producer.close()
    producer.close()
    producer.send(PROJECT, {"token": "t2"})
    assert await redis_client.xlen(LANE) == 2


async def test_a_forked_process_connects_anew(producer, redis_client):
    producer.send(PROJECT, {"token": "parent"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: a fork among threads
        child = os.fork()
    if not child:
        done = 1
        try:
            producer.send(PROJECT, {"token": "child"})
            producer.close()
            done = 0
        finally:
            os._exit(done)
    ended = os.waitpid(child, 0)[1]  # noqa: ASYNC222 - this loop has nothing else to do
    assert os.waitstatus_to_exitcode(ended) == 0
    producer.send(PROJECT, {"token": "parent"})
    assert await redis_client.xlen(LANE) == 3

"""The readers without asyncio: places, groups, acknowledgements and errors are those of the asynchronous ones."""

import json
from itertools import islice

import pytest
import redis

from dispatcher.client import SyncOutcomeGroupReader, SyncOutcomeReader
from dispatcher.errors import ProtocolError, QueueUnavailable, SettingsError

PROJECT = "demo-orchard-41"
KEY = f"fcm:{{{PROJECT}}}:outcomes"


@pytest.fixture
def client(redis_server):
    with redis.Redis.from_url(redis_server.url, protocol=2, decode_responses=True) as made:
        made.flushall()
        yield made


@pytest.fixture
def member(redis_server):
    return lambda name="", **options: SyncOutcomeGroupReader.at(
        redis_server.url, PROJECT, "cleanup", member=name, **options
    )


def settle(client, *jobs):
    base = {"index": 0, "status": "accepted", "attempts": 1, "enqueued_at": 1, "settled_at": 2}
    return client.xadd(KEY, {"outcomes": json.dumps([{"job": job, **base} for job in jobs])})


def names(records):
    return [outcome.job for record in records for outcome in record.outcomes]


def test_a_plain_reader_knows_its_place_and_goes_on_there(client, redis_server):
    settle(client, "a", "b")
    last = settle(client, "c")
    with SyncOutcomeReader.at(redis_server.url, PROJECT) as reader:
        assert names(reader.read(count=1)) == ["a", "b"]
        assert names(reader.read(wait_s=1)) == ["c"]
        assert reader.position == last
        assert reader.read() == []
    settle(client, "d")
    assert names(reader.read()) == ["d"]  # it connects anew
    reader.close()
    with SyncOutcomeReader.at(redis_server.url, PROJECT, after=last) as later:
        assert names(later.read()) == ["d"]


def test_a_plain_reader_can_begin_at_the_end(client, redis_server):
    settle(client, "a")
    with SyncOutcomeReader.at(redis_server.url, PROJECT) as reader:
        reader.skip_to_end()
        settle(client, "b", "c")
        assert [outcome.job for outcome in islice(reader, 2)] == ["b", "c"]


def test_an_entry_that_is_none_is_told_and_passed(client, redis_server):
    client.xadd(KEY, {"other": "1"})
    settle(client, "a")
    with SyncOutcomeReader.at(redis_server.url, PROJECT) as reader:
        with pytest.raises(ProtocolError):
            reader.read(count=1)
        assert names(reader.read()) == ["a"]


def test_a_member_acknowledges_and_what_it_does_not_comes_again(client, member):
    settle(client, "a")
    settle(client, "b")
    with member("m") as reader:
        first, second = reader.read()
        reader.ack(first)
    with member("m") as again:
        assert names(again.read()) == names([second]) == ["b"]
    assert client.xpending(KEY, "cleanup")["pending"] == 1


def test_a_loop_acknowledges_as_it_goes_on_and_leaves_the_group(client, member):
    settle(client, "a", "b")
    settle(client, "c")
    with member() as reader:
        assert [outcome.job for outcome in islice(reader, 3)] == ["a", "b", "c"]
        assert client.xpending(KEY, "cleanup")["pending"] == 1  # the last one is still being dealt with
    with member() as reader:
        records = reader.records()
        settle(client, "d")
        assert names([next(records)]) == ["d"]
        settle(client, "e")
        assert names([next(records)]) == ["e"]


def test_an_exception_keeps_what_was_not_acknowledged(client, member):
    settle(client, "a")

    def deal_with(records):
        assert names(records) == ["a"]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), member("m") as reader:
        deal_with(reader.read())
    with member("m") as again:
        assert names(again.read()) == ["a"]


def test_errors_are_the_callers():
    with SyncOutcomeReader.at("redis://127.0.0.1:1", PROJECT) as reader, pytest.raises(QueueUnavailable):
        reader.read()
    with pytest.raises(SettingsError), SyncOutcomeGroupReader.at("http://x", PROJECT, "g") as member:
        member.read()

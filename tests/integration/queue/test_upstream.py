"""What devices send, in Redis: each message once, for as long as it is kept, and bounded."""

import pytest

from dispatcher.errors import QueueFull
from dispatcher.protocol.xmpp import Incoming

PROJECT = "demo"
STREAM = "fcm:{demo}:upstream"
SEEN = "fcm:{demo}:upstream:seen"


def message(number=1, sender="d", **more):
    return Incoming(sender, f"u-{number}", "com.example", b'{"k":"v"}', **more)


async def kept(client):
    return [fields for _, fields in await client.xrange(STREAM)]


async def test_an_entry_says_who_sent_what(queue, redis_client):
    assert await queue.record_upstream(PROJECT, [message(), message(2, receipt=True)]) == 2
    first, second = await kept(redis_client)
    assert first == {
        b"type": b"upstream",
        b"from": b"d",
        b"message_id": b"u-1",
        b"category": b"com.example",
        b"data": b'{"k":"v"}',
    }
    assert second[b"type"] == b"receipt"


async def test_what_comes_again_is_kept_once_whoever_keeps_it(new_queue, redis_client):
    one, other = new_queue(), new_queue()
    assert await one.record_upstream(PROJECT, [message(), message()]) == 1
    assert await other.record_upstream(PROJECT, [message(), message(2)]) == 1
    assert len(await kept(redis_client)) == 2


async def test_two_devices_may_use_the_same_message_id(queue):
    assert await queue.record_upstream(PROJECT, [message(sender="a"), message(sender="b")]) == 2


async def test_more_than_a_page_at_once(queue, redis_client):
    assert await queue.record_upstream(PROJECT, [message(n) for n in range(1234)]) == 1234
    assert await redis_client.xlen(STREAM) == 1234


async def test_a_full_redis_refuses_and_remembers_nothing(queue, redis_client):
    await redis_client.config_set("maxmemory", 1)
    with pytest.raises(QueueFull):
        await queue.record_upstream(PROJECT, [message()])
    await redis_client.config_set("maxmemory", 0)
    assert await redis_client.exists(STREAM, SEEN) == 0
    assert await queue.record_upstream(PROJECT, [message()]) == 1


async def test_what_was_seen_is_forgotten_with_the_retention_and_beyond_the_limit(queue, redis_client):
    await queue.record_upstream(PROJECT, [message(n) for n in range(10)])
    await queue.forget_upstream(PROJECT, 3600, 4)
    assert await redis_client.zcard(SEEN) == 4
    await queue.forget_upstream(PROJECT, -1, 4)
    assert await redis_client.zcard(SEEN) == 0


async def test_the_stream_is_cut_like_the_other_records(queue, redis_client):
    await queue.record_upstream(PROJECT, [message(n) for n in range(300)])
    trimmed = await queue.trim(PROJECT, "upstream", retention_s=3600, max_entries=100)
    assert (trimmed.unread, trimmed.left) == (200, 100)


async def test_it_is_read_as_a_record_stream(queue):
    await queue.record_upstream(PROJECT, [message(n) for n in range(3)])
    entries = await queue.records(PROJECT, "upstream")
    assert [fields[5] for _, fields in entries] == [b"u-0", b"u-1", b"u-2"]
    assert await queue.last_record(PROJECT, "upstream") == entries[-1][0]

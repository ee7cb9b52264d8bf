"""UpstreamReader: what devices sent, in order, from a place on."""

import asyncio

import pytest

from dispatcher.client import UpstreamReader
from dispatcher.errors import ProtocolError
from dispatcher.protocol.xmpp import Incoming

PROJECT = "demo"


def message(number, **more):
    return Incoming("device", f"u-{number}", "com.example", b'{"n":"%d"}' % number, **more)


@pytest.fixture
async def reader(redis_server, queue):
    async with UpstreamReader.at(redis_server.url, PROJECT) as made:
        yield made


async def test_messages_are_read_in_order_and_from_a_place_on(queue, reader):
    await queue.record_upstream(PROJECT, [message(n) for n in range(5)])
    first = await reader.read(count=2)
    rest = await reader.read()
    assert [m.message_id for m in first + rest] == [f"u-{n}" for n in range(5)]
    assert (first[0].type, first[0].sender, first[0].category) == ("upstream", "device", "com.example")
    assert first[1].data == {"n": "1"}
    assert reader.position == rest[-1].entry_id
    assert await reader.read() == []


async def test_a_receipt_is_told_from_a_message(queue, reader):
    await queue.record_upstream(PROJECT, [message(1, receipt=True)])
    assert [m.type for m in await reader.read()] == ["receipt"]


async def test_it_waits_for_what_comes(queue, reader):
    await queue.record_upstream(PROJECT, [message(1)])
    await reader.skip_to_end()
    waiting = asyncio.create_task(reader.read(wait_s=5))
    await queue.record_upstream(PROJECT, [message(2)])
    assert [m.message_id for m in await waiting] == ["u-2"]


async def test_an_entry_of_somebody_else_is_named_and_passed_over(queue, reader, redis_client):
    await queue.record_upstream(PROJECT, [message(1)])
    await redis_client.xadd("fcm:{demo}:upstream", {"x": "y"})
    await queue.record_upstream(PROJECT, [message(2)])
    assert [m.message_id for m in await reader.read()] == ["u-1"]
    with pytest.raises(ProtocolError, match="is not one of ours"):
        await reader.read()
    assert [m.message_id for m in await reader.read()] == ["u-2"]

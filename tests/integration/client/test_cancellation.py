"""Whoever reads outcomes without end can be cancelled at any moment."""

import asyncio
import json

import pytest

from dispatcher.client import OutcomeGroupReader, OutcomeReader

PROJECT = "demo-orchard-41"
KEY = f"fcm:{{{PROJECT}}}:outcomes"
TURNS = 30
"""Turns of the loop until a first read waits at the server, and some more."""


@pytest.mark.parametrize("kind", ["plain", "group"])
async def test_a_cancellation_is_heard_in_whatever_turn_of_the_loop_it_comes(
    redis_server, redis_client, kind
):
    async def follow(reader):
        async for _ in reader:
            pass

    for turns in range(TURNS):
        reader = (
            OutcomeReader.at(redis_server.url, PROJECT)
            if kind == "plain"
            else OutcomeGroupReader.at(redis_server.url, PROJECT, f"group-{turns}")
        )
        await redis_client.delete(KEY)
        following = asyncio.create_task(follow(reader))
        for _ in range(turns):
            await asyncio.sleep(0)
        following.cancel()
        # A read that waits all the same comes back with this.
        await redis_client.xadd(KEY, {"outcomes": json.dumps([])})
        done, _ = await asyncio.wait([following], timeout=20)
        assert done, f"cancelled in turn {turns}, it reads on"
        assert following.cancelled()
        await reader.aclose()

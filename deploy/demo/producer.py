"""A producer that keeps sending: some hundred jobs a second in all lanes, most good, some not, until SIGTERM.

    python deploy/demo/producer.py --project demo-orchard-41 --rate 200

It reads `DISPATCHER_REDIS_URL`, and reads the outcomes with a consumer group as a real application would.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal

import redis.asyncio

from dispatcher.client import Producer

LANES = ("high", "normal", "normal", "normal", "bulk", "bulk")
GROUP = "token-table"


def job(number: int, dice: random.Random) -> dict[str, object]:
    """The arguments of one send: mostly a good token, now and then a dead one, a topic, or a list of tokens."""
    notification = {"title": "Harvest", "body": f"Basket {number}"}
    chance = dice.random()
    if chance < 0.02:
        return {"message": {"token": f"gone{number:08d}", "notification": notification}}
    if chance < 0.03:
        return {"message": {"topic": f"orchard-{number % 5}", "notification": notification}}
    if chance < 0.04:
        return {"message": {"token": "busy-device", "notification": notification}}
    if chance < 0.05:
        tokens = [f"list{number:08d}x{n}" for n in range(20)]
        return {"message": {"notification": notification}, "tokens": tokens}
    return {"message": {"token": f"tree{number:08d}", "notification": notification}}


async def produce(url: str, projects: list[str], rate: float, stop: asyncio.Event) -> None:
    """Send until `stop`."""
    dice = random.Random(41)
    number = 0
    async with Producer.at(url) as producer:
        while not stop.is_set():
            arguments = job(number, dice)
            message = arguments.pop("message")
            await producer.send(
                projects[number % len(projects)], message, lane=dice.choice(LANES), **arguments
            )
            number += 1
            await asyncio.sleep(1 / rate)


async def read_outcomes(url: str, project: str, stop: asyncio.Event) -> None:
    """Read and acknowledge, so that retention finds nothing unread."""
    client = redis.asyncio.Redis.from_url(url)
    key = f"fcm:{{{project}}}:outcomes"
    try:
        await client.xgroup_create(key, GROUP, "0", mkstream=True)
    except redis.ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise
    while not stop.is_set():
        for _, entries in await client.xreadgroup(GROUP, "demo", {key: ">"}, count=100, block=1000):
            await client.xack(key, GROUP, *[entry_id for entry_id, _ in entries])
    await client.aclose()


async def main() -> None:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", action="append", required=True)
    parser.add_argument("--rate", type=float, default=200.0)
    given = parser.parse_args()
    url = os.environ["DISPATCHER_REDIS_URL"]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(produce(url, given.project, given.rate, stop))
        for project in given.project:
            tasks.create_task(read_outcomes(url, project, stop))


if __name__ == "__main__":
    asyncio.run(main())

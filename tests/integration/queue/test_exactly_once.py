"""Whatever workers do to each other, each entry ends once, and none is lost."""

from __future__ import annotations

import json
from collections import Counter
from random import Random

import pytest

from dispatcher.queue.settlement import Delayed, Settled

P = "p"
LANE = f"fcm:{{{P}}}:jobs:normal"


class Worker:
    """A worker that reads, forgets its lease, repeats itself and settles late."""

    def __init__(self, queue, dice):
        self.queue = queue
        self.dice = dice
        self.epoch = 0
        self.held: dict[str, int] = {}  # entry id -> epoch under which it was read
        self.last = None

    async def join(self):
        self.epoch += 1
        await self.queue.acquire(P, self.epoch, 300)

    async def read(self):
        for entry_id, _ in await self.queue.read(P, "normal", self.dice.randint(1, 9)):
            self.held[entry_id] = self.epoch

    async def reclaim(self):
        for orphans in await self.queue.orphans(P):
            taken = await self.queue.reclaim(P, orphans.stream, orphans.owner, self.epoch)
            self.held.update(dict.fromkeys([i for i, _ in taken.entries], self.epoch))

    async def release(self):
        ids = self.dice.sample(sorted(self.held), min(2, len(self.held)))
        await self.queue.release(P, "normal", ids)

    async def settle(self):
        by_epoch: dict[int, list[str]] = {}
        for entry_id, epoch in self.held.items():
            by_epoch.setdefault(epoch, []).append(entry_id)
        if not by_epoch:
            return
        epoch, ids = self.dice.choice(sorted(by_epoch.items()))
        chosen = self.dice.sample(ids, self.dice.randint(1, len(ids)))
        items = [self.effect(entry_id) for entry_id in chosen]
        self.last = (epoch, items)
        await self.queue.settle(P, "normal", epoch, items)
        for entry_id in chosen:
            del self.held[entry_id]

    async def repeat(self):
        if self.last:
            await self.queue.settle(P, "normal", *self.last)

    def effect(self, entry_id):
        def outcome(status):
            return json.dumps({"job": entry_id, "status": status}).encode()

        kind = self.dice.choice(["accepted", "accepted", "retry", "failed"])
        if kind == "retry":
            return Settled(entry_id, b"", False, [Delayed(entry_id, 2e9, b"[]")])
        if kind == "failed":
            return Settled(entry_id, outcome("failed"), False, (), [[b"id", entry_id.encode()]])
        return Settled(entry_id, outcome("accepted"))


@pytest.mark.parametrize("seed", range(8))
async def test_each_entry_has_exactly_one_end(new_queue, redis_client, seed):
    dice = Random(seed)
    workers = [Worker(new_queue(), dice) for _ in range(3)]
    ids = await workers[0].queue.enqueue(P, "normal", [["message", str(n)] for n in range(60)])
    for worker in workers:
        await worker.join()
    for _ in range(120):
        worker = dice.choice(workers)
        match dice.choice(["read", "settle", "repeat", "reclaim", "release", "lapse", "join"]):
            case "lapse":
                await redis_client.delete(f"fcm:{{{P}}}:lease:{worker.queue.consumer}")
            case step:
                await getattr(worker, step)()
    # Everybody dies, and one comes to clear up.
    for worker in workers:
        await redis_client.delete(f"fcm:{{{P}}}:lease:{worker.queue.consumer}")
    last = Worker(new_queue(), dice)
    await last.join()
    while await redis_client.xlen(LANE):
        await last.read()
        await last.reclaim()
        await last.settle()
    ends = Counter()
    dead = Counter()
    for _, fields in await redis_client.xrange(f"fcm:{{{P}}}:outcomes"):
        ends.update(outcome["job"] for outcome in json.loads(fields[b"outcomes"]))
    ends.update(member.decode() for member in await redis_client.zrange(f"fcm:{{{P}}}:delayed", 0, -1))
    dead.update(fields[b"id"].decode() for _, fields in await redis_client.xrange(f"fcm:{{{P}}}:dead"))
    assert ends == Counter(ids)
    assert set(dead.values()) <= {1}
    assert (await redis_client.xpending(LANE, "dispatcher"))["pending"] == 0

"""All scripts against a real server, in any order: a job is in one place at a time, and ends once.

Two workers add, read, settle (also what they have lost), lapse, come back, reclaim, hand back, hold, promote and
are forgotten, while somebody cancels, takes that back and replays. The model knows where each job must be after each
step; the server must agree. Nothing in it depends on how fast it runs: what waits for its slot is promoted when that
has come by the server's clock.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any, NamedTuple, TypeVar

import pytest
import redis
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dispatcher.model import Job
from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.queue.embedded import EmbeddedRedis
from dispatcher.queue.letters import Replay
from dispatcher.queue.settlement import Delayed, Hold, Settled
from dispatcher.queue.store import Queue

P = "p"
STREAMS = ("normal", "due")
WORKERS = ("a", "b")
RELEASED = "released"
CAMPAIGNS = ("spring", "summer")
LIMITS = DecodeLimits()
T = TypeVar("T")

workers = st.sampled_from(WORKERS)
streams = st.sampled_from(STREAMS)
endings = st.sampled_from(["accepted", "failed", "retry", "hold"])


class Known(NamedTuple):
    """An entry as a worker remembers it, whether or not it is still its own."""

    stream: str
    entry_id: str
    name: str
    epoch: int
    flat: tuple[bytes, ...]

    @property
    def job(self) -> Job:
        return decode_entry(P, self.stream, self.entry_id, list(self.flat), LIMITS)  # type: ignore[arg-type]


class Scripts(RuleBasedStateMachine):
    """See the module's docstring."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.redis = redis.Redis.from_url(url, protocol=2, decode_responses=True)
        self.redis.flushall()
        self.queues = {name: Queue.at(url, consumer=name) for name in WORKERS}
        self.epochs = dict.fromkeys(WORKERS, 0)
        self.leased = dict.fromkeys(WORKERS, False)
        self.known: dict[str, list[Known]] = {name: [] for name in WORKERS}
        # Entry id -> holder, by stream; None: not read yet.
        self.holder: dict[tuple[str, str], str | None] = {}
        self.crashes: Counter[tuple[str, str]] = Counter()
        self.waiting: set[str] = set()
        self.ended: Counter[str] = Counter()
        # Runs after the first: a replayed job is a job again, and ends once more.
        self.replays: Counter[str] = Counter()
        self.failed = 0
        self.jobs = 0
        # What is cancelled: "id:j1", "campaign:spring"; and the jobs that were there when their lane was.
        self.orders: set[str] = set()
        self.swept: set[str] = set()

    def do(self, call: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(call)

    def teardown(self) -> None:
        for queue in self.queues.values():
            self.do(queue.aclose())
        self.redis.close()
        self.loop.close()

    @initialize()
    def groups(self) -> None:
        for stream in STREAMS:
            self.do(self.queues["a"].create_group(P, stream))  # type: ignore[arg-type]
        for me in WORKERS:
            self.acquire(me)

    @rule(count=st.integers(1, 4))
    def add(self, count: int) -> None:
        names = [f"j{self.jobs + n}" for n in range(count)]
        self.jobs += count
        ids = self.do(self.queues["a"].enqueue(P, "normal", [fields(name) for name in names]))
        self.holder |= {("normal", entry_id): None for entry_id in ids}

    @precondition(lambda self: None in self.holder.values())
    @rule(me=workers, stream=streams, count=st.integers(1, 4))
    def read(self, me: str, stream: str, count: int) -> None:
        if not self.leased[me]:
            self.acquire(me)  # a worker without a lease does not read
        for entry_id, flat in self.do(self.queues[me].read(P, stream, count)):  # type: ignore[arg-type]
            assert self.holder[stream, entry_id] is None
            self._take(me, stream, entry_id, flat)

    @rule(me=workers)
    def acquire(self, me: str) -> None:
        self.epochs[me] += 1
        self.do(self.queues[me].acquire(P, self.epochs[me], 300))
        self.leased[me] = True

    @rule(me=workers)
    def lapse(self, me: str) -> None:
        self.redis.delete(f"fcm:{{{P}}}:lease:{me}")
        self.leased[me] = False

    @precondition(lambda self: any(self.known.values()))
    @rule(data=st.data(), ending=endings)
    def settle(self, data: st.DataObject, ending: str) -> None:
        me = data.draw(st.sampled_from([name for name in WORKERS if self.known[name]]))
        one = data.draw(st.sampled_from(self.known[me]))
        batch = [k for k in self.known[me] if (k.stream, k.epoch) == (one.stream, one.epoch)][:3]
        self._settle(me, batch, ending)
        # The worker forgets what it settled, live or stale; sometimes not: the reply was lost and it tries again.
        if data.draw(st.booleans()):
            self.known[me] = [k for k in self.known[me] if k not in batch]

    def _settle(self, me: str, batch: list[Known], ending: str) -> None:
        """All of one stream and epoch; whether they are still this worker's or not."""
        one = batch[0]
        items = [self._settled(known, ending) for known in batch]
        queue = self.queues[me]
        if ending == "accepted" and len(batch) > 1:
            ids, outcomes = [item.entry_id for item in items], b",".join(item.outcomes for item in items)
            reply = self.do(queue.settle_accepted(P, one.stream, one.epoch, ids, b"[%b]" % outcomes))  # type: ignore[arg-type]
        else:
            reply = self.do(queue.settle(P, one.stream, one.epoch, items))  # type: ignore[arg-type]
        there = [k for k in batch if (k.stream, k.entry_id) in self.holder]
        mine = [k for k in there if self.holder[k.stream, k.entry_id] == me]
        live = there if ending == "accepted" else mine
        assert (reply.live, len(reply.stale)) == (len(live), len(batch) - len(live))
        assert reply.late == len(live) - len([k for k in live if k in mine])
        for known in live:
            del self.holder[known.stream, known.entry_id]
            self._ended(known.name, ending)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), kind=st.sampled_from(["id", "campaign", "lane"]))
    def cancel(self, data: st.DataObject, kind: str) -> None:
        """One job, what has a name in common, or all that is there now wherever it waits; nothing that comes later."""
        name = data.draw(self._names(kind))
        self.do(self.queues["a"].cancel(P, kind, name))  # type: ignore[arg-type]
        if kind == "lane":
            self.swept = {f"j{n}" for n in range(self.jobs)}
        else:
            self.orders.add(f"{kind}:{name}")

    @precondition(lambda self: self.orders or self.swept)
    @rule(data=st.data(), kind=st.sampled_from(["id", "campaign", "lane"]))
    def take_back(self, data: st.DataObject, kind: str) -> None:
        name = data.draw(self._names(kind))
        undone = self.do(self.queues["a"].undo_cancel(P, kind, name))  # type: ignore[arg-type]
        if kind != "lane":
            assert undone == (f"{kind}:{name}" in self.orders)
            self.orders.discard(f"{kind}:{name}")
        else:
            self.swept = set()

    def _names(self, kind: str) -> st.SearchStrategy[str]:
        names = {"id": [f"j{n}" for n in range(self.jobs)], "campaign": CAMPAIGNS, "lane": ["normal"]}
        return st.sampled_from(names[kind])

    @precondition(lambda self: self.orders or self.swept)
    @rule(me=workers)
    def obey(self, me: str) -> None:
        """What a worker has and is cancelled ends so; what it has lost meanwhile does not."""
        orders = self.do(self.queues[me].controls([P]))[P].orders
        for known in list(self.known[me]):
            cancelled = self._cancelled(known.name)
            if (known.stream, known.entry_id) in self.holder:
                assert bool(orders and orders.of(known.job)) == cancelled
            if cancelled:
                self._settle(me, [known], "cancelled")
                self.known[me].remove(known)

    def _cancelled(self, name: str) -> bool:
        return bool({f"id:{name}", f"campaign:{campaign_of(name)}"} & self.orders) or name in self.swept

    @precondition(lambda self: any(self.known.values()))
    @rule(me=workers, stream=streams)
    def take_over(self, me: str, stream: str) -> None:
        """What leads to late settlements, often enough: the other's lease lapses, and its entries are taken."""
        other = WORKERS[1 - WORKERS.index(me)]
        if not self.leased[me]:
            self.acquire(me)
        self.lapse(other)
        self.reclaim(me, other, stream)

    @rule(me=workers, owner=st.sampled_from([*WORKERS, RELEASED]), stream=streams)
    def reclaim(self, me: str, owner: str, stream: str) -> None:
        if me == owner:
            return
        theirs = {e for (s, e), holder in self.holder.items() if (s, holder) == (stream, owner)}
        reclaimed = self.do(self.queues[me].reclaim(P, stream, owner, self.epochs[me]))  # type: ignore[arg-type]
        if not self.leased[me] or self.leased.get(owner, False) or not theirs:
            assert not reclaimed.entries
            return
        fewest = min(self.crashes[stream, e] for e in theirs)
        assert {e for e, _ in reclaimed.entries} <= {e for e in theirs if self.crashes[stream, e] == fewest}
        assert reclaimed.entries
        for entry_id, flat in reclaimed.entries:
            self.crashes[stream, entry_id] += 1
            self._take(me, stream, entry_id, flat)
        assert reclaimed.crashes == fewest + 1

    @rule(me=workers, stream=streams)
    def release(self, me: str, stream: str) -> None:
        ids = [k.entry_id for k in self.known[me] if k.stream == stream]
        mine = {e for e in ids if self.holder.get((stream, e), "") == me}
        released = self.do(self.queues[me].release(P, stream, list(dict.fromkeys(ids))))  # type: ignore[arg-type]
        assert released == len(mine)
        for entry_id in mine:
            self.holder[stream, entry_id] = RELEASED
            self.crashes[stream, entry_id] -= 1
        self.known[me] = [k for k in self.known[me] if k.stream != stream]

    @rule(me=workers, stream=streams)
    def reconcile(self, me: str, stream: str) -> None:
        queue = self.queues[me]
        mine = {e for (s, e), holder in self.holder.items() if (s, holder) == (stream, me)}
        pending = self.do(queue.pending_mine(P, stream))  # type: ignore[arg-type]
        assert pending.keys() == mine
        adopted = self.do(queue.adopt(P, stream, self.epochs[me], sorted(mine)))  # type: ignore[arg-type]
        assert {e for e, _, _ in adopted} == (mine if self.leased[me] else set())
        assert all(crashes == self.crashes[stream, e] for e, _, crashes in adopted)
        self.known[me] = [
            k for k in self.known[me] if (k.stream, k.entry_id) not in {(stream, e) for e in mine}
        ] + [Known(stream, e, name_of(flat), self.epochs[me], tuple(flat)) for e, flat, _ in adopted]

    @precondition(lambda self: self.waiting)
    @rule(me=workers, limit=st.integers(1, 5))
    def promote(self, me: str, limit: int) -> None:
        self._until_due()
        before = {entry_id for entry_id, _ in self.redis.xrange(f"fcm:{{{P}}}:jobs:due")}
        promotion = self.do(self.queues[me].promote(P, limit))
        for entry_id, found in self.redis.xrange(f"fcm:{{{P}}}:jobs:due"):
            if entry_id not in before:
                self.holder["due", entry_id] = None
                self.waiting.remove(found["id"])
                promotion.moved -= 1
        assert promotion.moved == 0

    def _until_due(self) -> None:
        """The last slot is a few milliseconds away at most; what would be promoted must not depend on it."""
        [(_, last)] = self.redis.zrange(f"fcm:{{{P}}}:delayed", -1, -1, withscores=True)
        deadline = time.monotonic() + 20
        while self.redis.time()[0] * 1000 + self.redis.time()[1] // 1000 <= last:
            assert time.monotonic() < deadline, "a slot lies far ahead"

    @precondition(lambda self: self.failed)
    @rule(me=workers, data=st.data())
    def replay(self, me: str, data: st.DataObject) -> None:
        letters = self.redis.xrange(f"fcm:{{{P}}}:dead")
        chosen = data.draw(st.lists(st.sampled_from(letters), min_size=1, max_size=3))
        ids = self.do(self.queues[me].replay_letters(P, [Replay(e, "normal", 4, []) for e, _ in chosen]))
        seen = set()
        for (letter, found), entry_id in zip(chosen, ids, strict=True):
            assert bool(entry_id) == (letter not in seen), "a letter is put back once"
            if letter not in seen:
                seen.add(letter)
                self.holder["normal", entry_id] = None
                self.replays[found["id"]] += 1
                self.failed -= 1
                self.swept.discard(found["id"])

    @rule(me=workers)
    def forget_dead(self, me: str) -> None:
        self.do(self.queues[me].forget_dead(P))

    @rule(me=workers)
    def leave(self, me: str) -> None:
        clean = self.do(self.queues[me].leave(P, self.epochs[me]))
        assert clean == (me not in self.holder.values())
        self.leased[me] = False

    @rule()
    def forget_scripts(self) -> None:
        self.redis.script_flush()

    @invariant()
    def every_job_is_in_one_place(self) -> None:
        places: Counter[str] = Counter()
        for stream in STREAMS:
            key = f"fcm:{{{P}}}:jobs:{stream}"
            for entry_id, found in self.redis.xrange(key):
                places[found["id"]] += 1
                assert (stream, entry_id) in self.holder
        for text in self.redis.hvals(f"fcm:{{{P}}}:delayed:jobs"):
            flat = json.loads(text.removeprefix("S"))
            places[flat[flat.index("id") + 1]] += 1
        outcomes = Counter(
            outcome["job"]
            for _, found in self.redis.xrange(f"fcm:{{{P}}}:outcomes")
            for outcome in json.loads(found["outcomes"])
        )
        assert outcomes == self.ended
        assert places + outcomes == self.replays + Counter({f"j{n}": 1 for n in range(self.jobs)})
        assert self.redis.zcard(f"fcm:{{{P}}}:delayed") == len(self.waiting)
        assert self.redis.xlen(f"fcm:{{{P}}}:dead") == self.failed

    @invariant()
    def redis_and_the_model_agree_on_who_has_what(self) -> None:
        for stream in STREAMS:
            key = f"fcm:{{{P}}}:jobs:{stream}"
            if not self.redis.exists(key):
                continue
            pending = {
                row["message_id"]: (row["consumer"], row["times_delivered"] - 1)
                for row in self.redis.xpending_range(key, "dispatcher", "-", "+", 1000)
            }
            expected = {
                e: (holder, self.crashes[stream, e])
                for (s, e), holder in self.holder.items()
                if s == stream and holder is not None
            }
            assert pending == expected

    def _take(self, me: str, stream: str, entry_id: str, flat: list[bytes]) -> None:
        self.holder[stream, entry_id] = me
        known = Known(stream, entry_id, name_of(flat), self.epochs[me], tuple(flat))
        self.known[me] = [k for k in self.known[me] if (k.stream, k.entry_id) != (stream, entry_id)] + [known]

    def _settled(self, known: Known, ending: str) -> Settled:
        outcome = json.dumps({"job": known.name, "status": ending}, separators=(",", ":")).encode()
        if ending in {"accepted", "cancelled"}:
            return Settled(known.entry_id, outcome, accepted=ending == "accepted")
        if ending == "failed":
            letter = [*(text.encode() for text in fields(known.name)), b"status", b"failed"]
            return Settled(known.entry_id, outcome, accepted=False, dead=[letter])
        job = known.job
        state = {"id": job.origin_id, "lane": "normal", "at": job.enqueued_at}
        flat = [*fields(known.name), "_state", json.dumps(state)]
        hold = Hold("t" * 21, 0.001) if ending == "hold" else None
        later = Delayed(known.name, 0.0, json.dumps(flat).encode(), hold)
        return Settled(known.entry_id, accepted=False, delayed=[later])

    def _ended(self, name: str, ending: str) -> None:
        if ending in {"accepted", "failed", "cancelled"}:
            self.ended[name] += 1
            self.failed += ending == "failed"
        else:
            self.waiting.add(name)


def fields(name: str) -> list[str]:
    return ["id", name, "message", '{"token":"t"}', "campaign", campaign_of(name)]


def campaign_of(name: str) -> str:
    return CAMPAIGNS[int(name[1:]) % 2]


def name_of(flat: list[bytes]) -> str:
    return flat[flat.index(b"id") + 1].decode()


def run(redis_server: EmbeddedRedis, examples: int) -> None:
    """FAULT_SEED repeats it."""
    run_state_machine_as_test(
        seed(int(os.environ["FAULT_SEED"]))(lambda: Scripts(redis_server.url)),
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_job_is_in_one_place_and_ends_once_whatever_the_order(redis_server: EmbeddedRedis) -> None:
    run(redis_server, 15)


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_a_job_is_in_one_place_and_ends_once_in_many_more_orders(redis_server: EmbeddedRedis) -> None:
    run(redis_server, 150)

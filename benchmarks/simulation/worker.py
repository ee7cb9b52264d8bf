"""A worker, simulated: every decision is made by the code of dispatcher/policy; only Redis, wire and clock are not real.

What the pipeline does once a batch is done here in the same order: read by turns as there is room, pack, ask for
quota, send, look at the answer, settle. Jobs are multicast jobs of `grain` tokens: they wait, and are sent again, as
one, so that a campaign of 50 million messages can be simulated.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from itertools import count
from random import Random

import msgspec

from dispatcher.model import Action, Batch, Job, SendError
from dispatcher.pipeline.project import BURST_S
from dispatcher.policy.asking import wait_to_ask
from dispatcher.policy.concurrency import Concurrency
from dispatcher.policy.health import Answers, Health
from dispatcher.policy.lanes import FairShare, LaneTurns
from dispatcher.policy.packer import Packer
from dispatcher.policy.retries import RetryBudget
from dispatcher.policy.room import Room
from dispatcher.policy.settle import Rules, decide, next_state

from .clock import START, Clock
from .service import Service
from .shared import Shared

BATCH = 500
ROOM = 20_000
BYTES = 300
"""A message, in the worker's room."""
TICK_S = 0.1
LOOK_S = 0.8
"""How often a worker reads the control hash."""
PROBE = 5
RULES = Rules()
EXPIRY_S = 86_400.0


class Queue:
    """What Redis has of one project.

    Args:
        project: whose it is.
        messages: in all.
        grain: of them a job.
        a_second: messages that producers put in a second; None: all are there from the start.

    Attributes:
        left: messages of the lane that nobody has read.
        delayed: (due, number, job): jobs that wait for their time.
        shared: quota and circuit.
        ended: messages with an outcome, by status.
        settled: all of them together.
        asks: times that quota was asked for.
    """

    def __init__(self, project: str, messages: int, grain: int, a_second: float | None = None) -> None:
        self.project = project
        self.left = messages
        self.delayed: list[tuple[float, int, Job]] = []
        self.shared = Shared()
        self.ended: dict[str, int] = {}
        self.settled = 0
        self.asks = 0
        self._grain = grain
        self._messages, self._a_second = messages, a_second
        self._numbers = count()

    def delay(self, job: Job, due: float) -> None:
        """Put a job into the delayed set."""
        heappush(self.delayed, (due, next(self._numbers), job))

    def end(self, status: str, messages: int) -> None:
        """Record outcomes."""
        self.ended[status] = self.ended.get(status, 0) + messages
        self.settled += messages

    def waiting(self, now: float) -> list[str]:
        """Streams that have something."""
        due = ["due"] if self.delayed and self.delayed[0][0] <= now else []
        return [*due, "normal"] if self._here(now) else due

    def _here(self, now: float) -> int:
        """Messages of the lane that are there by now: whole jobs."""
        if self._a_second is None:
            return self.left
        put_in = int((now - START) * self._a_second) // self._grain * self._grain
        return min(self.left, put_in - (self._messages - self.left))

    def read(self, stream: str, most: int, now: float) -> list[Job]:
        """Jobs of at most so many messages, at least one."""
        jobs: list[Job] = []
        room = most
        while room > 0:
            if stream == "due":
                if not self.delayed or self.delayed[0][0] > now:
                    break
                job = msgspec.structs.replace(heappop(self.delayed)[2], stream="due")
            elif here := self._here(now):
                size = min(self._grain, here, most)
                self.left -= size
                job = self._new(size, now)
            else:
                break
            jobs.append(job)
            room -= len(job.values)
        return jobs

    def _new(self, size: int, now: float) -> Job:
        name = f"{next(self._numbers)}-0"
        return Job(
            name, "normal", self.project, [], size * BYTES, name, "normal", b"{}", "token", ["t"] * size, size > 1,
            now, now + EXPIRY_S,
        )  # fmt: skip


class Place:
    """One project in one worker."""

    def __init__(self, queue: Queue, requests: int) -> None:
        self.queue = queue
        self.packer = Packer(BATCH, 0.02)
        self.turns = LaneTurns()
        self.concurrency = Concurrency(requests)
        self.health = Health()
        self.budget = RetryBudget()
        self.waiting: deque[Batch] = deque()
        self.asking = False
        self.refusals = 0
        self.paused_until = 0.0
        self.probing = False

    @property
    def paused(self) -> bool:
        """As `Project.paused`."""
        return self.paused_until > 0.0 and not self.probing


class SimulatedWorker:
    """One worker.

    Args:
        name: its consumer name.
        clock: simulated.
        service: FCM.
        queues: of all projects.
        chance: dice.
        cost_s: seconds of its processor that a message takes.
        per_minute: quota of each project, as configured.
        use: QUOTA_USE.
        requests: most requests of a project in flight.
    """

    def __init__(
        self, name: str, clock: Clock, service: Service, queues: dict[str, Queue], chance: Random, *,
        cost_s: float, per_minute: int, use: float = 0.9, requests: int = 64,
    ) -> None:  # fmt: skip
        self.name = name
        self._clock = clock
        self._service = service
        self._chance = chance
        self._cost_s = cost_s
        self._quota_cost = 60e6 / (per_minute * use)
        self._places = {project: Place(queue, requests) for project, queue in queues.items()}
        self._room = Room(ROOM, 32 << 20)
        self._share = FairShare(ROOM, BATCH)
        self._free_at = clock.now
        clock.after(chance.random() * TICK_S, self._tick)
        clock.after(chance.random() * LOOK_S, self._look)

    def _tick(self) -> None:
        self._read()
        self._clock.after(TICK_S, self._tick)

    def _read(self) -> None:
        """Intake and packing: by turns, while there is room."""
        now = self._clock.now
        while True:
            share = self._share.share(len(self._room.holders()) or 1)
            ready: dict[str, list[str]] = {}
            for project, place in self._places.items():
                if place.paused or (place.probing and self._room.held(project)):
                    continue
                streams = place.queue.waiting(now)
                if streams and self._room.free(project, "normal", share).messages >= 1:
                    ready[project] = streams
            chosen = self._share.pick(ready)
            if chosen is None:
                break
            place = self._places[chosen]
            stream = place.turns.pick(ready[chosen])
            most = min(BATCH, self._room.free(chosen, "normal", share).messages)
            jobs = place.queue.read(stream, PROBE if place.probing else most, now)
            messages = sum(len(job.values) for job in jobs)
            place.turns.charge(stream, messages)
            self._share.charge(chosen, messages)
            self._room.take(chosen, messages, messages * BYTES)
            place.waiting.extend(place.packer.add(jobs, now, 1))
            place.waiting.extend(place.packer.flush())
            self._send(place)

    def _send(self, place: Place) -> None:
        """Sending: admit what the quota grants."""
        while (
            place.waiting and not place.asking and not place.paused and place.concurrency.free(high=False) > 0
        ):
            batch, now = place.waiting[0], self._clock.now
            place.queue.asks += 1
            reply = place.queue.shared.grant(
                round(now * 1e6), batch.size, cost=self._quota_cost, depth=BURST_S * 1e6, high=False,
                consumer=self.name,
            )  # fmt: skip
            if reply.circuit == "open":
                place.paused_until = max(place.paused_until, reply.pause_end / 1000, now + 1.0)
                self._put_back(place)
                return
            if not reply.granted:
                place.asking = True
                place.refusals += 1
                wait = wait_to_ask(reply.wait / 1e6, place.refusals, self._chance.random())
                self._clock.after(wait, self._ask_again, place)
                return
            place.refusals = 0
            place.waiting.popleft()
            place.concurrency.start()
            # One processor: batches leave one after the other.
            self._free_at = max(self._free_at, now + reply.wait / 1e6) + batch.size * self._cost_s
            self._clock.after(self._free_at - now, self._arrive, place, batch)

    def _ask_again(self, place: Place) -> None:
        place.asking = False
        self._send(place)

    def _arrive(self, place: Place, batch: Batch) -> None:
        error = self._service.receive(batch.project, batch.size, self._clock.now)
        self._clock.after(self._service.latency(), self._answered, place, batch, error)

    def _answered(self, place: Place, batch: Batch, error: SendError | None) -> None:
        """Settling."""
        now = self._clock.now
        place.concurrency.finish()
        throttled = error is not None and error.http_status == 429
        answers = Answers(batch.size, throttled=batch.size if throttled else 0)
        findings = place.health.feed(now, answers)
        if findings.congested:
            place.concurrency.congested(now)
        else:
            place.concurrency.succeeded()
        place.budget.sent(now, sum(len(job.values) for job in batch.jobs if not job.sends))
        extra = place.budget.delay(now, self._chance.random())
        if error is None:
            place.queue.end("accepted", batch.size)
            if place.probing:
                place.probing, place.paused_until = False, 0.0
                place.queue.shared.close(round(now * 1e6))
        else:
            self._decide(place, batch, error, extra)
        self._room.give(batch.project, batch.size, batch.size * BYTES)
        self._read()
        self._send(place)

    def _decide(self, place: Place, batch: Batch, error: SendError, extra: float) -> None:
        now = self._clock.now
        retried = pause_s = 0.0
        pausing = False
        for job in batch.jobs:
            verdict = decide(
                job, error, now=now, chance=self._chance.random(), rules=RULES, refreshed=True, last_route=True,
                extra_delay=extra,
            )  # fmt: skip
            if verdict.status is not None:
                place.queue.end(str(verdict.status), len(job.values))
                continue
            if verdict.pause_project:
                pausing, pause_s = True, max(pause_s, error.retry_after or 0.0)
            if verdict.action is Action.RETRY:
                retried += len(job.values)
            waits = msgspec.structs.replace(job, state=next_state(job, verdict, error, now))
            place.queue.delay(waits, now + verdict.delay)
        place.budget.plan(now, int(retried))
        if pausing:
            until = place.queue.shared.pause(
                round(now * 1e6), round(pause_s * 1000), probe=place.probing, consumer=self.name
            )
            place.probing = False
            place.paused_until = until / 1000
            place.health.reset()
            self._put_back(place)

    def _put_back(self, place: Place) -> None:
        """A paused project gives its room to the others."""
        while place.waiting:
            batch = place.waiting.popleft()
            for job in batch.jobs:
                place.queue.delay(job, place.paused_until)
            self._room.give(batch.project, batch.size, batch.size * BYTES)

    def _look(self) -> None:
        """The controller's round."""
        now = self._clock.now
        for place in self._places.values():
            shared = place.queue.shared
            if shared.until is None:
                place.paused_until, place.probing = 0.0, False
            elif shared.until / 1000 > now:
                place.paused_until, place.probing = shared.until / 1000, False
                self._put_back(place)
            elif not place.probing:
                place.probing = shared.claim(round(now * 1e6), self.name)
                place.paused_until = now + 2 * LOOK_S
        self._clock.after(LOOK_S, self._look)

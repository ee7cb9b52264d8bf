"""From Redis to recorded outcome: what one worker process costs a message, over each wire.

Enqueues aside, starts the worker, and when it is idle puts the whole lane before it in one step (RENAME). Measured
from there to the last settled message that counts: CPU of the worker process, messages a second, Redis commands a
batch; and its peak memory. So nothing of a message's way is left out: a window that opened at the first settled
message would miss what was read, decoded and packed by then, at 10,000 jobs all of them. The bare loop of the same
primitives (`bare.py`) runs in the same call. What is compared runs close together, and ratios are taken round by
round: the speed of a shared machine changes from minute to minute, and with it the median of either side.

`v1` is HTTP/1.1 and `v1-h2` HTTP/2, both over TLS to nginx with a fixed answer, certificate checked; `bare` and `batch`
go to `server.py` without TLS.

    python benchmarks/pipeline.py                      # all cases, three rounds, into results/pipeline.json
    python benchmarks/pipeline.py --wires batch --jobs 100000 --rounds 1 --dry
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from contextlib import ExitStack
from typing import NamedTuple

import redis
import results
from nginx import Nginx, nginx
from stage import GROUP, HERE, aside, delayed, enqueue, memory_mb, server, settle, stream, worker

from dispatcher.queue.embedded import EmbeddedRedis

WIRES = ("bare", "batch", "v1", "v1-h2")
GROUPS = (("bare", "batch"), ("v1",), ("v1-h2",))
"""What is compared with each other."""
JOBS = (10_000, 100_000, 1_000_000)
LATENCIES_MS = (50.0, 200.0)
MANY = 20
"""Projects in the case of many."""
COMPARED = ("msg_per_s", "cpu_us")
"""Figures of which each round's is kept: ratios are taken round by round."""


class Case(NamedTuple):
    """What is measured."""

    wire: str
    jobs: int
    latency_ms: float = 0.0
    projects: int = 1


Figures = dict[str, float]


def run_worker(redis_url: str, endpoint: str | Nginx, case: Case, measure: int) -> Figures:
    """One worker over waiting jobs; measures the first `measure` of them."""
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    projects = [f"bench-{number}" for number in range(case.projects)]
    each = case.jobs // case.projects
    for project in projects:
        enqueue(client, aside(project), each)
        client.xgroup_create(aside(project), GROUP, id="0")
    connected, answered = endpoint.counts() if isinstance(endpoint, Nginx) else (0, 0)
    with worker(redis_url, endpoint, case.wire, projects) as running:
        commands = running.metric("dispatcher_redis_commands_total")
        window = settle(running, client, projects, measure)
        commands = running.metric("dispatcher_redis_commands_total") - commands
        found = {
            "msg_per_s": window.jobs / window.wall_s,
            "cpu_us": window.cpu_s / window.jobs * 1e6,
            "rss_mb": memory_mb(running.pid)[1],
            "commands_a_batch": commands / running.metric("dispatcher_batch_messages_count"),
        }
    if isinstance(endpoint, Nginx):
        connections, requests = endpoint.counts()
        found["handshakes"] = (connections - connected) / (requests - answered) * 10_000
    return found


def run_bare(redis_url: str, endpoint: str, jobs: int) -> Figures:
    """The bare loop."""
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    enqueue(client, stream("bench"), jobs)
    command = [sys.executable, str(HERE / "bare.py"), redis_url, endpoint, "bench", str(jobs)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def cases(wires: list[str], jobs: list[int], latencies: list[float], projects: list[int]) -> list[Case]:
    """Backlogs at no latency and one project; many projects, and latency, each at the middle backlog.

    What is going to be compared is measured close together: the bare loop beside batch at each backlog, the largest
    backlog of a wire after the smallest, and many projects right after one project with as many jobs.
    """
    middle = sorted(jobs)[len(jobs) // 2]
    found = []
    for group in GROUPS:
        chosen = [wire for wire in group if wire in wires]
        workers = [wire for wire in chosen if wire != "bare"]
        for count in sorted(jobs, key=lambda count: (count == middle, count)):
            found += [Case(wire, count) for wire in chosen]
        found += [Case(wire, middle, 0.0, crowd) for crowd in projects for wire in workers]
        found += [Case(wire, middle, latency) for latency in latencies for wire in workers]
    return found


def _place(case: Case) -> tuple[float, ...]:
    """Where a case stands in the table."""
    wires = [group for group, members in enumerate(GROUPS) if case.wire in members]
    return (*wires, case.latency_ms, case.jobs, case.projects, WIRES.index(case.wire))


def measured_of(case: Case, most: int) -> int:
    """Messages that count: all, but where one takes so long that a part has to do."""
    if case.wire == "v1":
        most = min(most, 10_000 if case.latency_ms else 50_000)
    if case.wire == "v1-h2" and case.latency_ms:
        most = min(most, 50_000)
    return min(case.jobs, most)


class Servers:
    """The endpoints of all cases, started when first asked for."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._started: dict[tuple[bool, float], str | Nginx] = {}

    def of(self, wire: str, latency_ms: float) -> str | Nginx:
        """Where a wire leads to."""
        key = (wire in ("v1", "v1-h2"), latency_ms)
        if key not in self._started:
            self._started[key] = self._start(*key)
        return self._started[key]

    def _start(self, tls: bool, latency_ms: float) -> str | Nginx:
        if not tls:
            return self._stack.enter_context(server(latency_ms))
        running = self._stack.enter_context(nginx())
        if latency_ms:
            running.url = f"https://127.0.0.1:{self._stack.enter_context(delayed(running.port, latency_ms))}"
        return running


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--wires", nargs="+", choices=WIRES, default=list(WIRES))
    options.add_argument("--jobs", nargs="+", type=int, default=list(JOBS))
    options.add_argument("--latency-ms", nargs="*", type=float, default=list(LATENCIES_MS))
    options.add_argument("--projects", nargs="*", type=int, default=[MANY])
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--measure", type=int, default=max(JOBS), help="most messages measured a round")
    options.add_argument("--quick", action="store_true", help="one round, small backlogs")
    options.add_argument("--dry", action="store_true", help="print only")
    asked = options.parse_args()
    if asked.quick:
        asked.rounds, asked.jobs, asked.measure = 1, [10_000, 100_000], 50_000
        asked.latency_ms = asked.latency_ms[:1]
    chosen = cases(asked.wires, asked.jobs, asked.latency_ms, asked.projects)
    rounds: dict[Case, list[Figures]] = {case: [] for case in chosen}
    with ExitStack() as stack:
        store = stack.enter_context(EmbeddedRedis())
        servers = Servers(stack)
        for number in range(asked.rounds):
            for case in chosen:
                measure = measured_of(case, asked.measure)
                endpoint = servers.of(case.wire, case.latency_ms)
                if case.wire == "bare":
                    found = run_bare(store.url, endpoint, min(case.jobs, measure))
                else:
                    found = run_worker(store.url, endpoint, case, measure)
                rounds[case].append(found)
                print(
                    f"{number + 1} {case.wire:6} {case.jobs:>9,} jobs {case.latency_ms:>4g} ms {case.projects:>3} projects"
                    f" {found['msg_per_s']:>9,.0f} msg/s {found['cpu_us']:>7.1f} us",
                    flush=True,
                )
    rows = [
        {
            **case._asdict(),
            "rounds": len(found),
            **{key: round(statistics.median(figures[key] for figures in found), 3) for key in found[0]},
            "each": {key: [round(figures[key], 3) for figures in found] for key in COMPARED},
        }
        for case, found in sorted(rounds.items(), key=lambda item: _place(item[0]))
    ]
    if not asked.dry:
        results.save("pipeline", {"rows": rows}, quick=asked.quick)


if __name__ == "__main__":
    main()

"""How long a message takes from its entry in Redis to its recorded outcome, at fixed rates that nothing slows down.

Open loop: jobs are put in by the clock, whether or not the worker keeps up, and each is measured from the moment at
which it was due: what a late generator keeps waiting is not left out. Both ends are on Redis's clock, the outcome's as its
entry id, in whole milliseconds; the server's own latency is taken off. `high` is
the high lane with a million bulk jobs waiting and the project's quota, the default one, used up. Rounds take turns over
all cases, each with an emptied Redis and a new worker; figures are their medians.

    python benchmarks/latency.py
    python benchmarks/latency.py --wires batch --rates 10000 --seconds 5 --dry
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from contextlib import ExitStack
from typing import Any, NamedTuple

import redis
import results
from nginx import Nginx
from pipeline import Servers
from stage import GROUP, MESSAGE, aside, enqueue, stream, worker

from dispatcher.queue.embedded import EmbeddedRedis

PROJECT = "bench"
RATES = {"batch": (1_000, 10_000, 30_000), "v1-h2": (1_000, 5_000, 10_000)}
"""Messages a second; the last is half of what the wire is to reach."""
HIGH_RATE = 500
FAR_MS = 50.0
"""The server's latency in the rows of `batch`, and in one of `v1-h2`."""
FAR_RATE = 5_000
"""In that one: half of what the 900 requests of a project that may be in flight come to at that latency (`pipeline.py`)."""
BULK_JOBS = 1_000_000
TICK_S = 0.002
WARM_S = 2.0
"""Left out: connections open, code paths warm up."""
LINGER_MS = 20.0
"""The default of DISPATCHER_LINGER_MS."""

# The id tells the lane and the time at which the job was due: outcomes are matched by it.
_PUT = """
local first, period = tonumber(ARGV[4]), tonumber(ARGV[5])
for number = 0, tonumber(ARGV[1]) - 1 do
  local due = math.floor(first + number * period)
  redis.call('XADD', KEYS[1], '*', 'message', ARGV[2], 'id', string.format('%s:%d', ARGV[3], due))
end
"""


def put(client: redis.Redis, lane: str, rate: float, seconds: float) -> tuple[int, float]:
    """Put jobs in at a rate.

    Returns:
        How many; and by how much the latest of them was put in too late, in ms.
    """
    script = client.register_script(_PUT)
    began = time.perf_counter()
    at, microseconds = client.time()
    began_ms, period_ms = at * 1000 + microseconds / 1000, 1000 / rate
    done, behind = 0, 0.0
    while (passed := time.perf_counter() - began) < seconds:
        due = int(passed * rate)
        if due > done:
            first_ms = began_ms + done * period_ms
            script(keys=[stream(PROJECT, lane)], args=[due - done, MESSAGE, lane, first_ms, period_ms])
            behind = max(behind, time.perf_counter() - began - done / rate)
            done = due
        time.sleep(max(0.0, TICK_S - (time.perf_counter() - began - passed)))
    return done, behind * 1000


def outcomes(client: redis.Redis, lane: str) -> list[tuple[float, float]]:
    """(when it was due to be put in, how long it took from then) of each of a lane's jobs, in ms."""
    found = []
    at = "-"
    while entries := client.xrange(f"fcm:{{{PROJECT}}}:outcomes", min=at, count=500):
        for entry_id, fields in entries:
            settled = int(entry_id.partition(b"-")[0])
            for outcome in json.loads(fields[b"outcomes"]):
                name, _, ms = outcome["job"].partition(":")
                if name == lane:
                    found.append((int(ms), settled - int(ms)))
        at = "(" + entries[-1][0].decode()
    return found


def percentiles(waits: list[float]) -> dict[str, float]:
    """p50, p99 and p99.9."""
    ordered = sorted(waits)
    return {name: ordered[min(len(ordered) - 1, int(len(ordered) * share))] for name, share in SHARES.items()}


SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


class Case(NamedTuple):
    """What is measured.

    Attributes:
        wire: `batch` or `v1-h2`.
        lane: into which messages are put.
        rate: of them, a second.
        bulk: jobs waiting in the bulk lane.
        latency_ms: of the server.
    """

    wire: str
    lane: str
    rate: int
    bulk: int
    latency_ms: float


def cases(wires: list[str], rates: list[int] | None, bulk: int) -> list[Case]:
    """Each wire's rates, over HTTP/2 one to a server that is far too, and the high lane."""
    found = []
    for wire in wires:
        near = FAR_MS if wire == "batch" else 0.0
        chosen = rates or RATES[wire]
        found += [Case(wire, "normal", rate, 0, near) for rate in chosen]
        found += [Case(wire, "normal", FAR_RATE, 0, FAR_MS)] if near != FAR_MS else []
        found += [Case(wire, "high", HIGH_RATE, bulk, near)] if bulk else []
    return found


def measure(store: EmbeddedRedis, endpoint: str | Nginx, case: Case, seconds: float) -> dict[str, float]:
    """One round of a case."""
    lane, bulk = case.lane, case.bulk
    client = redis.Redis.from_url(store.url)
    client.flushall()
    settings: dict[str, object] = {"outcomes_max_entries": 1_000_000}
    if bulk:
        settings["quota_per_minute"] = 600_000
        enqueue(client, aside(PROJECT), bulk)
        client.xgroup_create(aside(PROJECT), GROUP, id="0")
    with worker(store.url, endpoint, case.wire, [PROJECT], **settings) as running:
        if bulk:
            client.rename(aside(PROJECT), stream(PROJECT, "bulk"))
        count, behind = put(client, lane, case.rate, WARM_S + seconds)
        running.until(lambda: client.xlen(stream(PROJECT, lane)) == 0)
        bulk_left = client.xlen(stream(PROJECT, "bulk"))
        running.child.kill()  # the bulk jobs on their way would be waited for
    found = outcomes(client, lane)
    if len(found) != count:  # retries, say: what took longest must not be what is left out
        raise SystemExit(f"{count - len(found)} of {count} messages had no outcome when their lane was empty")
    began = min(at for at, _ in found) + WARM_S * 1000
    counted = [wait for at, wait in found if at >= began]
    figures = {"messages": float(len(counted)), "generator_behind_ms": behind}
    if bulk:
        figures["bulk_a_second"] = (bulk - bulk_left) / (WARM_S + seconds)
    waits = percentiles(counted)
    return figures | {name: wait - case.latency_ms for name, wait in waits.items()}


def row_of(case: Case, rounds: list[dict[str, float]]) -> dict[str, Any]:
    """The medians of all rounds; of what the generator was late by, the worst."""
    row: dict[str, Any] = {"wire": case.wire, "lane": case.lane, "rate": case.rate}
    row |= {"bulk": case.bulk} if case.bulk else {}
    row |= {name: round(statistics.median(each[name] for each in rounds), 1) for name in rounds[0]}
    row |= {name: round(row[name]) for name in ("messages", "bulk_a_second") if name in row}
    row["generator_behind_ms"] = round(max(each["generator_behind_ms"] for each in rounds), 1)
    limit_ms = LINGER_MS + (100 if case.bulk else 25)
    return row | {"rounds": len(rounds), "server_ms": case.latency_ms, "limit_ms": limit_ms}


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--wires", nargs="+", choices=list(RATES), default=list(RATES))
    options.add_argument("--rates", nargs="*", type=int, help="in place of each wire's own")
    options.add_argument("--seconds", type=float, default=6.0, help="of a round")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--bulk", type=int, default=BULK_JOBS)
    options.add_argument(
        "--quick", action="store_true", help="one round of three seconds, a tenth of the bulk jobs"
    )
    options.add_argument("--dry", action="store_true", help="print only")
    asked = options.parse_args()
    if asked.quick:
        asked.rounds, asked.seconds, asked.bulk = 1, 3.0, asked.bulk // 10
    rounds: dict[Case, list[dict[str, float]]] = {
        case: [] for case in cases(asked.wires, asked.rates, asked.bulk)
    }
    with ExitStack() as stack:
        store = stack.enter_context(EmbeddedRedis())
        servers = Servers(stack)
        for number in range(asked.rounds):
            for case, found in rounds.items():
                endpoint = servers.of(case.wire, case.latency_ms)
                found.append(measure(store, endpoint, case, asked.seconds))
                print(
                    number + 1,
                    *case,
                    {name: round(value, 1) for name, value in found[-1].items()},
                    flush=True,
                )
    rows = [row_of(case, found) for case, found in rounds.items()]
    if not asked.dry:
        results.save("latency", {"rows": rows}, quick=asked.quick)


if __name__ == "__main__":
    main()

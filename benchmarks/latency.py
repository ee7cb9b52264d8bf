"""How long a message takes from its entry in Redis to its recorded outcome, at fixed rates that nothing slows down.

Open loop: jobs are put in by the clock, whether or not the worker keeps up. Both ends are on Redis's clock, in whole
milliseconds: the job's entry id, and the entry id of its outcome; the server's own latency is taken off. `high` is
the high lane with a million bulk jobs waiting and the project's quota, the default one, used up.

    python benchmarks/latency.py
    python benchmarks/latency.py --wires batch --rates 10000 --seconds 5 --dry
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import ExitStack
from typing import Any

import redis
import results
from nginx import nginx
from stage import GROUP, MESSAGE, aside, enqueue, server, stream, worker

from dispatcher.queue.embedded import EmbeddedRedis

PROJECT = "bench"
RATES = {"batch": (1_000, 10_000, 30_000), "v1-h2": (1_000, 5_000, 10_000)}
"""Messages a second; the last is half of what the wire is to reach."""
HIGH_RATE = 500
BULK_JOBS = 1_000_000
TICK_S = 0.002
WARM_S = 2.0
"""Left out: connections open, code paths warm up."""
LINGER_MS = 20.0
"""The default of DISPATCHER_LINGER_MS."""

# The id tells the lane and the time, as Redis has it: outcomes are matched by it.
_PUT = """
local time = redis.call('TIME')
local ms = time[1] * 1000 + math.floor(time[2] / 1000)
for number = 1, tonumber(ARGV[1]) do
  redis.call('XADD', KEYS[1], '*', 'message', ARGV[2], 'id', string.format('%s:%d', ARGV[3], ms))
end
"""


def put(client: redis.Redis, lane: str, rate: float, seconds: float) -> float:
    """Put jobs in at a rate; returns by how much it fell behind its own clock at worst, in ms."""
    script = client.register_script(_PUT)
    began = time.perf_counter()
    done, behind = 0, 0.0
    while (passed := time.perf_counter() - began) < seconds:
        due = int(passed * rate)
        if due > done:
            script(keys=[stream(PROJECT, lane)], args=[due - done, MESSAGE, lane])
            done = due
            behind = max(behind, time.perf_counter() - began - passed)
        time.sleep(max(0.0, TICK_S - (time.perf_counter() - began - passed)))
    return behind * 1000


def outcomes(client: redis.Redis, lane: str) -> list[tuple[float, float]]:
    """(when it was put in, how long it took) of each of a lane's jobs, in ms."""
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


def measure(
    store: EmbeddedRedis, endpoint: Any, wire: str, lane: str, rate: float, seconds: float, bulk: int
) -> dict[str, Any]:
    """One rate over one wire."""
    client = redis.Redis.from_url(store.url)
    client.flushall()
    settings: dict[str, object] = {"outcomes_max_entries": 1_000_000}
    if bulk:
        settings["quota_per_minute"] = 600_000
        enqueue(client, aside(PROJECT), bulk)
        client.xgroup_create(aside(PROJECT), GROUP, id="0")
    with worker(store.url, endpoint, wire, [PROJECT], **settings) as running:
        if bulk:
            client.rename(aside(PROJECT), stream(PROJECT, "bulk"))
        behind = put(client, lane, rate, WARM_S + seconds)
        running.until(lambda: client.xlen(stream(PROJECT, lane)) == 0)
        bulk_left = client.xlen(stream(PROJECT, "bulk"))
    found = outcomes(client, lane)
    began = min(at for at, _ in found) + WARM_S * 1000
    counted = [wait for at, wait in found if at >= began]
    row = {
        "wire": wire,
        "lane": lane,
        "rate": rate,
        "messages": len(counted),
        "generator_behind_ms": round(behind, 1),
    }
    if bulk:
        row |= {"bulk": bulk, "bulk_a_second": round((bulk - bulk_left) / (WARM_S + seconds))}
    return row | percentiles(counted)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--wires", nargs="+", choices=list(RATES), default=list(RATES))
    options.add_argument("--rates", nargs="*", type=int, help="in place of each wire's own")
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--latency-ms", type=float, default=50.0, help="the server's own, in the batch rows")
    options.add_argument("--bulk", type=int, default=BULK_JOBS)
    options.add_argument("--quick", action="store_true", help="four seconds a rate, a tenth of the bulk jobs")
    options.add_argument("--dry", action="store_true", help="print only")
    asked = options.parse_args()
    if asked.quick:
        asked.seconds, asked.bulk = 4.0, asked.bulk // 10
    rows = []
    with ExitStack() as stack:
        store = stack.enter_context(EmbeddedRedis())
        endpoints = {"batch": (stack.enter_context(server(asked.latency_ms)), asked.latency_ms)}
        if "v1-h2" in asked.wires:
            endpoints["v1-h2"] = (stack.enter_context(nginx()), 0.0)
        for wire in asked.wires:
            endpoint, own_ms = endpoints[wire]
            jobs = [("normal", rate, 0) for rate in asked.rates or RATES[wire]]
            jobs += [("high", HIGH_RATE, asked.bulk)] if asked.bulk else []
            for lane, rate, bulk in jobs:
                row = measure(store, endpoint, wire, lane, rate, asked.seconds, bulk)
                row |= {name: round(row[name] - own_ms, 1) for name in SHARES}
                row |= {"server_ms": own_ms, "limit_ms": LINGER_MS + (100 if bulk else 25)}
                rows.append(row)
                print(row, flush=True)
    if not asked.dry:
        results.save("latency", {"rows": rows}, quick=asked.quick)


if __name__ == "__main__":
    main()

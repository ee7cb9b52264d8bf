"""A fleet on a simulated clock: 1 to 200 workers, 50 projects, quotas, throttling, outages.

The decisions are those of dispatcher/policy; quota and circuit are held against the real scripts by a test. The same
seed gives the same figures, on any machine.

    python benchmarks/fleet.py
    python benchmarks/fleet.py --only quota --workers 20
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import results
from simulation.fleet import Fleet
from simulation.service import Trouble

QUOTA = 600_000
"""Messages a minute: FCM's default."""
USE = 0.9
PROJECTS = 50
CPU_S = 20e-6
"""Of a worker's processor for a message: between batch and v1 over HTTP/2."""


def quota(workers: int, projects: int, seconds: float, seed: int) -> dict[str, Any]:
    """Endless work for all projects."""
    fleet = Fleet(workers, projects, 10**9, seed=seed, per_minute=QUOTA, cost_s=CPU_S, use=USE)
    fleet.run(seconds)
    settled = 5.0  # the buckets start empty
    rate = QUOTA / 60 * USE
    names = list(fleet.queues)
    sent = [fleet.service.between(name, settled, seconds) / (seconds - settled) for name in names]
    could = min(rate, workers / CPU_S / projects)
    return {
        "workers": workers,
        "projects": projects,
        "least_share": round(min(sent) / could, 3),
        "sent_a_second": round(sum(sent)),
        "most_a_minute": max(fleet.service.most_in(name, 60) for name in names) / QUOTA,
        "over_quota": fleet.service.over_quota,
        "asks_a_second": round(sum(queue.asks for queue in fleet.queues.values()) / seconds),
        "use": [
            round(sum(fleet.service.between(name, at, at + 1) for name in names) / rate / projects, 3)
            for at in range(int(seconds))
        ],
    }


def outage(workers: int, projects: int, seed: int) -> dict[str, Any]:
    """Two minutes in which every request of every project ends in 503."""
    start, end, until = 30.0, 150.0, 420.0
    per_minute = 60_000
    fleet = Fleet(
        workers, projects, 10**9, seed=seed, per_minute=per_minute, cost_s=CPU_S, use=USE, grain=25,
        troubles=(Trouble(start, end),),
    )  # fmt: skip
    fleet.run(until)
    names = list(fleet.queues)
    rate = per_minute / 60 * USE
    after = [fleet.service.between(name, end + 5, until) / (until - end - 5) / rate for name in names]
    ended: dict[str, int] = {}
    for queue in fleet.queues.values():
        for status, count in queue.ended.items():
            ended[status] = ended.get(status, 0) + count
    return {
        "workers": workers,
        "projects": projects,
        "outage_s": end - start,
        "peak_second_before": round(
            max(fleet.service.most_in(name, 1, 0, start) for name in names) / rate, 3
        ),
        "peak_second_after": round(max(fleet.service.most_in(name, 1, end) for name in names) / rate, 3),
        "most_a_minute": round(max(fleet.service.most_in(name, 60) for name in names) / per_minute, 3),
        "rate_after": round(sum(after) / len(after), 3),
        "ended": ended,
        "waiting": sum(len(job.values) for queue in fleet.queues.values() for _, _, job in queue.delayed),
        "use": [
            round(sum(fleet.service.between(name, at, at + 1) for name in names) / rate / projects, 3)
            for at in range(int(until))
        ],
    }


def throttled(workers: int, seed: int) -> dict[str, Any]:
    """A project that FCM grants half of what is configured: refused, paused, probed, ramped up."""
    until = 600.0
    fleet = Fleet(workers, 2, 10**9, seed=seed, per_minute=QUOTA, cost_s=CPU_S, use=USE, granted=QUOTA // 2)
    fleet.run(until)
    refused = fleet.service.over_quota
    name = next(iter(fleet.queues))
    return {
        "workers": workers,
        "seconds": until,
        "accepted_share": round(fleet.service.accepted[name] / (QUOTA / 2 / 60 * until), 3),
        "refused_share": round(refused / (refused + sum(fleet.service.accepted.values())), 4),
        "use": [
            round(fleet.service.between(name, at, at + 1) / (QUOTA / 60 * USE), 3) for at in range(int(until))
        ],
    }


def campaign(messages: int, workers: int, projects: int, seed: int, *, troubled: bool) -> dict[str, Any]:
    """A campaign from its first message to its last outcome."""
    could = min(QUOTA / 60 * USE * projects, workers / CPU_S)
    least = messages / could
    # A third of the way in: five minutes, or as long as it had taken to get there.
    troubles = (Trouble(least / 3, least / 3 + min(300.0, least / 3)),) if troubled else ()
    fleet = Fleet(
        workers, projects, messages // projects, seed=seed, per_minute=QUOTA, cost_s=CPU_S, use=USE, grain=500,
        troubles=troubles,
    )  # fmt: skip
    took = fleet.run(12 * 3600.0, to_the_end=True)
    ended: dict[str, int] = {}
    for queue in fleet.queues.values():
        for status, count in queue.ended.items():
            ended[status] = ended.get(status, 0) + count
    return {
        "messages": messages,
        "workers": workers,
        "projects": projects,
        "outage_s": round(sum(trouble.end - trouble.start for trouble in troubles)),
        "seconds": round(took, 1),
        "least_seconds": round(least, 1),
        "most_a_minute": round(max(fleet.service.most_in(name, 60) for name in fleet.queues) / QUOTA, 3),
        "ended": ended,
    }


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--only", nargs="*", default=["quota", "outage", "throttled", "campaign"])
    options.add_argument("--workers", nargs="*", type=int, default=[1, 5, 20, 50, 200])
    options.add_argument("--seconds", type=float, default=65.0, help="of simulated time, in `quota`")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--quick", action="store_true", help="up to 20 workers, a tenth of the campaign")
    options.add_argument("--dry", action="store_true", help="print only")
    asked = options.parse_args()
    workers = [count for count in asked.workers if not asked.quick or count <= 20]
    messages = 5_000_000 if asked.quick else 50_000_000
    few = 5 if asked.quick else 20
    runs: dict[str, list[tuple[Any, ...]]] = {
        "quota": [(quota, count, PROJECTS, asked.seconds, asked.seed) for count in workers],
        "outage": [(outage, few, PROJECTS // 5, asked.seed)],
        "throttled": [(throttled, few, asked.seed)],
        "campaign": [
            (campaign, messages, shape[0], shape[1], asked.seed, troubled)
            for shape in ((4, 1), (10, PROJECTS))
            for troubled in (False, True)
        ],
    }
    found: dict[str, Any] = {"seed": asked.seed}
    for name in asked.only:
        found[name] = []
        for call, *args in runs[name]:
            began = time.perf_counter()
            row = call(*args[:-1], troubled=args[-1]) if call is campaign else call(*args)
            found[name].append(row)
            shown = {key: value for key, value in row.items() if key != "use"}
            print(f"{name:10} {shown}  ({time.perf_counter() - began:.1f} s)", flush=True)
    if not asked.dry:
        results.save("fleet", found, quick=asked.quick)


if __name__ == "__main__":
    main()

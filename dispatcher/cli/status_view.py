"""What `dispatcher status` shows to people."""

from __future__ import annotations

import time

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dispatcher.cli.standing import Overall, ProjectStatus


def picture(overall: Overall) -> RenderableType:
    """One table of all projects, and below it what is out of the ordinary, project by project."""
    if not overall.projects:
        return Text(
            "Redis holds nothing of any project: enqueue a job, or see that DISPATCHER_NAMESPACE is the workers'"
        )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("project", no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for seen in overall.projects:
        latency = seen.latency_s
        table.add_row(
            seen.project,
            *(f"{seen.backlog[stream]:,}" for stream in ("high", "due", "normal", "bulk")),
            f"{seen.in_flight:,}",
            f"{seen.delayed:,}",
            f"{seen.dead:,}",
            f"{seen.per_second:,.1f}",
            span(latency["median"]) if latency else "-",
            span(latency["95%"]) if latency else "-",
        )
    notes = [note for seen in overall.projects for note in _notes(seen)]
    return Group(table, *([Text()] if notes else []), *(Text(note) for note in notes))


_COLUMNS = ("high", "due", "normal", "bulk", "in flight", "delayed", "dead", "msg/s", "median", "95%")


def span(seconds: float) -> str:
    """A duration in the unit that suits it."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.{1 if size == 1 else 0}f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def _notes(seen: ProjectStatus) -> list[str]:
    notes = []
    jobs = sum(seen.backlog.values())
    oldest = max(seen.oldest_s.values(), default=0.0)
    if not seen.served and (jobs or seen.delayed):
        notes.append(
            f"{jobs + seen.delayed:,} jobs that no worker serves: start one with a credential of this project"
        )
    notes += [
        f'{count:,} jobs in "{lane}", which is no lane: the producer misspelt high, normal or bulk'
        for lane, count in seen.strangers.items()
    ]
    if seen.pause_reason:
        left = f"for {span(seen.pause_s)} more" if seen.pause_s else "on trial"
        notes.append(f"paused by FCM's answers, {left}: {seen.pause_reason}")
    for stop in seen.stops:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(stop.since))
        notes.append(f"paused by an operator since {since}: {stop.label}")
    if seen.cancellations:
        notes.append(f"{seen.cancellations:,} cancellations in force")
    if seen.held:
        notes.append(f"{seen.held:,} messages wait for what is paused")
    if seen.paused_target_count:
        shown = ", ".join(
            f"{_KINDS.get(target.key[0], 'target')} {target.key} {span(max(target.for_s, target.queue_s))}"
            for target in seen.paused_targets[:5]
        )
        notes.append(f"{seen.paused_target_count:,} targets paused by FCM's answers; longest: {shown}")
    if seen.codes:
        shown = ", ".join(f"{count:,} {code}" for code, count in list(seen.codes.items())[:6])
        notes.append(f"errors of the last minute: {shown}")
    if oldest > 60:
        notes.append(f"oldest job: {span(oldest)}")
    for worker in seen.workers:
        life = (
            f"lease for {worker.lease_s:.0f} s"
            if worker.lease_s
            else "no lease: its jobs are taken over by others"
        )
        notes.append(f"worker {worker.name}: {worker.in_flight:,} jobs, {life}")
    return [f"{seen.project}: {note}" for note in notes]


_KINDS = {"t": "token or topic", "c": "condition", "f": "fid", "g": "group"}

"""What `dispatcher status` shows to people."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dispatcher.cli.amount import amount, amounts
from dispatcher.cli.moment import when
from dispatcher.cli.span import span
from dispatcher.cli.standing import Overall, ProjectStatus

NOTHING = (
    "Redis holds nothing of any project: enqueue a job, or see that DISPATCHER_NAMESPACE is the workers'"
)


def picture(overall: Overall, width: int) -> RenderableType:
    """One table of all projects, and below it what is out of the ordinary, project by project.

    Args:
        overall: what there is to show.
        width: columns to show it in.
    """
    if not overall.projects:
        return Text(NOTHING)
    table = Table(box=None, pad_edge=False, padding=(0, 2 if width >= _WIDE else 1, 0, 0))
    table.add_column("project", overflow="fold")
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    for seen in overall.projects:
        latency = seen.latency_s
        table.add_row(
            seen.project,
            *(_brief(seen.backlog[stream]) for stream in ("high", "due", "normal", "bulk")),
            _brief(seen.in_flight),
            _brief(seen.delayed),
            _brief(seen.dead),
            f"{seen.per_second:,.{1 if seen.per_second < _EXACT / 100 else 0}f}",
            span(latency["median"]) if latency else "-",
            span(latency["95%"]) if latency else "-",
        )
    notes = [note for seen in overall.projects for note in _notes(seen)]
    return Group(table, *([Text()] if notes else []), *(Text(note) for note in notes))


_WIDE = 100
"""Columns of a terminal from which on there is room to spare."""
_EXACT = 100_000
"""Numbers from here on are rounded: ten columns have to stand side by side in 80 (--json has them exact)."""
_TARGETS = 5
"""Paused targets that are named; of more, the number is told."""
_COLUMNS = ("high", "due", "normal", "bulk", "in flight", "delayed", "dead", "msg/s", "median", "95%")


def _brief(number: int) -> str:
    if number < _EXACT:
        return f"{number:,}"
    return f"{number / 1000:.0f}k" if number < 999_500 else f"{number / 1e6:,.1f}M"


def _notes(seen: ProjectStatus) -> list[str]:
    notes = []
    jobs = sum(seen.backlog.values())
    oldest = max(seen.oldest_s.values(), default=0.0)
    if not seen.served and (jobs or seen.delayed):
        notes.append(
            f"{amount(jobs + seen.delayed, 'job')} that no worker serves: start one with a credential of this project"
        )
    notes += [
        f'{amount(count, "job")} in "{lane}", which is no lane: the producer misspelt high, normal or bulk'
        for lane, count in seen.strangers.items()
    ]
    if seen.pause_reason:
        left = f"for {span(seen.pause_s)} more" if seen.pause_s else "on trial"
        notes.append(f"paused by FCM's answers, {left}: {seen.pause_reason}")
    for stop in seen.stops:
        notes.append(f"paused by an operator since {when(stop.since)}: {stop.label}")
    if seen.cancellations:
        notes.append(f"{amount(seen.cancellations, 'cancellation')} in force")
    if seen.held:
        notes.append(f"{amount(seen.held, 'message waits', 'messages wait')} for what is paused")
    notes += [target.text for target in seen.paused_targets[:_TARGETS]]
    more = seen.paused_target_count - len(seen.paused_targets[:_TARGETS])
    if more:
        notes.append(f"{amount(more, 'more target')} paused by FCM's answers")
    if seen.codes:
        notes.append(f"errors of the last minute: {amounts(dict(list(seen.codes.items())[:6]))}")
    if oldest > 60:
        notes.append(f"oldest job: {span(oldest)}")
    for worker in seen.workers:
        life = (
            f"lease for {worker.lease_s:.0f} s"
            if worker.lease_s
            else "no lease: its jobs are taken over by others"
        )
        notes.append(f"worker {worker.name}: {amount(worker.in_flight, 'job')}, {life}")
    return [f"{seen.project}: {note}" for note in notes]

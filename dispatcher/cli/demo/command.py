"""The command: start everything, enqueue, watch, audit."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console

from dispatcher.cli.demo.audit import Check, audit, fetch_ledger
from dispatcher.cli.demo.traffic import PROJECT, Plan
from dispatcher.cli.demo.view import Figures, View, figures, print_results
from dispatcher.cli.options import AsJson
from dispatcher.client.outcomes import OutcomeReader
from dispatcher.client.producer import Producer
from dispatcher.errors import DispatcherError, SettingsError
from dispatcher.model import Outcome, Status

if TYPE_CHECKING:
    from dispatcher.cli.demo.stage import Stage

EXAMPLE = "Example: dispatcher demo --messages 100000"

LIMIT_S = 60.0
"""It ends by itself within this time of starting to send, whatever happens."""


class Report(msgspec.Struct):
    """What `--json` prints."""

    ok: bool
    figures: Figures
    checks: list[Check]


def demo(
    *,
    messages: Annotated[int, typer.Option(min=1000, max=1_000_000, help="How many messages.")] = 100_000,
    json: AsJson = False,
) -> int:
    """Show the whole service on this machine: a private Redis, the emulator as FCM, one worker, and an audit.

    Some tokens are unregistered, the server stumbles now and then, one token and one topic are over their rate.

    Ends by itself within a minute of starting to send; exit code 0 only if every claim it prints holds.
    """
    if find_spec("granian") is None:
        raise SettingsError("the demo needs the emulator's extra: pip install 'fcm-dispatcher[emulator]'")
    report = asyncio.run(_run(messages, quiet=json))
    if json:
        typer.echo(msgspec.json.encode(report).decode())
    else:
        print_results(Console(), report.figures, report.checks)
    return 0 if report.ok else 1


async def _run(total: int, *, quiet: bool) -> Report:
    from dispatcher.cli.demo.stage import Stage  # noqa: PLC0415 - its extra may not be installed

    console = Console()
    plan = Plan(total)
    with View(console, total, quiet=quiet) as view:
        view.say(f"Starting Redis, the emulator and a worker for {total:,} messages to project {PROJECT} ...")
        async with Stage() as stage:
            outcomes = await _watch(stage, plan, view)
            ledger = await asyncio.to_thread(fetch_ledger, stage.emulator_url)
    if not outcomes:
        raise DispatcherError("no message was settled within a minute; is this machine very busy?")
    checks = audit(plan, outcomes, ledger)
    return Report(all(check.holds for check in checks), figures(outcomes), checks)


async def _watch(stage: Stage, plan: Plan, view: View) -> list[Outcome]:
    """Enqueue and collect outcomes until all are there or time is up."""
    outcomes: list[Outcome] = []
    settled: Counter[Status] = Counter()
    deadline = time.monotonic() + LIMIT_S
    async with (
        Producer.at(stage.redis_url) as producer,
        OutcomeReader.at(stage.redis_url, PROJECT) as reader,
        asyncio.TaskGroup() as tasks,
    ):
        enqueueing = tasks.create_task(plan.enqueue(producer))
        while len(outcomes) < plan.total and time.monotonic() < deadline:
            for record in await reader.read(wait_s=0.2):
                outcomes += record.outcomes
                settled.update(outcome.status for outcome in record.outcomes)
            stage.check()
            view.show(time.monotonic(), len(plan.asked), settled)
        enqueueing.cancel()
    view.show(float("inf"), len(plan.asked), settled)
    return outcomes

"""`dispatcher outcomes --job` and `--token`: what happened to it? Lanes, delayed set, outcomes and dead letters are looked through."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from dispatcher.cli.amount import amount
from dispatcher.cli.moment import when
from dispatcher.cli.outcome_line import as_line
from dispatcher.cli.span import span
from dispatcher.cli.waiting import as_job
from dispatcher.client import DeadFilter, DeadLetters, OutcomeReader
from dispatcher.model import Job, Outcome
from dispatcher.queue.search import Waiting
from dispatcher.queue.store import Queue

_PAGE = 200


class Sighting(msgspec.Struct, omit_defaults=True):
    """One place where it was found.

    Attributes:
        place: `waiting`, `outcome` or `dead`.
        text: what there is to say, for people.
        job: its id.
        messages: of a waiting job, those that are meant.
        lane: of a waiting job or a dead letter.
        entry: id in its stream.
        due: of a delayed job, Unix seconds.
        worker: who has read it.
        outcome: as producers read it.
    """

    place: str
    text: str
    job: str
    messages: int = 0
    lane: str = ""
    entry: str = ""
    due: float = 0.0
    worker: str = ""
    outcome: Outcome | None = None


async def trace(queue: Queue, project: str, *, job: str = "", token: str = "") -> list[Sighting]:
    """Everything that Redis still knows of a job or a token, what waits first.

    Args:
        queue: a view of Redis.
        project: Firebase project id.
        job: the producer's id of a job, or its entry id.
        token: a token, or any other target's value.
    """
    found = await _waiting(queue, project, job, token)
    reader = OutcomeReader(queue, project)
    while records := await reader.read(_PAGE):
        for record in records:
            for outcome in record.outcomes:
                if (job and outcome.job == job) or (token and token in outcome.target.values()):
                    text = as_line(outcome, whole=bool(token))
                    found.append(
                        Sighting("outcome", text, outcome.job, entry=record.entry_id, outcome=outcome)
                    )
    async for letter in DeadLetters(queue).letters(project, DeadFilter(job=job, target=token)):
        text = (
            f"{when(letter.died_at)} dead letter {letter.entry_id}: {letter.status} {letter.code} {letter.reason}".rstrip()
            + f"; dispatcher dead show {letter.entry_id}"
        )
        found.append(Sighting("dead", text, letter.job, letter.messages, letter.lane, letter.entry_id))
    return found


async def _waiting(queue: Queue, project: str, job_id: str, token: str) -> list[Sighting]:
    control = (await queue.controls([project]))[project]
    labels = {stop.name: stop.label for stop in control.stops}
    cancelled: Callable[[Job], str] = control.orders.cancellation if control.orders else lambda _: ""
    found = []
    async for waiting in queue.search(project, (job_id or token).encode()):
        job = as_job(project, waiting)
        if job_id and job_id not in (job.id, job.origin_id):
            continue
        if token and token not in job.values:
            continue
        worker = ""
        if waiting.stream is not None:
            worker = await queue.holder(project, waiting.stream, waiting.entry_id)
        why = _why(waiting, worker, control.stopped, labels, time.time())
        order = cancelled(job)
        if order:
            why += f"; {order}, which a worker carries out when it meets it"
        meant = 1 if token else len(job.values) or 1
        many = f" ({len(job.values)} messages)" if len(job.values) > 1 else ""
        sends = f", sent {amount(job.sends, 'time')} before" if job.sends else ""
        text = f"{when(job.enqueued_at)} job {job.id}{many} of lane {job.lane}{sends}: {why}"
        found.append(
            Sighting("waiting", text, job.id, meant, job.lane, waiting.entry_id, waiting.due, worker)
        )
    return found


def _why(waiting: Waiting, worker: str, stopped: bool, labels: dict[str, str], now: float) -> str:
    """What a job waits for."""
    if waiting.stop:
        return (
            f"waits until {labels.get(waiting.stop, waiting.stop)} is resumed; it expires {when(waiting.due)}"
        )
    if worker:
        return f"worker {worker} has it"
    if stopped:
        return "waits until the project is resumed"
    if waiting.stream is not None:
        return f"waits in {waiting.stream} to be read"
    left = f"due {when(waiting.due)}" + (
        f", in {span(waiting.due - now)}" if waiting.due > now else ", any moment"
    )
    return f"its target is paused: {left}" if waiting.held else f"waits for its time: {left}"

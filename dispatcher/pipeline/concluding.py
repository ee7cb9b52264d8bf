"""From the answers of a batch to what is written to Redis: a plain function, no awaiting.

Each message ends in one of three ways: a terminal outcome, a wait (retry, hold, pause), or, for a message of a
multicast job, either, on its own. An entry is settled once, with the effects of all its messages (effects.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import cast

from dispatcher.model import Action, Batch, Disposition, Job, Outcome, SendError, SendResponse, Status
from dispatcher.pipeline.effects import Conclusion, Context, settle_job
from dispatcher.pipeline.members import joined, members_job, missed
from dispatcher.policy.settle import decide
from dispatcher.protocol.outcome import encode_outcomes
from dispatcher.queue.settlement import Settled
from dispatcher.telemetry.logs import clean_text

_ACCEPTED = cast("Status", Status.ACCEPTED.value)
"""As plain text, to be written and never compared: to write an enumeration takes half as long as all the other fields."""


def conclude(
    batch: Batch, responses: list[SendResponse], presets: dict[int, Disposition], context: Context
) -> Conclusion:
    """Decide every message of `batch`.

    Args:
        batch: what was sent.
        responses: one a message, in its order; for a message in `presets` it is not looked at.
        presets: messages decided before the send (held, expired), by number.
        context: see `Context`.
    """
    conclusion = Conclusion([], Counter(), Counter())
    first = 0
    for job in batch.jobs:
        last = first + len(job.values)
        # A message that was not sent has no error either, and proves nothing of the payload.
        twin = job.multicast and any(
            responses[number].error is None and number not in presets for number in range(first, last)
        )
        decided = [
            presets.get(number) or _decide(job, responses[number].error, context, twin_accepted=twin)
            for number in range(first, last)
        ]
        settled = settle_job(job, responses[first:last], decided, context, conclusion)
        for number in range(first, last):
            if responses[number].failed_tokens and decided[number - first] is None:
                settled = joined(settled, _settle_members(job, responses[number], context, conclusion))
        conclusion.items.append(settled)
        first = last
    return conclusion


def conclude_accepted(batch: Batch, responses: list[SendResponse], context: Context) -> bytes | None:
    """The outcomes of a batch of plain jobs that were all accepted: nearly every batch, on a good day.

    Returns:
        A JSON array of one outcome a job, in the order of the batch, b"" if none is to be recorded; None: it is no such
        batch, and `conclude` takes its time over it.
    """
    if batch.size != len(batch.jobs):
        return None
    now = context.now
    outcomes = []
    for job, response in zip(batch.jobs, responses, strict=True):
        if response.error is not None or job.state is not None or job.campaign or job.attributes:
            return None
        if response.replacement_token or response.result or response.failed_tokens or job.operation:
            return None
        if context.failures_only:
            continue
        outcomes.append(
            Outcome(
                job.id,
                0,
                _ACCEPTED,
                1,
                job.enqueued_at,
                now,
                {job.kind: job.values[0]},
                message_id=response.message_id,
                http_status=200,
            )
        )
    return b"" if context.failures_only else encode_outcomes(outcomes)


def conclude_unsent(jobs: list[Job], disposition: Disposition, context: Context) -> Conclusion:
    """Settle whole jobs in one way without a send: refused, expired, duplicate, not yet due, put back."""
    conclusion = Conclusion([], Counter(), Counter())
    for job in jobs:
        decision = disposition
        if job.refusal is not None:
            decision = Disposition(
                Action.FIX_REQUEST,
                job.refusal.code,
                Status.REJECTED,
                clean_text(job.refusal.reason),
                counted=False,
            )
        responses = [SendResponse()] * max(1, len(job.values))
        decided: list[Disposition | None] = [decision] * len(responses)
        conclusion.items.append(settle_job(job, responses, decided, context, conclusion))
    return conclusion


def restrict(
    batch: Batch, responses: list[SendResponse], presets: dict[int, Disposition], entry_ids: Collection[str]
) -> tuple[Batch, list[SendResponse], dict[int, Disposition]]:
    """The part of an answered batch that belongs to these entries."""
    numbers = [n for n, (job, _) in enumerate(batch.messages()) if job.entry_id in entry_ids]
    return (
        batch.subset(numbers),
        [responses[number] for number in numbers],
        {place: presets[number] for place, number in enumerate(numbers) if number in presets},
    )


def _settle_members(job: Job, response: SendResponse, context: Context, conclusion: Conclusion) -> Settled:
    """The effects of the members of a device group that did not get what the others got."""
    members = members_job(job, response.failed_tokens)
    answers = missed(response)
    decided = [_decide(members, answer.error, context, twin_accepted=False) for answer in answers]
    return settle_job(members, answers, decided, context, conclusion)


def _decide(
    job: Job, error: SendError | None, context: Context, *, twin_accepted: bool
) -> Disposition | None:
    """The disposition of one answer; None: accepted."""
    if error is None:
        return None
    return decide(
        job,
        error,
        now=context.now,
        chance=context.chance(),
        rules=context.rules,
        twin_accepted=twin_accepted,
        # What the sender can do at once it has done before it handed the answers over.
        refreshed=True,
        last_route=True,
        pausing=context.pausing,
        doubtful=context.doubtful,
        extra_delay=context.extra_delay,
    )

"""What the answers of a batch say together of their project."""

from __future__ import annotations

from collections.abc import Collection

from dispatcher.model import Action, Batch, ErrorCode, Fate, SendResponse
from dispatcher.policy.classify import classify
from dispatcher.policy.health import Answers


def survey(batch: Batch, responses: list[SendResponse], unsent: Collection[int] = ()) -> Answers:
    """Count what the answers say of the project, before any of them is judged on its own.

    Args:
        batch: what was sent.
        responses: one a message, in its order.
        unsent: numbers of the messages that were not sent.
    """
    answers = Answers(0)
    throttled: set[str] = set()
    for number, ((job, position), response) in enumerate(zip(batch.messages(), responses, strict=True)):
        error = response.error
        if error is None:
            # Not every wire has a name for what it accepts.
            answers.total += number not in unsent
        elif error.fate is Fate.ANSWERED:
            answers.total += 1
            verdict = classify(error, job.kind)
            code = verdict.code
            # A wire without FcmError says "too fast" in an answer of status 200.
            if error.http_status == 429 or verdict.action is Action.PAUSE_TARGET:
                answers.throttled += 1
                throttled.add(job.target(position).key)
            elif code is ErrorCode.MISMATCHED_CREDENTIAL:
                answers.mismatched += 1
            elif code is ErrorCode.THIRD_PARTY_AUTH_ERROR:
                answers.platform += 1
    answers.throttled_targets = throttled
    return answers

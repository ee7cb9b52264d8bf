"""What the answers of a batch say together of their project."""

from __future__ import annotations

from dispatcher.model import Batch, ErrorCode, Fate, SendResponse
from dispatcher.policy.classify import classify
from dispatcher.policy.health import Answers


def survey(batch: Batch, responses: list[SendResponse]) -> Answers:
    """Count what the answers say of the project, before any of them is judged on its own.

    Args:
        batch: what was sent.
        responses: one a message, in its order; those of messages that were not sent have no error and no name.
    """
    answers = Answers(0)
    throttled: set[str] = set()
    for (job, position), response in zip(batch.messages(), responses, strict=True):
        error = response.error
        if error is None:
            answers.total += bool(response.message_id)
        elif error.fate is Fate.ANSWERED:
            answers.total += 1
            code = classify(error, job.kind).code
            if error.http_status == 429:
                answers.throttled += 1
                throttled.add(job.target(position).key)
            elif code is ErrorCode.MISMATCHED_CREDENTIAL:
                answers.mismatched += 1
            elif code is ErrorCode.THIRD_PARTY_AUTH_ERROR:
                answers.platform += 1
    answers.throttled_targets = throttled
    return answers

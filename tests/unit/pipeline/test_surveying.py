"""dispatcher.pipeline.surveying: what the answers of a batch say together of their project"""

from __future__ import annotations

from dispatcher.model import Batch, Fate, Job, SendError, SendResponse
from dispatcher.pipeline.surveying import survey

UNSENT = SendResponse()
LOST = SendResponse(error=SendError(Fate.UNKNOWN))


def batch(*values) -> Batch:
    job = Job("1-0", "normal", "p", [], 10, "1-0", "normal", b"{}", "token", list(values), True, 0.0, 1e12)
    return Batch("p", "normal", [job], size=len(values), nbytes=0, epoch=1)


def v1(http, fcm) -> SendResponse:
    return SendResponse(error=SendError(Fate.ANSWERED, http_status=http, fcm_code=fcm, is_json=True))


def test_counts_what_was_answered():
    slow = v1(429, "QUOTA_EXCEEDED")
    foreign, platform = v1(403, "SENDER_ID_MISMATCH"), v1(401, "THIRD_PARTY_AUTH_ERROR")
    many = batch("a", "b", "c", "d", "e", "f", "g")
    answers = survey(many, [SendResponse("m"), slow, slow, foreign, platform, LOST, UNSENT], {6})
    assert (answers.total, answers.throttled, answers.mismatched, answers.platform) == (5, 2, 1, 1)
    job = many.jobs[0]
    assert answers.throttled_targets == {job.target(1).key, job.target(2).key}


def test_other_wires_say_too_fast_in_a_word():
    slow = SendError(Fate.ANSWERED, http_status=200, wire="legacy", word="DeviceMessageRateExceeded")
    answers = survey(batch("a", "b"), [SendResponse(error=slow), SendResponse()])
    assert (answers.total, answers.throttled) == (2, 1)

"""dispatcher.pipeline.members: the members of a device group that did not get what the others got"""

from __future__ import annotations

import json
from collections import Counter

import orjson

from dispatcher.model import Action, Batch, Job, JobState, SendResponse, Status
from dispatcher.pipeline.concluding import conclude
from dispatcher.pipeline.effects import Context
from dispatcher.pipeline.members import joined, members_job
from dispatcher.policy.settle import Rules
from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.queue.settlement import Settled

NOW = 1_731_000_100.0
AT = 1_731_000_000.0
RESULT = b'{"success":1,"failure":2,"failed_registration_ids":["a","b"]}'
PARTLY = SendResponse(result=RESULT, failed_tokens=("a", "b"))


def group(**more) -> Job:
    facts = {
        "entry_id": "1731000000000-0",
        "stream": "normal",
        "project": "demo",
        "entry": [b"message", b'{"data":{}}', b"group", b"APA91key", b"id", b"order-7"],
        "nbytes": 100,
        "id": "order-7",
        "lane": "normal",
        "message": b'{"data":{}}',
        "kind": "group",
        "values": ["APA91key"],
        "multicast": False,
        "enqueued_at": AT,
        "expires_at": AT + 86400,
        **more,
    }
    return Job(**facts)


def concluded(job, response=PARTLY, **more):
    batch = Batch("demo", "normal", [job], size=1, nbytes=0, epoch=1)
    context = Context(**{"now": NOW, "rules": Rules(), "chance": lambda: 0.0, "pauses": {}, **more})
    return conclude(batch, [response], {}, context)


def outcomes(settled):
    return json.loads(b"[" + settled.outcomes + b"]")


def reread(delayed) -> Job:
    """The job as the next worker reads it."""
    fields = [text.encode() for text in orjson.loads(delayed.fields)]
    return decode_entry("demo", "due", "1731000101000-0", fields, DecodeLimits())


def test_the_group_is_accepted_and_its_failed_members_wait_as_tokens():
    conclusion = concluded(group())
    (settled,) = conclusion.items
    (outcome,) = outcomes(settled)
    assert (outcome["status"], outcome["index"], outcome["target"]) == ("accepted", 0, {"group": "APA91key"})
    assert outcome["result"] == orjson.loads(RESULT)
    assert settled.accepted
    (delayed,) = settled.delayed
    assert delayed.member == "normal:1731000000000-0:0:1"
    assert delayed.due == NOW + 1
    job = reread(delayed)
    assert job.refusal is None
    assert (job.kind, job.values, job.id, job.enqueued_at) == ("token", ["a", "b"], "order-7", AT)
    assert [job.place(0), job.place(1)] == [1, 2]
    assert job.sends == 1
    assert conclusion.ended == Counter({(Status.ACCEPTED, ""): 1})
    assert conclusion.waits == Counter({(Action.RETRY, "server-unavailable"): 2})


def test_members_whose_attempts_are_used_up_end_each_with_an_outcome_and_one_dead_letter():
    (settled,) = concluded(group(), rules=Rules(max_attempts=1)).items
    assert [(o["index"], o["status"], o["target"]) for o in outcomes(settled)] == [
        (0, "accepted", {"group": "APA91key"}),
        (1, "failed", {"token": "a"}),
        (2, "failed", {"token": "b"}),
    ]
    (flat,) = settled.dead
    letter = dict(zip(flat[::2], flat[1::2], strict=True))
    assert orjson.loads(letter[b"tokens"]) == ["a", "b"]
    assert b"group" not in letter
    assert not settled.delayed


def test_members_that_would_come_too_late_are_expired():
    (settled,) = concluded(group(expires_at=NOW + 0.5)).items
    assert [o["status"] for o in outcomes(settled)] == ["accepted", "expired", "expired"]


def test_a_retried_group_hands_its_history_on():
    state = JobState("1730999999999-0", "high", AT, sends=2, counted=2, replay=1)
    (settled,) = concluded(group(state=state)).items
    (delayed,) = settled.delayed
    assert delayed.member == "high:1730999999999-0:1:1"
    job = reread(delayed)
    assert (job.sends, job.state.counted, job.state.replay, job.lane) == (3, 3, 1, "high")


def test_a_group_s_key_in_the_place_of_a_token_is_taken_out_of_the_message():
    message = b'{"token":"APA91key","data":{"k":"v"}}'
    job = group(kind="token", message=message, entry=None)
    (settled,) = concluded(job).items
    again = reread(settled.delayed[0])
    assert again.refusal is None
    assert orjson.loads(again.message) == {"data": {"k": "v"}}
    assert again.values == ["a", "b"]


def test_the_places_of_members_are_nobody_else_s():
    job = group(kind="token", multicast=True, values=["APA91key"], entry=[b"tokens", b'["x","APA91key"]'])
    assert members_job(job, ("a", "b")).state.places == [500, 501]


def test_a_campaign_counts_both():
    one = Settled("1-0", b"{}", campaign=("c", {"accepted": 1}))
    two = Settled("1-0", b"{}", campaign=("c", {"accepted": 1, "failed": 2}))
    whole = joined(one, two)
    assert whole.campaign == ("c", {"accepted": 2, "failed": 2})
    assert whole.outcomes == b"{},{}"

"""How a batch becomes calls of the legacy wire."""

from __future__ import annotations

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.model import Batch, Job, JobState, Lifetimes
from dispatcher.protocol.legacy import encode_request
from dispatcher.protocol.legacy_message import translate
from dispatcher.transport.legacy import LegacyTransport, pack
from dispatcher.transport.wire import Timeouts

NOW = 1000.0


def job(*values, message=None, kind="token", multicast=None, **more):
    multicast = len(values) > 1 if multicast is None else multicast
    content = {"data": {"k": "v"}} if message is None else message
    if not multicast and kind != "group":
        content = {kind: values[0], **content}
    facts = {
        "entry_id": "1-0",
        "stream": "normal",
        "project": "demo",
        "entry": [],
        "nbytes": 100,
        "id": "1-0",
        "lane": "normal",
        "message": orjson.dumps(content),
        "kind": kind,
        "values": list(values),
        "multicast": multicast,
        "enqueued_at": NOW,
        "expires_at": NOW + 3600,
        **more,
    }
    made = Job(**facts)
    members = translate(made, "legacy")  # as decoding does it
    made.legacy = members if isinstance(members, bytes) else None
    return made


def batch(*jobs):
    size = sum(len(one.values) for one in jobs)
    return Batch("demo", "normal", list(jobs), size=size, nbytes=0, epoch=1, broadcast=False)


def packed(*jobs):
    found = {}
    return [(call.values, call.numbers) for call in pack(batch(*jobs), NOW, found)], found


def test_jobs_that_say_the_same_share_a_call_and_keep_their_numbers():
    other = {"data": {"k": "other"}}
    calls, _ = packed(job("a"), job("b", message=other), job("c", "d"), job("e", message=other), job("f"))
    assert calls == [(["a", "c", "d", "f"], [0, 2, 3, 5]), (["b", "e"], [1, 4])]


def test_jobs_that_live_for_different_times_share_none():
    android = {"android": {"ttl": "60s"}}
    jobs = [
        job("a", message=android, lifetimes=Lifetimes(android=60.0)),
        job("b", message=android, lifetimes=Lifetimes(android=60.0), enqueued_at=NOW - 10,
            state=JobState("1-0", "normal", NOW - 10, sends=1)),
        job("c", message=android, lifetimes=Lifetimes(android=60.0)),
    ]  # fmt: skip
    calls, _ = packed(*jobs)
    assert [values for values, _ in calls] == [["a", "c"], ["b"]]


def test_a_check_and_a_message_share_none():
    assert [values for values, _ in packed(job("a"), job("b", validate_only=True))[0]] == [["a"], ["b"]]


def test_a_call_has_at_most_a_thousand_recipients_and_no_job_is_split():
    many = [job(*(f"{letter}{number}" for number in range(400))) for letter in "abc"]
    calls, _ = packed(*many, job("z"))
    assert [len(values) for values, _ in calls] == [800, 401]


def test_topics_conditions_and_groups_go_alone():
    assert len(packed(job("news", kind="topic"), job("news", kind="topic"))[0]) == 2
    assert len(packed(job("k", kind="group"), job("k", kind="group"))[0]) == 2


def test_what_has_no_legacy_form_is_answered_unsent():
    calls, found = packed(job("a"), job("b", message={"fcm_options": {"analytics_label": "x"}}), job("c"))
    assert calls == [(["a", "c"], [0, 2])]
    assert found[1].error.reason.startswith("message.fcm_options.analytics_label: ")


def test_it_says_how_many_calls_a_batch_will_be():
    wire = LegacyTransport(None, "http://legacy", Timeouts(), print)
    same = batch(*(job(f"t{number}") for number in range(50)))
    different = batch(*(job(f"t{number}", message={"data": {"n": str(number)}}) for number in range(7)))
    assert [wire.requests(same), wire.requests(different), wire.requests(same)] == [1, 7, 1]
    assert wire.requests(batch(job("a", kind="topic"), job("b", kind="topic"))) == 2


@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, 2)), min_size=1, max_size=12))
@settings(max_examples=40)
def test_every_message_is_in_one_call_at_the_place_of_its_recipient(shapes):
    jobs = [
        job(*(f"{n}.{m}" for m in range(count)), message={"data": {"k": str(kind)}})
        for n, (count, kind) in enumerate(shapes)
    ]
    whole = batch(*jobs)
    expected = {number: one.values[place] for number, (one, place) in enumerate(whole.messages())}
    calls = pack(whole, NOW, {})
    assert {n: v for call in calls for n, v in zip(call.numbers, call.values, strict=True)} == expected
    assert all(len(call.values) <= 1000 for call in calls)
    for call in calls:
        sent = orjson.loads(encode_request(call.kind, call.values, call.options, call.members))
        assert sent.get("registration_ids", [sent.get("to")]) == call.values

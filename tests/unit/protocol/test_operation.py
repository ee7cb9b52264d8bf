"""Management jobs are written as the README has them, and mistakes are told by name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.model import JobState, Status
from dispatcher.protocol.job import DecodeLimits, decode_entry, encode_retry_fields
from dispatcher.protocol.letter import decode_letter, encode_letter, replay_state
from dispatcher.protocol.operation import OPERATIONS, encode_operation, parcel_limit

PUSH = {"endpoint": "https://example.com/s", "keys": {"auth": "YQ", "p256dh": "Yg"}, "expirationTime": None}
RIGHT = {
    "topic.subscribe": {"topic": "news", "tokens": ["a"], "via": "v1"},
    "topic.unsubscribe": {"topic": "news", "tokens": ["a"] * 1000},
    "token.info": {"token": "t", "details": True},
    "apns.import": {"application": "com.example", "apns_tokens": ["x"] * 100, "sandbox": True},
    "webpush.import": {"subscription": PUSH},
    "webpush.refresh": {"token": "t", "subscription": PUSH},
    "webpush.delete": {"token": "t"},
    "group.create": {"name": "g", "tokens": ["a"]},
    "group.add": {"name": "g", "key": "k", "tokens": ["a"]},
    "group.remove": {"name": "g", "key": "k", "tokens": ["a"]},
    "group.get": {"name": "g"},
}


ABOUT = {
    "topic.subscribe": ("token", ["a"]),
    "topic.unsubscribe": ("token", ["a"] * 1000),
    "token.info": ("token", ["t"]),
    "apns.import": ("apns_token", ["x"] * 100),
    "webpush.import": ("subscription", ["https://example.com/s"]),
    "webpush.refresh": ("token", ["t"]),
    "webpush.delete": ("token", ["t"]),
    "group.create": ("group_name", ["g"]),
    "group.add": ("group", ["k"]),
    "group.remove": ("group", ["k"]),
    "group.get": ("group_name", ["g"]),
}


def test_every_operation_is_tried():
    assert set(RIGHT) == set(ABOUT) == set(OPERATIONS)


def decoded(operation, request, **more):
    fields = {"operation": operation, "request": json.dumps(request), **more}
    flat = [part.encode() for pair in fields.items() for part in pair]
    return decode_entry("p", "due" if "_state" in more else "normal", "1-0", flat, DecodeLimits())


def parcel(operation, **request):
    return decoded(operation, RIGHT[operation] | request).parcel


def test_jobs_share_a_call_when_they_ask_for_the_same():
    assert parcel("topic.subscribe") == parcel("topic.subscribe", tokens=["b"], topic="/topics/news")
    others = {
        parcel("topic.subscribe", via="batch"),
        parcel("topic.subscribe", topic="old"),
        parcel("topic.unsubscribe"),
    }
    assert len(others | {parcel("topic.subscribe")}) == 4
    assert (
        parcel("apns.import")
        != parcel("apns.import", sandbox=False)
        != parcel("apns.import", application="x")
    )
    assert parcel_limit("topic.unsubscribe") == 1000
    assert parcel_limit("apns.import") == 100


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=30), st.data())
def test_what_is_left_of_a_list_waits_and_dies_under_its_own_places(tokens, data):
    job = decoded("topic.subscribe", {"topic": "news", "tokens": tokens}, id="mine")
    left = data.draw(st.lists(st.integers(0, len(tokens) - 1), unique=True, min_size=1).map(sorted))
    cut = job.cut(left)
    state = cut.state or JobState(job.entry_id, job.lane, job.enqueued_at)
    waits = encode_retry_fields(cut, state)
    again = decode_entry("p", "due", "2-0", [part.encode() for part in waits], DecodeLimits())
    assert again.refusal is None
    assert [(again.place(n), value) for n, value in enumerate(again.values)] == [(n, tokens[n]) for n in left]
    letter = decode_letter(
        "p",
        "3-0",
        encode_letter(
            job, left, status=Status.FAILED, code="c", reason="r", history=[], died_at=1.0, duplicate=False
        ),
    )
    assert [target.value for target in letter.targets] == [tokens[n] for n in left]
    replayed = [*letter.fields, b"_state", replay_state(letter, 2.0)]
    run = decode_entry("p", "normal", "4-0", replayed, DecodeLimits())
    assert [(run.place(n), value) for n, value in enumerate(run.values)] == [(n, tokens[n]) for n in left]


def test_a_job_is_a_message_or_an_operation():
    job = decoded("token.info", {"token": "t"}, message="{}")
    assert job.refusal.reason.startswith("operation: found a message as well")
    without = decode_entry("p", "normal", "1-0", [b"operation", b"token.info"], DecodeLimits())
    assert without.refusal.reason.startswith("request: found no such field")


def test_times_and_options_hold_for_management_too():
    job = decoded("token.info", {"token": "t"}, deliver_at="1731000000", campaign="c", dedup_key="d")
    assert (job.deliver_at, job.campaign, job.dedup_key) == (1731000000.0, "c", "d")
    assert decoded("token.info", {"token": "t"}, deliver_at="soon").refusal.reason.startswith("deliver_at")


@pytest.mark.parametrize("places", [[0], [0, 1, 2], [-1, 0]])
def test_a_forged_state_is_refused(places):
    state = json.dumps({"id": "1-0", "lane": "normal", "at": 1.0, "places": places})
    job = decoded("topic.subscribe", {"topic": "news", "tokens": ["a", "b"]}, _state=state)
    assert job.refusal.reason.startswith("_state")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_job_for_it(operation):
    fields = encode_operation(operation, RIGHT[operation], "mine")
    found = dict(zip(fields[::2], fields[1::2], strict=True))
    assert (found[b"operation"], found[b"id"]) == (operation.encode(), b"mine")
    assert json.loads(found[b"request"]) == RIGHT[operation]
    job = decode_entry("p", "normal", "1-0", fields, DecodeLimits())
    assert (job.id, job.refusal, job.operation) == ("mine", None, operation)
    kind, values = ABOUT[operation]
    assert (job.kind, job.values) == (kind, values)


@pytest.mark.parametrize(
    ("operation", "request_", "said"),
    [
        ("topic.dance", {}, "use one of topic.subscribe"),
        ("topic.subscribe", {"topic": "news"}, "required field `tokens`"),
        ("topic.subscribe", {"topic": "news", "tokens": []}, "length >= 1"),
        ("topic.subscribe", {"topic": "news", "tokens": ["a"] * 1001}, "length <= 1000"),
        ("topic.subscribe", {"topic": "news", "tokens": [""]}, r"\$\.tokens\[0\]"),
        ("topic.subscribe", {"topic": "news", "tokens": ["a"], "via": "pigeon"}, "via"),
        ("token.info", {"token": "t", "detials": 1}, "detials"),
        ("webpush.import", {"subscription": {"a": object()}}, "request"),
        ("webpush.import", {"subscription": {"endpoint": "https://e"}}, "required field `keys`"),
        (
            "webpush.refresh",
            {"token": "t", "subscription": {"endpoint": "e", "keys": {}}},
            "request.subscription: .*`auth`",
        ),
        ("topic.subscribe", {"topic": "a b", "tokens": ["a"]}, "request.topic: found 'a b'"),
        ("group.create", {"name": "g", "tokens": ["a"] * 21}, "length <= 20"),
    ],
)
def test_a_mistake_is_told(operation, request_, said):
    with pytest.raises(ValueError, match=said):
        encode_operation(operation, request_)


def test_bytes_are_no_text_and_are_not_made_into_any():
    with pytest.raises(ValueError, match=r"request: .*bytes.* \(of token.info\)"):
        encode_operation("token.info", {"token": b"t"})

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.model import ErrorCode, Job, JobState, Refusal
from dispatcher.protocol.message import Content, bodies, read_message, target_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["token", "topic", "data", "android", "ttl", "apns", "payload", "message", "fcmOptions", "x"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "notification": st.fixed_dictionaries(
            {}, optional={"title": st.text(max_size=5), "body": st.text(max_size=5)}
        ),
        "data": st.dictionaries(st.text("abxé\n", min_size=1, max_size=3), st.text(max_size=5), max_size=3),
        "apns": st.fixed_dictionaries({"payload": st.dictionaries(st.text(max_size=3), JSON, max_size=2)}),
        "webpush": st.fixed_dictionaries(
            {"notification": st.dictionaries(st.text(max_size=3), JSON, max_size=2)}
        ),
    },
)


def job(message, values=("t",), **other):
    given = {"kind": "token", "multicast": False, "enqueued_at": 1000.0, "expires_at": 9000.0, **other}
    return Job(
        entry_id="1-0",
        stream="normal",
        project="p",
        fields=[],
        nbytes=0,
        id="1-0",
        lane="normal",
        message=message,
        values=list(values),
        **given,
    )


def sent(entry):
    return [orjson.loads(body) for body in bodies(entry, 1000.0)]


# Reading.


@settings(max_examples=60)
@given(MESSAGES, st.sampled_from(["token", "topic", "fid"]), st.booleans())
def test_a_right_message_is_read_and_its_bytes_stay(message, kind, wrapped):
    raw = orjson.dumps({**message, kind: "news"}, option=orjson.OPT_INDENT_2)
    read = read_message(b'{"message": %b }' % raw if wrapped else raw)
    assert read == Content(raw, kind, "news")


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("message", "found"),
    [
        *(
            ({}, "no target"),
            ({"data": {"k": "v"}}, "no target"),
            ({"token": ""}, "no target"),
            ({"token": None}, "no target"),
        ),
        *(
            ({"token": "a", "topic": "b"}, "token and topic"),
            ({"condition": "c", "fid": "d"}, "condition and fid"),
        ),
    ],
)
def test_exactly_one_target_is_asked_for(message, found, strict):
    refusal = read_message(orjson.dumps(message), strict=strict)
    assert refusal.code is ErrorCode.INVALID_RECIPIENT
    assert refusal.reason.startswith(f"message: found {found}; give exactly one")


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("kind", ["token", "topic", "condition", "fid"])
def test_a_message_with_targets_elsewhere_has_none_of_its_own(kind, strict):
    refusal = read_message(orjson.dumps({kind: "x"}), strict=strict, targetless=True)
    assert refusal.code is ErrorCode.INVALID_RECIPIENT
    assert refusal.reason.startswith(f"message.{kind}: found a target")
    assert read_message(b"{}", strict=strict, targetless=True) == Content(b"{}", "token", "")


@pytest.mark.parametrize("strict", [True, False])
def test_the_prefix_of_a_topic_is_taken_off_and_nothing_else_changes(strict):
    read = read_message(b'{ "topic" : "/topics/news", "apns": {"payload": {"x": 1.50}} }', strict=strict)
    assert (read.kind, read.value) == ("topic", "news")
    assert read.raw == b'{"topic":"news","apns":{"payload": {"x": 1.50}}}'


@pytest.mark.parametrize("strict", [True, False])
def test_a_target_given_twice_is_refused_and_its_name_in_the_data_is_not(strict):
    assert "twice" in read_message(b'{"token":"a","token":"b"}', strict=strict).reason
    assert read_message(b'{"token":"a","data":{"token":"b"}}', strict=strict).value == "a"
    assert read_message(b'{"topic":"a","data":{"x":"\\"topic\\""}}', strict=strict).value == "a"


def test_a_condition_is_checked_in_part():
    assert read_message(b'{"condition":"\'a\' in topics"}').kind == "condition"
    assert read_message(b'{"condition":"news"}').code is ErrorCode.INVALID_RECIPIENT


@pytest.mark.parametrize(
    "raw", [b'{"token":"a","android":{"ttl":"3.5s"}}', b'{"message":{"token":"a","android":{"ttl":"3.5s"}}}']
)
@pytest.mark.parametrize("strict", [True, False])
def test_the_ttl_is_noted(raw, strict):
    assert read_message(raw, strict=strict).ttl == 3.5


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"token": "a", "surprise": 1}, "invalid-payload"),
        ({"token": "a", "data": {"from": "x"}}, "invalid-data-payload-key"),
        ({"token": "a", "data": {"k": 1}}, "invalid-payload"),
        ({"token": "a", "data": {"k": "x" * 4096}}, "payload-size-limit-exceeded"),
        ({"topic": "a", "data": {"k": "x" * 4096}}, "payload-size-limit-exceeded"),
        ({"topic": "a", "data": {"from": "x"}}, "invalid-data-payload-key"),
        ({"topic": "a b"}, "invalid-recipient"),
        ({"token": "a", "android": {"ttl": "x"}}, "invalid-options"),
        ({"token": "a", "apns": {"fcm_options": {"analytics_label": ""}}}, "invalid-options"),
    ],
)
def test_what_fcm_would_refuse_is_refused_unless_it_is_to_judge_itself(message, code):
    raw = orjson.dumps(message)
    assert read_message(raw).code == code
    assert isinstance(read_message(raw, strict=False), Content)


def test_json_that_later_readers_could_not_manage_is_refused():
    for payload in (b"[" * 120 + b"]" * 120, b"[" * 900 + b"]" * 900, b"[" * 5000 + b"]" * 5000):
        for strict in (True, False):
            raw = b'{"token":"a","apns":{"payload":{"x":%b}}}' % payload
            assert read_message(raw, strict=strict).code is ErrorCode.INVALID_PAYLOAD


def test_a_message_cut_at_any_byte_or_with_something_behind_it_is_refused():
    whole = b'{"token":"a","data":{"k":"\xc3\xa9"},"apns":{"payload":{"x":[1,2]}}}'
    for broken in (*(whole[:n] for n in range(len(whole))), whole + b"x", whole + whole, b"\xff" + whole):
        for strict in (True, False):
            assert read_message(broken, strict=strict).code is ErrorCode.INVALID_PAYLOAD


@settings(max_examples=150)
@given(JSON.map(orjson.dumps) | st.binary(max_size=30), st.booleans(), st.booleans())
def test_any_bytes_are_read_or_refused_and_what_is_read_is_a_json_object(raw, strict, targetless):
    read = read_message(raw, strict=strict, targetless=targetless)
    if isinstance(read, Refusal):
        assert "; " in read.reason
    else:
        assert isinstance(orjson.loads(read.raw), dict)
        assert b"\n--" not in read.raw


@pytest.mark.parametrize(
    ("raw", "target"),
    [
        (b'{"token":"a","bad":1}', ("token", "a")),
        (b'{"message":{"topic":"b","bad":1}}', ("topic", "b")),
        *(
            (raw, None)
            for raw in (b'{"token":"a","topic":"b"}', b"{", b"[]", b'{"token":1}', b'{"message":7}')
        ),
    ],
)
def test_the_target_of_a_refused_message_is_read_if_there_is_one(raw, target):
    assert target_of(raw) == target


# Sending.


def test_a_single_message_is_sent_as_it_came():
    assert bodies(job(b'{ "token":"a" }'), 1000.0) == [b'{"message":{ "token":"a" }}']


def test_a_check_without_delivery_says_so():
    assert bodies(job(b'{"token":"a"}', validate_only=True), 0.0) == [
        b'{"validate_only":true,"message":{"token":"a"}}'
    ]


@settings(max_examples=60)
@given(MESSAGES, st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=3), st.booleans())
def test_a_multicast_is_spliced_token_by_token(message, tokens, check):
    for raw in (orjson.dumps(message), b" \n" + orjson.dumps(message, option=orjson.OPT_INDENT_2)):
        found = sent(job(raw, tokens, multicast=True, validate_only=check))
        assert [document["message"] for document in found] == [
            {"token": token, **message} for token in tokens
        ]
        assert all(document.get("validate_only", False) == check for document in found)


@pytest.mark.parametrize("raw", [b"{}", b" { } "])
def test_an_empty_message_takes_a_target_too(raw):
    assert sent(job(raw, ["a", "b"], multicast=True)) == [
        {"message": {"token": "a"}},
        {"message": {"token": "b"}},
    ]


def test_a_group_goes_where_a_token_goes():
    assert sent(job(b'{"data":{"k":"v"}}', ["key"], kind="group")) == [
        {"message": {"token": "key", "data": {"k": "v"}}}
    ]


def ttl_at(now, *, ttl="3600s", seconds=3600.0, state=None, **other):
    raw = (
        b'{"token":"a", "android": {"priority":"high","ttl":"%b"},"apns":{"payload":{"x":1.50}}}'
        % ttl.encode()
    )
    (body,) = bodies(job(raw, ttl=seconds, state=state, **other), now)
    found = orjson.loads(body)["message"]
    assert found["android"]["priority"] == "high"
    assert b'{"payload":{"x":1.50}}' in body
    return found["android"]["ttl"]


def test_a_first_send_keeps_the_ttl_however_long_it_waited():
    assert ttl_at(5000.0) == "3600s"
    assert ttl_at(1000.0, ttl="3600.5s", seconds=3600.5) == "3600.5s"


def test_a_ttl_never_outlives_the_job():
    assert ttl_at(8000.0) == "1000s"
    assert ttl_at(8000.5) == "999s"
    assert ttl_at(9999.0) == "0s"


def test_a_retry_is_sent_with_the_ttl_that_is_left():
    state = JobState("1-0", "normal", 1000.0, sends=1)
    assert ttl_at(1010.0, state=state) == "3590s"
    assert ttl_at(1010.0, state=state, deliver_at=1008.0) == "3598s"
    assert ttl_at(990.0, state=state) == "3600s"
    assert ttl_at(8500.0, state=state) == "0s"
    assert ttl_at(1010.0, state=JobState("1-0", "normal", 1000.0)) == "3600s"

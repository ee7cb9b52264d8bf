from __future__ import annotations

import json

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.model import ErrorCode, Job, Lifetimes, Refusal
from dispatcher.protocol import rules
from dispatcher.protocol.message import Content, _checked, _decode, bodies, read_message, target_of
from dispatcher.protocol.rules import Checks
from dispatcher.protocol.schema import Message

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
        entry=[],
        nbytes=0,
        id="1-0",
        lane="normal",
        message=message,
        values=list(values),
        **given,
    )


def sent(entry):
    return [orjson.loads(body) for body in bodies([entry], 1000.0)]


# Reading.


@settings(max_examples=60)
@given(MESSAGES, st.sampled_from(["token", "topic", "fid"]), st.booleans())
def test_a_right_message_is_read_and_its_bytes_stay(message, kind, wrapped):
    raw = orjson.dumps({**message, kind: "news"}, option=orjson.OPT_INDENT_2)
    read = read_message(b'{"message": %b }' % raw if wrapped else raw)
    # A name drawn at random may look misspelt, which is told and refuses nothing.
    assert (read.raw, read.kind, read.value, read.lifetimes) == (raw, kind, "news", None)


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
@pytest.mark.parametrize(
    "raw", [b'{"token":null}', b'{ "token" : null, "data":{"k": "token"}}', b'{"\\u0074oken":null}']
)
def test_an_unset_token_does_not_shadow_the_one_that_is_spliced_in(raw, strict):
    read = read_message(raw, strict=strict, targetless=True)
    (document,) = sent(job(read.raw, ["a"], multicast=True))
    assert document["message"]["token"] == "a"
    assert read_message(b'{"token":""}', strict=strict, targetless=True).reason.startswith(
        "message.token: found"
    )


@pytest.mark.parametrize("strict", [True, False])
def test_an_empty_target_beside_another_is_one_too_many(strict):
    refusal = read_message(b'{"token":"a","topic":""}', strict=strict)
    assert refusal.reason == "message.topic: found an empty string; leave it out: the target is in token"
    assert read_message(b'{"token":"a","topic":null}', strict=strict).value == "a"


@pytest.mark.parametrize("strict", [True, False])
def test_the_prefix_of_a_topic_is_taken_off_and_nothing_else_changes(strict):
    read = read_message(b'{ "topic" : "/topics/news", "apns": {"payload": {"x": 1.50}} }', strict=strict)
    assert (read.kind, read.value) == ("topic", "news")
    assert read.raw == b'{"topic":"news","apns":{"payload": {"x": 1.50}}}'


@pytest.mark.parametrize("strict", [True, False])
def test_a_prefix_alone_is_no_topic(strict):
    assert read_message(b'{"topic":"/topics/"}', strict=strict).code is ErrorCode.INVALID_RECIPIENT


@pytest.mark.parametrize("strict", [True, False])
def test_a_target_given_twice_is_refused_and_its_name_in_the_data_is_not(strict):
    assert "twice" in read_message(b'{"token":"a","token":"b"}', strict=strict).reason
    assert read_message(b'{"token":"a","data":{"token":"b"}}', strict=strict).value == "a"
    assert read_message(b'{"topic":"a","data":{"x":"\\"topic\\""}}', strict=strict).value == "a"


def test_a_condition_is_checked_to_its_end():
    assert read_message(b'{"condition":"\'a\' in topics"}').kind == "condition"
    refusal = read_message(b"{\"condition\":\"'a' in topics && ('b' in topic)\"}")
    assert refusal.code is ErrorCode.INVALID_RECIPIENT
    assert refusal.reason.startswith("message.condition: found in at character 23; behind 'b' stands")


@pytest.mark.parametrize(
    "raw", [b'{"token":"a","android":{"ttl":"3.5s"}}', b'{"message":{"token":"a","android":{"ttl":"3.5s"}}}']
)
@pytest.mark.parametrize("strict", [True, False])
def test_the_lifetime_is_noted(raw, strict):
    assert read_message(raw, strict=strict).lifetimes == Lifetimes(android=3.5)


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


def test_bodies_of_several_jobs_are_in_their_order():
    jobs = [
        job(b'{"token":"a"}'),
        job(b'{"data":{}}', ["b", "c"], multicast=True),
        job(b'{"token":"d"}', validate_only=True),
        job(b'{"token":"e"}'),
    ]
    assert bodies(jobs, 1000.0) == [body for one in jobs for body in bodies([one], 1000.0)]
    assert [orjson.loads(body)["message"]["token"] for body in bodies(jobs, 1000.0)] == [
        "a",
        "b",
        "c",
        "d",
        "e",
    ]


def test_a_single_message_is_sent_as_it_came():
    assert bodies([job(b'{ "token":"a" }')], 1000.0) == [b'{"message":{ "token":"a" }}']


def test_a_check_without_delivery_says_so():
    assert bodies([job(b'{"token":"a"}', validate_only=True)], 0.0) == [
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


def test_what_a_message_says_of_its_lifetime_is_shortened_and_nothing_else():
    raw = b'{"token":"a", "android": {"priority":"high","ttl":"3600s"},"apns":{"payload":{"x":1.50}}}'
    late = job(raw, lifetimes=Lifetimes(android=3600.0))
    assert bodies([late], 8000.0) == [
        b'{"message":{"token":"a","android":{"priority":"high","ttl":"1000s"},"apns":{"payload":{"x":1.50}}}}'
    ]
    assert bodies([late], 1000.0) == [b'{"message":' + raw + b"}"]


def test_a_multicast_is_shortened_for_each_of_its_tokens():
    raw = b'{"android":{"ttl":"3600s"}}'
    late = job(raw, ["a", "b"], multicast=True, lifetimes=Lifetimes(android=3600.0))
    assert [document["message"]["android"]["ttl"] for document in sent(late)] == ["3600s"] * 2
    assert [orjson.loads(body)["message"] for body in bodies([late], 8999.0)] == [
        {"token": token, "android": {"ttl": "1s"}} for token in ("a", "b")
    ]


# Limits that sources dispute.


def large(kind, size):
    return orjson.dumps(
        {kind: "'news' in topics" if kind == "condition" else "news", "data": {"k": "x" * (size - 1)}}
    )


@pytest.mark.parametrize("kind", ["topic", "condition"])
def test_a_payload_between_the_two_topic_limits_is_sent_with_a_warning(kind):
    assert read_message(large(kind, 2048)).warnings == ()
    (caution,) = read_message(large(kind, 2049)).warnings
    assert caution.code == "topic-payload-size"
    assert caution.reason.startswith("message: found a payload of 2049 bytes; some of FCM's pages allow 2048")
    assert read_message(large(kind, 4096)).warnings != ()
    assert read_message(large(kind, 4097)).code is ErrorCode.PAYLOAD_SIZE_LIMIT_EXCEEDED


@pytest.mark.parametrize("limit", [2048, 1000])
def test_the_topic_limit_is_a_setting_and_leaves_devices_alone(limit):
    checks = Checks(topic_payload_limit=limit)
    for kind in ("topic", "condition"):
        assert isinstance(read_message(large(kind, limit), checks=checks), Content)
        refusal = read_message(large(kind, limit + 1), checks=checks)
        assert refusal.code is ErrorCode.PAYLOAD_SIZE_LIMIT_EXCEEDED
        assert f"DISPATCHER_TOPIC_PAYLOAD_LIMIT is {limit}" in refusal.reason
    assert read_message(large("token", 4096), checks=checks).warnings == ()


def test_the_narrow_rule_of_data_keys_is_a_setting():
    raw = b'{"token":"a","data":{"gcm":"x","googleish":"x"}}'
    assert read_message(raw).code is ErrorCode.INVALID_DATA_PAYLOAD_KEY
    assert isinstance(read_message(raw, checks=Checks(narrow_keys=True)), Content)


# Names given twice.


SPELLINGS = st.sampled_from(
    [
        orjson.dumps,
        lambda document: json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(),
        lambda document: json.dumps(document, separators=(",", ":")).encode(),
        lambda document: json.dumps(document).replace("/", "\\/").encode(),
    ]
)
SIMPLE = st.fixed_dictionaries(
    {"token": st.text(min_size=1, max_size=9)},
    optional={
        "notification": st.fixed_dictionaries({}, optional={"title": st.text(max_size=9)}),
        "data": st.dictionaries(st.text("abé/\x01", min_size=1, max_size=3), st.text(max_size=9), max_size=3),
        "android": st.fixed_dictionaries(
            {}, optional={"priority": st.sampled_from(["high", 1, "NORMAL"]), "ttl": st.just("60s")}
        ),
    },
)


@settings(max_examples=150)
@given(SIMPLE, SPELLINGS, st.sampled_from(["token", "data", "notification"]))
def test_a_name_given_twice_is_found_however_the_message_is_spelt(message, spell, name):
    raw = spell(message)
    assert isinstance(read_message(raw), Content)
    second = b'"%b":%b' % (name.encode(), spell(message.get(name, {})))
    if name in message:
        assert "twice" in read_message(raw[:-1] + b"," + second + b"}").reason


@given(SIMPLE, SPELLINGS)
def test_written_again_text_is_never_longer(message, spell):
    """What `read_message` rests on: as long as before means that nothing got lost."""
    raw = spell(message)
    assert len(msgspec.json.encode(msgspec.json.decode(raw, type=Message))) <= len(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"token":"a","data":{"k":"1","k":"2"}}',
        b'{"token":"a","data":{"k" : "1", "k" :"\\u003a"}}',
        b'{"token":"a","android":{"ttl":"1s"},"android":{"ttl":"2s"}}',
        b'{"token":"a","apns":{"payload":{"aps":{"badge":1,"badge":2}}}}',
        b'{"topic":"a","data":{"k":"1","\\u006b":"2"}}',
        b'{"tokens":"a","topic":"a","topic":"b"}',
        b'{"token":"a","fcmOptions":{},"fcmOptions":{}}',
    ],
)
def test_a_name_given_twice_is_refused(raw):
    assert read_message(raw).code is ErrorCode.INVALID_PAYLOAD


@pytest.mark.parametrize(
    "raw",
    [
        b'{"token":"a:b","data":{"k" : ":::", "l":"\\u003a"}}',
        b'{"token":"a","topic":null,"data":{"k":"\\"k\\":"},"android":{"ttl":null}}',
        b'{"token":"a","webpush":{"notification":{"x":1e5,"y":[{"z":1},{"z":2}]}}}',
    ],
)
def test_names_that_only_look_like_twins_are_fine(raw):
    assert read_message(raw) == Content(raw, "token", read_message(raw).value)


# The short way, by which nearly every message goes, and the long one.


TO_ONE_TOKEN = st.fixed_dictionaries(
    {"token": st.text(min_size=1, max_size=9)},
    optional={
        "notification": st.fixed_dictionaries({}, optional={"title": st.text(max_size=9)}),
        "data": st.dictionaries(
            st.sampled_from(["a", "collapse_key", "from", "gcm", "google.x", "message_type", "fcm", ""]),
            st.text(max_size=9),
            max_size=3,
        ),
        "android": st.fixed_dictionaries(
            {},
            optional={
                "priority": st.sampled_from(["high", "NORMAL", 1, 2, "urgent", "1"]),
                "ttl": st.sampled_from(["60s", "3.5s", "0s", "2419200s", "2419201s", "-1s", "1m", ""]),
            },
        ),
        "fcm_options": st.fixed_dictionaries(
            {}, optional={"analytics_label": st.sampled_from(["spring", "two words", ""])}
        ),
    },
)


@settings(max_examples=300)
@given(TO_ONE_TOKEN, SPELLINGS)
def test_the_short_way_finds_what_the_long_one_does(message, spell):
    raw = spell(message)
    assert read_message(raw) == _checked(raw, _decode(raw), False, rules.DEFAULTS)


# What is strange and is sent.


def test_a_collapse_key_in_the_data_is_warned_of():
    read = read_message(b'{"token":"a","data":{"collapse_key":"x"}}')
    assert [caution.code for caution in read.warnings] == ["data-collapse-key"]


def test_what_looks_wrong_is_sent_with_a_warning():
    read = read_message(b'{"token":"a","apns":{"payload":{"aps":{"badge":"42"}}}}')
    assert (read.value, [caution.code for caution in read.warnings]) == ("a", ["apns-badge"])
    assert (
        read_message(b'{"token":"a","apns":{"payload":{"aps":{"badge":"42"}}}}', strict=False).warnings == ()
    )

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.model import Attempt, ErrorCode, JobState, Lifetimes
from dispatcher.protocol.job import DecodeLimits, dead_fields, decode_entry, encode_retry_fields
from dispatcher.protocol.rules import Checks

ID = "1731000000123-4"
AT = 1731000000.123
LIMITS = DecodeLimits()
NAMES = "message tokens group id deliver_at expires_at dedup_key on_unknown campaign validate_only delivery_receipt attributes traceparent operation request _state new"


def decode(fields, stream="normal", limits=LIMITS):
    """Decodes an entry given as a dict of text or bytes."""
    flat = [part if isinstance(part, bytes) else part.encode() for pair in fields.items() for part in pair]
    return decode_entry("demo", stream, ID, flat, limits)


def again(job, state):
    """The job as the next worker reads it from the stream of what is due."""
    flat = [text.encode() for text in encode_retry_fields(job, state)]
    return decode_entry("demo", "due", "1731000099000-0", flat, LIMITS)


def refused(fields, code, start, limits=LIMITS):
    job = decode(fields, limits=limits)
    assert job.refusal is not None, "it was not refused"
    assert (job.refusal.code, job.refusal.reason[: len(start)]) == (code, start)
    assert "; " in job.refusal.reason
    return job


MESSAGE = '{"token":"a"}'


def test_a_job_weighs_what_it_is_in_redis_and_what_its_messages_are_in_the_request():
    message, tokens = json.dumps({"data": {"a": "x" * 1000}}), json.dumps(["a", "b", "c"])
    job = decode({"message": message, "tokens": tokens})
    assert job.nbytes == len("messagetokens") + len(tokens) + len(message) + 3 * (len(message) + len("a"))


def test_the_smallest_job_needs_a_message_only():
    job = decode({"message": MESSAGE})
    assert job.refusal is None
    assert (job.entry_id, job.id, job.origin_id, job.lane, job.stream) == (ID, ID, ID, "normal", "normal")
    assert (job.message, job.kind, job.values, job.multicast) == (MESSAGE.encode(), "token", ["a"], False)
    assert (job.enqueued_at, job.expires_at, job.deliver_at) == (AT, AT + 86400, 0.0)
    assert job.nbytes == len("message") + 2 * len(MESSAGE)


def test_the_short_way_and_the_long_way_make_the_same_job():
    short = decode({"message": '{"token":"a","android":{"ttl":"5s"}}'}, "bulk")
    long = decode({"message": '{"token":"a","android":{"ttl":"5s"}}', "id": ""}, "bulk")
    assert long.nbytes == short.nbytes + len("id")
    assert long.entry == [b"message", long.message, b"id", b""]
    long.entry, long.nbytes = short.entry, short.nbytes
    assert short == long


@pytest.mark.parametrize(
    "message",
    [MESSAGE, f'{{"message":{MESSAGE}}}', '{"topic":"/topics/news"}', '{"topic":"news"}', "no JSON"],
)
def test_an_entry_that_is_only_a_message_comes_back_byte_for_byte_and_is_kept_once(message):
    job = decode({"message": message})
    assert job.fields == [b"message", message.encode()]
    assert (job.entry is None) == (job.message == message.encode())


def test_every_field_is_read():
    job = decode(
        {
            "message": '{"data":{"k":"v"}}',
            "tokens": '["a","b"]',
            "id": "mine",
            "deliver_at": "1731000001.5",
            "expires_at": "1731000009",
            "dedup_key": "d",
            "on_unknown": "give_up",
            "campaign": "c",
            "validate_only": "1",
            "delivery_receipt": "1",
            "attributes": '{"user":7}',
            "traceparent": "00-ab-cd-01",
            "shiny": "new",
        }
    )
    assert job.refusal is None
    assert (job.id, job.origin_id, job.multicast, job.values) == ("mine", ID, True, ["a", "b"])
    assert (job.deliver_at, job.expires_at, job.dedup_key) == (1731000001.5, 1731000009.0, "d")
    assert (job.on_unknown, job.campaign, job.validate_only) == ("give_up", "c", True)
    assert job.delivery_receipt is True
    assert (job.attributes, job.traceparent, job.unknown_fields) == (b'{"user":7}', "00-ab-cd-01", 1)


def test_a_group_is_a_target():
    job = decode({"message": '{"data":{}}', "group": "key"})
    assert (job.refusal, job.kind, job.values, job.multicast) == (None, "group", ["key"], False)


def test_the_settings_decide_on_expiry_and_strictness():
    limits = DecodeLimits(default_expiry_s=60.0, strict=False)
    job = decode({"message": '{"token":"a","surprise":1}'}, limits=limits)
    assert (job.refusal, job.expires_at) == (None, AT + 60.0)


# Bad input.


def test_a_job_without_message_is_refused():
    refused({"id": "x"}, "invalid-argument", "message: found no such field")
    refused({"tokens": '["a"]'}, "invalid-argument", "message: found no such field")
    refused({}, "invalid-argument", "message: found no such field")


def test_broken_json_is_refused():
    refused({"message": "{"}, "invalid-payload", "message: found no JSON")
    refused({"message": b"\xff"}, "invalid-payload", "message: found no JSON")


def test_unknown_names_inside_the_message_are_refused():
    job = refused(
        {"message": '{"token":"a","surprise":1}'},
        "invalid-payload",
        "message.surprise: found an unknown name",
    )
    assert (job.kind, job.values) == ("token", ["a"])


def test_two_targets_are_refused():
    refused({"message": '{"token":"a","topic":"b"}'}, "invalid-recipient", "message: found token and topic")
    job = refused(
        {"message": MESSAGE, "tokens": '["b"]'}, "invalid-recipient", "message.token: found a target"
    )
    assert job.values == ["b"]
    refused({"message": MESSAGE, "group": "g"}, "invalid-recipient", "message.token: found a target")
    refused(
        {"message": "{}", "group": "g", "tokens": '["b"]'}, "invalid-recipient", "group: found tokens as well"
    )


def test_more_than_500_tokens_are_refused():
    tokens = [f"t{n}" for n in range(501)]
    refused({"message": "{}", "tokens": orjson.dumps(tokens)}, "invalid-argument", "tokens: found 501 tokens")
    assert decode({"message": "{}", "tokens": orjson.dumps(tokens[1:])}).refusal is None


@pytest.mark.parametrize("tokens", ["", "[", "{}", '"a"', "[1]", '["a",null]', "[[]]"])
def test_tokens_are_an_array_of_strings(tokens):
    job = refused(
        {"message": "{}", "tokens": tokens}, "invalid-recipient", "tokens: found no array of strings"
    )
    assert job.values == []


def test_tokens_are_neither_none_nor_empty():
    refused({"message": "{}", "tokens": "[]"}, "invalid-argument", "tokens: found 0 tokens")
    refused({"message": "{}", "tokens": '["a",""]'}, "invalid-recipient", "tokens[1]: found an empty string")
    refused({"message": "{}", "group": ""}, "invalid-recipient", "group: found nothing")


def test_a_payload_over_4096_bytes_is_refused():
    message = orjson.dumps({"token": "a", "data": {"k": "x" * 4096}})
    refused({"message": message}, "payload-size-limit-exceeded", "message: found a payload of 4097 bytes")


def test_a_job_above_the_limit_is_refused_under_its_own_id():
    limits = DecodeLimits(max_job_bytes=30)
    job = refused(
        {"message": MESSAGE, "id": "mine", "x": "y" * 30},
        "payload-size-limit-exceeded",
        "job: found an entry of",
        limits,
    )
    assert job.id == "mine"
    refused(
        {"message": '{"token":"aaaaaaaaaaaaaaaaa"}'},
        "payload-size-limit-exceeded",
        "job: found an entry of",
        limits,
    )


@pytest.mark.parametrize("name", ["deliver_at", "expires_at"])
@pytest.mark.parametrize(
    "text", ["soon", "-1", "1e9", "nan", "inf", "1731000000000", "2026-01-01", "1.", " 1", "١"]
)
def test_a_time_is_unix_seconds(name, text):
    refused({"message": MESSAGE, name: text}, "invalid-argument", f"{name}: found '{text}'")


def test_warnings_and_lifetimes_come_with_the_job_on_the_short_way_and_on_the_long_way():
    message = '{"token":"a","android":{"ttl":"5s"},"apns":{"payload":{"aps":{"badge":"1"}}}}'
    for fields in ({"message": message}, {"message": message, "id": "mine"}):
        job = decode(fields)
        assert [caution.code for caution in job.warnings] == ["apns-badge"]
        assert job.lifetimes == Lifetimes(android=5.0)


def test_the_settings_decide_on_disputed_rules():
    limits = DecodeLimits(checks=Checks(topic_payload_limit=5, narrow_keys=True))
    refused(
        {"message": '{"topic":"a","data":{"k":"12345"}}'},
        "payload-size-limit-exceeded",
        "message: found",
        limits,
    )
    assert decode({"message": '{"token":"a","data":{"gcm":"12345"}}'}, limits=limits).refusal is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("on_unknown", "retry"),
        ("validate_only", "yes"),
        ("delivery_receipt", "yes"),
        ("attributes", "{"),
        ("attributes", '"' + "x" * 1023 + '"'),
        ("id", b"\xff"),
        ("campaign", b"\xff"),
        ("dedup_key", b"\xff"),
        ("group", b"\xff"),
        ("deliver_at", b"\xff"),
        ("_state", "{}"),
    ],
)
def test_any_other_bad_field_is_named(name, value):
    refused({"message": MESSAGE, name: value}, "invalid-argument", f"{name}: found ")


def test_an_operation_that_nobody_knows_is_named():
    job = refused(
        {"operation": "topic.dance", "request": "{}"},
        "unsupported-operation",
        "operation: found 'topic.dance'; use one of topic.subscribe",
    )
    assert job.operation == "topic.dance"


def test_a_broken_trace_stops_nothing():
    assert decode({"message": MESSAGE, "traceparent": b"00-\xff"}).refusal is None


@settings(max_examples=200)
@given(
    st.dictionaries(
        st.sampled_from(NAMES.split()),
        st.sampled_from(
            [
                b"",
                b"{}",
                b"[]",
                b'["a"]',
                MESSAGE.encode(),
                b"1",
                b"\xff",
                b"give_up",
                b'{"id":"1-0","lane":"high","at":1}',
                b'{"data":{}}',
            ]
        )
        | st.binary(max_size=12),
        max_size=6,
    ),
    st.sampled_from(["high", "due", "normal", "bulk"]),
)
def test_any_entry_makes_a_job_that_can_be_sent_or_is_refused(fields, stream):
    job = decode(fields, stream)
    assert job.refusal is not None or (job.values and job.message)
    assert job.refusal is None or isinstance(job.refusal.code, ErrorCode)
    assert job.lane != "due"
    assert (
        dead_fields(job, list(range(len(job.values))))[:1]
        == [name.encode() for name in fields if name != "_state"][:1]
    )


# Retries and dead letters.


def test_a_retry_is_the_same_job_with_its_past():
    job = decode(
        {
            "message": '{"data":{"k":"v"}}',
            "tokens": '["a","b","c"]',
            "id": "mine",
            "campaign": "c",
            "new": "x",
            "raw": b"\xff",
        },
        "bulk",
    )
    left = job.cut([0, 2])
    state = JobState(
        ID,
        "bulk",
        AT,
        sends=2,
        counted=1,
        places=left.state.places,
        duplicate=True,
        history=[Attempt(AT, 503, "server-unavailable")],
    )
    read = again(left, state)
    assert read.refusal is None
    assert (read.id, read.origin_id, read.lane, read.stream) == ("mine", ID, "bulk", "due")
    assert (read.enqueued_at, read.expires_at) == (AT, AT + 86400)
    assert (read.values, read.place(1), read.state, read.sends) == (["a", "c"], 2, state, 2)
    assert (read.campaign, read.unknown_fields, read.message) == ("c", 1, job.message)


def test_a_retry_of_a_retry_is_no_longer_than_the_first():
    state = JobState(ID, "normal", AT, sends=1)
    once = again(decode({"message": MESSAGE}), state)
    assert encode_retry_fields(once, state) == encode_retry_fields(again(once, state), state)
    assert once.id == ID


@settings(max_examples=60)
@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=5), st.data())
def test_any_cut_of_a_multicast_survives_the_wait(tokens, data):
    job = decode({"message": "{}", "tokens": orjson.dumps(tokens)})
    positions = sorted(data.draw(st.sets(st.integers(0, len(tokens) - 1), min_size=1)))
    left = job.cut(positions)
    read = again(left, left.state or JobState(ID, "normal", AT))
    assert read.values == [tokens[p] for p in positions]
    assert [read.place(n) for n in range(len(positions))] == positions


def test_a_state_that_does_not_fit_the_tokens_is_refused():
    state = JobState(ID, "normal", AT, places=[0, 2])
    job = again(decode({"message": "{}", "tokens": '["a","b","c"]'}), state)
    assert job.refusal.reason.startswith("_state: found 2 places for 3 tokens")


@pytest.mark.parametrize(
    "forged",
    [
        {"id": "no-entry"},
        {"id": "1-0\n"},
        {"id": ""},
        {"at": -1},
        {"at": 1e300},
        {"sends": -1},
        {"sends": 10**12},
        {"counted": -5},
        {"throttled": 10**10},
        {"held": -1},
        {"replay": -1},
        {"slot": -1},
        {"slot": 1e30},
        {"places": [-1, 0]},
        {"places": [0, 1000]},
        {"places": [1, 0]},
        {"places": [1, 1]},
        {"places": list(range(1001))},
        {"history": [[1.0, 500, "x"]] * 101},
        {"lane": "due"},
    ],
)
def test_a_state_that_no_worker_writes_is_refused(forged):
    state = {"id": "1-0", "lane": "normal", "at": 1.0} | forged
    fields = {"message": "{}", "tokens": '["a","b"]', "_state": json.dumps(state)}
    job = decode(fields, stream="due")
    assert job.refusal.reason.startswith("_state: found ")
    assert all(job.place(position) >= 0 for position in range(len(job.values)))


def test_a_dead_letter_holds_the_original_fields_with_the_dead_tokens():
    job = decode(
        {
            "raw": b"\xff\x00",
            "message": ' {"data":{}}',
            "tokens": '["a","b","c"]',
            "_state": '{"id":"1-0","lane":"high","at":1}',
        }
    )
    assert dead_fields(job, [1]) == [b"raw", b"\xff\x00", b"message", b' {"data":{}}', b"tokens", b'["b"]']


def test_a_dead_letter_of_unreadable_tokens_keeps_them():
    job = decode({"message": "{}", "tokens": "[1]"})
    assert dead_fields(job, []) == [b"message", b"{}", b"tokens", b"[1]"]


@pytest.mark.parametrize("more", [{}, {"id": "order-7"}])
def test_for_a_legacy_wire_a_message_is_translated_when_it_is_read(more):
    limits = DecodeLimits(legacy="legacy")
    message = {"message": '{"token":"a","android":{"collapse_key":"c"}}', **more}
    assert decode(message, limits=limits).legacy == b'"collapse_key":"c"'
    assert decode(message).legacy is None


@pytest.mark.parametrize("more", [{}, {"id": "order-7"}])
def test_what_a_legacy_wire_cannot_say_is_refused_when_it_is_read(more):
    message = {"message": '{"token":"a","android":{"direct_boot_ok":true}}', **more}
    job = refused(
        message, ErrorCode.INVALID_PAYLOAD, "message.android.direct_boot_ok: ", DecodeLimits(legacy="legacy")
    )
    assert job.values == ["a"]
    assert decode(message).refusal is None

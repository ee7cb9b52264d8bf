from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.model import Job, JobState, Lifetimes
from dispatcher.protocol.lifetimes import in_time, lifetimes_in, replace, seconds_left
from dispatcher.protocol.message import read_message

SENT = JobState("1-0", "normal", 1000.0, sends=1)
WAITED = JobState("1-0", "normal", 1000.0)


def job(message, **other):
    given = {"kind": "token", "multicast": False, "enqueued_at": 1000.0, "expires_at": 9000.0, **other}
    return Job(
        entry_id="1-0",
        stream="normal",
        project="p",
        entry=[],
        nbytes=0,
        id="1-0",
        lane="normal",
        message=orjson.dumps(message),
        values=["t"],
        **given,
    )


def sent_at(now, message, **other):
    """The message as it leaves at this time."""
    entry = job({"token": "t", **message}, **other)
    lifetimes = read_message(entry.message).lifetimes
    return orjson.loads(in_time(entry, lifetimes, now))


def android_at(now, ttl="3600s", **other):
    return sent_at(now, {"android": {"priority": "high", "ttl": ttl}}, **other)["android"]["ttl"]


def web_at(now, ttl="3600", name="TTL", **other):
    return sent_at(now, {"webpush": {"headers": {"Urgency": "high", name: ttl}}}, **other)["webpush"][
        "headers"
    ][name]


def apns_at(now, expiration, **other):
    headers = {"apns-priority": "10", "apns-expiration": expiration}
    return sent_at(now, {"apns": {"headers": headers}}, **other)["apns"]["headers"]["apns-expiration"]


def test_a_first_send_keeps_the_ttl_however_long_it_waited():
    assert android_at(5000.0) == "3600s"
    assert android_at(1000.0, "3600.5s") == "3600.5s"
    assert web_at(5000.0) == "3600"


def test_what_was_held_back_unsent_is_no_retry():
    assert android_at(1010.0, state=WAITED) == "3600s"
    assert web_at(1010.0, state=WAITED) == "3600"


def test_nothing_outlives_the_job():
    assert android_at(8000.0) == "1000s"
    assert android_at(8000.5) == "999s"
    assert android_at(9999.0) == "0s"
    assert web_at(8000.5) == "999"
    assert web_at(9999.0) == "0"
    assert apns_at(1000.0, "9001") == "9000"
    assert apns_at(1000.0, "9000") == "9000"
    assert apns_at(1000.0, "9001", expires_at=8999.9) == "8999"


def test_a_retry_is_sent_with_the_seconds_that_are_left():
    assert android_at(1010.0, state=SENT) == "3590s"
    assert android_at(1010.0, state=SENT, deliver_at=1008.0) == "3598s"
    assert android_at(990.0, state=SENT) == "3600s"
    assert android_at(8500.0, state=SENT) == "0s"
    assert web_at(1010.0, state=SENT) == "3590"
    assert web_at(1010.0, name="ttl", state=SENT) == "3590"
    assert web_at(8500.0, state=SENT) == "0"


def test_a_moment_does_not_move_with_a_retry():
    assert apns_at(1010.0, "5000", state=SENT) == "5000"
    assert apns_at(6000.0, "5000", state=SENT) == "5000"


def test_now_or_never_stays_so():
    assert android_at(1000.0, "0s") == "0s"
    assert web_at(1000.0, "0") == "0"
    assert apns_at(1000.0, "0") == "0"


def test_the_preview_of_android_is_shortened_too_in_both_spellings():
    for name in ("android_v2", "androidV2"):
        message = {name: {"ttl": "60s", "background_sync": {}}}
        assert sent_at(1010.0, message, state=SENT)[name] == {"ttl": "50s", "background_sync": {}}


def test_all_of_them_are_shortened_in_one_message():
    message = {
        "android": {"ttl": "60s"},
        "webpush": {"headers": {"TTL": "90"}},
        "apns": {"headers": {"apns-expiration": "99999"}},
    }
    assert sent_at(1010.0, message, state=SENT) == {
        "token": "t",
        "android": {"ttl": "50s"},
        "webpush": {"headers": {"TTL": "80"}},
        "apns": {"headers": {"apns-expiration": "9000"}},
    }


def test_nothing_is_put_in_where_a_message_says_nothing():
    for message in (
        {},
        {
            "android": {"priority": "high"},
            "webpush": {"data": {}},
            "apns": {"headers": {"apns-priority": "5"}},
        },
    ):
        assert read_message(orjson.dumps({"token": "t", **message})).lifetimes is None


@pytest.mark.parametrize(
    "headers", [{"TTL": "soon"}, {"TTL": ""}, {"TTL": "-1"}, {"TTL": "١"}, {"TTL": "9" * 40}]
)
def test_what_cannot_be_read_is_left_alone(headers):
    read = read_message(orjson.dumps({"token": "t", "webpush": {"headers": headers}}))
    assert read.lifetimes is None


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"android": 7, "webpush": [], "apns": "x", "android_v2": None},
        {"android": {"ttl": 5}, "webpush": {"headers": 5}, "apns": {"headers": {"apns-expiration": 7}}},
        {"android": {"ttl": "5"}, "android_v2": {"ttl": []}},
    ],
)
def test_a_message_nobody_checked_may_hold_anything_in_their_place(document):
    assert lifetimes_in(document) is None


TEXTS = st.sampled_from(["0s", "5s", "3600.5s", "0", "60", "9" * 12, "5000", "99999", "x", ""])


@settings(max_examples=150)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "android": st.fixed_dictionaries({}, optional={"ttl": TEXTS, "collapse_key": TEXTS}),
            "webpush": st.fixed_dictionaries(
                {"headers": st.dictionaries(st.sampled_from(["TTL", "ttl", "Topic"]), TEXTS)}
            ),
            "apns": st.fixed_dictionaries(
                {"headers": st.dictionaries(st.sampled_from(["apns-expiration", "apns-id"]), TEXTS)}
            ),
        },
    ),
    st.floats(900, 12_000),
    st.sampled_from([None, SENT, WAITED]),
)
def test_whatever_a_message_says_is_at_most_shortened(message, now, state):
    entry = job({"token": "t", **message}, state=state)
    read = read_message(entry.message, strict=False)
    assert read_message(entry.message, strict=False).lifetimes == lifetimes_in(orjson.loads(entry.message))
    if read.lifetimes is None:
        return
    again = read_message(in_time(entry, read.lifetimes, now), strict=False).lifetimes
    most = max(0.0, entry.expires_at - now)
    for name in ("android", "web"):
        before, after = getattr(read.lifetimes, name), getattr(again, name)
        assert after == before or after <= min(before, most)
        assert (before < 0) == (after < 0)
    assert again.apns_until == min(read.lifetimes.apns_until, entry.expires_at)


def test_a_replaced_value_leaves_all_others_as_they_were():
    raw = b'{ "a" : { "b":1.50, "c" : [ 1 ] } , "d":"\\u00e9" }'
    assert replace(raw, ["a", "b"], b"2") == b'{"a":{"b":2,"c":[ 1 ]},"d":"\\u00e9"}'


@pytest.mark.parametrize(
    ("lifetimes", "now", "seconds"),
    [
        (Lifetimes(), 1010.0, None),
        (Lifetimes(android=3600.0), 1010.0, 3590),
        (Lifetimes(android=3600.9, web=60.0), 1010.0, 50),
        (Lifetimes(android_v2=30.5), 1010.0, 20),
        (Lifetimes(apns_until=2000.0), 1010.0, 990),
        (Lifetimes(android=30.0, apns_until=2000.0), 1010.0, 20),
        (Lifetimes(android=3600.0, apns_until=1020.0), 1010.0, 10),
        (Lifetimes(apns_until=0.0), 1010.0, 0),
        (Lifetimes(android=0.0), 1010.0, 0),
        (Lifetimes(android=3600.0), 8999.5, 0),
        (Lifetimes(web=9e11), 1010.0, 7990),
    ],
)
def test_one_lifetime_for_all_is_the_shortest_that_is_left(lifetimes, now, seconds):
    assert seconds_left(job({}, state=SENT), lifetimes, now) == seconds
    endless = job({}, state=SENT, expires_at=1e12)
    assert (seconds_left(endless, lifetimes, now) or 0) <= 2_419_200

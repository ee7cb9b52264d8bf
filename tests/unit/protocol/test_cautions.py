from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.model import CautionCode
from dispatcher.protocol.cautions import cautions_of
from dispatcher.protocol.schema import Message


def cautions(document):
    return cautions_of(msgspec.convert(document, Message))


def aps(**members):
    return {"apns": {"payload": {"aps": {name.replace("_", "-"): value for name, value in members.items()}}}}


def web(**members):
    return {"webpush": {"notification": members}}


APS = "message.apns.payload.aps"
WEB = "message.webpush.notification"


@pytest.mark.parametrize(
    ("document", "code", "start", "mend"),
    [
        (aps(badge="42"), "apns-badge", f'{APS}.badge: found the string "42"', "a number"),
        (aps(badge=True), "apns-badge", f"{APS}.badge: found the truth value true", "a number"),
        (aps(badge=-1), "apns-badge", f"{APS}.badge: found -1", "use 0"),
        (aps(sound=1), "apns-sound", f"{APS}.sound: found the number 1", "a string or an object"),
        (aps(sound={"volume": 2}), "apns-sound", f"{APS}.sound.volume: found 2", "0 to 1"),
        (
            aps(sound={"critical": True}),
            "apns-sound",
            f"{APS}.sound.critical: found the truth value",
            "number",
        ),
        (aps(sound={"critical": 2}), "apns-sound", f"{APS}.sound.critical: found 2", "1 or 0"),
        (aps(alert=["x"]), "apns-alert", f"{APS}.alert: found an array", "a string or an object"),
        (aps(alert={"title": 1}), "apns-alert", f"{APS}.alert.title: found the number 1", "a string"),
        (
            aps(alert={"loc-args": "x"}),
            "apns-alert",
            f'{APS}.alert.loc-args: found the string "x"',
            "an array",
        ),
        (
            aps(alert={"titleLocKey": "k"}),
            "apns-name",
            f"{APS}.alert.titleLocKey: found",
            "did you mean title-loc-key?",
        ),
        (
            aps(content_available="1"),
            "apns-value",
            f'{APS}.content-available: found the string "1"',
            "a number",
        ),
        (
            aps(mutable_content=True),
            "apns-value",
            f"{APS}.mutable-content: found the truth value",
            "a number",
        ),
        (aps(mutable_content=2), "apns-value", f"{APS}.mutable-content: found 2", "the value 1"),
        (aps(category=7), "apns-value", f"{APS}.category: found the number 7", "a string"),
        (aps(thread_id=None), "apns-value", f"{APS}.thread-id: found null", "a string"),
        (
            aps(contentAvailable=1),
            "apns-name",
            f"{APS}.contentAvailable: found",
            "did you mean content-available?",
        ),
        (
            {"apns": {"payload": {"aps": {"thread_id": "x"}}}},
            "apns-name",
            f"{APS}.thread_id: found",
            "mean thread-id?",
        ),
        ({"apns": {"payload": {"aps": "x"}}}, "apns-aps", f'{APS}: found the string "x"', "an object"),
        (
            {"apns": {"payload": {"alert": "x"}}},
            "apns-aps",
            "message.apns.payload.alert: found a name",
            "in aps",
        ),
        ({"apns": {"payload": {"APS": {}}}}, "apns-aps", "message.apns.payload.APS: found a name", "in aps"),
        (
            {"apns": {"headers": {"apns-priority": "5", "apns-expiration": "soon"}}},
            "apns-header",
            "message.apns.headers.apns-expiration: found 'soon'",
            "Unix seconds",
        ),
        (
            {"apns": {"headers": {"apns-priority": "high"}}},
            "apns-header",
            "message.apns.headers.apns-priority",
            '"10"',
        ),
        (
            {"apns": {"headers": {"apns-push-type": "x"}}},
            "apns-header",
            "message.apns.headers.apns-push-type",
            "alert",
        ),
        (
            {"apns": {"headers": {"apns-id": "7"}}},
            "apns-header",
            "message.apns.headers.apns-id: found '7'",
            "UUID",
        ),
        (
            {"apns": {"headers": {"apns-collapse-id": "é" * 33}}},
            "apns-header",
            "message.apns.headers.apns-collapse-id: found 66 bytes",
            "at most 64",
        ),
        (
            {"apns": {"headers": {"apns_collapse_id": "x"}}},
            "apns-header",
            "message.apns.headers.apns_collapse_id: found",
            "did you mean apns-collapse-id?",
        ),
        (
            aps(content_available=1),
            "apns-background",
            'message.apns.headers.apns-priority: found the priority "10"',
            'to "5"',
        ),
        (web(title=7), "webpush-value", f"{WEB}.title: found the number 7", "a string"),
        (web(silent="yes"), "webpush-value", f'{WEB}.silent: found the string "yes"', "true or false"),
        (web(dir="up"), "webpush-value", f"{WEB}.dir: found 'up'", "auto, ltr or rtl"),
        (web(vibrate=[1, "2"]), "webpush-value", f'{WEB}.vibrate[1]: found the string "2"', "a number"),
        (web(timestamp="now"), "webpush-value", f'{WEB}.timestamp: found the string "now"', "a number"),
        (web(actions={}), "webpush-value", f"{WEB}.actions: found an object", "an array"),
        (web(actions=["x"]), "webpush-value", f'{WEB}.actions[0]: found the string "x"', "an object"),
        (
            web(actions=[{"title": 1}]),
            "webpush-value",
            f"{WEB}.actions[0].title: found the number 1",
            "a string",
        ),
        (
            web(require_interaction=True),
            "webpush-name",
            f"{WEB}.require_interaction",
            "did you mean requireInteraction?",
        ),
        (
            {"webpush": {"headers": {"TTL": "4w"}}},
            "webpush-header",
            "message.webpush.headers.TTL: found '4w'",
            "seconds",
        ),
        (
            {"webpush": {"headers": {"ttl": "2419201"}}},
            "webpush-header",
            "message.webpush.headers.ttl",
            "four weeks",
        ),
        (
            {"webpush": {"headers": {"Urgency": "now"}}},
            "webpush-header",
            "message.webpush.headers.Urgency",
            "very-low",
        ),
        (
            {"webpush": {"headers": {"Topic": "a b"}}},
            "webpush-header",
            "message.webpush.headers.Topic",
            "32 characters",
        ),
        (
            {"data": {"collapse_key": "x"}},
            "data-collapse-key",
            "message.data.collapse_key: found",
            "name it otherwise",
        ),
    ],
)
def test_what_looks_wrong_is_told_with_its_place_and_the_mend(document, code, start, mend):
    (found,) = cautions(document)
    assert found.code == code
    assert found.code in get_args(CautionCode)
    assert found.reason.startswith(start)
    assert mend in found.reason.partition("; ")[2]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"apns": {}, "webpush": {}},
        aps(alert="x", badge=0, sound="default", category="c", thread_id="t", own={"Free": 1}),
        aps(alert={"title": "a", "subtitle": "b", "loc-key": "k", "loc-args": ["x"]}, badge=3),
        aps(sound={"name": "n", "volume": 0.5, "critical": 1}, mutable_content=1),
        aps(content_available=1, alert="x"),
        {**aps(content_available=1), "notification": {"title": "x"}},
        {"apns": {"headers": {"apns-priority": "5"}, "payload": {"aps": {"content-available": 1}}}},
        {"apns": {"payload": {"aps": {}, "sound": 7, "own": None}}},
        {"apns": {"payload": {"own": 1}}},
        {
            "apns": {
                "headers": {
                    "apns-expiration": "1767225600",
                    "apns-priority": "10",
                    "apns-push-type": "liveactivity",
                    "apns-topic": "org.example.app",
                    "apns-collapse-id": "x" * 64,
                    "apns-id": "123e4567-e89b-12d3-a456-426614174000",
                    "own": "x",
                }
            }
        },
        aps(event="update", timestamp=1, content_state={"a": 1}, stale_date=2, attributes_type="T"),
        web(
            title="t",
            dir="rtl",
            requireInteraction=True,
            vibrate=[200, 100.5],
            timestamp=1,
            actions=[{"action": "a", "title": "t", "icon": "i", "own": 1}],
            data={"x": 1},
            own=[1],
        ),
        {"webpush": {"headers": {"TTL": "0", "Urgency": "very-low", "Topic": "a-b_C", "Own": "x"}}},
    ],
)
def test_what_its_reader_understands_or_does_not_know_at_all_is_left_alone(document):
    assert cautions(document) == ()


def test_one_message_tells_ten_things_at_most():
    assert len(cautions(web(actions=["x"] * 100))) == 10


def test_long_text_of_the_producer_is_not_repeated():
    (found,) = cautions(aps(badge="somebody's private words"))
    assert "private" not in found.reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["aps", "alert", "badge", "sound", "volume", "dir", "actions", "vibrate", "content-available"]
            )
            | st.text(max_size=4),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)
OBJECTS = st.dictionaries(
    st.sampled_from(["aps", "alert", "dir", "actions", "vibrate", "x"]), JSON, max_size=4
)


@settings(max_examples=150)
@given(OBJECTS, st.dictionaries(st.sampled_from(["TTL", "ttl", "Urgency", "apns-id"]), st.text(max_size=9)))
def test_anything_at_all_may_stand_where_json_is_free(free, headers):
    document = {
        "apns": {"payload": free, "headers": headers},
        "webpush": {"notification": free, "headers": headers},
    }
    for found in cautions(document):
        assert "; " in found.reason

from __future__ import annotations

import msgspec
import pytest

from dispatcher.model import ErrorCode
from dispatcher.protocol.rules import (
    Checks,
    condition_fault,
    fault_of,
    payload_fault,
    seconds_of,
    topic_fault,
)
from dispatcher.protocol.schema import Message


def fault(document):
    return fault_of(msgspec.convert(document, Message))


@pytest.mark.parametrize("block", [None, "android", "webpush"])
@pytest.mark.parametrize(
    "key", ["from", "message_type", "gcm", "google.c.a", "gcm.notification.x", "googleish", ""]
)
def test_reserved_data_keys_are_refused_in_every_block(block, key):
    data = {"data": {"fine": "x", key: "x"}}
    found = fault({block: data} if block else data)
    assert found.code is ErrorCode.INVALID_DATA_PAYLOAD_KEY
    assert f"message{'.' + block if block else ''}.data" in found.reason


@pytest.mark.parametrize("key", ["collapse_key", "From", "x.google.c", "type"])
def test_other_data_keys_are_fine(key):
    assert fault({"data": {key: "x"}}) is None


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        ("0s", 0),
        ("3.5s", 3.5),
        ("3600s", 3600),
        ("5", -1),
        ("-1s", -1),
        ("1e3s", -1),
        ("1.s", -1),
        ("", -1),
        ("1s\n", -1),
        ("١s", -1),
    ],
)
def test_durations_are_seconds_with_an_s(duration, seconds):
    assert seconds_of(duration) == seconds


@pytest.mark.parametrize(
    ("document", "code", "field"),
    [
        ({"android": {"ttl": "5"}}, "invalid-options", "message.android.ttl"),
        ({"android": {"ttl": "2419201s"}}, "invalid-options", "message.android.ttl"),
        ({"android": {"priority": "urgent"}}, "invalid-options", "message.android.priority"),
        ({"android": {"priority": 9}}, "invalid-options", "message.android.priority"),
        (
            {"android": {"fcm_options": {"analytics_label": "a b"}}},
            "invalid-options",
            "message.android.fcm_options.analytics_label",
        ),
        (
            {"fcm_options": {"analytics_label": "x" * 51}},
            "invalid-options",
            "message.fcm_options.analytics_label",
        ),
        (
            {"apns": {"fcm_options": {"analytics_label": ""}}},
            "invalid-options",
            "message.apns.fcm_options.analytics_label",
        ),
        (
            {"webpush": {"fcm_options": {"link": "http://x"}}},
            "invalid-options",
            "message.webpush.fcm_options.link",
        ),
        (
            {"webpush": {"fcm_options": {"analytics_label": "é"}}},
            "invalid-options",
            "message.webpush.fcm_options.analytics_label",
        ),
        (
            {"android": {"notification": {"color": "red"}}},
            "invalid-payload",
            "message.android.notification.color",
        ),
        (
            {"android": {"notification": {"body_loc_args": ["x"]}}},
            "invalid-payload",
            "message.android.notification.body_loc_args",
        ),
        (
            {"android": {"notification": {"notification_count": -1}}},
            "invalid-payload",
            "message.android.notification.notification_count",
        ),
        (
            {"android": {"notification": {"vibrate_timings": ["1s", "2"]}}},
            "invalid-payload",
            "message.android.notification.vibrate_timings[1]",
        ),
        (
            {"android": {"notification": {"visibility": "hidden"}}},
            "invalid-options",
            "message.android.notification.visibility",
        ),
        (
            {
                "android": {
                    "notification": {
                        "light_settings": {"color": {}, "light_on_duration": "1s", "light_off_duration": "x"}
                    }
                }
            },
            "invalid-payload",
            "message.android.notification.light_settings.light_off_duration",
        ),
    ],
)
def test_each_broken_rule_is_told_with_its_field(document, code, field):
    found = fault(document)
    assert found.code == code
    assert found.reason.startswith(f"{field}: found ")
    assert "; " in found.reason


ANDROID = "message.android.notification"
LIGHT = {"color": {}, "light_on_duration": "1s", "light_off_duration": "1s"}


@pytest.mark.parametrize(
    ("shown", "field"),
    [
        ({"visibility": 4}, "visibility"),
        ({"visibility": -1}, "visibility"),
        ({"proxy": "maybe"}, "proxy"),
        ({"notification_priority": "HIGH"}, "notification_priority"),
        ({"notification_priority": 6}, "notification_priority"),
        ({"title_loc_args": ["x"]}, "title_loc_args"),
        ({"color": "#AABBCCDD"}, "color"),
        ({"color": "#aabbcc\n"}, "color"),
        ({"notification_count": 1.5}, "notification_count"),
        ({"notification_count": 2**31}, "notification_count"),
        ({"notification_count": 1e300}, "notification_count"),
        ({"notification_count": "many"}, "notification_count"),
        ({"notification_count": "1_0"}, "notification_count"),
        ({"event_time": "2026-01-31"}, "event_time"),
        ({"event_time": "2026-01-31T08:00:00"}, "event_time"),
        ({"event_time": "2026-02-30T08:00:00Z"}, "event_time"),
        ({"event_time": "2026-01-31 08:00:00Z"}, "event_time"),
        ({"event_time": "1769846400"}, "event_time"),
        ({"light_settings": {**LIGHT, "light_on_duration": "1"}}, "light_settings.light_on_duration"),
        ({"light_settings": {**LIGHT, "color": {"red": 1.01}}}, "light_settings.color.red"),
        ({"light_settings": {**LIGHT, "color": {"green": -0.1}}}, "light_settings.color.green"),
        ({"light_settings": {**LIGHT, "color": {"blue": 255}}}, "light_settings.color.blue"),
        ({"light_settings": {**LIGHT, "color": {"alpha": "ff"}}}, "light_settings.color.alpha"),
    ],
)
def test_each_value_out_of_range_in_androids_notification_is_told(shown, field):
    found = fault({"android": {"notification": shown}})
    assert found.reason.startswith(f"{ANDROID}.{field}: found ")


@pytest.mark.parametrize(
    "shown",
    [
        {"color": "#AAbb09"},
        {"notification_count": 0},
        {"notification_count": "7"},
        {"notification_count": 7.0},
        {"event_time": "2026-01-31T08:00:00Z"},
        {"event_time": "2026-01-31T08:00:00.123456789Z"},
        {"event_time": "2026-01-31T08:00:00+05:30"},
        {"title_loc_key": "k", "title_loc_args": ["x"]},
        {"body_loc_args": []},
        {"light_settings": {**LIGHT, "color": {"red": 0, "green": 0.5, "blue": 1, "alpha": "0.5"}}},
        {"vibrate_timings": ["0s", "0.5s", "1.000000001s"]},
    ],
)
def test_what_is_within_the_rules_of_androids_notification_passes(shown):
    assert fault({"android": {"notification": shown}}) is None


@pytest.mark.parametrize("ttl", ["0s", "2419200s", "2419200.9s", "0.000000001s"])
def test_a_ttl_of_up_to_four_weeks_is_fine(ttl):
    assert fault({"android": {"ttl": ttl}}) is None


@pytest.mark.parametrize(
    ("key", "wide", "narrow"),
    [
        ("from", True, True),
        ("message_type", True, True),
        ("", True, True),
        ("google.c.a", True, True),
        ("gcm.notification.x", True, True),
        ("gcm", True, False),
        ("gcm.n.e", True, False),
        ("googleish", True, False),
        ("google", True, False),
        ("fromage", False, False),
        ("message", False, False),
    ],
)
@pytest.mark.parametrize("block", [None, "android", "webpush"])
def test_data_keys_are_reserved_by_the_wide_rule_or_by_the_narrow_one(key, wide, narrow, block):
    data = {"data": {key: "x"}}
    message = msgspec.convert({block: data} if block else data, Message)
    assert (fault_of(message) is not None) is wide
    assert (fault_of(message, Checks(narrow_keys=True)) is not None) is narrow


def test_enumerations_are_taken_in_any_case_and_by_number():
    for priority in ("high", "HIGH", "Normal", 0, 1):
        assert fault({"android": {"priority": priority}}) is None
    assert fault({"android": {"notification": {"visibility": "private", "notification_priority": 5}}}) is None


@pytest.mark.parametrize("topic", ["news", "a-b_c.d~e%f", "x" * 900])
def test_topics_within_the_grammar_are_fine(topic):
    assert topic_fault(topic) is None
    assert condition_fault(f"'{topic}' in topics") is None


@pytest.mark.parametrize("topic", ["", "a b", "é", "x" * 901, "a/b", "news\n"])
def test_topics_outside_the_grammar_are_refused(topic):
    assert topic_fault(topic).code is ErrorCode.INVALID_RECIPIENT
    assert condition_fault(f"'ok' in topics && '{topic}' in topics").code is ErrorCode.INVALID_RECIPIENT


def test_a_condition_names_one_to_five_topics():
    assert condition_fault("news").code is ErrorCode.INVALID_RECIPIENT
    assert condition_fault(" || ".join(f"'t{n}' in topics" for n in range(5))) is None
    assert "a sixth topic" in condition_fault(" || ".join(f"'t{n}' in topics" for n in range(6))).reason


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"data": {"k": "é" * 2048}}, "message"),
        ({"notification": {"title": "x" * 4092}}, "message"),
        ({"android": {"data": {"k": "x" * 4096}}}, "message.android"),
        ({"webpush": {"notification": {"title": "x" * 4096}}}, "message.webpush"),
        ({"apns": {"payload": {"aps": {"alert": ["x" * 4096]}}}}, "message.apns"),
    ],
)
def test_a_payload_over_4096_bytes_is_refused_where_it_is(document, field):
    found = payload_fault(msgspec.convert(document, Message))
    assert found.code is ErrorCode.PAYLOAD_SIZE_LIMIT_EXCEEDED
    assert found.reason.startswith(f"{field}: found a payload of ")


def test_a_payload_of_4096_bytes_is_fine():
    assert payload_fault(Message(data={"k": "x" * 4095})) is None
    assert payload_fault(Message(token="x" * 5000, data={"k": "x" * 2000})) is None


def test_apples_payload_comes_on_top_of_the_common_data():
    message = {"data": {"k": "x" * 3000}, "apns": {"payload": {"aps": {"alert": "x" * 1100}}}}
    assert payload_fault(msgspec.convert(message, Message)).reason.startswith(
        "message.apns: found a payload of 4109"
    )


def test_platform_data_replaces_the_common_data_and_is_not_added_to_it():
    both = {"data": {"k": "x" * 3000}, "android": {"data": {"k": "x" * 3000}}}
    assert payload_fault(msgspec.convert(both, Message)) is None

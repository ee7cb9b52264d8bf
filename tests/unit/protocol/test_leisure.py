from __future__ import annotations

import msgspec
import orjson
import pytest

from dispatcher.model import Refusal
from dispatcher.protocol.leisure import depth_fault, repeated_name, reread, unwrapped
from dispatcher.protocol.schema import Message


def test_a_wrapper_is_taken_off_and_the_bytes_inside_are_left_alone():
    raw, message = reread(b' {"message" : {"token":"a",\n "apns":{"payload":{"x": 1.50}}} } ')
    assert raw == b'{"token":"a",\n "apns":{"payload":{"x": 1.50}}}'
    assert message.apns.payload == {"x": 1.5}


def test_camel_case_is_understood_where_names_are_fcms_own():
    raw = orjson.dumps(
        {
            "fcmOptions": {"analyticsLabel": "l"},
            "androidV2": {"backgroundSync": {}},
            "data": {"camelCase": "x"},
            "android": {
                "collapseKey": "c",
                "directBootOk": True,
                "notification": {
                    "lightSettings": {"color": {}, "lightOnDuration": "1s", "lightOffDuration": "1s"},
                    "bodyLocArgs": [],
                },
            },
            "webpush": {"notification": {"requireInteraction": True}, "fcmOptions": {"link": "https://x"}},
            "apns": {"payload": {"myKey": 1}, "liveActivityToken": "t"},
        }
    )
    inner, message = reread(raw)
    assert inner == raw
    assert message.fcm_options.analytics_label == "l"
    assert message.android_v2 == {"backgroundSync": {}}
    assert message.data == {"camelCase": "x"}
    assert (message.android.collapse_key, message.android.direct_boot_ok) == ("c", True)
    assert message.android.notification.light_settings.light_on_duration == "1s"
    assert message.webpush.notification == {"requireInteraction": True}
    assert (message.apns.payload, message.apns.live_activity_token) == ({"myKey": 1}, "t")


@pytest.mark.parametrize("name", Message.__struct_fields__)
def test_snake_case_is_left_alone(name):
    read = reread(orjson.dumps({name: None}))
    assert isinstance(read, tuple)


@pytest.mark.parametrize(
    ("raw", "code", "start", "mend"),
    [
        (b'{"token":"a"', "invalid-payload", "message: found no JSON (", "one JSON object"),
        (b'{"token":"\xff"}', "invalid-payload", "message: found no JSON (", "UTF-8"),
        (b"", "invalid-payload", "message: found no JSON (", "one JSON object"),
        (b'["x"]', "invalid-payload", "message: found an array", "one JSON object"),
        (b'{"message":"x"}', "invalid-payload", "message.message: found a string", "one JSON object"),
        (
            b'{"message":{"message":{}}}',
            "invalid-payload",
            "message.message: found an unknown name",
            "take it out",
        ),
        (
            b'{"message":{},"validate_only":true}',
            "invalid-payload",
            "message.validate_only: found an unknown name",
            "job field validate_only",
        ),
        (b'{"to":"x"}', "invalid-payload", "message.to: found an unknown name", "token or topic"),
        (
            b'{"registration_ids":["x"]}',
            "invalid-payload",
            "message.registration_ids: found an unknown name",
            "job field tokens",
        ),
        (
            b'{"notificaton":{}}',
            "invalid-payload",
            "message.notificaton: found an unknown name",
            "did you mean notification?",
        ),
        (
            b'{"android":{"notification":{"titel":"x"}}}',
            "invalid-payload",
            "message.android.notification.titel: found an unknown name",
            "did you mean title?",
        ),
        (b'{"data":{"k":17}}', "invalid-payload", "message.data.k: found the number 17", 'write "17"'),
        (
            b'{"data":{"k":true}}',
            "invalid-payload",
            "message.data.k: found the truth value true",
            'write "true"',
        ),
        (b'{"data":{"k":null}}', "invalid-payload", "message.data.k: found null;", 'write "null"'),
        (b'{"data":{"k":{"a":1}}}', "invalid-payload", "message.data.k: found an object", "string"),
        (b'{"data":[]}', "invalid-payload", "message.data: found an array", "an object"),
        (
            b'{"apns":{"headers":{"apns-priority":10}}}',
            "invalid-options",
            "message.apns.headers.apns-priority: found the number 10",
            'write "10"',
        ),
        (
            b'{"android":{"ttl":5}}',
            "invalid-options",
            "message.android.ttl: found a whole number",
            "a string",
        ),
        (b'{"token":5}', "invalid-recipient", "message.token: found a whole number", "a string"),
        (
            b'{"android":{"notification":{"light_settings":{}}}}',
            "invalid-payload",
            "message.android.notification.light_settings: found ",
            "v1 Message",
        ),
        (b'{"token":"a","token":"b"}', "invalid-payload", "message: found the name 'token' twice", "once"),
        (
            b'{"fcmOptions":{},"fcm_options":{}}',
            "invalid-payload",
            "message.fcmOptions: found fcmOptions and fcm_options",
            "one",
        ),
    ],
)
def test_a_refusal_names_the_field_what_was_found_and_the_mend(raw, code, start, mend):
    found = reread(raw)
    assert isinstance(found, Refusal)
    assert found.code == code
    assert found.reason.startswith(start)
    assert mend in found.reason.partition("; ")[2]


def test_a_repeated_name_is_found_at_any_level():
    assert repeated_name(b'{"a":{"b":1},"c":{"b":1}}') is None
    assert "'b'" in repeated_name(b'{"a":[{"b":1,"b":1}]}').reason


def test_json_nested_beyond_reason_is_refused():
    fine, deep = (b'{"a":' + b"[" * n + b"]" * n + b"}" for n in (90, 200))
    assert depth_fault(fine) is None
    assert "nested" in depth_fault(deep).reason
    assert depth_fault(b"[" + b",".join([b"{}"] * 500) + b"]") is None
    assert "no JSON" in depth_fault(b"[" * 2000 + b"]" * 2000).reason
    assert isinstance(unwrapped(deep), Refusal)


def test_what_is_unwrapped_can_be_taken_apart_again():
    raw, document = unwrapped(b'{"message":{"a":{"b":[1,2]}}}')
    assert msgspec.json.decode(raw) == document

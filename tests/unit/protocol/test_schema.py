from __future__ import annotations

import msgspec
import pytest

from dispatcher.protocol.schema import BLOCKS, TEXT_MAPS, Message

WHOLE = {
    "name": "projects/p/messages/1",
    "token": "t",
    "data": {"k": "v"},
    "notification": {"title": "a", "body": "b", "image": "https://x/y.png"},
    "fcm_options": {"analytics_label": "l"},
    "android": {
        "collapse_key": "c",
        "priority": "high",
        "ttl": "3.5s",
        "restricted_package_name": "p",
        "data": {"k": "v"},
        "fcm_options": {"analytics_label": "l"},
        "direct_boot_ok": True,
        "bandwidth_constrained_ok": True,
        "restricted_satellite_ok": False,
        "notification": {
            **dict.fromkeys(
                ("title", "body", "icon", "sound", "tag", "click_action", "channel_id", "image", "ticker"),
                "x",
            ),
            **dict.fromkeys(
                (
                    "sticky",
                    "local_only",
                    "default_sound",
                    "default_vibrate_timings",
                    "default_light_settings",
                ),
                True,
            ),
            "body_loc_key": "k",
            "body_loc_args": ["a"],
            "title_loc_key": "k",
            "title_loc_args": ["a"],
            "color": "#aabbcc",
            "event_time": "2026-01-01T00:00:00Z",
            "notification_priority": "PRIORITY_MAX",
            "vibrate_timings": ["1s"],
            "visibility": "PUBLIC",
            "notification_count": 3,
            "proxy": "ALLOW",
            "light_settings": {
                "color": {"red": 1, "green": 0.5},
                "light_on_duration": "1s",
                "light_off_duration": "2s",
            },
            "bypass_proxy_notification": False,
        },
    },
    "webpush": {
        "headers": {"TTL": "60"},
        "data": {"k": "v"},
        "notification": {"title": "w", "requireInteraction": True, "vibrate": [1, 2]},
        "fcm_options": {"link": "https://x", "analytics_label": "l"},
    },
    "apns": {
        "headers": {"apns-priority": "10"},
        "payload": {"aps": {"badge": 42, "content-available": 1}, "own": [1, {"Key": None}]},
        "fcm_options": {"analytics_label": "l", "image": "i"},
        "live_activity_token": "x",
    },
    "android_v2": {"background_sync": {}},
}


def test_every_field_of_the_resource_is_known():
    assert (
        msgspec.to_builtins(msgspec.convert(WHOLE, Message))["android"]["notification"]["notification_count"]
        == 3
    )


def test_null_is_an_unset_field():
    empty = msgspec.convert(dict.fromkeys(Message.__struct_fields__), Message)
    assert empty == Message()


@pytest.mark.parametrize("path", BLOCKS)
def test_unknown_names_are_refused_in_every_block(path):
    document = {"surprise": 1}
    for name in reversed(path.split(".") if path else []):
        document = {name: document}
    with pytest.raises(msgspec.ValidationError, match="surprise"):
        msgspec.convert(document, Message)


@pytest.mark.parametrize("path", TEXT_MAPS)
def test_the_maps_of_strings_take_nothing_else(path):
    document = {"k": 17}
    for name in reversed(path.split(".")):
        document = {name: document}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(document, Message)

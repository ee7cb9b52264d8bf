from __future__ import annotations

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dispatcher.model import Job, JobState, Refusal
from dispatcher.protocol.legacy_check import fault_of
from dispatcher.protocol.legacy_message import object_of, options, translate
from dispatcher.protocol.lifetimes import lifetimes_in


def job(message, **other):
    given = {"kind": "token", "multicast": False, "values": ["t"], "enqueued_at": 1000.0, **other}
    return Job(
        entry_id="1-0",
        stream="normal",
        project="p",
        entry=[],
        nbytes=0,
        id="1-0",
        lane="normal",
        message=orjson.dumps(message),
        expires_at=9000.0,
        lifetimes=lifetimes_in(message),
        **given,
    )


def keys(message, wire="legacy", **other):
    members = translate(job({"token": "t", **message}, **other), wire)
    assert not isinstance(members, Refusal), members
    return orjson.loads(b"{" + members + b"}")


def refusal(message, wire="legacy", **other):
    found = translate(job({"token": "t", **message}, **other), wire)
    assert isinstance(found, Refusal)
    return found.reason


def options_at(now, message, **other):
    return orjson.loads(
        b"{" + options(job({"token": "t", **message}, **other), now).removesuffix(b",") + b"}"
    )


def test_the_common_blocks_keep_their_names():
    message = {"notification": {"title": "Hi", "body": "A"}, "data": {"k": "v"}}
    assert keys(message) == message


def test_android_is_said_to_all():
    android = {
        "collapse_key": "score",
        "priority": "HIGH",
        "restricted_package_name": "com.example.orchard",
        "data": {"k": "v"},
        "notification": {
            "title": "T",
            "body": "B",
            "icon": "i",
            "color": "#112233",
            "tag": "t",
            "click_action": "OPEN",
            "body_loc_key": "bk",
            "body_loc_args": ["1"],
            "title_loc_key": "tk",
            "title_loc_args": ["2"],
            "channel_id": "news",
            "default_sound": True,
            "sticky": False,
            "notification_count": 0,
        },
    }
    assert keys({"android": android}) == {
        "collapse_key": "score",
        "priority": "high",
        "restricted_package_name": "com.example.orchard",
        "data": {"k": "v"},
        "notification": {
            "title": "T",
            "body": "B",
            "icon": "i",
            "color": "#112233",
            "tag": "t",
            "click_action": "OPEN",
            "body_loc_key": "bk",
            "body_loc_args": ["1"],
            "title_loc_key": "tk",
            "title_loc_args": ["2"],
            "android_channel_id": "news",
            "sound": "default",
        },
    }


def test_apns_is_said_to_all():
    apns = {
        "headers": {
            "apns-priority": "5",
            "apns-collapse-id": "score",
            "apns-push-type": "background",
            "apns-expiration": "8000",
        },
        "payload": {
            "aps": {
                "alert": {"title": "T", "subtitle": "S", "body": "B", "loc-key": "k", "loc-args": ["1"]},
                "badge": 3,
                "sound": "ping.caf",
                "category": "OPEN",
                "content-available": 1,
                "mutable-content": True,
            },
            "orchard": "7",
        },
    }
    assert keys({"apns": apns}) == {
        "priority": "normal",
        "collapse_key": "score",
        "content_available": True,
        "mutable_content": True,
        "data": {"orchard": "7"},
        "notification": {
            "title": "T",
            "subtitle": "S",
            "body": "B",
            "body_loc_key": "k",
            "body_loc_args": ["1"],
            "badge": "3",
            "sound": "ping.caf",
            "click_action": "OPEN",
        },
    }


def test_webpush_is_said_to_all():
    web = {
        "headers": {"Urgency": "very-low", "Topic": "score", "TTL": "60"},
        "data": {"k": "v"},
        "notification": {"title": "T", "body": "B", "icon": "/i.png"},
        "fcm_options": {"link": "https://example.com"},
    }
    assert keys({"webpush": web}) == {
        "priority": "normal",
        "collapse_key": "score",
        "data": {"k": "v"},
        "notification": {"title": "T", "body": "B", "icon": "/i.png", "click_action": "https://example.com"},
    }


def test_blocks_that_agree_are_one():
    message = {
        "notification": {"title": "T"},
        "data": {"k": "v"},
        "android": {"priority": "high", "data": {"k": "v"}, "notification": {"title": "T"}},
        "apns": {"headers": {"apns-priority": "10"}, "payload": {"aps": {"alert": {"title": "T"}}, "k": "v"}},
        "webpush": {"headers": {"Urgency": "high"}},
    }
    assert keys(message) == {"priority": "high", "notification": {"title": "T"}, "data": {"k": "v"}}


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({"notification": {"image": "https://x/y.png"}}, "message.notification.image"),
        ({"android": {"notification": {"ticker": "x"}}}, "message.android.notification.ticker"),
        ({"android": {"notification": {"sticky": True}}}, "message.android.notification.sticky"),
        ({"android": {"direct_boot_ok": True}}, "message.android.direct_boot_ok"),
        ({"android_v2": {"ttl": "1s"}}, "message.android_v2"),
        ({"fcm_options": {"analytics_label": "a"}}, "message.fcm_options.analytics_label"),
        (
            {"android": {"fcm_options": {"analytics_label": "a"}}},
            "message.android.fcm_options.analytics_label",
        ),
        ({"apns": {"live_activity_token": "x"}}, "message.apns.live_activity_token"),
        ({"apns": {"fcm_options": {"image": "x"}}}, "message.apns.fcm_options.image"),
        ({"apns": {"headers": {"apns-topic": "x"}}}, "message.apns.headers.apns-topic"),
        ({"apns": {"headers": {"apns-priority": "1"}}}, "message.apns.headers.apns-priority"),
        ({"apns": {"headers": {"apns-expiration": "soon"}}}, "message.apns.headers.apns-expiration"),
        ({"apns": {"headers": {"apns-push-type": "voip"}}}, "message.apns.headers.apns-push-type"),
        ({"apns": {"payload": {"aps": {"thread-id": "x"}}}}, "message.apns.payload.aps.thread-id"),
        ({"apns": {"payload": {"aps": {"sound": {"name": "x"}}}}}, "message.apns.payload.aps.sound"),
        ({"apns": {"payload": {"aps": {"badge": True}}}}, "message.apns.payload.aps.badge"),
        (
            {"apns": {"payload": {"aps": {"alert": {"launch-image": "x"}}}}},
            "message.apns.payload.aps.alert.launch-image",
        ),
        (
            {"apns": {"payload": {"aps": {"alert": {"loc-args": [1]}}}}},
            "message.apns.payload.aps.alert.loc-args",
        ),
        ({"apns": {"payload": {"aps": 1}}}, "message.apns.payload.aps"),
        ({"apns": {"payload": {"score": 3}}}, "message.apns.payload.score"),
        ({"webpush": {"headers": {"Encryption": "x"}}}, "message.webpush.headers.Encryption"),
        ({"webpush": {"headers": {"TTL": "soon"}}}, "message.webpush.headers.TTL"),
        ({"webpush": {"notification": {"badge": "x"}}}, "message.webpush.notification.badge"),
        ({"webpush": {"notification": {"title": 1}}}, "message.webpush.notification.title"),
        ({"android": {"ttl": "soon"}}, "message.android.ttl"),
        ({"android": {"priority": "urgent"}}, "message.android.priority"),
    ],
)
def test_what_has_no_legacy_key_is_refused_by_its_path(message, path):
    reason = refusal(message)
    assert reason.startswith(path + ": found ")
    assert "; " in reason


@pytest.mark.parametrize(
    ("message", "path", "other"),
    [
        (
            {"notification": {"title": "A"}, "android": {"notification": {"title": "B"}}},
            "message.android.notification.title",
            "message.notification.title",
        ),
        (
            {"android": {"priority": "high"}, "apns": {"headers": {"apns-priority": "5"}}},
            "message.apns.headers.apns-priority",
            "message.android.priority",
        ),
        ({"data": {"k": "1"}, "webpush": {"data": {"k": "2"}}}, "message.webpush.data", "message.data"),
        ({"data": {"k": "1"}, "apns": {"payload": {"k": "2"}}}, "message.apns.payload.k", "message.data"),
    ],
)
def test_what_platforms_say_differently_is_refused_naming_both(message, path, other):
    reason = refusal(message)
    assert reason.startswith(path + ": ")
    assert other + " says otherwise" in reason


def test_an_installation_id_is_no_legacy_target():
    assert "use token" in refusal({}, kind="fid")


def test_xmpp_lacks_the_package_name():
    message = {"android": {"restricted_package_name": "com.example"}}
    assert keys(message) == {"restricted_package_name": "com.example"}
    assert refusal(message, "xmpp").startswith("message.android.restricted_package_name: ")


def test_camel_case_and_wrappers_are_read_as_anywhere():
    assert keys({"android": {"collapseKey": "c"}}) == {"collapse_key": "c"}


def test_a_message_that_cannot_be_read_is_refused():
    assert refusal({"nonsense": 1}).startswith("message.nonsense: ")


def test_the_shortest_lifetime_holds():
    message = {"android": {"ttl": "3600s"}, "webpush": {"headers": {"TTL": "60"}}}
    assert options_at(1000.0, message) == {"time_to_live": 60}
    assert options_at(1000.0, {"apns": {"headers": {"apns-expiration": "1030"}}}) == {"time_to_live": 30}
    assert options_at(1000.0, {"apns": {"headers": {"apns-expiration": "0"}}}) == {"time_to_live": 0}
    assert options_at(1000.0, {}) == {}


def test_a_lifetime_is_shortened_as_on_every_wire():
    message = {"android": {"ttl": "3600s"}}
    assert options_at(8000.0, message) == {"time_to_live": 1000}
    assert options_at(1010.0, message, state=JobState("1-0", "normal", 1000.0, sends=1)) == {
        "time_to_live": 3590
    }


def test_a_check_without_delivery_is_a_dry_run():
    assert options_at(1000.0, {}, validate_only=True) == {"dry_run": True}


def test_an_object_is_whole_whatever_is_missing():
    assert object_of(b'"to":"t"', b"", b"") == b'{"to":"t"}'
    assert object_of(b'"to":"t"', b'"dry_run":true,', b"") == b'{"to":"t","dry_run":true}'
    assert object_of(b'"to":"t"', b"", b'"data":{}') == b'{"to":"t","data":{}}'


def test_a_target_that_occurs_elsewhere_too_changes_nothing():
    message = {"token": "abc", "data": {"k": "abc"}}
    assert keys(message, values=["abc"]) == {"data": {"k": "abc"}}
    for other in ("abc", "abd"):
        assert keys({"token": other, "data": {"k": "abc"}}, values=[other]) == {"data": {"k": "abc"}}


TEXT = st.text(max_size=5)
MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "notification": st.fixed_dictionaries({}, optional={"title": TEXT, "body": TEXT}),
        "data": st.dictionaries(st.text("abx\n", min_size=1, max_size=3), TEXT, max_size=3),
        "android": st.fixed_dictionaries(
            {},
            optional={
                "priority": st.sampled_from(["high", "NORMAL"]),
                "ttl": st.sampled_from(["0s", "60s", "3600.5s"]),
                "collapse_key": TEXT,
                "notification": st.fixed_dictionaries(
                    {}, optional={"icon": TEXT, "sound": TEXT, "ticker": TEXT, "title": TEXT}
                ),
            },
        ),
        "apns": st.fixed_dictionaries(
            {},
            optional={
                "headers": st.dictionaries(
                    st.sampled_from(["apns-priority", "apns-expiration", "apns-collapse-id", "x"]),
                    st.sampled_from(["5", "10", "2000", "x"]),
                ),
                "payload": st.dictionaries(
                    st.sampled_from(["aps", "a", "b"]),
                    TEXT
                    | st.integers(-9, 9)
                    | st.dictionaries(
                        st.sampled_from(["alert", "badge", "sound", "content-available"]),
                        TEXT | st.integers(-2, 2) | st.booleans() | st.none(),
                    ),
                ),
            },
        ),
    },
)


@given(MESSAGES)
@settings(max_examples=150)
def test_a_translation_is_what_a_server_takes_or_a_refusal_that_names_a_path(message):
    entry = job({"token": "t", **message})
    members = translate(entry, "legacy")
    if isinstance(members, Refusal):
        path, separator, mend = members.reason.partition(": ")
        assert path.startswith("message.")
        assert separator
        assert "; " in mend
        return
    document = orjson.loads(object_of(b'"to":"t"', options(entry, 1000.0), members))
    assert fault_of(document) is None
    for name, text in message.get("notification", {}).items():
        assert document["notification"][name] == text
    assert set(message.get("data", {}).items()) <= set(document.get("data", {}).items())


@given(MESSAGES, st.lists(TEXT.filter(bool), min_size=2, max_size=3))
@example({}, ["0", ":"])
@settings(max_examples=80)
def test_the_target_makes_no_difference(message, tokens):
    found = [translate(job({"token": token, **message}, values=[token]), "legacy") for token in tokens]
    multicast = translate(job(message, values=tokens, multicast=True), "legacy")
    assert all(one == multicast for one in found)

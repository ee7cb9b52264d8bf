"""Python firebase-admin, old and new, unmodified, against the emulator."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.interop.conftest import PROJECT, Client, Emulator

WAYS = [
    ("admin_6", "send_all"),
    ("admin_6", "send_each"),
    ("admin_6", "send_each_async"),
    ("admin_7", "send_each"),
    ("admin_7", "send_each_async"),
]
EMULATORS = {"admin_6": "plain", "admin_7": "secure"}
Message = dict[str, Any]


class Way:
    """One call of one client."""

    def __init__(self, client: Client, call: str, emulator: Emulator) -> None:
        self.client = client
        self.call = call
        self.emulator = emulator

    def __call__(self, messages: list[Message], **options: object) -> dict[str, Any]:
        return self.client(self.call, messages=messages, **options)


@pytest.fixture(params=WAYS, ids="-".join)
def way(request: pytest.FixtureRequest) -> Way:
    name, call = request.param
    emulator: Emulator = request.getfixturevalue(EMULATORS[name])
    client: Client = request.getfixturevalue(name)
    emulator.reset()
    return Way(client, call, emulator)


@pytest.fixture(params=EMULATORS)
def single(request: pytest.FixtureRequest) -> Way:
    emulator: Emulator = request.getfixturevalue(EMULATORS[request.param])
    client: Client = request.getfixturevalue(request.param)
    emulator.reset()
    return Way(client, "send", emulator)


def message(token: str = "alive", text: str = "hello", **more: object) -> Message:
    return {"class": "Message", "token": token, "data": {"id": text}, **more}


def of(kind: str) -> Callable[..., Message]:
    return lambda **arguments: {"class": kind, **arguments}


def test_the_versions_are_those_that_are_promised(admin_6: Client, admin_7: Client) -> None:
    assert (admin_6.version, admin_7.version) == ("6.9.0", "7.7.0")


def test_the_world_of_a_client_ends_at_loopback(single: Way) -> None:
    answer = single.client("resolve", name="fcm.googleapis.com")
    assert answer["raised"] == "gaierror"
    assert "refused: fcm.googleapis.com" in single.client.complaints


def test_one_message_is_sent(single: Way) -> None:
    answer = single.client("send", message=message(text="Grüße ✓ 🎉"))
    assert answer["id"].startswith(f"projects/{PROJECT}/messages/0:")
    assert single.emulator.get("counts", by="id", accepted=1) == {"Grüße ✓ 🎉": 1}


def test_one_refused_message_raises(single: Way) -> None:
    single.emulator.tokens(dead="unregistered")
    answer = single.client("send", message=message("dead"))
    assert (answer["raised"], answer["code"]) == ("UnregisteredError", "NOT_FOUND")


def test_every_message_gets_the_id_of_its_own(way: Way) -> None:
    answer = way([message(f"t{number}") for number in range(20)])
    ids = [response["id"] for response in answer["responses"]]
    assert len(set(ids)) == 20
    assert all(each.startswith(f"projects/{PROJECT}/messages/0:") for each in ids)
    assert (answer["succeeded"], answer["failed"]) == (20, 0)
    assert way.emulator.get("summary")["accepted"] == 20


def test_each_refusal_is_reported_in_its_place_as_the_sdk_names_it(way: Way) -> None:
    way.emulator.tokens(
        dead="unregistered", foreign="wrong-sender", broken="invalid", apple="apns-auth-error"
    )
    way.emulator.rules({"target": "busy", "error": "QUOTA_EXCEEDED"})
    tokens = ["alive", "dead", "foreign", "broken", "busy", "apple", "well"]
    answer = way([message(token) for token in tokens])
    reported = [(each.get("error", "sent"), each.get("code")) for each in answer["responses"]]
    assert reported == [
        ("sent", None),
        ("UnregisteredError", "NOT_FOUND"),
        ("SenderIdMismatchError", "PERMISSION_DENIED"),
        ("InvalidArgumentError", "INVALID_ARGUMENT"),
        ("QuotaExceededError", "RESOURCE_EXHAUSTED"),
        ("ThirdPartyAuthError", "UNAUTHENTICATED"),
        ("sent", None),
    ]
    assert (answer["succeeded"], answer["failed"]) == (2, 5)


def test_an_overloaded_service_is_tried_again_and_then_reported(way: Way) -> None:
    way.emulator.rules({"target": "down", "error": "UNAVAILABLE", "retry_after": 1})
    answer = way([message("alive"), message("down")])
    assert [each.get("code", "sent") for each in answer["responses"]] == ["sent", "UNAVAILABLE"]
    # Single sends are repeated four times by the SDK itself, the parts of a batch never.
    tries = 1 if way.call == "send_all" else 5
    assert way.emulator.get("counts", by="target") == {"token:alive": 1, "token:down": tries}


def test_500_messages_go_in_one_call_and_come_back_in_order(way: Way) -> None:
    way([message()])  # 500 threads that all find no access token would each ask for one
    way.emulator.reset()
    dead = {f"t{number}" for number in range(500) if number % 7 == 3}
    way.emulator.tokens(**dict.fromkeys(dead, "unregistered"))
    answer = way([message(f"t{number}", f"{number} Grüße ✓ 🎉") for number in range(500)])
    failed = {f"t{number}" for number, each in enumerate(answer["responses"]) if "error" in each}
    assert failed == dead
    assert len({each["id"] for each in answer["responses"] if "id" in each}) == 500 - len(dead)
    assert way.emulator.get("counts", by="id") == {f"{number} Grüße ✓ 🎉": 1 for number in range(500)}
    largest = {"batch": 500} if way.call == "send_all" else {"v1": 1}
    assert way.emulator.get("summary")["largest_request"] == largest


def test_501_messages_are_too_many(way: Way) -> None:
    assert way([message()] * 501)["raised"] == "ValueError"
    assert way.emulator.get("summary")["messages"] == 0


def test_a_dry_run_sends_nothing(way: Way) -> None:
    way.emulator.tokens(dead="unregistered")
    answer = way([message(), message("dead")], dry_run=True)
    assert [each.get("id", each.get("code")) for each in answer["responses"]] == [
        f"projects/{PROJECT}/messages/fake_message_id",
        "NOT_FOUND",
    ]
    assert way.emulator.get("summary")["by_code"] == {"VALIDATED": 1, "UNREGISTERED": 1}


def test_topics_and_conditions_are_targets(way: Way) -> None:
    targets = [
        {"topic": "news"}, {"topic": "/topics/news"}, {"condition": "'a' in topics && !('b' in topics)"},
    ]  # fmt: skip
    answer = way([{"class": "Message", "data": {"k": "v"}, **target} for target in targets])
    assert answer["succeeded"] == 3
    assert way.emulator.get("counts") == {
        "topic:news": 2,
        "condition:'a' in topics && !('b' in topics)": 1,
    }


def test_all_that_the_sdk_can_say_is_understood(way: Way) -> None:
    android = of("AndroidConfig")(
        collapse_key="c", priority="high", ttl=3600.5, restricted_package_name="p", data={"a": "1"},
        notification=of("AndroidNotification")(
            title="T", body="B", icon="i", color="#a1b2c3", sound="default", tag="t", click_action="c",
            body_loc_key="k", body_loc_args=["1"], title_loc_key="k", title_loc_args=["2"], channel_id="ch",
            image="https://x.example/i.png", ticker="t", sticky=True, local_only=True, priority="max",
            event_timestamp={"class": "datetime", "iso": "2026-03-01T10:00:00.5+00:00"},
            vibrate_timings_millis=[100, 50.5], default_sound=True, visibility="public",
            default_vibrate_timings=False, default_light_settings=False, notification_count=3,
            light_settings=of("LightSettings")(
                color="#aabbccdd", light_on_duration_millis=200, light_off_duration_millis=300
            ),
            proxy="if_priority_lowered",
        ),
        fcm_options=of("AndroidFCMOptions")(analytics_label="label"), direct_boot_ok=True,
    )  # fmt: skip
    apns = of("APNSConfig")(
        headers={"apns-priority": "10"},
        payload=of("APNSPayload")(
            aps=of("Aps")(
                alert=of("ApsAlert")(title="Ü", loc_key="k", loc_args=["1"], custom_data={"x": 1}),
                badge=4, sound=of("CriticalSound")(name="s", critical=True, volume=0.5),
                content_available=True, mutable_content=True, category="c", thread_id="t",
                custom_data={"relevance-score": 0.5},
            ),
            own={"deep": [1, None, {"x": "y"}]},
        ),
        fcm_options=of("APNSFCMOptions")(analytics_label="label", image="https://x.example/i.png"),
        live_activity_token="la",
    )  # fmt: skip
    webpush = of("WebpushConfig")(
        headers={"TTL": "15"}, data={"w": "1"},
        notification=of("WebpushNotification")(
            title="W", actions=[of("WebpushNotificationAction")(action="a", title="b")], direction="rtl", renotify=True, timestamp_millis=1731000000000, vibrate=[1, 2], custom_data={"k": 1},
        ),
        fcm_options=of("WebpushFCMOptions")(link="https://x.example/"),
    )  # fmt: skip
    rich = message(
        notification=of("Notification")(title="Grüße", body="✓", image="https://x.example/i.png"),
        android=android,
        apns=apns,
        webpush=webpush,
        fcm_options=of("FCMOptions")(analytics_label="label"),
    )
    assert way([rich])["responses"][0].get("id"), "refused"


def test_an_expired_access_token_is_renewed_and_the_call_repeated(way: Way) -> None:
    way([message()])
    issued = way.emulator.get("oauth")["issued"]
    way.emulator.rules({"per": "request", "error": "ACCESS_TOKEN_EXPIRED", "times": 1})
    assert way([message()])["succeeded"] == 1
    assert way.emulator.get("oauth")["issued"] == issued + 1


@pytest.mark.parametrize(
    ("name", "call"),
    [("admin_6", "send_multicast"), ("admin_6", "send_each_for_multicast"), ("admin_7", "send_each_for_multicast")],
)  # fmt: skip
def test_a_multicast_reaches_every_token(request: pytest.FixtureRequest, name: str, call: str) -> None:
    emulator: Emulator = request.getfixturevalue(EMULATORS[name])
    client: Client = request.getfixturevalue(name)
    emulator.reset()
    emulator.tokens(dead="unregistered")
    tokens = ["a", "dead", "b"]
    answer = client(call, message={"class": "MulticastMessage", "tokens": tokens, "data": {"id": "é"}})
    assert [each.get("error", "sent") for each in answer["responses"]] == [
        "sent", "UnregisteredError", "sent",
    ]  # fmt: skip
    assert emulator.get("counts") == {"token:a": 1, "token:dead": 1, "token:b": 1}


def test_installation_ids_are_targets_of_the_newest_sdk(admin_7: Client, secure: Emulator) -> None:
    secure.reset()
    assert "id" in admin_7("send", message={"class": "Message", "fid": "cXy_fid-01", "data": {"k": "v"}})
    assert secure.get("counts") == {"fid:cXy_fid-01": 1}


def test_the_asynchronous_calls_of_the_newest_sdk_use_http_2(admin_7: Client, secure: Emulator) -> None:
    admin_7("send_each_async", messages=[message()])
    secure.reset()
    admin_7("send_each_async", messages=[message()] * 50)
    assert secure.get("summary")["http_versions"] == {"2": 50}

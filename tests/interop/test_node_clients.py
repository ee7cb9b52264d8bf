"""Node firebase-admin, old and new, unmodified, against the emulator."""

from typing import Any

import pytest

from tests.interop.conftest import PROJECT, Client, Emulator

WAYS = [("node_11", "sendAll"), ("node_11", "sendEach"), ("node_13", "sendEach"), ("node_14", "sendEach")]
EMULATORS = {"node_11": "plain", "node_13": "secure", "node_14": "secure"}
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
    return {"token": token, "data": {"id": text}, **more}


def test_the_versions_are_those_that_are_promised(node_11: Client, node_13: Client, node_14: Client) -> None:
    assert (node_11.version, node_13.version, node_14.version) == ("11.11.1", "13.10.0", "14.5.1")


def test_the_world_of_a_client_ends_at_loopback(single: Way) -> None:
    answer = single.client("resolve", name="firebase.google.com")
    assert answer["error"] == "ENOTFOUND"
    assert "refused: firebase.google.com" in single.client.complaints


def test_one_message_is_sent(single: Way) -> None:
    answer = single.client("send", message=message(text="Grüße ✓ 🎉"))
    assert answer["id"].startswith(f"projects/{PROJECT}/messages/0:")
    assert single.emulator.get("counts", by="id", accepted=1) == {"Grüße ✓ 🎉": 1}


def test_one_refused_message_rejects(single: Way) -> None:
    single.emulator.tokens(dead="unregistered")
    answer = single.client("send", message=message("dead"))
    assert "raised" in answer
    assert answer["error"] == "messaging/registration-token-not-registered"


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
    way.emulator.rules({"target": "busy", "error": "QUOTA_EXCEEDED", "retry_after": 60})
    tokens = ["alive", "dead", "foreign", "broken", "busy", "apple", "well"]
    answer = way([message(token) for token in tokens])
    assert [each.get("error", "sent") for each in answer["responses"]] == [
        "sent",
        "messaging/registration-token-not-registered",
        "messaging/mismatched-credential",
        "messaging/invalid-argument",
        "messaging/message-rate-exceeded",
        "messaging/third-party-auth-error",
        "sent",
    ]
    assert (answer["succeeded"], answer["failed"]) == (2, 5)


def test_an_overloaded_service_is_tried_again_and_then_reported(way: Way) -> None:
    way.emulator.rules({"target": "down", "error": "UNAVAILABLE", "retry_after": 1})
    answer = way([message("alive"), message("down")])
    assert [each.get("error", "sent") for each in answer["responses"]] == [
        "sent", "messaging/server-unavailable",
    ]  # fmt: skip
    # Single sends are repeated four times by the SDK itself, the parts of a batch never.
    tries = 1 if way.call == "sendAll" else 5
    assert way.emulator.get("counts", by="target") == {"token:alive": 1, "token:down": tries}


def test_500_messages_go_in_one_call_and_come_back_in_order(way: Way) -> None:
    dead = {f"t{number}" for number in range(500) if number % 7 == 3}
    way.emulator.tokens(**dict.fromkeys(dead, "unregistered"))
    answer = way([message(f"t{number}", f"{number} Grüße ✓ 🎉") for number in range(500)])
    failed = {f"t{number}" for number, each in enumerate(answer["responses"]) if "error" in each}
    assert failed == dead
    assert len({each["id"] for each in answer["responses"] if "id" in each}) == 500 - len(dead)
    assert way.emulator.get("counts", by="id") == {f"{number} Grüße ✓ 🎉": 1 for number in range(500)}
    largest = {"batch": 500} if way.call == "sendAll" else {"v1": 1}
    assert way.emulator.get("summary")["largest_request"] == largest


def test_501_messages_are_too_many(way: Way) -> None:
    answer = way([message()] * 501)
    assert "raised" in answer
    assert answer["error"] == "messaging/invalid-argument"
    assert way.emulator.get("summary")["messages"] == 0


def test_a_dry_run_sends_nothing(way: Way) -> None:
    answer = way([message()], dryRun=True)
    assert answer["responses"] == [{"id": f"projects/{PROJECT}/messages/fake_message_id"}]
    assert way.emulator.get("summary")["by_code"] == {"VALIDATED": 1}


def test_topics_and_conditions_are_targets(way: Way) -> None:
    targets = [
        {"topic": "news"}, {"topic": "/topics/news"}, {"condition": "'a' in topics && !('b' in topics)"},
    ]  # fmt: skip
    assert way([{"data": {"k": "v"}, **target} for target in targets])["succeeded"] == 3
    assert way.emulator.get("counts") == {
        "topic:news": 2,
        "condition:'a' in topics && !('b' in topics)": 1,
    }


def test_all_that_the_sdk_can_say_is_understood(way: Way) -> None:
    android = {
        "collapseKey": "c", "priority": "high", "ttl": 3600500, "restrictedPackageName": "p", "data": {"a": "1"},
        "notification": {
            "title": "T", "body": "B", "icon": "i", "color": "#a1b2c3", "sound": "default", "tag": "t",
            "clickAction": "c", "bodyLocKey": "k", "bodyLocArgs": ["1"], "titleLocKey": "k", "titleLocArgs": ["2"],
            "channelId": "ch", "imageUrl": "https://x.example/i.png", "ticker": "t", "sticky": True,
            "localOnly": True, "priority": "max", "vibrateTimingsMillis": [100, 50], "defaultSound": True,
            "visibility": "public", "defaultVibrateTimings": False, "defaultLightSettings": False,
            "notificationCount": 3, "proxy": "if_priority_lowered",
            "lightSettings": {"color": "#aabbccdd", "lightOnDurationMillis": 200, "lightOffDurationMillis": 300},
        },
        "fcmOptions": {"analyticsLabel": "label"},
        "directBootOk": True,
    }  # fmt: skip
    aps = {
        "alert": {"title": "Ü", "locKey": "k", "locArgs": ["1"]}, "badge": 4, "contentAvailable": True,
        "mutableContent": True, "sound": {"name": "s", "critical": True, "volume": 0.5}, "threadId": "t",
    }  # fmt: skip
    rich = message(
        notification={"title": "Grüße", "body": "✓", "imageUrl": "https://x.example/i.png"},
        android=android,
        apns={
            "headers": {"apns-priority": "10"},
            "payload": {"aps": aps, "own": {"deep": [1, None, {"x": "y"}]}},
            "fcmOptions": {"analyticsLabel": "label", "imageUrl": "https://x.example/i.png"},
        },
        webpush={
            "headers": {"TTL": "15"},
            "data": {"w": "1"},
            "notification": {"title": "W", "dir": "rtl", "vibrate": [1, 2], "actions": [{"action": "a", "title": "b"}]},
            "fcmOptions": {"link": "https://x.example/"},
        },
        fcmOptions={"analyticsLabel": "label"},
    )  # fmt: skip
    assert way([rich])["responses"][0].get("id"), "refused"


def test_an_expired_access_token_looks_like_something_else(way: Way) -> None:
    """Traps of the SDK: it takes every 401 for a bad APNs key, and cannot read what refuses a whole batch."""
    way([message()])
    way.emulator.rules({"per": "request", "error": "ACCESS_TOKEN_EXPIRED", "times": 1})
    answer = way([message()])
    if way.call == "sendAll":
        assert (answer["raised"], answer["error"]) == ("Error", "messaging/unknown-error")
    else:
        assert answer["responses"][0]["error"] == "messaging/third-party-auth-error"


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("node_11", "sendMulticast"), ("node_11", "sendEachForMulticast"),
        ("node_13", "sendEachForMulticast"), ("node_14", "sendEachForMulticast"),
    ],
)  # fmt: skip
def test_a_multicast_reaches_every_token(request: pytest.FixtureRequest, name: str, call: str) -> None:
    emulator: Emulator = request.getfixturevalue(EMULATORS[name])
    client: Client = request.getfixturevalue(name)
    emulator.reset()
    emulator.tokens(dead="unregistered")
    answer = client(call, message={"tokens": ["a", "dead", "b"], "data": {"id": "é"}})
    assert [each.get("error", "sent") for each in answer["responses"]] == [
        "sent", "messaging/registration-token-not-registered", "sent",
    ]  # fmt: skip
    assert emulator.get("counts") == {"token:a": 1, "token:dead": 1, "token:b": 1}


@pytest.mark.parametrize("name", ["node_13", "node_14"])
def test_the_newer_ones_use_http_2(request: pytest.FixtureRequest, secure: Emulator, name: str) -> None:
    client: Client = request.getfixturevalue(name)
    client("sendEach", messages=[message()])
    secure.reset()
    assert client("sendEach", messages=[message()] * 50)["succeeded"] == 50
    assert secure.get("summary")["http_versions"] == {"2": 50}

"""aiofcm, unmodified: TLS, SASL, binding and messages of FCM's XMPP service, answered by the emulator."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import PROJECT, Client, Emulator


@pytest.fixture(scope="session")
def client(python_client: Callable[..., Client], streaming: Emulator) -> Client:
    return python_client("aiofcm", "xmppsends.py", streaming)


@pytest.fixture
def aiofcm(client: Client, streaming: Emulator) -> Iterator[Client]:
    """Logged in with the first message."""
    streaming.reset()
    key = Path(streaming.key).with_suffix(".server-key").read_text().strip()
    assert login(client, streaming, key) == {}
    yield client
    client("close")


def login(client: Client, streaming: Emulator, key: str) -> dict[str, object]:
    host, _, port = streaming.xmpp.rpartition(":")
    number = int(streaming.get("oauth")["numbers"][PROJECT])
    return client("login", host=host, port=int(port), sender=number, key=key)


def test_the_version_is_the_one_that_is_promised(client: Client) -> None:
    assert client.version == "1.4"


def test_the_world_of_the_client_ends_at_loopback(client: Client) -> None:
    assert client("resolve", name="fcm-xmpp.googleapis.com")["raised"] == "gaierror"


def test_one_message_is_sent(aiofcm: Client, streaming: Emulator) -> None:
    message = {
        "device_token": "alive",
        "message_id": "m-1",
        "data": {"id": "Grüße ✓ 🎉", "html": "<b>&amp;</b>"},
        "notification": {"title": "Hi", "body": "A"},
        "priority": "high",
        "time_to_live": 600,
        "collapse_key": "score",
    }
    answer = aiofcm("send", messages=[message])
    assert answer["responses"] == [{"id": "m-1", "status": "SUCCESS", "text": None}]
    assert streaming.get("counts", by="id", accepted=1) == {"Grüße ✓ 🎉": 1}
    assert streaming.get("xmpp")["connections"] == {PROJECT: 1}


def test_a_topic_is_sent_to(aiofcm: Client, streaming: Emulator) -> None:
    answer = aiofcm("send", messages=[{"device_token": "/topics/news", "data": {"id": "t"}}])
    assert [each["status"] for each in answer["responses"]] == ["SUCCESS"]
    assert streaming.get("counts", by="target") == {"topic:news": 1}


def test_each_refusal_reaches_the_user_under_its_name(aiofcm: Client, streaming: Emulator) -> None:
    streaming.tokens(dead="unregistered", broken="invalid", foreign="wrong-sender", apple="apns-auth-error")
    streaming.rules(
        {"target": "busy", "error": "QUOTA_EXCEEDED_DEVICE"},
        {"target": "down", "error": "UNAVAILABLE"},
        {"target": "ill", "error": "INTERNAL"},
    )
    tokens = ["alive", "dead", "broken", "foreign", "apple", "busy", "down", "ill"]
    answer = aiofcm("send", messages=[{"device_token": token, "data": {}} for token in tokens])
    assert [each["status"] for each in answer["responses"]] == [
        "SUCCESS",
        "DEVICE_UNREGISTERED",
        "BAD_REGISTRATION",
        "SENDER_ID_MISMATCH",
        "INVALID_APNS_CREDENTIAL",
        "DEVICE_MESSAGE_RATE_EXCEEDED",
        "SERVICE_UNAVAILABLE",
        "INTERNAL_SERVER_ERROR",
    ]


def test_what_is_wrong_in_a_message_is_said(aiofcm: Client) -> None:
    message = {"device_token": "alive", "data": {"google.x": "1"}, "time_to_live": -1}
    (response,) = aiofcm("send", messages=[message])["responses"]
    assert response["status"] == "INVALID_JSON"
    assert "InvalidTtl" in response["text"] or "InvalidDataKey" in response["text"]


def test_two_hundred_messages_come_back_each_under_its_id(aiofcm: Client, streaming: Emulator) -> None:
    messages = [{"device_token": f"t{n}", "message_id": f"m-{n}", "data": {}} for n in range(200)]
    responses = aiofcm("send", messages=messages)["responses"]
    assert [each["id"] for each in responses] == [f"m-{n}" for n in range(200)]
    assert Counter(each["status"] for each in responses) == {"SUCCESS": 200}
    assert streaming.get("summary")["accepted"] == 200


def test_a_connection_that_is_cut_is_made_again_by_the_client(aiofcm: Client, streaming: Emulator) -> None:
    streaming.rules({"wire": "xmpp", "cut": "after", "times": 1})
    (response,) = aiofcm("send", messages=[{"device_token": "alive", "data": {"id": "x"}}])["responses"]
    assert response["status"] == "SUCCESS"
    assert streaming.get("counts", by="id") == {"x": 2}


def test_a_wrong_key_is_refused(client: Client, streaming: Emulator) -> None:
    streaming.reset()
    login(client, streaming, "AAAAstranger:key")
    answer = client("send", messages=[{"device_token": "alive", "data": {}}])
    assert answer["raised"] == "ConnectionError"
    assert streaming.get("xmpp")["counts"]["refused"] >= 1  # aioxmpp tries more than once

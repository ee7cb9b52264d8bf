"""pyfcm 1.5, unmodified: its users' calls to the legacy HTTP service, answered by the emulator."""

from collections.abc import Callable

import httpx
import pytest

from tests.interop.conftest import PROJECT, Client, Emulator


@pytest.fixture(scope="session")
def pyfcm(python_client: Callable[..., Client], plain: Emulator) -> Client:
    return python_client("pyfcm", "legacysends.py", plain)


@pytest.fixture(autouse=True)
def fresh(plain: Emulator) -> None:
    plain.reset()


def test_the_version_is_the_one_that_is_promised(pyfcm: Client) -> None:
    assert pyfcm.version == "1.5.4"


def test_the_world_of_the_client_ends_at_loopback(pyfcm: Client) -> None:
    assert pyfcm("resolve", name="fcm.googleapis.com")["raised"] == "gaierror"


def test_one_device_is_notified(pyfcm: Client, plain: Emulator) -> None:
    answer = pyfcm(
        "notify_single_device",
        registration_id="alive",
        message_title="Grüße",
        message_body="✓ 🎉",
        badge=3,
        sound="default",
        time_to_live=600,
        collapse_key="score",
        data_message={"id": "one"},
    )
    assert (answer["success"], answer["failure"], answer["canonical_ids"]) == (1, 0, 0)
    assert answer["results"][0]["message_id"].startswith("0:")
    assert plain.get("counts", by="id", accepted=1) == {"one": 1}


def test_a_thousand_devices_are_one_call_and_one_more_makes_two(pyfcm: Client, plain: Emulator) -> None:
    tokens = [f"t{number}" for number in range(1001)]
    answer = pyfcm("notify_multiple_devices", registration_ids=tokens, message_body="hello")
    assert (answer["success"], len(answer["results"]), len(answer["multicast_ids"])) == (1001, 1001, 2)
    assert plain.get("summary")["requests"] == {"legacy": 2}


def test_every_device_gets_its_own_answer_in_its_place(pyfcm: Client, plain: Emulator) -> None:
    states = {"dead": "unregistered", "other": "wrong-sender"}
    plain.put("tokens", {"project": PROJECT, "tokens": states, "canonical": {"old": "new"}})
    answer = pyfcm(
        "multiple_devices_data_message",
        registration_ids=["alive", "dead", "no token", "other", "old"],
        data_message={"k": "v"},
    )
    assert (answer["success"], answer["failure"], answer["canonical_ids"]) == (2, 3, 1)
    errors = [result.get("error") for result in answer["results"]]
    assert errors == [None, "NotRegistered", "InvalidRegistration", "MismatchSenderId", None]
    assert answer["results"][4]["registration_id"] == "new"


def test_topics_and_conditions_are_sent_to(pyfcm: Client, plain: Emulator) -> None:
    one = pyfcm("notify_topic_subscribers", topic_name="news", message_body="hello")
    two = pyfcm("notify_topic_subscribers", condition="'a' in topics && 'b' in topics", message_body="hello")
    assert (one["success"], two["success"]) == (1, 1)
    assert isinstance(one["topic_message_id"], int)
    assert plain.get("counts", by="target") == {
        "topic:news": 1,
        "condition:'a' in topics && 'b' in topics": 1,
    }


def test_a_group_s_members_get_it(pyfcm: Client, plain: Emulator) -> None:
    oauth = plain.get("oauth")
    key = next(key for key, project in oauth["server_keys"].items() if project == PROJECT)
    created = httpx.post(
        f"{plain.url}/fcm/notification",
        json={"operation": "create", "notification_key_name": "u", "registration_ids": ["a", "b"]},
        headers={"Authorization": f"key={key}", "project_id": oauth["numbers"][PROJECT]},
        trust_env=False,
    ).raise_for_status()
    plain.tokens(b="unregistered")
    group = created.json()["notification_key"]
    assert pyfcm("group", notification_key=group, message_body="hello") == {
        "success": 1,
        "failure": 1,
        "failed_registration_ids": ["b"],
    }


def test_a_dry_run_delivers_nothing(pyfcm: Client, plain: Emulator) -> None:
    answer = pyfcm("notify_single_device", registration_id="alive", message_body="hello", dry_run=True)
    assert answer["results"] == [{"message_id": "fake_message_id"}]
    assert plain.get("counts", by="code") == {"VALIDATED": 1}


def test_a_stranger_s_key_is_refused(pyfcm: Client) -> None:
    answer = pyfcm("as_a_stranger", registration_id="alive", message_body="hello")
    assert answer["raised"] == "AuthenticationError"


@pytest.mark.parametrize(
    ("arguments", "raised"),
    [
        ({"extra_kwargs": {"priority": "urgent"}}, "InvalidDataError"),
        ({"extra_kwargs": {"mutable_content": "yes"}}, "InvalidDataError"),
    ],
)
def test_a_wrong_call_is_refused(pyfcm: Client, arguments: dict[str, object], raised: str) -> None:
    answer = pyfcm("notify_single_device", registration_id="alive", message_body="hello", **arguments)
    assert answer["raised"] == raised
    assert "InvalidParameters" in answer["text"]


def test_a_message_that_is_too_big_is_refused_by_name(pyfcm: Client) -> None:
    answer = pyfcm("notify_single_device", registration_id="alive", message_body="x" * 5000)
    assert answer["results"] == [{"error": "MessageTooBig"}]


def test_a_service_that_fails_is_told_as_such(pyfcm: Client, plain: Emulator) -> None:
    plain.rules({"per": "request", "wire": "legacy", "error": "InternalServerError"})
    answer = pyfcm("notify_single_device", registration_id="alive", message_body="hello")
    assert answer["raised"] == "FCMServerError"


def test_the_closed_service_says_so_in_a_result(pyfcm: Client, plain: Emulator) -> None:
    plain.rules({"per": "request", "wire": "legacy", "error": "DeprecatedApi"})
    answer = pyfcm("notify_single_device", registration_id="alive", message_body="hello")
    assert answer["results"] == [{"error": "DeprecatedApi"}]

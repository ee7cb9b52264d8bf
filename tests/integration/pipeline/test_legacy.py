"""A worker over the legacy wire: what producers see is what they see over any other."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import httpx
import orjson
import pytest

from dispatcher.errors import SettingsError
from dispatcher.settings import Settings
from dispatcher.worker import Worker

PROJECT = "demo-orchard-41"


@pytest.fixture
def key_file(emulator, tmp_path) -> Path:
    """The server key that the emulator wrote, where a test may change it."""
    written = Path(emulator.credentials[PROJECT]).with_suffix(".server-key")
    path = tmp_path / "server-key"
    path.write_bytes(written.read_bytes())
    return path


@pytest.fixture
def legacy(emulator, key_file) -> dict[str, object]:
    """Settings of a worker that has the server key and no other credential."""
    return {
        "transport": "legacy",
        "credentials": "none",
        "projects": PROJECT,
        "legacy_endpoint": emulator.url,
        "legacy_key_file": key_file,
    }


@pytest.fixture
def change_group(emulator, key_file):
    """Asks the group service for a change; returns the notification key."""

    def change(**asked: object) -> str:
        number = emulator.get("oauth")["numbers"][PROJECT]
        headers = {"Authorization": f"key={key_file.read_text().strip()}", "project_id": number}
        url = f"{emulator.url}/fcm/notification"
        answer = httpx.post(url, json=asked, headers=headers, trust_env=False)
        return answer.raise_for_status().json()["notification_key"]

    return change


@pytest.fixture
def group(change_group) -> str:
    """The notification key of a group of three."""
    return change_group(operation="create", notification_key_name="user", registration_ids=["a", "b", "c"])


def by_index(outcomes):
    return sorted(((o["index"], o["status"], next(iter(o["target"].values()))) for o in outcomes), key=str)


async def test_every_kind_of_target_arrives_as_what_it_is(serve, legacy, desk, emulator, group):
    await serve(**legacy)
    for kind, value in {"token": "t", "topic": "news", "condition": "'a' in topics"}.items():
        await desk.add(message={kind: value, "data": {"k": "v"}})
    await desk.add(message={"notification": {"title": "x"}}, group=group)
    outcomes = await desk.outcomes(4)
    assert {o["status"] for o in outcomes} == {"accepted"}
    arrived = {(a["kind"], a["target"]) for a in emulator.arrivals()}
    assert arrived == {("token", "t"), ("topic", "news"), ("condition", "'a' in topics"), ("group", group)}
    assert emulator.get("summary")["requests"] == {"legacy": 4}
    assert await desk.backlog() == 0


async def test_jobs_that_say_the_same_are_one_call(serve, legacy, desk, emulator):
    same = [{"token": f"t{number}", "data": {"k": "v"}} for number in range(700)]
    await desk.add_many("normal", same)
    await desk.add(message={"data": {"k": "v"}}, tokens=json.dumps([f"m{number}" for number in range(300)]))
    await serve(**legacy, linger_ms=2000)
    assert {o["status"] for o in await desk.outcomes(1000)} == {"accepted"}
    assert emulator.get("summary")["requests"] == {"legacy": 1}
    assert emulator.get("summary")["largest_request"]["legacy"] == 1000


async def test_each_answer_of_a_multicast_is_its_recipient_s_own(serve, legacy, desk, emulator):
    emulator.put(
        "tokens",
        project=PROJECT,
        tokens={"gone": "unregistered", "bad": "invalid", "other": "wrong-sender"},
        canonical={"old": "new"},
    )
    await serve(**legacy)
    tokens = ["good", "gone", "bad", "other", "old"]
    await desk.add(message={"data": {"k": "v"}}, tokens=json.dumps(tokens))
    outcomes = {o["target"]["token"]: o for o in await desk.outcomes(5)}
    assert {token: o["status"] for token, o in outcomes.items()} == {
        "good": "accepted",
        "gone": "invalid_token",
        "bad": "invalid_token",
        "other": "wrong_project",
        "old": "accepted",
    }
    assert outcomes["old"]["replacement_token"] == "new"
    assert "replacement_token" not in outcomes["good"]
    assert [outcomes[token]["index"] for token in tokens] == [0, 1, 2, 3, 4]


async def test_only_the_recipients_that_failed_are_sent_again(serve, legacy, desk, emulator):
    emulator.script({"wire": "legacy", "prefix": "busy", "error": "Unavailable", "times": 2})
    await serve(**legacy)
    tokens = ["a", "busy1", "b", "busy2", "c"]
    await desk.add(message={"data": {"k": "v"}}, tokens=json.dumps(tokens))
    outcomes = await desk.outcomes(5)
    assert by_index(outcomes) == [(n, "accepted", token) for n, token in enumerate(tokens)]
    sends = {"a": 1, "busy1": 2, "b": 1, "busy2": 2, "c": 1}
    assert emulator.counts() == {f"token:{token}": count for token, count in sends.items()}
    assert emulator.get("summary")["requests"] == {"legacy": 2}


async def test_the_wait_that_an_answer_asks_for_is_kept(serve, legacy, desk, emulator):
    emulator.script({"wire": "legacy", "target": "busy", "error": "Unavailable", "retry_after": 600})
    await serve(**legacy)
    await desk.add(message={"data": {"k": "v"}}, tokens='["a","busy"]')
    await desk.outcomes(1)
    [(due, fields)] = await desk.until(desk.delayed)
    assert due >= await desk.now() + 590
    assert fields["tokens"] == '["busy"]'


async def test_a_device_that_is_sent_to_too_fast_is_held_alone(serve, legacy, desk, emulator):
    emulator.script({"wire": "legacy", "target": "hot", "error": "DeviceMessageRateExceeded"})
    await serve(**legacy)
    await desk.add(message={"data": {"k": "v"}}, tokens='["hot","cool"]')
    [outcome] = await desk.outcomes(1)
    assert outcome["target"] == {"token": "cool"}
    assert await desk.redis.zcard(desk.key("pauses")) > 0
    await desk.add(message={"token": "later"})
    assert {o["status"] for o in await desk.outcomes(2)} == {"accepted"}


async def test_the_members_that_a_group_missed_are_sent_to_as_tokens(serve, legacy, desk, emulator, group):
    emulator.script({"wire": "legacy", "target": "b", "error": "Unavailable", "times": 1})
    emulator.put("tokens", project=PROJECT, tokens={"c": "unregistered"})
    await serve(**legacy)
    await desk.add(message={"data": {"id": "m1"}}, group=group, id="order-7", campaign="spring")
    outcomes = await desk.outcomes(3)
    assert by_index(outcomes) == [(0, "accepted", group), (1, "accepted", "b"), (2, "invalid_token", "c")]
    whole = next(o for o in outcomes if o["index"] == 0)
    assert whole["result"] == {"success": 1, "failure": 2, "failed_registration_ids": ["b", "c"]}
    assert {(o["job"], o["campaign"]) for o in outcomes} == {("order-7", "spring")}
    assert {o["index"]: o["attempts"] for o in outcomes} == {0: 1, 1: 2, 2: 2}
    assert await desk.redis.hgetall(desk.key("campaign:spring")) == {
        b"accepted": b"2",
        b"invalid_token": b"1",
    }
    [reached] = [row for row in emulator.get("deliveries")["rows"] if row[4] == group]
    assert reached[-1] == ["a"]
    assert await desk.backlog() == 0


async def test_the_members_that_a_group_missed_outlive_the_worker_that_found_out(
    spawn, legacy, desk, emulator, group
):
    emulator.script({"wire": "legacy", "prefix": "b", "error": "Unavailable", "times": 1})
    first = spawn(**legacy, lease_s=1)
    await desk.add(message={"data": {"id": "m1"}}, group=group)
    await desk.until(desk.recorded)
    first.send(signal.SIGKILL)
    await first.stopped()
    spawn(**legacy, lease_s=1)
    outcomes = await desk.outcomes(2, within=30)
    assert by_index(outcomes) == [(0, "accepted", group), (1, "accepted", "b")]


async def test_a_killed_worker_s_call_is_made_again_and_each_recipient_has_one_outcome(
    spawn, legacy, desk, emulator
):
    emulator.script({"per": "request", "wire": "legacy", "delay": 30, "times": 1})
    tokens = [f"t{number}" for number in range(400)]
    first = spawn(**legacy, lease_s=1)
    await desk.add(message={"data": {"k": "v"}}, tokens=json.dumps(tokens))
    await desk.until(emulator.arrivals)
    first.send(signal.SIGKILL)
    await first.stopped()
    spawn(**legacy, lease_s=1)
    outcomes = await desk.outcomes(400, within=30)
    assert {o["index"] for o in outcomes} == set(range(400))
    assert {o["status"] for o in outcomes} == {"accepted"}
    assert set(emulator.counts().values()) == {2}


async def test_a_call_whose_answer_is_lost_is_made_again_and_says_so(serve, legacy, desk, emulator):
    emulator.script({"per": "request", "wire": "legacy", "cut": "after", "times": 1})
    await serve(**legacy)
    await desk.add(message={"data": {"k": "v"}}, tokens='["a","b"]')
    outcomes = await desk.outcomes(2)
    assert [(o["status"], o["possible_duplicate"], o["attempts"]) for o in outcomes] == [
        ("accepted", True, 2)
    ] * 2
    assert set(emulator.counts().values()) == {2}


async def test_a_group_without_members_is_no_recipient(serve, legacy, desk, group, change_group):
    change_group(operation="remove", notification_key=group, registration_ids=["a", "b", "c"])
    await serve(**legacy)
    await desk.add(message={"data": {"k": "v"}}, group=group)
    [outcome] = await desk.outcomes(1)
    assert (outcome["status"], outcome["code"]) == ("rejected", "invalid-recipient")
    assert len(await desk.dead()) == 1


@pytest.mark.parametrize(
    "rule",
    [
        {"per": "request", "wire": "legacy", "error": "DeprecatedApi"},
        {"per": "request", "wire": "legacy", "status": 404},
        {"per": "request", "wire": "legacy", "status": 410},
        {"wire": "legacy", "error": "DeprecatedApi"},
    ],
    ids=["closed", "404", "410", "each"],
)
async def test_a_service_that_is_gone_stops_the_project_and_touches_no_token(
    serve, legacy, desk, emulator, rule
):
    emulator.script(rule)
    await serve(**legacy)
    await desk.add(message={"data": {"k": "v"}}, tokens='["a","b","c"]')
    control = await desk.until(desk.control)
    assert any("unknown-error" in value for value in control.values())
    await desk.until(desk.delayed)
    assert await desk.recorded() == []
    emulator.script()


async def test_a_key_that_is_replaced_in_its_file_is_read_again_at_the_first_refusal(
    serve, legacy, desk, key_file
):
    good = key_file.read_text()
    key_file.write_text("AAAAwrong:key")
    await serve(**legacy)
    key_file.write_text(good)
    await desk.add(message={"token": "t"})
    [outcome] = await desk.outcomes(1)
    assert (outcome["status"], outcome["attempts"]) == ("accepted", 1)


async def test_a_refused_key_stops_the_project_until_there_is_another(serve, legacy, desk, key_file):
    good = key_file.read_text()
    key_file.write_text("AAAAwrong:key")
    await serve(**legacy, rescan_s=0.2)
    await desk.add(message={"token": "t"})
    control = await desk.until(desk.control)
    assert any("authentication-error" in value for value in control.values())
    key_file.write_text(good)
    await desk.add(message={"token": "second"})  # the first waits for its own time
    [outcome] = await desk.outcomes(1, within=30)
    assert (outcome["status"], outcome["target"]) == ("accepted", {"token": "second"})


async def test_the_other_credentials_are_for_other_services(serve, legacy, desk, emulator):
    worker = await serve(**{**legacy, "credentials": emulator.credentials[PROJECT]})
    await desk.add(message={"token": "t"})
    await desk.outcomes(1)
    assert emulator.get("summary")["requests"] == {"legacy": 1}
    assert (await worker.face.get("/readyz")).status_code == 200


async def test_without_a_key_nothing_starts(server, emulator, legacy):
    given = {f"DISPATCHER_{name.upper()}": str(value) for name, value in legacy.items()}
    del given["DISPATCHER_LEGACY_KEY_FILE"]
    worker = Worker(Settings.load(None, {**given, "DISPATCHER_REDIS_URL": server.url}))
    with pytest.raises(
        SettingsError, match=r"DISPATCHER_LEGACY_KEY_FILE is not set for demo-orchard-41.*name a file"
    ):
        await worker.run()


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"message": {"fid": "f"}}, "invalid-recipient", "message.fid: "),
        (
            {"message": {"token": "t", "android": {"notification": {"ticker": "x"}}}},
            "invalid-payload",
            "message.android.notification.ticker: found 'x'; legacy messages have no key for it",
        ),
        (
            {
                "message": {
                    "notification": {"title": "A"},
                    "android": {"notification": {"title": "B"}},
                },
                "tokens": '["a","b"]',
            },
            "invalid-payload",
            "message.android.notification.title: found 'B'; message.notification.title says otherwise",
        ),
        (
            {"message": {"token": "t", "apns": {"headers": {"apns-topic": "x"}}}},
            "invalid-options",
            "message.apns.headers.apns-topic: ",
        ),
    ],
    ids=["fid", "no key", "platforms differ", "header"],
)
async def test_what_has_no_legacy_form_is_rejected_unsent(
    serve, legacy, desk, emulator, fields, code, reason
):
    await serve(**legacy)
    await desk.add(**fields)
    outcomes = await desk.until(desk.recorded)
    assert {o["status"] for o in outcomes} == {"rejected"}
    assert outcomes[0]["code"] == code
    assert outcomes[0]["reason"].startswith(reason)
    assert outcomes[0]["attempts"] == 0
    assert emulator.arrivals() == []
    await desk.add(message={"token": "t"})
    await desk.until(emulator.arrivals)


@pytest.mark.parametrize(
    "message",
    [
        {"topic": "not a topic"},
        {"token": "t", "data": {"from": "x"}},
        {"token": "t", "data": {"k": "x" * 5000}},
        {"condition": "'a' in topics &&"},
    ],
    ids=["topic", "reserved key", "too large", "condition"],
)
@pytest.mark.parametrize("validation", ["strict", "server"])
async def test_bad_input_ends_rejected_whoever_finds_it(serve, legacy, desk, message, validation):
    await serve(**legacy, validation=validation)
    await desk.add(message=message)
    [outcome] = await desk.outcomes(1)
    assert outcome["status"] == "rejected"
    assert await desk.backlog() == 0


async def test_the_server_key_shows_nowhere(spawn, legacy, desk, emulator, key_file):
    key = key_file.read_text().strip()
    emulator.script(
        {
            "per": "request",
            "wire": "legacy",
            "status": 400,
            "body": f"bad key={key}",
            "content_type": "text/plain",
        }
    )
    worker = spawn(**legacy, log_level="debug")
    await desk.add(message={"token": "t"})
    [outcome] = await desk.outcomes(1)
    assert outcome["status"] == "rejected"
    assert key not in orjson.dumps([outcome, *await desk.dead()]).decode()
    assert key not in worker.log_file.read_text()
    assert key not in (await worker.get("/metrics")).text

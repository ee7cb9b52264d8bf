"""A worker over XMPP, against the emulator's server: every answer, and everything that can go wrong with connections."""

from __future__ import annotations

import asyncio
import gc
import json
from collections import Counter
from pathlib import Path

import pytest

from dispatcher.cli.check_sending import check_sending, load_keys
from dispatcher.client import UpstreamReader
from dispatcher.settings import Settings

from .conftest import PROJECT, Emulator, Serve, environment, until

TOKEN = "fQ7xK2tLmN8:APA91bExample%06d"


@pytest.fixture(autouse=True)
def collected():
    """slixmpp's connections are cycles with a finalizer, which had better not run in the midst of another test."""
    yield
    gc.collect()


def way(emulator: Emulator) -> dict[str, object]:
    """The settings of a project whose wire is XMPP."""
    return {
        "transport": "xmpp",
        "xmpp_endpoint": emulator.xmpp,
        "ca_file": emulator.ca_file,
        "sender_id": emulator.get("oauth")["numbers"][PROJECT],
        "legacy_key_file": Path(emulator.credentials[PROJECT]).with_suffix(".server-key"),
        "xmpp_connections": 2,
    }


@pytest.fixture
def over_xmpp(emulator: Emulator, serve: Serve):
    """Starts a worker whose wire is XMPP."""

    async def start(**settings):
        return await serve(**(way(emulator) | settings))

    return start


async def connected(emulator: Emulator, count: int = 2) -> None:
    await until(lambda: emulator.get("xmpp")["connections"].get(PROJECT, 0) >= count)


def note(number: int, **more):
    return {"token": TOKEN % number, "data": {"id": f"m{number}"}, **more}


async def test_a_message_is_accepted_under_a_name_that_receipts_and_retries_share(over_xmpp, emulator, desk):
    entry = await desk.add(message=note(1))
    await over_xmpp()
    (outcome,) = await desk.outcomes()
    assert outcome["status"] == "accepted"
    assert outcome["message_id"] == f"normal-{entry}-0"
    (arrival,) = emulator.arrivals()
    assert (arrival["target"], arrival["id"], arrival["code"]) == (TOKEN % 1, "m1", "OK")


async def test_two_thousand_messages_arrive_once_each_and_never_more_than_a_hundred_wait_on_a_connection(
    over_xmpp, emulator, desk
):
    await desk.add_many("normal", [note(n) for n in range(1000)])
    tokens = [TOKEN % n for n in range(5000, 5500)]
    for _ in range(2):
        await desk.add(message={"data": {"x": "y"}}, tokens=json.dumps(tokens))
    await over_xmpp()
    outcomes = await desk.outcomes(2000, within=30)
    assert Counter(o["status"] for o in outcomes) == {"accepted": 2000}
    assert emulator.get("summary")["accepted"] == 2000
    counts = emulator.get("xmpp")["counts"]
    assert counts.get("violations", 0) == 0
    assert counts["opened"] == 2


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        ("BAD_REGISTRATION", "invalid_token", "invalid-registration-token"),
        ("DEVICE_UNREGISTERED", "invalid_token", "registration-token-not-registered"),
        ("INVALID_JSON", "rejected", "invalid-argument"),
        ("InvalidJson : INVALID_TTL : Invalid value (-1)", "rejected", "invalid-options"),
        ("JSON_TYPE_ERROR", "rejected", "invalid-argument"),
    ],
)
async def test_a_nack_that_ends_a_message(over_xmpp, emulator, desk, error, status, code):
    emulator.script({"wire": "xmpp", "error": error})
    await desk.add(message=note(1))
    await over_xmpp()
    (outcome,) = await desk.outcomes()
    assert (outcome["status"], outcome["code"]) == (status, code)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("SERVICE_UNAVAILABLE", "server-unavailable"),
        ("INTERNAL_SERVER_ERROR", "internal-error"),
        ("NOBODY_KNOWS_THIS", "unknown-error"),
    ],
)
async def test_a_nack_that_is_tried_again(over_xmpp, emulator, desk, error, code):
    emulator.script({"wire": "xmpp", "error": error, "times": 1})
    await desk.add(message=note(1))
    worker = await over_xmpp()
    (outcome,) = await desk.outcomes()
    assert (outcome["status"], outcome["attempts"]) == ("accepted", 2)
    assert "possible_duplicate" not in outcome
    assert await worker.face.metric("retries_total", code=code) == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("DEVICE_MESSAGE_RATE_EXCEEDED", note(1)),
        ("TOPICS_MESSAGE_RATE_EXCEEDED", {"topic": "news", "data": {"id": "t"}}),
    ],
)
async def test_a_target_that_is_too_fast_is_held(over_xmpp, emulator, desk, error, message):
    emulator.script({"wire": "xmpp", "error": error, "times": 1})
    await desk.add(message=message)
    await over_xmpp()
    ((due, _),) = await until(desk.delayed)
    assert due > await desk.now() + 30


async def test_a_stanza_error_of_a_busy_server_is_tried_again(over_xmpp, emulator, desk):
    emulator.script({"wire": "xmpp", "status": 503, "times": 1})
    await desk.add(message=note(1))
    await over_xmpp()
    (outcome,) = await desk.outcomes()
    assert (outcome["status"], outcome["attempts"]) == ("accepted", 2)


async def test_a_canonical_token_comes_back(over_xmpp, emulator, desk):
    emulator.put("tokens", project=PROJECT, canonical={TOKEN % 1: TOKEN % 2})
    await desk.add(message=note(1))
    await over_xmpp()
    (outcome,) = await desk.outcomes()
    assert outcome["replacement_token"] == TOKEN % 2


async def test_topics_and_conditions_are_answered(over_xmpp, emulator, desk):
    await desk.add(message={"topic": "news", "data": {"id": "t"}})
    await desk.add(message={"condition": "'a' in topics && 'b' in topics", "data": {"id": "c"}})
    await over_xmpp()
    outcomes = await desk.outcomes(2)
    assert [outcome["status"] for outcome in outcomes] == ["accepted"] * 2
    assert {row["kind"]: row["target"] for row in emulator.arrivals()} == {
        "topic": "news",
        "condition": "'a' in topics && 'b' in topics",
    }


async def test_a_message_without_a_form_on_this_wire_is_refused_before_it_is_sent(over_xmpp, emulator, desk):
    await desk.add(message=note(1, android={"restricted_package_name": "com.example.orchard"}))
    await over_xmpp()
    (outcome,) = await desk.outcomes()
    assert outcome["status"] == "rejected"
    assert "message.android.restricted_package_name" in outcome["reason"]
    assert emulator.arrivals() == []


async def test_a_receipt_and_a_device_s_message_are_kept_before_they_are_acknowledged(
    over_xmpp, emulator, desk, server
):
    worker = await over_xmpp()
    await connected(emulator)
    sent = [{"from": TOKEN % n, "message_id": f"u-{n}", "data": {"hello": str(n)}} for n in range(250)]
    emulator.put("xmpp", project=PROJECT, upstream=sent)
    entry = await desk.add(message=note(1), delivery_receipt=1)
    await until(lambda: emulator.get("xmpp")["counts"].get("acked", 0) == 251)
    async with UpstreamReader.at(server.url, PROJECT) as reader:
        messages = await reader.read(count=1000)
    receipts = [message for message in messages if message.type == "receipt"]
    assert [(r.sender, r.message_id) for r in receipts] == [("fcm.googleapis.com", f"dr2:normal-{entry}-0")]
    assert receipts[0].data["original_message_id"] == f"normal-{entry}-0"
    assert receipts[0].data["device_registration_id"] == TOKEN % 1
    others = [message for message in messages if message.type == "upstream"]
    assert sorted(m.message_id for m in others) == sorted(one["message_id"] for one in sent)
    assert all(m.data == {"hello": m.message_id.removeprefix("u-")} for m in others)
    assert await worker.face.metric("upstream_messages_total", kind="upstream") == 250
    assert await worker.face.metric("upstream_messages_total", kind="receipt") == 1


async def test_what_redis_cannot_take_is_not_acknowledged_and_comes_once(over_xmpp, emulator, desk, server):
    await over_xmpp()
    await connected(emulator)
    await desk.redis.config_set("maxmemory", 1)
    try:
        emulator.put(
            "xmpp", project=PROJECT, upstream=[{"from": "d", "message_id": f"u-{n}"} for n in range(20)]
        )
        await until(lambda: emulator.get("xmpp")["unacked"] == 20)
        emulator.put("xmpp", project=PROJECT, cut=2)
        await until(lambda: emulator.get("xmpp")["counts"].get("sent_again", 0) >= 20)
    finally:
        await desk.redis.config_set("maxmemory", 0)
    await until(lambda: emulator.get("xmpp")["counts"].get("acked", 0) >= 20)
    async with UpstreamReader.at(server.url, PROJECT) as reader:
        messages = await reader.read()
    assert sorted(m.message_id for m in messages) == sorted(f"u-{n}" for n in range(20))


async def test_connections_that_are_cut_with_messages_under_way_lose_none(over_xmpp, emulator, desk):
    emulator.script({"wire": "xmpp", "cut": "after", "skip": 150, "times": 1})
    await desk.add_many("normal", [note(n) for n in range(500)])
    worker = await over_xmpp()
    outcomes = await desk.outcomes(500, within=30)
    assert Counter(o["status"] for o in outcomes) == {"accepted": 500}
    ids = emulator.counts(by="id")
    assert set(ids) == {f"m{n}" for n in range(500)}
    # What arrived twice had lost its answer, and its outcome says so.
    twice = {name for name, count in ids.items() if count > 1}
    marked = {o["target"]["token"] for o in outcomes if o.get("possible_duplicate")}
    assert {TOKEN % int(name[1:]) for name in twice} <= marked
    assert 1 <= len(marked) <= 100

    async def counted():
        return await worker.face.metric("possible_duplicates_total") == len(marked)

    await desk.until(counted)
    assert emulator.get("xmpp")["counts"]["opened"] <= 4


async def test_a_drained_connection_is_replaced_and_its_refused_messages_cost_no_attempt(
    over_xmpp, emulator, desk
):
    emulator.script({"wire": "xmpp", "error": "CONNECTION_DRAINING", "skip": 50, "times": 1})
    await desk.add_many("normal", [note(n) for n in range(1000)])
    await over_xmpp()
    outcomes = await desk.outcomes(1000, within=30)
    assert {(o["status"], o["attempts"]) for o in outcomes} == {("accepted", 1)}
    assert not any(o.get("possible_duplicate") for o in outcomes)
    assert emulator.get("summary")["accepted"] == 1000
    await connected(emulator)
    assert emulator.get("xmpp")["counts"]["opened"] == 3


async def test_a_server_that_drains_every_connection_is_not_stormed(over_xmpp, emulator, desk):
    emulator.script({"wire": "xmpp", "error": "CONNECTION_DRAINING"})
    await desk.add(message=note(1))
    worker = await over_xmpp(request_timeout_s=2)
    await until(lambda: worker.face.metric("retries_total", code="server-unavailable"), 30)
    assert emulator.get("xmpp")["counts"]["opened"] <= 10
    emulator.script()
    (outcome,) = await desk.outcomes(within=60)
    assert outcome["status"] == "accepted"
    assert set(emulator.counts(by="id", accepted=1).values()) == {1}


async def test_draining_by_a_control_message_under_load_loses_nothing(over_xmpp, emulator, desk):
    emulator.script(latency=0.05)
    await over_xmpp()
    await connected(emulator)
    await desk.add_many("normal", [note(n) for n in range(1000)])
    await until(lambda: emulator.get("summary")["messages"] > 100)
    emulator.put("xmpp", project=PROJECT, drain=2)
    outcomes = await desk.outcomes(1000, within=30)
    assert {(o["status"], o["attempts"]) for o in outcomes} == {("accepted", 1)}
    assert set(emulator.counts(by="id").values()) == {1}
    assert emulator.get("xmpp")["counts"]["opened"] == 4


async def test_a_refused_login_pauses_the_project_without_a_storm(over_xmpp, emulator, desk, tmp_path):
    key = tmp_path / "key"
    key.write_text("AAAAwrong:key\n")
    await desk.add(message=note(1))
    worker = await over_xmpp(legacy_key_file=key)
    await until(lambda: worker.face.metric("project_paused", reason="authentication-error"))
    assert emulator.get("xmpp")["counts"] == {"refused": 1}
    assert await desk.recorded() == []
    assert await desk.backlog() == 1


async def test_a_new_key_in_the_file_is_used_at_once(over_xmpp, emulator, desk, tmp_path):
    right = Path(emulator.credentials[PROJECT]).with_suffix(".server-key").read_text()
    key = tmp_path / "key"
    key.write_text("AAAAwrong:key\n")
    await over_xmpp(legacy_key_file=key)
    await until(lambda: emulator.get("xmpp")["counts"].get("refused") == 1)
    key.write_text(right)
    await desk.add(message=note(1))
    (outcome,) = await desk.outcomes()
    assert outcome["status"] == "accepted"


@pytest.mark.parametrize(
    "text",
    [
        "</message>",
        "<!DOCTYPE x [<!ENTITY a 'boo'>]>",
        "<message><gcm xmlns='google:mobile:data'>&a;</gcm></message>",
        "<message>" + "x" * 300_000,
        "<stream:error><internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
    ],
)
async def test_a_stream_that_cannot_be_read_is_replaced(over_xmpp, emulator, desk, text):
    await over_xmpp(xmpp_connections=1)
    await connected(emulator, 1)
    emulator.put("xmpp", project=PROJECT, say=text)
    await until(lambda: emulator.get("xmpp")["counts"]["opened"] == 2)
    await desk.add(message=note(1))
    (outcome,) = await desk.outcomes()
    assert outcome["status"] == "accepted"


@pytest.mark.parametrize(
    "text",
    [
        """{"message_type":"nack","message_id":"never-sent","from":"x","error":"BAD_REGISTRATION"}""",
        """{"message_type":"ack","message_id":"never-sent","from":"x"}""",
        """{"message_type":"nack","message_id":"x","from":"x","error":"BAD_ACK"}""",
        """{"message_type":"new kind"}""",
        "no JSON at all",
        "[1]",
    ],
)
async def test_a_stanza_that_means_nothing_to_us_disturbs_nothing(over_xmpp, emulator, desk, text):
    await over_xmpp(xmpp_connections=1)
    await connected(emulator, 1)
    emulator.put("xmpp", say=f"<message><gcm xmlns='google:mobile:data'>{text}</gcm></message>")
    await desk.add(message=note(1))
    (outcome,) = await desk.outcomes()
    assert outcome["status"] == "accepted"
    assert emulator.get("xmpp")["counts"]["opened"] == 1


async def test_a_server_that_has_fallen_silent_is_left_and_its_messages_go_again(over_xmpp, emulator, desk):
    await over_xmpp(xmpp_connections=1, request_timeout_s=1)
    await connected(emulator, 1)
    emulator.put("xmpp", silent=True)
    entry = await desk.add(message=note(1))
    await until(lambda: emulator.get("xmpp")["counts"]["opened"] == 2)
    emulator.put("xmpp", silent=False)
    (outcome,) = await desk.outcomes()
    assert outcome["status"] == "accepted"
    assert outcome["possible_duplicate"] is True
    assert outcome["message_id"] == f"normal-{entry}-0"


async def test_a_drain_of_the_worker_waits_for_the_answers(over_xmpp, emulator, desk):
    emulator.script(latency=0.3)
    await desk.add_many("normal", [note(n) for n in range(50)])
    worker = await over_xmpp()
    await until(lambda: emulator.get("summary")["messages"] == 50)
    worker.stop()
    outcomes = await desk.outcomes(50)
    assert {(o["status"], o["attempts"]) for o in outcomes} == {("accepted", 1)}
    await until(lambda: emulator.get("xmpp")["connections"] == {})


async def test_a_device_group_that_some_members_missed_is_accepted_and_those_are_sent_to_alone(
    over_xmpp, emulator, desk
):
    members = [TOKEN % n for n in range(3)]
    await desk.add(operation="group.create", request=json.dumps({"name": "user-1", "tokens": members}))
    await over_xmpp(legacy_endpoint=emulator.url)
    (made,) = await desk.outcomes()
    group = made["result"]["notification_key"]
    emulator.put("tokens", project=PROJECT, tokens={members[2]: "unregistered"})
    await desk.add(message={"data": {"id": "g"}}, group=group)
    outcomes = (await desk.outcomes(3))[1:]
    accepted = next(o for o in outcomes if o["target"] == {"group": group})
    assert accepted["status"] == "accepted"
    assert accepted["result"] == {"success": 2, "failure": 1, "failed_registration_ids": [members[2]]}
    (other,) = (o for o in outcomes if o is not accepted)
    assert (other["target"], other["status"]) == ({"token": members[2]}, "invalid_token")


async def test_without_a_server_messages_wait_and_attempts_to_connect_are_few(over_xmpp, emulator, desk):
    await desk.add(message=note(1))
    worker = await over_xmpp(xmpp_endpoint="127.0.0.1:1", request_timeout_s=1)
    await until(lambda: worker.face.metric("retries_total", code="server-unavailable"))
    assert await desk.backlog() == 1
    assert await desk.recorded() == []


@pytest.mark.parametrize(
    ("wrong", "ok", "said"),
    [
        ({}, True, "took a validate_only message over xmpp"),
        (
            {"legacy_key_file": "stranger"},
            False,
            "authentication-error (XMPP login: refused with not-authorized)",
        ),
        ({"xmpp_endpoint": "127.0.0.1:1", "topic_timeout_s": 1}, False, "check DISPATCHER_XMPP_ENDPOINT"),
    ],
)
async def test_dispatcher_check_tells_whether_the_wire_will_do(
    emulator, server, desk, tmp_path, monkeypatch, wrong, ok, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stranger").write_text("AAAAwrong:key")
    settings = Settings.load(None, environment(server.url, emulator, **(way(emulator) | wrong)))
    keyring, _ = await load_keys(settings)
    findings = await check_sending(settings, keyring, send=True)
    finding = next(found for found in findings if found.part == "endpoint")
    assert (finding.ok, said in finding.text) == (ok, True), finding
    await until(lambda: emulator.get("xmpp")["connections"] == {})


async def test_the_listening_goes_on_while_nothing_is_sent(over_xmpp, emulator, desk, server):
    await over_xmpp(xmpp_connections=1)
    await connected(emulator, 1)
    emulator.put("xmpp", project=PROJECT, cut=1)
    emulator.put("xmpp", project=PROJECT, upstream=[{"from": "d", "message_id": "u-1"}])
    async with UpstreamReader.at(server.url, PROJECT) as reader, asyncio.timeout(15):
        async for message in reader:
            assert (message.sender, message.message_id) == ("d", "u-1")
            break

"""The contract of a job and its outcome, end to end: what a producer adds and what it reads."""

import asyncio
import json

import pytest

from dispatcher.worker import Worker

LINE = '{"token":"fQ7x...","notification":{"title":"Hi","body":"A"}}'


@pytest.fixture(params=["batch", "v1"])
async def wire(request, serve) -> str:
    await serve(transport=request.param)
    return request.param


async def test_the_line_of_the_readme_ends_accepted(wire, desk, emulator):
    before = await desk.now()
    entry = await desk.redis.execute_command("XADD", desk.key("jobs:normal"), "*", "message", LINE)
    [outcome] = await desk.outcomes()
    assert outcome.pop("message_id").startswith(f"projects/{desk.project}/messages/")
    assert before - 0.1 <= outcome.pop("enqueued_at") <= outcome.pop("settled_at") <= await desk.now() + 0.1
    assert outcome == {
        "job": entry.decode(),
        "index": 0,
        "status": "accepted",
        "target": {"token": "fQ7x..."},
        "http_status": 200,
        "attempts": 1,
    }
    assert await desk.backlog() == 0
    assert [a["target"] for a in emulator.arrivals()] == ["fQ7x..."]


async def test_every_lane_is_served(wire, desk):
    for lane in ("high", "normal", "bulk"):
        await desk.add(lane, {"token": lane})
    assert {o["target"]["token"] for o in await desk.outcomes(3)} == {"high", "normal", "bulk"}


async def test_what_the_producer_gave_along_comes_back(wire, desk):
    await desk.add(
        message={"token": "t"}, id="order-7", campaign="spring", attributes='{"user": 7, "tags": ["a}"]}'
    )
    [outcome] = await desk.outcomes()
    assert outcome["job"] == "order-7"
    assert outcome["campaign"] == "spring"
    assert outcome["attributes"] == {"user": 7, "tags": ["a}"]}
    assert await desk.redis.hgetall(desk.key("campaign:spring")) == {b"accepted": b"1"}


async def test_every_kind_of_target_arrives_as_what_it_is(wire, desk, emulator):
    targets = {"token": "t", "topic": "news", "condition": "'a' in topics", "fid": "f"}
    for kind, value in targets.items():
        await desk.add(message={kind: value})
    await desk.add(message={"notification": {"title": "x"}}, group="a-notification-key")
    outcomes = await desk.outcomes(5)
    assert [o["status"] for o in outcomes] == ["accepted"] * 5
    named = {kind: value for outcome in outcomes for kind, value in outcome["target"].items()}
    assert named == {**targets, "group": "a-notification-key"}
    arrived = {(a["kind"], a["target"]) for a in emulator.arrivals()}
    assert arrived == {*targets.items(), ("token", "a-notification-key")}


async def test_multicast_has_an_outcome_for_each_token_in_its_place(wire, desk, emulator):
    emulator.put("tokens", project=desk.project, tokens={"gone": "unregistered", "foreign": "wrong-sender"})
    await desk.add(message={"data": {"n": "1"}}, tokens='["a", "gone", "b", "foreign"]', id="m")
    outcomes = sorted(await desk.outcomes(4), key=lambda o: o["index"])
    assert [(o["index"], o["target"]["token"], o["status"]) for o in outcomes] == [
        (0, "a", "accepted"),
        (1, "gone", "invalid_token"),
        (2, "b", "accepted"),
        (3, "foreign", "wrong_project"),
    ]
    assert {o["job"] for o in outcomes} == {"m"}
    assert await desk.dead() == []


async def test_a_multicast_of_500_goes_out_once_to_each(wire, desk, emulator):
    tokens = [f"token-{n}" for n in range(500)]
    await desk.add(message={"data": {"n": "1"}}, tokens=json.dumps(tokens))
    outcomes = await desk.outcomes(500)
    assert [o["target"]["token"] for o in sorted(outcomes, key=lambda o: o["index"])] == tokens
    assert sorted(a["target"] for a in emulator.arrivals()) == sorted(tokens)


async def test_validate_only_delivers_nothing(wire, desk, emulator):
    await desk.add(message={"token": "t"}, validate_only="1")
    [outcome] = await desk.outcomes()
    assert outcome["status"] == "accepted"
    assert outcome["message_id"].endswith("fake_message_id")
    assert [a["code"] for a in emulator.arrivals()] == ["VALIDATED"]


async def test_a_second_job_with_the_same_key_is_not_sent(wire, desk, emulator):
    first = await desk.add(message={"token": "a"}, dedup_key="k")
    await desk.outcomes(1)
    await desk.add(message={"token": "b"}, dedup_key="k", id="second")
    outcome = (await desk.outcomes(2))[1]
    assert (outcome["job"], outcome["status"], outcome["duplicate_of"]) == ("second", "duplicate", first)
    assert outcome["attempts"] == 0
    assert [a["target"] for a in emulator.arrivals()] == ["a"]
    assert await desk.dead() == []


async def test_many_that_are_not_sent_now_are_settled_together(serve, desk):
    """Scheduled jobs and duplicates come in thousands, too: not a script for each."""
    worker = await serve()
    await desk.add(message={"token": "t"}, dedup_key="k")
    await desk.outcomes(1)
    before = await worker.face.metric("redis_commands_total")
    await desk.add_many("bulk", [{"token": "t"}] * 300, dedup_key="k")
    await desk.add_many("normal", [{"token": "t"}] * 300, deliver_at=f"{await desk.now() + 600:.0f}")
    outcomes = await desk.outcomes(301)
    assert [o["status"] for o in outcomes] == ["accepted"] + ["duplicate"] * 300
    await desk.until(lambda: scheduled(desk, 300))
    assert await worker.face.metric("redis_commands_total") - before < 200


async def scheduled(desk, count) -> bool:
    return await desk.redis.zcard(desk.key("delayed")) == count


async def test_a_job_that_failed_gives_its_key_back(wire, desk, emulator):
    emulator.put("tokens", project=desk.project, tokens={"gone": "unregistered"})
    await desk.add(message={"token": "gone"}, dedup_key="k")
    await desk.outcomes(1)
    await desk.add(message={"token": "here"}, dedup_key="k")
    assert [o["status"] for o in await desk.outcomes(2)] == ["invalid_token", "accepted"]


async def test_nothing_is_sent_before_its_time(wire, desk, emulator):
    at = await desk.now() + 1.0
    await desk.add(message={"token": "later"}, deliver_at=at)
    await desk.add(message={"token": "now"})
    await desk.outcomes(2)
    arrived = {a["target"]: a["time"] for a in emulator.arrivals()}
    assert "now" in arrived
    assert at <= arrived["later"]


async def test_a_job_from_the_due_stream_goes_on_where_it_was(wire, desk):
    """A replay, and what earlier sends of it left."""
    at = round(await desk.now() - 60, 3)
    state = {
        "id": "7-0",
        "lane": "bulk",
        "at": at,
        "sends": 2,
        "replay": 1,
        "places": [3, 8],
        "duplicate": True,
    }
    await desk.add("due", {"data": {"a": "b"}}, tokens='["x", "y"]', _state=json.dumps(state))
    outcomes = sorted(await desk.outcomes(2), key=lambda o: o["index"])
    assert [(o["index"], o["target"]["token"]) for o in outcomes] == [(3, "x"), (8, "y")]
    for outcome in outcomes:
        assert (outcome["job"], outcome["enqueued_at"]) == ("7-0", at)
        assert (outcome["attempts"], outcome["replay"], outcome["possible_duplicate"]) == (3, 1, True)


async def test_what_has_expired_is_not_sent(wire, desk, emulator):
    await desk.add(message={"token": "t"}, expires_at=await desk.now() - 1, id="old")
    [outcome] = await desk.outcomes()
    assert (outcome["job"], outcome["status"], outcome["attempts"]) == ("old", "expired", 0)
    assert emulator.arrivals() == []
    assert await desk.dead() == []


@pytest.mark.parametrize("times", [(900, {"expires_at": 600}), (100_000, {})])
async def test_what_could_only_be_sent_too_late_expires_at_once_and_says_why(times, wire, desk, emulator):
    now = await desk.now()
    deliver_in, expires_in = times
    expires_at = {name: now + seconds for name, seconds in expires_in.items()}
    await desk.add(message={"token": "t"}, deliver_at=now + deliver_in, **expires_at)
    [outcome] = await desk.outcomes()
    assert outcome["status"] == "expired"
    assert "give a later expires_at" in outcome["reason"]
    assert emulator.arrivals() == []


async def test_a_badge_as_text_is_sent_and_counted_as_a_warning(serve, desk, emulator):
    worker = await serve()
    await desk.add(message={"token": "t", "apns": {"payload": {"aps": {"badge": "42"}}}})
    [outcome] = await desk.outcomes()
    assert outcome["status"] == "accepted"
    assert await worker.face.metric("message_warnings_total", code="apns-badge") == 1


async def test_only_failures_are_recorded_if_so_asked(serve, desk, emulator):
    emulator.put("tokens", project=desk.project, tokens={"gone": "unregistered"})
    await serve(outcomes="failures")
    await desk.add(message={"data": {"n": "1"}}, tokens='["a", "gone", "b"]')
    await desk.add(message={"token": "c"})
    [outcome] = await desk.outcomes()
    assert (outcome["index"], outcome["status"]) == (1, "invalid_token")


async def test_the_message_goes_out_byte_for_byte(wire, desk, emulator):
    """Spaces, order of names and escapes are the producer's; the ledger keeps a digest of the body."""
    message = b'{ "token":"t",  "data":{"b":"\\u00e9","a":"2"} }'
    await desk.add(message=message)
    await desk.add(message=b'{"message":' + message + b"}")
    await desk.outcomes(2)
    assert len({a["digest"] for a in emulator.arrivals()}) == 1


@pytest.mark.parametrize("wire_name", ["batch", "v1"])
async def test_the_smallest_job_on_either_server(wire_name, desk, redis_server, redis_client, emulator):
    """On the embedded server and on the one from PATH."""
    from dispatcher.settings import Settings  # noqa: PLC0415 - the one test that builds its own worker

    env = {
        "DISPATCHER_REDIS_URL": redis_server.url,
        "DISPATCHER_CREDENTIALS": next(iter(emulator.credentials.values())),
        "DISPATCHER_FCM_ENDPOINT": emulator.url,
        "DISPATCHER_TRANSPORT": wire_name,
        "DISPATCHER_HTTP_PORT": "0",
    }
    project = next(iter(emulator.credentials))
    worker = Worker(Settings.load(None, env))
    running = asyncio.create_task(worker.run())
    await redis_client.xadd(f"fcm:{{{project}}}:jobs:normal", {"message": LINE})
    try:
        entries = await desk.until(lambda: redis_client.xrange(f"fcm:{{{project}}}:outcomes"))
    finally:
        worker.stop()
        await running
    [(_, fields)] = entries
    assert json.loads(fields[b"outcomes"])[0]["status"] == "accepted"

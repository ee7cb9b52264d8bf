"""XMPP, legacy HTTP and management jobs under the faults that the wires of today go through.

XMPP is unlike the others: its connections stay open, each is one stream of encrypted bytes with up to a hundred messages
under way, and devices send messages of their own over it.
"""

from __future__ import annotations

import re
from collections import Counter

import pytest
from harness.devices import Devices
from harness.jobs import PROJECT, errand, to_group
from harness.ledger import read_outcomes, repeated_unmarked
from harness.processes import WorkerProcess
from harness.proxy import Fault
from harness.stage import Stage
from harness.waiting import pass_time, until

AOF = ("--appendonly", "yes", "--appendfsync", "everysec")
SEND = b"POST /fcm/send"
UNDER_WAY = 100
"""Messages without an answer that an XMPP connection may have."""


async def over_xmpp(stage: Stage, connections: int = 2, **settings) -> WorkerProcess:
    """A worker with all its connections open."""
    worker = await stage.worker(transport="xmpp", xmpp_connections=connections, **settings)
    await until(lambda: worker.xmpp.connections == connections, what=f"{worker.name} is connected")
    await until(lambda: logged_in(stage, connections))
    return worker


async def logged_in(stage: Stage, count: int) -> bool:
    return (await stage.emulator.get("xmpp"))["connections"].get(PROJECT, 0) >= count


# XMPP.


@pytest.mark.short_lease
async def test_killed_with_xmpp_messages_under_way(stage: Stage, close):
    """A hundred, unanswered: its heir sends them again, and marks all that the dead one had.

    Two connections take twice as many, but no batch more than half of that.
    """
    first = await over_xmpp(stage)
    first.xmpp.lost_down = True
    await stage.produce(1, tokens=400)
    await until(lambda: accepted(stage, UNDER_WAY))
    await stage.kill(first)
    await over_xmpp(stage)
    await stage.settled()
    found = await close(stage)
    assert found["duplicates"] == found["bound"] == UNDER_WAY
    assert found["marked"] == 400


async def accepted(stage: Stage, count: int) -> bool:
    return await stage.emulator.accepted() == count


@pytest.mark.thorough
async def test_xmpp_connections_break_anywhere(stage: Stage, close):
    """In order or reset, in the midst of a stanza: what was under way goes again. Logins that break are no storm."""
    worker = await over_xmpp(stage, 3)
    # Retries are a fifth of the first sends before them at most: enough of those.
    await stage.produce(2000)
    await stage.settled()
    await stage.emulator.script(latency=0.1)
    places = [stage.break_somewhere(worker, worker.xmpp, 20_000) for _ in range(3)]
    # For those that are opened instead; none of them gets as far as being logged in.
    logins = [stage.break_somewhere(worker, worker.xmpp, 500) for _ in range(30)]
    await stage.produce(1500)
    await until(lambda: all(place.hit.is_set() for place in places), what="all connections broke")
    await until(logins[0].hit.is_set, what="a login broke")
    await pass_time(1.0)
    broken = sum(place.hit.is_set() for place in logins)
    worker.xmpp.clear()
    await stage.settled()
    found = await close(stage)
    assert found["duplicates"] <= 3 * UNDER_WAY
    assert not await repeated_unmarked(stage)
    assert broken <= 3
    assert worker.xmpp.accepted <= 3 + 3 + broken
    found["measured"] = f"3 connections broke, and {broken} more within a second in which every login did"


@pytest.mark.thorough
async def test_an_xmpp_connection_that_went_half_open(stage: Stage, close):
    """It is found out by the answers that do not come, and replaced by one; the other connection goes on."""
    worker = await over_xmpp(stage, request_timeout_s=5)
    # Retries are a fifth of the first sends before them at most: enough of those.
    await stage.produce(1000)
    await stage.settled()
    await stage.emulator.script(latency=0.1)
    place = stage.half_open_somewhere(worker, worker.xmpp, 20_000)
    await stage.produce(1000)
    await until(place.hit.is_set, what="the connection fell silent")
    await stage.settled()
    found = await close(stage)
    assert 0 < found["duplicates"] <= UNDER_WAY
    assert not await repeated_unmarked(stage)
    assert worker.xmpp.accepted <= 3


@pytest.mark.thorough
async def test_xmpp_connections_that_drain_in_full_flow(stage: Stage, close):
    """By a control message, and by a nack: replaced at once, nothing lost, nothing twice, no message the worse for it."""
    rule = {"wire": "xmpp", "error": "CONNECTION_DRAINING", "skip": 500, "times": 1}
    await stage.emulator.script(rule, latency=0.1)
    await over_xmpp(stage, 3)
    await stage.produce(2000)
    await until(stage.emulator.accepted)
    await stage.emulator.put("xmpp", project=PROJECT, drain=2)
    stage.faults += 3
    await stage.settled()
    assert (await stage.emulator.get("xmpp"))["counts"]["opened"] <= 6
    found = await close(stage)
    assert (found["duplicates"], found["marked"]) == (0, 0)
    assert {o["attempts"] for ended in (await read_outcomes(stage)).values() for o in ended} == {1}


@pytest.mark.short_lease
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_killed_while_it_keeps_what_devices_sent(stage: Stage, close, moment):
    """What has not come to Redis is not acknowledged, nor what has and the worker never knew: the heir gets it, once."""
    devices = Devices(stage)
    first = await over_xmpp(stage)
    action = "hold request" if moment == "before" else "hold reply"
    keeping = stage.script_fault(first, "record_upstream", action=action, skip=1, times=None)
    # More than the server passes on before it has heard of any, so that Redis is asked a second time.
    await devices.say(2 * UNDER_WAY + 50)
    await until(keeping.hit.is_set, what="Redis is asked to keep more of them")
    await stage.produce(200)
    await stage.kill(first)
    await until(lambda: nobody_connected(stage))
    acknowledged, kept = await devices.acknowledged(), len(await devices.kept())
    assert acknowledged <= kept
    assert kept < len(devices.sent) if moment == "before" else acknowledged < kept
    await devices.say(50)
    await over_xmpp(stage)
    await until(devices.served, what="everything is acknowledged")
    await stage.settled()
    assert sorted(await devices.kept()) == sorted(devices.sent)
    found = await close(stage)
    found["measured"] = (
        f"{len(devices.sent)} messages of devices; at the kill {kept} were kept, {acknowledged} acknowledged"
    )


async def nobody_connected(stage: Stage) -> bool:
    return not (await stage.emulator.get("xmpp"))["connections"]


@pytest.mark.thorough
@pytest.mark.short_lease
async def test_what_devices_send_while_redis_is_away(make_stage, close):
    """For a moment, and until after the worker's death: what was acknowledged stands in its append-only file."""
    stage: Stage = await make_stage(redis_options=AOF)
    devices = Devices(stage)
    first = await over_xmpp(stage)
    await first.redis.refuse()
    stage.faults += 1
    await devices.say(100)
    await until(lambda: waits_for_redis(first, 1))
    await first.redis.listen()
    await until(devices.served, what="everything is acknowledged")
    await devices.say(2000)
    await until(lambda: more_acknowledged(devices, 100))
    await stage.redis.kill()
    stage.faults += 1
    await devices.say(100)
    await until(lambda: waits_for_redis(first, 2))
    stage.freeze(first)  # it must not go on writing while this is looked at
    await stage.redis.start()
    acknowledged, kept = await devices.acknowledged(), await devices.kept()
    assert acknowledged <= len(kept) < len(devices.sent)
    await stage.kill(first)
    await over_xmpp(stage)
    await until(devices.served, what="everything is acknowledged")
    assert sorted(await devices.kept()) == sorted(devices.sent)
    await stage.produce(100)
    await stage.settled()
    found = await close(stage)
    found["measured"] = (
        f"{len(devices.sent)} messages of devices; when Redis came back {acknowledged} were acknowledged, {len(kept)} kept"
    )


def waits_for_redis(worker: WorkerProcess, times: int) -> bool:
    return len(worker.said("upstream_waits_for_redis")) >= times


async def more_acknowledged(devices: Devices, count: int) -> bool:
    return await devices.acknowledged() > count


# Legacy HTTP.


@pytest.mark.thorough
@pytest.mark.short_lease
async def test_a_legacy_multicast_killed_after_the_send_and_before_the_answer(stage: Stage, close):
    """One call, four hundred recipients: all of them again, and marked."""
    first = await stage.worker(transport="legacy")
    answer = first.fcm.inject(Fault(SEND, "hold reply"))
    await stage.produce(1, tokens=400)
    await answer.hit.wait()
    await stage.kill(first)
    await stage.worker(transport="legacy")
    await stage.settled()
    found = await close(stage)
    assert found["duplicates"] == found["bound"] == found["marked"] == 400


@pytest.mark.thorough
async def test_legacy_answers_are_cut_anywhere(stage: Stage, close):
    """One answer for all recipients of a call: it is believed as a whole, or not at all."""
    worker = await stage.worker(transport="legacy", max_attempts=20)
    # Retries are a fifth of the first sends before them at most: enough of those.
    await stage.produce(48, tokens=30)
    await stage.settled()
    cuts = {}
    for _ in range(8):
        name = stage.new_name()
        cuts[name] = worker.fcm.inject(
            Fault(
                b'"%b-0:' % name.encode(),
                "cut reply",
                keep=stage.random.randrange(2000),
                before=stage.noting(worker, "cut answer of"),
            )
        )
        await stage.produce(1, names=[name], tokens=30)
    await stage.settled()
    found = await close(stage)
    sends = Counter(row["id"] for row in await stage.emulator.rows())
    for name, cut in cuts.items():
        assert cut.hits == 1
        assert sends[name] == (30 if is_whole(cut.kept) else 60), (len(cut.kept), sends[name])
    assert found["duplicates"] == found["marked"]
    found["measured"] = f"8 answers of 30 recipients cut, {found['duplicates']} of 240 messages sent again"


def is_whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)\r\n", head + b"\r\n")
    return length is not None and len(body) >= int(length[1])


@pytest.mark.thorough
@pytest.mark.short_lease
async def test_the_retries_of_a_partial_failure_outlive_two_workers(stage: Stage, close):
    """One dies while they wait for their time, one with them on the wire; those that went well go once."""
    name = stage.new_name()
    busy = f"{name}-1"  # it and ten to nineteen
    await stage.emulator.script({"wire": "legacy", "prefix": busy, "error": "Unavailable", "times": 11})
    first = await stage.worker(transport="legacy")
    await stage.produce(1, names=[name], tokens=100)
    await until(lambda: stage.redis.client.zcard(stage.keys.delayed(PROJECT)), what="retries wait")
    await stage.kill(first)
    again = Fault(SEND, "hold reply")
    second = await stage.worker(transport="legacy", arm=lambda worker: worker.fcm.inject(again))
    await again.hit.wait()
    await stage.kill(second)
    await stage.worker(transport="legacy")
    await stage.settled()
    found = await close(stage)
    assert (found["sends"], found["duplicates"], found["bound"]) == (100 + 11 + 11, 11, 11)
    assert not await repeated_unmarked(stage)


@pytest.mark.thorough
@pytest.mark.short_lease
async def test_a_group_s_partial_failure_with_kills_between(stage: Stage, close):
    """Whoever takes over asks the group again, and sends to the member that missed it alone: an outcome for each."""
    await stage.emulator.script({"wire": "legacy", "target": "bob", "error": "Unavailable", "times": 2})
    first = await stage.worker(transport="legacy")
    name = stage.new_name()
    await stage.enqueue(errand(name, "group.create", name="trio", tokens=["ann", "bob", "cid"]), ["done"])
    await stage.settled()
    groups = (await stage.emulator.get("groups", project=PROJECT))["groups"]
    answer = first.fcm.inject(Fault(SEND, "hold reply"))
    name = await stage.enqueue(to_group(stage.new_name(), groups["trio"]["key"]))
    stage.expect_message(name, "bob")
    await answer.hit.wait()
    await stage.kill(first)
    alone = Fault(b'"bob"', "hold reply")
    second = await stage.worker(transport="legacy", arm=lambda worker: worker.fcm.inject(alone))
    await alone.hit.wait()
    await stage.kill(second)
    await stage.worker(transport="legacy")
    await stage.settled()
    found = await close(stage)
    assert found["duplicates"] == found["bound"] == 2
    assert not await repeated_unmarked(stage)


# Management jobs.

ONE_CALL = {"batch": b'"fresh-40"', "v1": b"/registrations/fresh-40/topicSubscriptions?"}
"""What stands in the call that the token `fresh-40` is subscribed by: with all the others, or alone."""


@pytest.mark.thorough
@pytest.mark.short_lease
@pytest.mark.parametrize("via", ["batch", "v1"])
async def test_subscriptions_in_mid_call_at_a_kill_and_at_a_cut(stage: Stage, close, via):
    """Every token has one outcome, and the topics have the members that they should have."""
    staying, leaving = ([f"{kind}-{n}" for n in range(50)] for kind in ("staying", "leaving"))
    fresh, gone = [f"fresh-{n}" for n in range(200)], [f"gone-{n}" for n in range(10)]
    await stage.emulator.put("topics", project=PROJECT, topic="old", subscribe=staying + leaving)
    await stage.emulator.put("tokens", project=PROJECT, prefixes={"gone-": "unregistered"})
    call = Fault(ONE_CALL[via], "hold reply")
    first = await stage.worker(arm=lambda worker: worker.fcm.inject(call))
    for operation, topic, tokens, status in (
        ("topic.subscribe", "news", fresh, "done"),
        ("topic.subscribe", "news", gone, "invalid_token"),
        ("topic.unsubscribe", "old", leaving, "done"),
    ):
        name = stage.new_name()
        await stage.enqueue(errand(name, operation, topic=topic, tokens=tokens, via=via), [status])
    await call.hit.wait()
    await stage.kill(first)
    cut = Fault(ONE_CALL[via], "cut reply", keep=stage.random.randrange(250))

    def arm(worker: WorkerProcess) -> None:
        cut.before = stage.noting(worker, "cut answer of")
        worker.fcm.inject(cut)

    await stage.worker(arm=arm)
    await stage.settled()
    await close(stage)
    assert cut.hits == 1
    assert await members(stage, "news") == sorted(fresh)
    assert await members(stage, "old") == sorted(staying)


async def members(stage: Stage, topic: str) -> list[str]:
    found = await stage.emulator.get("topics", project=PROJECT, topic=topic)
    return list(found["subscribers"])


@pytest.mark.short_lease
async def test_imports_of_a_dead_worker_go_in_calls_that_the_service_takes(stage: Stage, close):
    """Three full calls were on the wire: whoever takes them over together must not make one of them."""
    calls = Fault(b"POST /iid/v1:batchImport", "hold reply", times=None)
    first = await stage.worker(arm=lambda worker: worker.fcm.inject(calls))
    for number in range(3):
        tokens = [f"{100 * number + place:064x}" for place in range(100)]
        name = stage.new_name()
        await stage.enqueue(errand(name, "apns.import", application="orchard", apns_tokens=tokens), ["done"])
    await until(lambda: calls.hits == 3, what="three calls are on the wire")
    await stage.kill(first)
    await stage.worker()
    await stage.settled()
    found = await close(stage)
    assert found["duplicates"] == found["bound"] == 300

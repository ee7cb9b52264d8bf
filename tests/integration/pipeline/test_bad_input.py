"""What a producer gets wrong ends as `rejected`, in the dead letters, with a reason to act on; the stream goes on."""

import json

import pytest

T = {"token": "t"}
BIG = {"token": "t", "data": {"x": "y" * 4097}}


def text(value) -> str:
    return json.dumps(value)


# what is wrong -> fields of the entry, code, what the reason must name
BAD = {
    "no message": ({"id": "x"}, "invalid-argument", "message"),
    "an empty message": ({"message": ""}, "invalid-payload", "message"),
    "broken JSON": ({"message": '{"token": "t"'}, "invalid-payload", "message"),
    "no object": ({"message": "[1]"}, "invalid-payload", "message"),
    "no text": ({"message": b"\xff\xfe"}, "invalid-payload", "message"),
    "an unknown name": ({"message": text({**T, "notifcation": {}})}, "invalid-payload", "notifcation"),
    "an unknown name deep inside": (
        {"message": text({**T, "android": {"notification": {"tittle": "x"}}})},
        "invalid-payload",
        "tittle",
    ),
    "data that is no text": ({"message": text({**T, "data": {"n": 1}})}, "invalid-payload", "data"),
    "two targets": ({"message": text({**T, "topic": "news"})}, "invalid-recipient", "token"),
    "no target": ({"message": text({"data": {"a": "b"}})}, "invalid-recipient", "token"),
    "a target beside tokens": ({"message": text(T), "tokens": '["a"]'}, "invalid-recipient", "message.token"),
    "501 tokens": (
        {"message": "{}", "tokens": text([str(n) for n in range(501)])},
        "invalid-argument",
        "tokens",
    ),
    "no tokens": ({"message": "{}", "tokens": "[]"}, "invalid-argument", "tokens"),
    "tokens that are no list": ({"message": "{}", "tokens": '"a"'}, "invalid-recipient", "tokens"),
    "a bad topic": ({"message": text({"topic": "no spaces"})}, "invalid-recipient", "topic"),
    "over 4096 bytes": ({"message": text(BIG)}, "payload-size-limit-exceeded", "4096"),
    "above MAX_JOB_BYTES": (
        {"message": text(T), "spare": "x" * 300_000},
        "payload-size-limit-exceeded",
        "MAX_JOB_BYTES",
    ),
    "a bad ttl": ({"message": text({**T, "android": {"ttl": "soon"}})}, "invalid-options", "ttl"),
    "a reserved data key": (
        {"message": text({**T, "data": {"google.x": "1"}})},
        "invalid-data-payload-key",
        "google.x",
    ),
    "a bad deliver_at": ({"message": text(T), "deliver_at": "tomorrow"}, "invalid-argument", "deliver_at"),
    "milliseconds": ({"message": text(T), "deliver_at": "1731000000000"}, "invalid-argument", "deliver_at"),
    "a bad expires_at": ({"message": text(T), "expires_at": "-1"}, "invalid-argument", "expires_at"),
    "a bad on_unknown": ({"message": text(T), "on_unknown": "maybe"}, "invalid-argument", "on_unknown"),
    "a bad validate_only": (
        {"message": text(T), "validate_only": "yes"},
        "invalid-argument",
        "validate_only",
    ),
    "bad attributes": ({"message": text(T), "attributes": "{"}, "invalid-argument", "attributes"),
    "large attributes": (
        {"message": text(T), "attributes": text("x" * 2000)},
        "invalid-argument",
        "attributes",
    ),
    "an unknown operation": (
        {"operation": "topic.dance", "request": "{}"},
        "unsupported-operation",
        "topic.dance",
    ),
    "a bad request": ({"operation": "topic.subscribe", "request": "{}"}, "invalid-argument", "`topic`"),
    "a bad topic to subscribe to": (
        {"operation": "topic.subscribe", "request": '{"topic":"a b","tokens":["t"]}'},
        "invalid-recipient",
        "request.topic",
    ),
    "too many tokens": (
        {"operation": "topic.unsubscribe", "request": text({"topic": "n", "tokens": ["t"] * 1001})},
        "invalid-argument",
        "length <= 1000",
    ),
}


@pytest.mark.parametrize("what", BAD)
async def test_it_is_refused_with_a_reason_and_the_stream_goes_on(what, serve, desk, emulator):
    fields, code, named = BAD[what]
    entry = (await desk.redis.xadd(desk.key("jobs:normal"), fields)).decode()
    await desk.add(message={"token": "the-next"})
    await serve()
    found = {o["status"]: o for o in await desk.outcomes(2)}
    refused = found["rejected"]
    assert (refused["job"], refused["code"], refused["attempts"]) == (fields.get("id", entry), code, 0)
    assert named in refused["reason"]
    assert found["accepted"]["target"] == {"token": "the-next"}
    assert [a["target"] for a in emulator.arrivals()] == ["the-next"]
    [letter] = await desk.redis.xrange(desk.key("dead"))
    kept = {name.decode(): value for name, value in letter[1].items()}
    for name, value in fields.items():
        assert kept.pop(name) == (value if isinstance(value, bytes) else value.encode())
    assert kept.pop("reason").decode() == refused["reason"]
    assert float(kept.pop("died_at")) == pytest.approx(refused["settled_at"], abs=0.01)
    assert json.loads(kept.pop("_state"))["id"] == entry
    assert kept == {"status": b"rejected", "code": code.encode(), "history": b"[]", "lane": b"normal"}
    assert await desk.backlog() == 0


async def test_a_thousand_bad_ones_do_not_stop_a_good_one(serve, desk):
    pipe = desk.redis.pipeline(transaction=False)
    for n in range(1000):
        pipe.xadd(desk.key("jobs:normal"), {"message": '{"token":', "id": f"bad-{n}"})
    await pipe.execute()
    await desk.add(message={"token": "good"})
    await serve()
    outcomes = await desk.outcomes(1001)
    assert [o["target"] for o in outcomes if o["status"] == "accepted"] == [{"token": "good"}]
    assert len(await desk.dead()) == 1000


async def test_fields_of_a_newer_producer_are_passed_over_and_counted(serve, desk):
    worker = await serve()
    await desk.add(message=T, colour="blue", shape="round")
    [outcome] = await desk.outcomes()
    assert outcome["status"] == "accepted"
    assert await worker.face.metric("unknown_fields_total") == 2

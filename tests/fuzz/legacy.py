"""What the decoders of the legacy wires promise."""

from __future__ import annotations

import random
from collections.abc import Callable

import orjson
from corpus import DATE, MESSAGES, RETRY_AFTER, mutated, wrong
from verdicts import judged

from dispatcher.model import Fate, Job, Refusal
from dispatcher.protocol import legacy, legacy_check, legacy_message, legacy_server, message
from dispatcher.protocol.legacy_server import Result

ANSWERS = [
    legacy_server.multicast_body(
        6254812345678901234,
        [Result("0:1%2", registration_id="new"), Result(error="NotRegistered"), Result("0:2%2")],
    ),
    legacy_server.multicast_body(1, [Result(error="DeprecatedApi")]),
    legacy_server.multicast_body(2**64 - 1, [Result(error="Unavailable"), Result(error="Other")]),
    legacy_server.broadcast_body(1023456789),
    legacy_server.broadcast_body(error="TopicsMessageRateExceeded"),
    legacy_server.group_body(1, ["a", "b"]),
    legacy_server.group_body(0, []),
    b'{"error":"InvalidParameters"}',
]
TEXTS = [
    legacy_server.plain_body(Result("0:1", registration_id="new")),
    legacy_server.plain_body(Result(error="NotRegistered")),
]
CALLS = [
    legacy.encode_request("token", ["t"], b'"time_to_live":60,', b'"data":{"k":"v"},"priority":"high"'),
    legacy.encode_request("token", ["t", "u"], b"", b'"notification":{"title":"a","body_loc_args":["b"]}'),
    legacy.encode_request("topic", ["news"]),
    legacy.encode_request("condition", ["'a' in topics"]),
]
FORM = b"registration_id=t&data.k=v%20w&time_to_live=60&dry_run=1"


def fuzz_answer(rng: random.Random) -> tuple[object, Callable[[], str]]:
    body = mutated(rng.choice(TEXTS), ANSWERS, rng) if rng.random() < 0.2 else wrong(ANSWERS, rng)
    status = rng.choice((200, 200, 200, 204, 400, 401, 404, 503))
    count = rng.choice((1, 1, 2, 3, 4))
    retry_after = rng.choice(RETRY_AFTER)

    def run() -> str:
        responses = legacy.read_answer(count, status, retry_after, DATE, body)
        assert len(responses) == count
        lost = 0
        for response in responses:
            assert all(response.failed_tokens)
            if response.error is not None:
                assert response.error.wire == "legacy"
                lost += response.error.fate is Fate.UNKNOWN
                judged(response.error)
        return f"{lost} of unknown fate"

    return (body, count, status, retry_after), run


def fuzz_call(rng: random.Random) -> tuple[object, Callable[[], str]]:
    plain = rng.random() < 0.3
    body = mutated(FORM, CALLS, rng) if plain else wrong(CALLS, rng)
    content_type = None if plain else "application/json"

    def run() -> str:
        call = legacy_server.read_call(content_type, body)
        if isinstance(call, legacy_server.Unreadable):
            assert call.status in (200, 400)
            return f"unreadable: {call.word}"
        assert 1 <= len(call.values) <= legacy.MOST_RECIPIENTS
        fault = legacy_check.fault_of(call.document)
        return f"refused: {fault.word}" if fault is not None else "read"

    return (content_type, body), run


def fuzz_translation(rng: random.Random) -> tuple[object, Callable[[], str]]:
    raw = wrong(MESSAGES, rng)
    strict = rng.random() < 0.7
    wire: legacy_message.LegacyWire = rng.choice(("legacy", "xmpp"))

    def run() -> str:
        read = message.read_message(raw, strict=strict)
        if isinstance(read, Refusal):
            return "refused before"
        asked = Job(
            *("1-0", "normal", "p", [b"message", raw], 0, "1-0", "normal", read.raw, read.kind),
            [read.value],
            False,
            1e9,
            2e9,
            lifetimes=read.lifetimes,
        )
        members = legacy_message.translate(asked, wire)
        if isinstance(members, Refusal):
            assert "; " in members.reason
            return f"refused: {members.code}"
        options = legacy_message.options(asked, 1e9)
        body = legacy.encode_request(read.kind, [read.value], options, members)
        document = orjson.loads(body)
        assert legacy_check.fault_of({**document, "data": {}}) is None
        return "translated"

    return (raw, strict, wire), run

"""The legacy wire against peers that answer in part, wrongly, late or not at all."""

from __future__ import annotations

import msgspec
import orjson

from dispatcher.model import Action, Fate
from dispatcher.policy.classify import classify
from dispatcher.protocol.legacy_server import Result, broadcast_body, multicast_body
from dispatcher.transport.legacy import LegacyTransport
from dispatcher.transport.session import Session
from dispatcher.transport.wire import Timeouts

SEEN: list[tuple[str, int, int]] = []


def observe(wire: str, status: int, durations: list[float]) -> None:
    SEEN.append((wire, status, len(durations)))


async def send(session: Session, url: str, batch, at_once: int = 10, *, timeout_s: float = 10.0, **more):
    SEEN.clear()
    wire = LegacyTransport(session, url, Timeouts(timeout_s, timeout_s), observe)
    return await wire.send(batch, "AAAAserver:key", now=batch.jobs[0].enqueued_at, at_once=at_once, **more)


def alike(batch):
    """The same message to every token of a batch."""
    for job in batch.jobs:
        job.message = orjson.dumps({"token": job.values[0], "data": {"k": "v"}})
    return batch


def words(responses) -> list[str]:
    return [
        response.message_id if response.error is None else response.error.word or response.error.fate
        for response in responses
    ]


def recipients(exchange) -> list[str]:
    document = orjson.loads(exchange.body)
    return document.get("registration_ids") or [document.get("to") or document["condition"]]


def echo(whole):
    """A server whose message ids name the recipient."""

    def behave(it) -> None:
        it.say(whole(multicast_body(2**63, [Result(f"0:{token}") for token in recipients(it)])))

    return behave


async def test_equal_messages_are_one_call_and_every_recipient_has_its_own_answer(
    session, serve, whole, batch_of
) -> None:
    results = [Result("0:1%a", registration_id="new"), Result(error="NotRegistered"), Result("0:2%a")]
    async with serve(lambda it: it.say(whole(multicast_body(1, results)))) as peer:
        responses = await send(session, peer.url, alike(batch_of(*"abc")))
    assert words(responses) == ["0:1%a", "NotRegistered", "0:2%a"]
    assert responses[0].replacement_token == "new"
    (exchange,) = peer.exchanges
    assert exchange.head.startswith(b"POST /fcm/send HTTP/1.1\r\n")
    assert b"\r\nAuthorization: key=AAAAserver:key\r\n" in exchange.head
    assert orjson.loads(exchange.body) == {"registration_ids": ["a", "b", "c"], "data": {"k": "v"}}
    assert SEEN == [("legacy", 200, 1)]


async def test_different_messages_are_calls_of_their_own_no_more_than_so_many_at_once(
    session, serve, whole, batch_of
) -> None:
    async with serve(echo(whole)) as peer:
        responses = await send(session, peer.url, batch_of(*"abcdefghij"), at_once=3)
    assert words(responses) == [f"0:{token}" for token in "abcdefghij"]
    assert (len(peer.exchanges), peer.connections) == (10, 3)


async def test_topics_go_alone_by_their_own_key(session, serve, whole, batch_of) -> None:
    async with serve(lambda it: it.say(whole(broadcast_body(1023456789)))) as peer:
        responses = await send(session, peer.url, batch_of("news", "sport", kind="topic"), at_once=1)
    assert words(responses) == ["1023456789"] * 2
    assert [recipients(it) for it in peer.exchanges] == [["/topics/news"], ["/topics/sport"]]


async def test_an_answer_that_is_too_short_leaves_the_others_unknown(session, serve, whole, batch_of) -> None:
    async with serve(lambda it: it.say(whole(multicast_body(1, [Result("0:1")])))) as peer:
        responses = await send(session, peer.url, alike(batch_of(*"abc")))
    assert words(responses) == ["0:1", Fate.UNKNOWN, Fate.UNKNOWN]


async def test_an_answer_that_breaks_off_leaves_all_unknown(session, serve, whole, batch_of) -> None:
    def half(it) -> None:
        answer = whole(multicast_body(1, [Result("0:1"), Result("0:2")]))
        it.say(answer[:-10])
        it.hang_up()

    async with serve(half) as peer:
        responses = await send(session, peer.url, alike(batch_of(*"ab")))
    assert words(responses) == [Fate.UNKNOWN] * 2
    assert {response.error.wire for response in responses} == {"legacy"}


async def test_no_answer_and_no_connection_are_told_apart(session, serve, batch_of, free_port) -> None:
    async with serve(lambda it: it.say_nothing()) as peer:
        lost = await send(session, peer.url, alike(batch_of(*"ab")), timeout_s=0.2)
    unsent = await send(session, f"http://127.0.0.1:{free_port}", alike(batch_of(*"ab")))
    assert [response.error.fate for response in lost + unsent] == [Fate.UNKNOWN] * 2 + [Fate.NOT_SENT] * 2
    assert {response.error.wire for response in lost + unsent} == {"legacy"}


async def test_what_one_call_meets_says_nothing_of_the_next(session, serve, whole, batch_of) -> None:
    def moody(it) -> None:
        if recipients(it) == ["b"]:
            it.say(whole(b"<html>", "503 Service Unavailable", Retry_After="9"))
        else:
            echo(whole)(it)

    async with serve(moody) as peer:
        responses = await send(session, peer.url, batch_of(*"abc"), at_once=1)
    assert [response.error is None for response in responses] == [True, False, True]
    assert responses[1].error.retry_after == 9.0
    assert sorted(SEEN) == [("legacy", 200, 2), ("legacy", 503, 1)]


async def test_a_call_that_is_too_large_is_halved_until_it_is_not(session, serve, whole, batch_of) -> None:
    def small(it) -> None:
        if len(recipients(it)) > 3:
            it.say(whole(b"", "413 Content Too Large"))
        else:
            echo(whole)(it)

    async with serve(small) as peer:
        responses = await send(session, peer.url, alike(batch_of(*"abcdefg")))
    assert words(responses) == [f"0:{token}" for token in "abcdefg"]
    assert [len(recipients(it)) for it in peer.exchanges] == [7, 3, 4, 2, 2]


async def test_a_wrong_request_is_not_halved(session, serve, whole, batch_of) -> None:
    async with serve(lambda it: it.say(whole(b"Error=InvalidParameters", "400 Bad Request"))) as peer:
        responses = await send(session, peer.url, alike(batch_of(*"abc")))
    assert {classify(r.error, "token").action for r in responses} == {Action.FIX_REQUEST}
    assert len(peer.exchanges) == 1


async def test_what_may_not_be_sent_any_more_is_not_sent(session, serve, whole, batch_of) -> None:
    asked = []

    def twice() -> bool:
        asked.append(1)
        return len(asked) <= 2

    async with serve(echo(whole)) as peer:
        responses = await send(session, peer.url, batch_of(*"abcd"), at_once=1, may_send=twice)
    assert words(responses) == ["0:a", "0:b", Fate.NOT_SENT, Fate.NOT_SENT]
    assert len(peer.exchanges) == 2


async def test_a_thousand_tokens_are_one_call(session, serve, whole, batch_of) -> None:
    async with serve(echo(whole)) as peer:
        batch = alike(batch_of(*(f"t{number}" for number in range(1000))))
        responses = await send(session, peer.url, batch)
    assert words(responses) == [f"0:t{number}" for number in range(1000)]
    assert len(peer.exchanges) == 1


async def test_a_multicast_job_and_single_ones_share_a_call(session, serve, whole, batch_of) -> None:
    batch = alike(batch_of("a", "b", "c"))
    batch.jobs[1] = msgspec.structs.replace(
        batch.jobs[1], values=["x", "y"], multicast=True, message=b'{"data":{"k":"v"}}'
    )
    batch.size = 4
    async with serve(echo(whole)) as peer:
        responses = await send(session, peer.url, batch)
    assert words(responses) == ["0:a", "0:x", "0:y", "0:c"]
    assert len(peer.exchanges) == 1

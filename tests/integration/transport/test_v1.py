"""The v1 wire against the emulator, and against peers that break off and lie."""

import asyncio

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatcher.model import Fate
from dispatcher.protocol.answer import fcm_error, success_body
from dispatcher.transport.session import Session
from dispatcher.transport.v1 import V1Transport
from dispatcher.transport.wire import Timeouts

SEEN: list[tuple[str, int, int]] = []


def observe(wire: str, status: int, durations: list[float]) -> None:
    SEEN.append((wire, status, len(durations)))


def transport(session: Session, url: str, timeout_s: float = 10.0) -> V1Transport:
    SEEN.clear()
    return V1Transport(session, url, Timeouts(timeout_s, timeout_s), observe)


async def send(session: Session, url: str, batch, at_once: int = 10, **options: float):
    return await transport(session, url, **options).send(batch, "token", now=0.0, at_once=at_once)


def fates(responses) -> list[str]:
    return [response.error.fate if response.error else "accepted" for response in responses]


@pytest.mark.parametrize("at_once", [1, 7, 1000])
async def test_every_message_gets_its_own_answer(session, emulator, batch_of, at_once: int) -> None:
    emulator.put("faults", auth="any")
    emulator.put("tokens", project="demo", prefixes={"gone": "unregistered"})
    values = [f"{'gone' if n % 3 else 'good'}{n}" for n in range(60)]
    responses = await send(session, emulator.url, batch_of(*values), at_once)
    for value, response in zip(values, responses, strict=True):
        assert (response.error.fcm_code if response.error else "") == (
            "UNREGISTERED" if "gone" in value else ""
        )
    assert sorted(SEEN) == [("v1", 200, 20), ("v1", 404, 40)]
    assert session.connections <= at_once
    assert emulator.get("summary")["requests"] == {"v1": 60}


async def test_no_more_than_so_many_are_under_way(session, serve, whole, batch_of) -> None:
    async with serve(lambda it: it.say(whole(success_body("projects/p/messages/1")))) as peer:
        responses = await send(session, peer.url, batch_of(*"abcdefghij"), at_once=3)
    assert fates(responses) == ["accepted"] * 10
    assert peer.connections == 3
    assert peer.exchanges[0].head.startswith(b"POST /v1/projects/demo/messages:send HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("rule", "fate", "status"),
    [
        ({"cut": "before"}, Fate.UNKNOWN, 0),
        ({"cut": "after"}, Fate.UNKNOWN, 0),
        ({"delay": 5.0}, Fate.UNKNOWN, 0),
        ({"truncate": 10}, Fate.UNKNOWN, 200),
        ({"error": "UNREGISTERED", "truncate": 30}, Fate.UNKNOWN, 404),
        ({"error": "UNAVAILABLE", "retry_after": 3, "retry_after_form": "date"}, Fate.ANSWERED, 503),
        ({"status": 404}, Fate.ANSWERED, 404),
        ({"status": 502}, Fate.ANSWERED, 502),
        ({"status": 413}, Fate.ANSWERED, 413),
        ({"status": 200}, Fate.UNKNOWN, 200),
        ({"status": 204, "body": ""}, Fate.UNKNOWN, 204),
    ],
    ids=str,
)
async def test_what_befalls_one_message_is_its_own(
    session, emulator, batch_of, rule, fate, status: int
) -> None:
    emulator.put("faults", auth="any", rules=[{"target": "b", "wire": "v1", **rule}])
    responses = await send(session, emulator.url, batch_of(*"abc"), timeout_s=0.5)
    assert fates(responses) == ["accepted", fate, "accepted"]
    error = responses[1].error
    assert (error.http_status, error.whole_request) == (status, False)
    if "retry_after" in rule:
        assert 1 <= error.retry_after <= 4


async def test_a_server_that_is_not_there_has_not_been_sent_anything(session, batch_of) -> None:
    responses = await send(session, "http://127.0.0.1:9", batch_of("a", "b"))
    assert fates(responses) == [Fate.NOT_SENT] * 2
    assert not any(response.error.whole_request for response in responses)
    assert SEEN == [("v1", 0, 2)]


async def test_the_end_of_a_drain_keeps_what_was_answered(session, serve, whole, batch_of) -> None:
    silent = asyncio.Event()

    async def behave(it) -> None:
        if b'"b"' not in it.body:
            it.say(whole(success_body("projects/p/messages/1")))
        else:
            silent.set()
            await it.say_nothing()

    async with serve(behave) as peer:
        sending = asyncio.create_task(send(session, peer.url, batch_of(*"abc"), at_once=1))
        await silent.wait()
        session.cut_off()
        responses = await sending
    assert fates(responses) == ["accepted", Fate.UNKNOWN, Fate.NOT_SENT]


VALUES = [f"t{n}" for n in range(8)]


def replies() -> st.SearchStrategy[tuple[int, str, bytes, bytes]]:
    """How one request is answered: where the answer is cut, how it is framed, what comes behind it."""
    return st.tuples(
        st.integers(0, 400),
        st.sampled_from(["length", "chunks", "end"]),
        st.sampled_from([b"", b"\r\n", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b"\x00"]),
    )


def test_an_answer_broken_off_anywhere_is_never_anothers(serve, batch_of) -> None:
    """Each token's answer bears its name; odd ones are unregistered. Connections are reused where they can be."""

    async def all_examples() -> None:
        script: list[tuple[int, str, bytes]] = []

        def behave(it) -> None:
            number = next(n for n, value in enumerate(VALUES) if b'"%b"' % value.encode() in it.body)
            cut, framing, behind = script[number]
            status, body = fcm_error("UNREGISTERED") if number % 2 else (200, success_body(f"of-{number}"))
            head = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n" % status
            if framing == "length":
                whole = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
            elif framing == "chunks":
                whole = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            else:
                whole = head + b"\r\n" + body
            it.say(whole[:cut])
            if cut < len(whole) or framing == "end":
                it.hang_up()
            else:
                it.say(behind)

        async with serve(behave) as peer, Session() as session:
            wire = transport(session, peer.url)
            batch = batch_of(*VALUES)
            loop = asyncio.get_running_loop()

            @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
            @given(st.lists(replies(), min_size=8, max_size=8), st.integers(1, 4))
            def check(chosen: list[tuple[int, str, bytes]], at_once: int) -> None:
                nonlocal script
                script = chosen
                responses = asyncio.run_coroutine_threadsafe(
                    wire.send(batch, "t", now=0.0, at_once=at_once), loop
                ).result(10)
                for number, response in enumerate(responses):
                    if response.error is None:
                        assert response.message_id == f"of-{number}"
                    elif response.error.fate is Fate.ANSWERED:
                        assert number % 2, response
                    else:
                        assert response.error.fate is Fate.UNKNOWN

            await asyncio.to_thread(check)

    uvloop.run(all_examples())


async def test_what_has_not_left_when_the_lease_ends_does_not_leave(session, emulator, batch_of) -> None:
    emulator.put("faults", auth="any")
    leave = iter([True] * 3 + [False] * 7)
    wire = transport(session, emulator.url)
    responses = await wire.send(
        batch_of(*"abcdefghij"), "token", now=0.0, at_once=1, may_send=lambda: next(leave)
    )
    assert fates(responses) == ["accepted"] * 3 + ["not_sent"] * 7
    assert emulator.get("summary")["messages"] == 3

"""The batch wire against the emulator, and against peers that break off, shuffle and lie."""

import asyncio

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatcher.model import Fate
from dispatcher.protocol.answer import fcm_error, success_body
from dispatcher.protocol.batch_server import SubAnswer, encode_response
from dispatcher.transport.batch import BatchTransport
from dispatcher.transport.session import Session
from dispatcher.transport.wire import Timeouts

SEEN: list[tuple[str, int, int]] = []


def observe(wire: str, status: int, durations: list[float]) -> None:
    SEEN.append((wire, status, len(durations)))


def transport(session: Session, url: str, timeout_s: float = 10.0) -> BatchTransport:
    SEEN.clear()
    return BatchTransport(session, url, "batch_of_this_test", Timeouts(timeout_s, timeout_s), observe)


async def send(session: Session, url: str, batch, **options: float):
    return await transport(session, url, **options).send(batch, "token", now=0.0, at_once=1)


def fates(responses) -> list[str]:
    return [response.error.fate if response.error else "accepted" for response in responses]


async def test_every_message_gets_its_own_answer(session, emulator, batch_of) -> None:
    emulator.put("faults", auth="any")
    emulator.put("tokens", project="demo", prefixes={"gone": "unregistered", "bad": "invalid"})
    values = [f"{'gone' if n % 5 == 0 else 'bad' if n % 5 == 1 else 'good'}{n}" for n in range(100)]
    responses = await send(session, emulator.url, batch_of(*values))
    for value, response in zip(values, responses, strict=True):
        code = response.error.fcm_code if response.error else ""
        assert code == {"g": "", "b": "INVALID_ARGUMENT"}.get(
            value[0] if "gone" not in value else "", "UNREGISTERED"
        )
    assert len({response.message_id for response in responses if response.message_id}) == 60
    assert SEEN == [("batch", 200, 1)]
    assert emulator.get("counts", by="id", accepted=1) == {
        str(n): 1 for n in range(100) if values[n].startswith("good")
    }


@pytest.mark.parametrize("kind", ["topic", "condition"])
async def test_topics_and_conditions_go_the_same_way(session, emulator, batch_of, kind: str) -> None:
    emulator.put("faults", auth="any")
    value = "news" if kind == "topic" else "'a' in topics"
    (response,) = await send(session, emulator.url, batch_of(value, kind=kind))
    assert response.message_id


async def test_a_token_that_is_refused_is_told_of_each_message(session, emulator, batch_of) -> None:
    responses = await send(session, emulator.url, batch_of("a", "b"))
    assert [(r.error.http_status, r.error.rpc_status) for r in responses] == [(401, "UNAUTHENTICATED")] * 2


async def test_without_a_token_nothing_is_claimed(session, serve, whole, batch_of) -> None:
    async with serve(lambda it: it.say(whole(b"", "401 Unauthorized"))) as peer:
        await transport(session, peer.url).send(batch_of("a"), "", now=0.0, at_once=1)
        await transport(session, peer.url).send(batch_of("a"), "abc", now=0.0, at_once=1)
    assert [b"Authorization: Bearer abc" in it.head for it in peer.exchanges] == [False, True]


@pytest.mark.parametrize("parts", ["shuffle", "drop", "duplicate"])
async def test_parts_in_disorder_never_shift(session, emulator, batch_of, parts: str) -> None:
    emulator.put("faults", auth="any", rules=[{"per": "request", "parts": parts}])
    emulator.put("tokens", project="demo", prefixes={"gone": "unregistered"})
    values = [f"{'gone' if n % 2 else 'good'}{n}" for n in range(40)]
    responses = await send(session, emulator.url, batch_of(*values))
    for value, response in zip(values, responses, strict=True):
        if response.error is None:
            assert value.startswith("good")
        elif response.error.fate is Fate.ANSWERED:
            assert value.startswith("gone")
    if parts == "shuffle":
        assert Fate.UNKNOWN not in fates(responses)
    else:
        assert 0 < fates(responses).count(Fate.UNKNOWN) < 40


@pytest.mark.parametrize(
    ("rule", "fate"),
    [
        ({"cut": "before"}, Fate.UNKNOWN),
        ({"cut": "after"}, Fate.UNKNOWN),
        ({"delay": 5.0}, Fate.UNKNOWN),
        ({"status": 503, "retry_after": 7}, Fate.ANSWERED),
        ({"status": 429}, Fate.ANSWERED),
        ({"status": 302}, Fate.ANSWERED),
        ({"status": 200, "body": "<html>hello</html>", "content_type": "text/html"}, Fate.UNKNOWN),
        ({"status": 204, "body": ""}, Fate.UNKNOWN),
        ({"status": 200, "body": "", "content_type": "multipart/mixed; boundary=x"}, Fate.UNKNOWN),
        ({"status": 200, "body": "", "content_type": "multipart/mixed"}, Fate.UNKNOWN),
    ],
    ids=str,
)
async def test_a_failed_call_is_an_error_of_each_message(session, emulator, batch_of, rule, fate) -> None:
    emulator.put("faults", auth="any", rules=[{"per": "request", "wire": "batch", **rule}])
    responses = await send(session, emulator.url, batch_of(*"abc"), timeout_s=0.5)
    assert fates(responses) == [fate] * 3
    if "retry_after" in rule:
        assert responses[2].error.retry_after == 7
    assert emulator.get("summary")["accepted"] == (3 if rule.get("cut") == "after" or "delay" in rule else 0)


@pytest.mark.parametrize("status", ["400 Bad Request", "413 Too Large"])
async def test_a_batch_that_is_too_much_is_halved_down_to_the_message_at_fault(
    session, serve, whole, batch_of, status: str
) -> None:
    def behave(it) -> None:
        if b"poison" in it.body:
            it.say(whole(b"<html>no</html>", status, "text/html"))
        else:
            count = it.body.count(b"\r\nContent-ID:")
            parts = [
                SubAnswer(str(n), 200, success_body(f"projects/p/messages/{len(it.peer.exchanges)}-{n}"))
                for n in range(1, count + 1)
            ]
            it.say(whole(encode_response(parts, "b"), content_type="multipart/mixed; boundary=b"))

    values = [f"t{n}" for n in range(64)]
    values[37] = "poison"
    async with serve(behave) as peer:
        responses = await send(session, peer.url, batch_of(*values))
    assert [n for n, response in enumerate(responses) if response.error] == [37]
    assert (responses[37].error.http_status, responses[37].error.fate) == (int(status[:3]), Fate.ANSWERED)
    assert len({response.message_id for response in responses}) == 64
    assert len(peer.exchanges) == 1 + 2 * 6


@pytest.mark.parametrize("status", [404, 405, 410])
async def test_a_missing_endpoint_leaves_each_message_unread(
    session, emulator, batch_of, status: int
) -> None:
    emulator.put("faults", auth="any", rules=[{"per": "request", "wire": "batch", "status": status}])
    posted = await transport(session, emulator.url).post(batch_of(*"abc"), "t", now=0.0)
    assert (posted.gone, posted.unread) == (True, [0, 1, 2])
    assert fates(posted.responses) == [Fate.ANSWERED] * 3
    assert all(response.error.whole_request for response in posted.responses)


async def test_an_endpoint_that_goes_missing_between_two_halves_keeps_the_first_ones_answers(
    session, serve, whole, batch_of
) -> None:
    def behave(it) -> None:
        number = len(it.peer.exchanges)
        if number == 1:
            it.say(whole(b"", "413 Too Large"))
        elif number == 2:
            parts = [SubAnswer(str(n), 200, success_body(f"projects/p/messages/{n}")) for n in (1, 2)]
            it.say(whole(encode_response(parts, "b"), content_type="multipart/mixed; boundary=b"))
        else:
            it.say(whole(b"", "404 Not Found"))

    async with serve(behave) as peer:
        posted = await transport(session, peer.url).post(batch_of(*"abcd"), "t", now=0.0)
    assert fates(posted.responses) == ["accepted", "accepted", Fate.ANSWERED, Fate.ANSWERED]
    assert (posted.gone, posted.unread) == (True, [2, 3])


COUNT = 12
ANSWERS = [
    SubAnswer(str(n), 200, success_body(f"projects/p/messages/of-{n}"))
    if n % 3
    else SubAnswer(str(n), *fcm_error("UNREGISTERED"))
    for n in range(1, COUNT + 1)
]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; boundary=batch_b\r\n"


def broken_answers() -> st.SearchStrategy[bytes]:
    """An answer with its parts in any order, some left out or doubled, in one of three framings, cut anywhere."""
    parts = st.lists(st.sampled_from(ANSWERS), max_size=COUNT + 3) | st.permutations(ANSWERS)
    bodies = parts.map(lambda chosen: encode_response(chosen, "batch_b"))
    bodies |= bodies.map(lambda body: body.replace(b"\r\n", b"\n"))

    def framed(body: bytes, framing: str) -> bytes:
        if framing == "length":
            return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
        if framing == "chunks":
            middle = len(body) // 2
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in (body[:middle], body[middle:]) if c)
            return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
        return HEAD + b"\r\n" + body

    answers = st.builds(framed, bodies, st.sampled_from(["length", "chunks", "end"]))
    return answers.flatmap(lambda whole: st.integers(0, len(whole)).map(lambda cut: whole[:cut]))


def test_an_answer_broken_off_anywhere_gives_each_message_its_own_or_an_unknown_fate(serve, batch_of) -> None:
    """Over one worker's session, so that whatever one answer leaves behind meets the next."""

    async def all_examples() -> None:
        said = b""

        def behave(it) -> None:
            it.say(said)
            it.hang_up()

        async with serve(behave) as peer, Session() as session:
            wire = transport(session, peer.url)
            batch = batch_of(*(f"t{n}" for n in range(1, COUNT + 1)))
            loop = asyncio.get_running_loop()

            @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
            @given(broken_answers())
            def check(answer: bytes) -> None:
                nonlocal said
                said = answer
                responses = asyncio.run_coroutine_threadsafe(
                    wire.send(batch, "t", now=0.0, at_once=1), loop
                ).result(10)
                assert len(responses) == COUNT
                for number, response in enumerate(responses, start=1):
                    error = response.error
                    if error is None:
                        assert response.message_id == f"projects/p/messages/of-{number}"
                    elif error.fate is Fate.ANSWERED:
                        assert error.fcm_code == "UNREGISTERED"
                        assert number % 3 == 0
                    else:
                        assert error.fate is Fate.UNKNOWN

            await asyncio.to_thread(check)

    uvloop.run(all_examples())


async def test_the_parts_that_arrived_keep_their_result(session, serve, batch_of) -> None:
    body = encode_response(ANSWERS, "batch_b")
    whole = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    cut = whole.index(b"of-8")

    def behave(it) -> None:
        it.say(whole[:cut])
        it.reset() if len(it.peer.exchanges) % 2 else it.hang_up()

    async with serve(behave) as peer:
        batch = batch_of(*(f"t{n}" for n in range(1, COUNT + 1)))
        await send(session, peer.url, batch)  # a reset may overtake what was written before it
        responses = await send(session, peer.url, batch)
    assert fates(responses)[:7] == ["accepted", "accepted", Fate.ANSWERED] * 2 + ["accepted"]
    assert fates(responses)[7:] == [Fate.UNKNOWN] * 5


async def test_a_server_that_is_not_there_has_not_been_sent_anything(session, batch_of) -> None:
    responses = await send(session, "http://127.0.0.1:9", batch_of("a", "b"))
    assert fates(responses) == [Fate.NOT_SENT] * 2
    assert SEEN == [("batch", 0, 1)]

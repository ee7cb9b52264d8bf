"""The auto wire: batch where there is one, v1 where there is none, and nothing sent twice on the way."""

import pytest

from dispatcher.model import Fate
from dispatcher.protocol.answer import success_body
from dispatcher.protocol.batch_server import SubAnswer, encode_response
from dispatcher.transport.auto import AutoTransport
from dispatcher.transport.batch import BatchTransport
from dispatcher.transport.session import Session
from dispatcher.transport.v1 import V1Transport
from dispatcher.transport.wire import Timeouts


def transport(session: Session, url: str) -> AutoTransport:
    def observe(wire: str, status: int, durations: list[float]) -> None:
        pass

    timeouts = Timeouts(10.0, 10.0)
    return AutoTransport(
        BatchTransport(session, url, "b_", timeouts, observe), V1Transport(session, url, timeouts, observe)
    )


async def send(wire: AutoTransport, batch):
    return await wire.send(batch, "token", now=0.0, at_once=5)


async def test_it_stays_with_batch_where_there_is_one(session, emulator, batch_of) -> None:
    emulator.put("faults", auth="any")
    wire = transport(session, emulator.url)
    for _ in range(2):
        assert all(response.message_id for response in await send(wire, batch_of(*"abc")))
    assert wire.name == "batch"
    assert emulator.get("summary")["requests"] == {"batch": 2}


@pytest.mark.parametrize("status", [404, 405, 410])
async def test_it_sends_at_once_by_v1_what_a_missing_endpoint_refused(
    session, emulator, batch_of, status: int
) -> None:
    emulator.put("faults", auth="any", rules=[{"per": "request", "wire": "batch", "status": status}])
    wire = transport(session, emulator.url)
    assert all(response.message_id for response in await send(wire, batch_of(*"abc")))
    assert wire.batch_gone
    assert wire.name == "v1"
    assert all(response.message_id for response in await send(wire, batch_of(*"de")))
    (rule,) = emulator.get("faults")["rules"]
    assert rule["fired"] == 1
    assert emulator.get("summary")["requests"] == {"v1": 5}


@pytest.mark.parametrize("content_type", ["text/html", "application/json", "multipart/mixed"])
async def test_it_repeats_nothing_that_something_took(session, emulator, batch_of, content_type: str) -> None:
    rule = {"per": "request", "wire": "batch", "status": 200, "body": "ok", "content_type": content_type}
    emulator.put("faults", auth="any", rules=[rule])
    wire = transport(session, emulator.url)
    responses = await send(wire, batch_of(*"abc"))
    assert [response.error.fate for response in responses] == [Fate.UNKNOWN] * 3
    assert wire.name == "v1"
    assert emulator.get("summary")["accepted"] == 0
    assert all(response.message_id for response in await send(wire, batch_of(*"abc")))


@pytest.mark.parametrize("status", [400, 401, 403, 413, 429, 500, 502, 503, 504])
async def test_no_other_refusal_changes_the_wire(session, emulator, batch_of, status: int) -> None:
    emulator.put("faults", auth="any", rules=[{"per": "request", "wire": "batch", "status": status}])
    wire = transport(session, emulator.url)
    responses = await send(wire, batch_of("a"))
    assert (responses[0].error.http_status, wire.name) == (status, "batch")


async def test_only_the_half_that_was_refused_goes_by_v1(session, serve, whole, batch_of) -> None:
    def behave(it) -> None:
        number = len(it.peer.exchanges)
        if number == 1:
            it.say(whole(b"", "413 Too Large"))
        elif number == 2:
            parts = [SubAnswer(str(n), 200, success_body(f"batch-{n}")) for n in (1, 2)]
            it.say(whole(encode_response(parts, "b"), content_type="multipart/mixed; boundary=b"))
        elif b"/batch" in it.head:
            it.say(whole(b"", "404 Not Found"))
        else:
            it.say(whole(success_body("v1-" + ("c" if b'"c"' in it.body else "d"))))

    async with serve(behave) as peer:
        responses = await send(transport(session, peer.url), batch_of(*"abcd"))
    assert [response.message_id for response in responses] == ["batch-1", "batch-2", "v1-c", "v1-d"]
    assert len(peer.exchanges) == 5

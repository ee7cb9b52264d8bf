"""Request slots on the v1 wire: a batch takes at most half, and one that does not fit goes with what is free."""

from __future__ import annotations

import asyncio

import pytest

NAME = b'{"name":"projects/demo-orchard-41/messages/1"}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(NAME),
    NAME,
)


class Patient:
    """A server that answers nobody before `wanted` requests lie before it at once."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._here = 0
        self._enough = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            self._here += 1
            if self._here >= self._wanted:
                self._enough.set()
            await self._enough.wait()
            writer.write(ANSWER)

    async def hang_up_quietly(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self.serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@pytest.mark.parametrize(
    ("lane", "at_once"),
    [
        pytest.param("normal", 27, id="all but the tenth kept for high"),
        pytest.param("high", 30, id="all of them"),
    ],
)
async def test_a_second_batch_does_not_wait_for_the_first_while_most_of_its_slots_are_free(
    serve, desk, lane, at_once
):
    patient = Patient(at_once)
    server = await asyncio.start_server(patient.hang_up_quietly, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await desk.add_many(lane, [{"token": f"t{number}"} for number in range(64)])
    await serve(
        fcm_endpoint=f"http://127.0.0.1:{port}", credentials="none", projects=desk.project, transport="v1",
        http_version="1.1", batch_size=16, max_concurrent_requests=30,
        linger_ms=1000,
        request_timeout_s=60,
    )  # fmt: skip
    outcomes = await desk.outcomes(64, within=60)
    server.close()
    assert {outcome["status"] for outcome in outcomes} == {"accepted"}
    assert {outcome["attempts"] for outcome in outcomes} == {1}


class Reluctant(Patient):
    """A server that answers nobody who asks for `t0` before it has heard `wanted` messages."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            body = await reader.readexactly(length)
            self._here += 1
            if self._here >= self._wanted:
                self._enough.set()
            if b'"t0"' in body:
                await self._enough.wait()
            writer.write(ANSWER)


async def test_while_one_message_of_a_large_batch_is_not_answered_other_batches_are_sent(serve, desk):
    reluctant = Reluctant(120)
    server = await asyncio.start_server(reluctant.hang_up_quietly, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await desk.add_many("normal", [{"token": f"t{number}"} for number in range(100)])
    await desk.add_many("high", [{"token": f"h{number}"} for number in range(20)])
    await serve(
        fcm_endpoint=f"http://127.0.0.1:{port}", credentials="none", projects=desk.project, transport="v1",
        http_version="1.1", batch_size=50, max_concurrent_requests=20,
        request_timeout_s=60,
    )  # fmt: skip
    outcomes = await desk.outcomes(120, within=30)
    server.close()
    assert {(outcome["status"], outcome["attempts"]) for outcome in outcomes} == {("accepted", 1)}

"""The `v1` wire: one `messages:send` request a message, many in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from dispatcher.model import Batch, Fate, SendError, SendResponse
from dispatcher.protocol.message import bodies
from dispatcher.transport.http2 import Http2Transport
from dispatcher.transport.session import Answer, Session
from dispatcher.transport.v1_answer import read
from dispatcher.transport.wire import MaySend, Observe, Timeouts, always

MOST_ANSWER_BYTES = 256 << 10
"""Far above the largest error with all its details."""

MOST_AT_ONCE = 16
"""Requests at once of a batch that was to go over HTTP/2: it was granted streams, and each would be a connection."""


class V1Transport:
    """Messages as single requests to `POST {endpoint}/v1/projects/{project}/messages:send`.

    Args:
        session: the worker's connections.
        endpoint: base URL, as `https://fcm.googleapis.com`.
        timeouts: how long an answer may take.
        observe: told of the requests of each batch.
        http2: the same over HTTP/2, to be tried first; None: over HTTP/1.1 only.
    """

    name = "v1"

    def __init__(
        self,
        session: Session,
        endpoint: str,
        timeouts: Timeouts,
        observe: Observe,
        http2: Http2Transport | None = None,
    ) -> None:
        self._observe = observe
        self._session = session
        self._base = endpoint.rstrip("/")
        self._timeouts = timeouts
        self._http2 = http2

    @property
    def carrier(self) -> str:
        """See `Transport`."""
        return "v1" if self._http2 is None or self._http2.lacks_http2() else "v1-h2"

    def requests(self, batch: Batch) -> int:
        """A request a message."""
        return batch.size

    async def send(
        self, batch: Batch, access_token: str, *, now: float, at_once: int, may_send: MaySend = always
    ) -> list[SendResponse]:
        """Send `batch` (see `Transport.send`)."""
        if self._http2 is None or self._http2.lacks_http2():
            return await self._send_over_http11(batch, access_token, now, at_once, may_send)
        responses = await self._http2.send(batch, access_token, now=now, at_once=at_once, may_send=may_send)
        if self._http2.lacks_http2():
            # It has just turned out: what could not go that way goes the other.
            unsent = [
                number
                for number, response in enumerate(responses)
                if response.error is not None and response.error.fate is Fate.NOT_SENT
            ]
            again = batch.subset(unsent)
            most = min(at_once, MOST_AT_ONCE)
            answers = await self._send_over_http11(again, access_token, now, most, may_send)
            for number, response in zip(unsent, answers, strict=True):
                responses[number] = response
        return responses

    async def _send_over_http11(
        self, batch: Batch, access_token: str, now: float, at_once: int, may_send: MaySend
    ) -> list[SendResponse]:
        """`at_once` runners share the messages between them."""
        contents = bodies(batch.jobs, now)
        responses: list[SendResponse] = [_UNSENT] * len(contents)
        url = f"{self._base}/v1/projects/{batch.project}/messages:send"
        headers = {"Content-Type": "application/json"}
        if access_token:
            headers["Authorization"] = f"Bearer {access_token}"
        timeout_s = self._timeouts.of(batch)
        queue: Iterator[tuple[int, bytes]] = iter(enumerate(contents))
        loop = asyncio.get_running_loop()
        took: dict[int, list[float]] = {}

        async def run() -> None:
            for number, body in queue:
                started = loop.time()
                answer = await self._session.post(
                    url, body, headers, timeout_s, most=MOST_ANSWER_BYTES, may_send=may_send
                )
                status = answer.status if isinstance(answer, Answer) else 0
                took.setdefault(status, []).append(loop.time() - started)
                responses[number] = _read(answer)

        async with asyncio.TaskGroup() as runners:
            for _ in range(min(len(contents), max(1, at_once))):
                runners.create_task(run())
        for status, durations in took.items():
            self._observe(self.name, status, durations)
        return responses


_UNSENT = SendResponse()


def _read(answer: Answer | SendError) -> SendResponse:
    """What the answer to one request, or its absence, says of its message."""
    if not isinstance(answer, Answer):
        # One request is one message here: its failure says nothing of the others.
        answer.whole_request = False
        return SendResponse(error=answer)
    return read(answer)

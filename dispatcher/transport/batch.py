"""The `batch` wire: up to 500 messages in one multipart/mixed request.

Google closed its own `/batch` in 2024 (it answers 404); compatible gateways and emulators serve it on.
"""

from __future__ import annotations

import asyncio

import msgspec

from dispatcher.model import Batch, SendResponse
from dispatcher.policy.classify import must_halve
from dispatcher.protocol import multipart
from dispatcher.protocol.answer import read_error
from dispatcher.protocol.batch import decode_response, encode_request
from dispatcher.protocol.message import bodies
from dispatcher.transport.session import Answer, Session
from dispatcher.transport.wire import MaySend, Observe, Timeouts, alike, always, unknown_fate

GONE = frozenset({404, 405, 410})
"""Outer statuses that speak of the endpoint, never of a token."""

MOST_ANSWER_BYTES = 16 << 20
"""Far above 500 answers of the largest kind."""


class Posted(msgspec.Struct):
    """What became of a batch.

    Attributes:
        responses: one a message.
        gone: the address has shown that it has no batch endpoint: 404, 405, 410, or a 2xx that is no batch answer.
        unread: numbers of the messages that it refused for that reason, surely unsent.
    """

    responses: list[SendResponse]
    gone: bool = False
    unread: list[int] = []

    def then(self, other: Posted) -> Posted:
        """The messages of both, these first."""
        behind = len(self.responses)
        return Posted(
            self.responses + other.responses,
            self.gone or other.gone,
            self.unread + [behind + number for number in other.unread],
        )


class BatchTransport:
    """Messages packed into `POST {endpoint}/batch`.

    Args:
        session: the worker's connections.
        endpoint: base URL, as `https://fcm.googleapis.com`.
        boundary: a multipart boundary of this worker's own: 1 to 60 of `[0-9A-Za-z_-]`, random, so that no
            message can hold it by design.
        timeouts: how long an answer may take.
        observe: told of each request.
    """

    name = carrier = "batch"

    def __init__(
        self, session: Session, endpoint: str, boundary: str, timeouts: Timeouts, observe: Observe
    ) -> None:
        self._observe = observe
        self._session = session
        self._url = endpoint.rstrip("/") + "/batch"
        self._boundary = boundary
        self._content_type = multipart.content_type(boundary)
        self._timeouts = timeouts

    def requests(self, batch: Batch) -> int:  # noqa: ARG002 - always one, whatever the batch
        """One request, however many messages."""
        return 1

    async def send(
        self,
        batch: Batch,
        access_token: str,
        *,
        now: float,
        at_once: int,  # noqa: ARG002 - it is one request
        may_send: MaySend = always,
    ) -> list[SendResponse]:
        """Send `batch` (see `Transport.send`)."""
        return (await self.post(batch, access_token, now=now, may_send=may_send)).responses

    async def post(
        self, batch: Batch, access_token: str, *, now: float, may_send: MaySend = always
    ) -> Posted:
        """As `send`, but an address without a batch endpoint is told apart."""
        headers = {"Content-Type": self._content_type}
        if access_token:
            headers["Authorization"] = f"Bearer {access_token}"
        return await self._post(batch, headers, now, may_send)

    async def _post(
        self,
        batch: Batch,
        headers: dict[str, str],
        now: float,
        may_send: MaySend,
    ) -> Posted:
        count = batch.size
        # Only the whole is kept while it waits for its answer, not its pieces as well.
        request = encode_request(batch.project, bodies(batch.jobs, now), self._boundary)
        loop = asyncio.get_running_loop()
        started = loop.time()
        answer = await self._session.post(
            self._url, request, headers, self._timeouts.of(batch), most=MOST_ANSWER_BYTES, may_send=may_send
        )
        self._observe(self.name, answer.status if isinstance(answer, Answer) else 0, [loop.time() - started])
        if not isinstance(answer, Answer):
            return Posted(alike(count, answer))
        if 200 <= answer.status < 300:
            # Broken off or not: the parts that are whole are believed, the others' messages are of unknown fate.
            found = decode_response(answer.content_type, answer.body, count, date=answer.date)
            if found is not None:
                return Posted(found.responses)
            lost = unknown_fate("the answer is no multipart/mixed body", http_status=answer.status)
            return Posted(alike(count, lost), gone=True)
        # The status alone says that nothing was sent; a broken body only tells less of the reason.
        error = read_error(answer.status, answer.retry_after, answer.date, answer.body, whole_request=True)
        if must_halve(error, count):
            # Nothing was sent, so each half may go on its own, down to the one message the server cannot take.
            del request
            numbers = list(range(count))
            middle = count // 2
            first = await self._post(batch.subset(numbers[:middle]), headers, now, may_send)
            return first.then(await self._post(batch.subset(numbers[middle:]), headers, now, may_send))
        gone = answer.status in GONE and not error.fcm_code
        return Posted(alike(count, error), gone, list(range(count)) if gone else [])

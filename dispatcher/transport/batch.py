"""The `batch` wire: up to 500 messages in one multipart/mixed request.

Google closed its own `/batch` in 2024 (it answers 404); compatible gateways and emulators serve it on.
"""

from __future__ import annotations

import asyncio

from dispatcher.model import Batch, SendResponse
from dispatcher.policy.classify import must_halve
from dispatcher.protocol import multipart
from dispatcher.protocol.answer import read_error
from dispatcher.protocol.batch import decode_response, encode_request
from dispatcher.protocol.message import bodies
from dispatcher.transport.session import Answer, Session
from dispatcher.transport.wire import Observe, Timeouts, alike, unknown_fate

GONE = frozenset({404, 405, 410})
"""Outer statuses that speak of the endpoint, never of a token."""


class EndpointGone(Exception):  # noqa: N818 - a state of the world, not a mistake
    """There is no batch endpoint at this address.

    Attributes:
        responses: what is known of the messages: refused unsent (404, 405, 410), or of unknown fate (a 2xx
            that is no batch answer: something took them).
        sent: whether some of them may have been sent.
    """

    def __init__(self, responses: list[SendResponse], *, sent: bool) -> None:
        super().__init__("no batch endpoint at this address")
        self.responses = responses
        self.sent = sent


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

    name = "batch"

    def __init__(
        self, session: Session, endpoint: str, boundary: str, timeouts: Timeouts, observe: Observe
    ) -> None:
        self._observe = observe
        self._session = session
        self._url = endpoint.rstrip("/") + "/batch"
        self._boundary = boundary
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
    ) -> list[SendResponse]:
        """Send `batch` (see `Transport.send`)."""
        try:
            return await self.post(batch, access_token, now=now)
        except EndpointGone as gone:
            return gone.responses

    async def post(self, batch: Batch, access_token: str, *, now: float) -> list[SendResponse]:
        """As `send`, but an address without a batch endpoint is told apart.

        Raises:
            EndpointGone: 404, 405, 410, or a 2xx that is no multipart answer.
        """
        contents = [body for job in batch.jobs for body in bodies(job, now)]
        return await self._post(batch, contents, access_token)

    async def _post(self, batch: Batch, contents: list[bytes], access_token: str) -> list[SendResponse]:
        headers = {"Content-Type": multipart.content_type(self._boundary)}
        if access_token:
            headers["Authorization"] = f"Bearer {access_token}"
        loop = asyncio.get_running_loop()
        started = loop.time()
        answer = await self._session.post(
            self._url,
            encode_request(batch.project, contents, self._boundary),
            headers,
            self._timeouts.of(batch),
        )
        self._observe(self.name, answer.status if isinstance(answer, Answer) else 0, [loop.time() - started])
        if not isinstance(answer, Answer):
            return alike(len(contents), answer)
        if 200 <= answer.status < 300:
            found = decode_response(answer.content_type, answer.body, len(contents), date=answer.date)
            if found is None:
                lost = unknown_fate("the answer is no multipart/mixed body", http_status=answer.status)
                raise EndpointGone(alike(len(contents), lost), sent=True)
            return found.responses
        error = read_error(answer.status, answer.retry_after, answer.date, answer.body, whole_request=True)
        if answer.status in GONE and not error.fcm_code:
            raise EndpointGone(alike(len(contents), error), sent=False)
        if must_halve(error, len(contents)):
            # Nothing was sent, so each half may go on its own, down to the one message the server cannot take.
            middle = len(contents) // 2
            first = await self._post(batch, contents[:middle], access_token)
            return first + await self._post(batch, contents[middle:], access_token)
        return alike(len(contents), error)

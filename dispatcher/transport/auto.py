"""The `auto` wire: `batch` where the server has it, `v1` once it has said that it does not."""

from __future__ import annotations

from dispatcher.model import Batch, SendResponse
from dispatcher.transport.batch import BatchTransport
from dispatcher.transport.v1 import V1Transport
from dispatcher.transport.wire import MaySend, always

VERDICT_TTL_S = 24 * 3600.0
"""How long all replicas believe that an address has no batch endpoint before one of them asks again."""


class AutoTransport:
    """Starts with `batch` and switches for good, as far as this object is concerned, on the first 404.

    The verdict is shared through Redis by the controller, which reads and sets `batch_gone`.

    Args:
        batch: the wire to try first.
        v1: its successor.

    Attributes:
        batch_gone: this address is known to have no batch endpoint.
        shared: the other replicas know that too (writer: the controller).
    """

    def __init__(self, batch: BatchTransport, v1: V1Transport) -> None:
        self._batch = batch
        self._v1 = v1
        self.batch_gone = False
        self.shared = False

    @property
    def name(self) -> str:
        """The wire that the next send will use."""
        return self._route().name

    @property
    def carrier(self) -> str:
        """As the wire in use says."""
        return self._route().carrier

    def requests(self, batch: Batch) -> int:
        """As the wire in use counts them."""
        return self._route().requests(batch)

    async def send(
        self, batch: Batch, access_token: str, *, now: float, at_once: int, may_send: MaySend = always
    ) -> list[SendResponse]:
        """Send `batch` (see `Transport.send`).

        Messages that a missing batch endpoint refused unread go out by v1 at once.
        If something answered 2xx without being a batch endpoint their fate is unknown; that is for the retry
        policy to settle, and only the next send takes the other route.
        """
        if self.batch_gone:
            return await self._v1.send(batch, access_token, now=now, at_once=at_once, may_send=may_send)
        posted = await self._batch.post(batch, access_token, now=now, may_send=may_send)
        self.batch_gone = self.batch_gone or posted.gone
        responses = posted.responses
        if posted.unread:
            again = batch.subset(posted.unread)
            answers = await self._v1.send(again, access_token, now=now, at_once=at_once, may_send=may_send)
            for number, response in zip(posted.unread, answers, strict=True):
                responses[number] = response
        return responses

    def _route(self) -> BatchTransport | V1Transport:
        return self._v1 if self.batch_gone else self._batch

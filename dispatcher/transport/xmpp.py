"""The `xmpp` wire: messages as stanzas on a few connections that stay open, answered one by one in any order."""

from __future__ import annotations

import asyncio

from dispatcher.model import Batch, Fate, Job, Refusal, SendError, SendResponse
from dispatcher.protocol import legacy_message
from dispatcher.protocol.xmpp import recipient, stanza
from dispatcher.transport.wire import MaySend, Observe, Timeouts, always
from dispatcher.transport.xmpp_call import Call, Letter
from dispatcher.transport.xmpp_link import Link
from dispatcher.transport.xmpp_pool import Arrived, Pool

DOMAIN = "fcm.googleapis.com"
"""Of CCS, whatever its host is called; compatible servers have kept it."""

_UNANSWERED = SendResponse()


class XmppTransport:
    """Messages over a pool of XMPP connections; its access token is the project's server key.

    Args:
        pool: the connections.
        timeouts: how long an answer may take.
        observe: told of the messages of each batch.

    Attributes:
        pool: the connections; alive by itself while any is open or wanted.
    """

    name = carrier = "xmpp"

    def __init__(self, pool: Pool, timeouts: Timeouts, observe: Observe) -> None:
        self.pool = pool
        self._timeouts = timeouts
        self._observe = observe

    def requests(self, batch: Batch) -> int:
        """A stanza a message."""
        return batch.size

    async def send(
        self, batch: Batch, access_token: str, *, now: float, at_once: int, may_send: MaySend = always
    ) -> list[SendResponse]:
        """Send `batch` (see `Transport.send`)."""
        responses: list[SendResponse] = []
        letters: list[Letter | None] = []
        for job in batch.jobs:
            _write(job, now, letters, responses)
        loop = asyncio.get_running_loop()
        call = Call(letters, responses, at_once, self._timeouts.of(batch), loop.time(), may_send)
        await self.pool.carry(call, access_token)
        for status, durations in call.took.items():
            self._observe(self.name, status, durations)
        return call.responses

    # What comes by itself.

    def listen(self, key: str) -> None:
        """Be connected with this key, whether there is something to send or not."""
        self.pool.use(key)

    async def receive(self) -> list[Arrived]:
        """What devices sent and the server reports, since the last time; waits for the first."""
        return await self.pool.arrived()

    def acknowledge(self, arrived: list[Arrived]) -> None:
        """These are kept for good; until then they come again on another connection."""
        by_link: dict[Link, list[Arrived]] = {}
        for one in arrived:
            by_link.setdefault(one.link, []).append(one)
        for link, ones in by_link.items():
            link.acknowledge([one.incoming for one in ones])

    async def aclose(self) -> None:
        """Close the connections."""
        await self.pool.aclose()


def message_id_of(job: Job, position: int) -> str:
    """The name of a message on the wire: the same in every try, so that who receives it twice can tell.

    Unique for a sender id: lanes number their entries by themselves, and a replay is a new run.
    """
    name = f"{job.lane}-{job.origin_id}-{job.place(position)}"
    replay = job.state.replay if job.state is not None else 0
    return f"{name}-r{replay}" if replay else name


def _write(job: Job, now: float, letters: list[Letter | None], responses: list[SendResponse]) -> None:
    """The stanzas of one job."""
    members = legacy_message.translate(job, "xmpp")
    if isinstance(members, Refusal):
        # Decoding refuses it; a job that was read before the project's wire was changed has not met that.
        error = SendError(Fate.ANSWERED, reason=members.reason, wire="xmpp", word="INVALID_JSON")
        letters += [None] * len(job.values)
        responses += [SendResponse(error=error)] * len(job.values)
        return
    options = legacy_message.options(job, now)
    kind, receipt = job.kind, job.delivery_receipt
    broadcast = kind in ("topic", "condition")
    for position, value in enumerate(job.values):
        message_id = message_id_of(job, position)
        target = recipient(kind, value, message_id, receipt=receipt)
        payload = legacy_message.object_of(target, options, members).decode()
        address = f"/topics/{value}" if kind == "topic" else value
        letters.append(Letter(message_id, address, stanza(message_id, payload), broadcast))
        responses.append(_UNANSWERED)

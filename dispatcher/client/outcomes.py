"""Reading what became of messages, plainly: in order, from a place on, without a consumer group.

Example:
    async with OutcomeReader.at(REDIS_URL, PROJECT) as reader:
        for record in await reader.read():
            for outcome in record.outcomes:
                print(outcome.job, outcome.status, outcome.target)

Whoever has to see every outcome, over restarts and with several processes, reads as a group: group.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from dispatcher.client.cancellation import raise_if_cancelled
from dispatcher.client.records import BLOCK_MS, RecordReader
from dispatcher.errors import ProtocolError
from dispatcher.model import Outcome
from dispatcher.protocol.outcome import decode_outcomes


class OutcomeRecord(msgspec.Struct):
    """One entry of the outcome stream: what one settled batch came to.

    Attributes:
        entry_id: its place; reading goes on after it.
        outcomes: one for each message.
    """

    entry_id: str
    outcomes: list[Outcome]


class OutcomeReader(RecordReader):
    """Reads the outcome stream of one project from a place on (see RecordReader)."""

    which = "outcomes"

    async def read(self, count: int = 100, wait_s: float = 0.0) -> list[OutcomeRecord]:
        """The next entries, oldest first; empty if there are none.

        Args:
            count: at most so many entries (one may hold hundreds of outcomes).
            wait_s: how long to wait for the first one.

        Raises:
            QueueError: Redis does not answer.
            ProtocolError: an entry is no list of outcomes; reading again goes on after it.
        """
        return [self._decode(entry_id, fields) for entry_id, fields in await self._entries(count, wait_s)]

    async def __aiter__(self) -> AsyncIterator[Outcome]:
        """Every outcome from the position on, waiting for new ones without end."""
        while True:
            raise_if_cancelled()
            for record in await self.read(wait_s=BLOCK_MS / 1000):
                for outcome in record.outcomes:
                    yield outcome

    def _decode(self, entry_id: str, fields: list[bytes]) -> OutcomeRecord:
        self.position = entry_id
        return decoded(entry_id, fields)


def decoded(entry_id: str, fields: list[bytes]) -> OutcomeRecord:
    """An entry of the outcome stream.

    Raises:
        ProtocolError: it is no list of outcomes.
    """
    for name, value in zip(fields[::2], fields[1::2], strict=True):
        if name == b"outcomes":
            return OutcomeRecord(entry_id, decode_outcomes(value))
    raise ProtocolError(f"outcomes: entry {entry_id} has no field `outcomes`")

"""The management jobs of one project in one worker: packed, waiting for their rate, on the wire.

They share streams, room, leases and settling with messages, and nothing else: a service that is slow, or asks for
patience, must not slow sends.
"""

from __future__ import annotations

import asyncio
from collections import deque

from dispatcher.model import STREAMS, Batch, Stream
from dispatcher.policy.lanes import LaneTurns
from dispatcher.transport.auth import Credential
from dispatcher.transport.wire import Transport

AT_ONCE = 10
"""Most batches on the wire: at a thousand tokens a call the rate is used up with fewer."""

CALLS = 10
"""Most calls of one batch in flight at once where each item is a call of its own; together 100, as official SDKs do."""

WINDOW_S = 1.0
"""Seconds of the rate that may wait in a worker; what is beyond it gives its room back and waits in Redis."""


class Errands:
    """Management jobs of one project (writers: packing puts, managing takes).

    Args:
        transport: the way to the services.
        credential: what signs the calls.
        per_second: rate of the project, items a second, all replicas together.

    Attributes:
        waiting: batches packed and not yet carried out, by stream.
        turns: whose turn it is among streams.
        running: batches on the wire.
        wake: something to do, or a change of state.
    """

    def __init__(self, transport: Transport, credential: Credential, per_second: float) -> None:
        self.transport = transport
        self.credential = credential
        self.per_second = per_second
        self.waiting: dict[Stream, deque[Batch]] = {stream: deque() for stream in STREAMS}
        self.turns = LaneTurns()
        self.running = 0
        self.wake = asyncio.Event()
        # Loop clock; until when the rate is spoken for by what was put off.
        self._booked_until = 0.0

    def enqueue(self, batch: Batch) -> None:
        """Put a packed batch where managing finds it."""
        self.waiting[batch.stream].append(batch)
        self.wake.set()

    def take_back(self) -> list[Batch]:
        """Everything that waits, out of the way."""
        batches = [batch for queue in self.waiting.values() for batch in queue]
        for queue in self.waiting.values():
            queue.clear()
        return batches

    @property
    def has_waiting(self) -> bool:
        """Whether anything waits to be carried out."""
        return any(self.waiting.values())

    def overflow(self, loop_now: float) -> list[tuple[Batch, float]]:
        """Take out what the rate cannot carry out soon, the youngest of the least urgent stream first.

        Returns:
            Each with the seconds after which it may come back: one behind the other, at the rate.
        """
        window = WINDOW_S * self.per_second
        size = sum(batch.size for queue in self.waiting.values() for batch in queue)
        out: list[Batch] = []
        for stream in reversed(STREAMS):
            queue = self.waiting[stream]
            # One batch may stay, however large it is for a small rate.
            while queue and size > max(window, queue[-1].size):
                out.append(queue.pop())
                size -= out[-1].size
        put_off: list[tuple[Batch, float]] = []
        for batch in reversed(out):
            self._booked_until = max(self._booked_until, loop_now + WINDOW_S) + batch.size / self.per_second
            put_off.append((batch, self._booked_until - loop_now))
        return put_off

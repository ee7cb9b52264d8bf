"""What is written down at a fault, for the ledger."""

from __future__ import annotations

from dataclasses import dataclass

from harness.jobs import Message
from harness.processes import WorkerProcess


@dataclass
class Cut:
    """A moment at which a worker, or its connection, was lost, with the messages it had not settled by then.

    Attributes:
        what: for people.
        worker: whose.
        at: Unix seconds, as in the emulator's log.
        clock: the same moment on the monotonic clock.
        unsettled: in its hands.
    """

    what: str
    worker: WorkerProcess
    at: float
    clock: float
    unsettled: frozenset[Message]


@dataclass
class Death:
    """A kill, and who can take over."""

    worker: WorkerProcess
    at: float
    pending: int
    heirs: int

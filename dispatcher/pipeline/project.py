"""What one worker knows of one project: its way to FCM, its waiting batches, its limits, its lease.

Every stage holds the same `Project` objects; each field has one writer, named beside it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from dispatcher.model import STREAMS, Batch, Stream
from dispatcher.pipeline.errands import Errands
from dispatcher.policy.concurrency import Ceiling, Concurrency
from dispatcher.policy.health import Health
from dispatcher.policy.lanes import LaneTurns
from dispatcher.policy.orders import Orders
from dispatcher.policy.packer import Packer
from dispatcher.policy.retries import RetryBudget
from dispatcher.policy.settle import Rules
from dispatcher.protocol.job import DecodeLimits
from dispatcher.protocol.legacy import MOST_RECIPIENTS
from dispatcher.protocol.operation import parcel_limit
from dispatcher.protocol.rules import Checks
from dispatcher.settings import ProjectSettings
from dispatcher.settings.model import WIRES
from dispatcher.transport.auth import Credential
from dispatcher.transport.secret_file import SecretFile
from dispatcher.transport.wire import Transport

LEASE_MARGIN_S = 0.5
"""Nothing is sent this close to the end of the lease: the clock of the check and the bytes on the wire differ."""

BURST_S = 0.5
"""Depth of a project's quota bucket, in seconds of its rate."""


class Lease:
    """This worker's claim on what it has read of a project (writer: the lease keeper).

    Attributes:
        epoch: raised at each re-acquisition; a batch read under an older one must be checked before it is sent.
        valid_until: loop clock; past it nothing is sent. Counted from before the renewal was asked for.
        held_since: loop clock; the start of the time held without a gap.
    """

    __slots__ = ("epoch", "held_since", "valid_until")

    def __init__(self) -> None:
        self.epoch = 0
        self.valid_until = float("-inf")
        self.held_since = float("inf")

    @property
    def ever_held(self) -> bool:
        """Whether it was ever acquired."""
        return self.held_since != float("inf")

    def holds(self, loop_now: float) -> bool:
        """Whether sending is allowed."""
        return loop_now < self.valid_until


class Watcher:
    """Waits until certain entries have left this worker (settled, or taken over by others).

    Args:
        stream: where they stand; ids are unique within a stream only.
        ids: entry ids.
    """

    __slots__ = ("_ids", "_stream", "done")

    def __init__(self, stream: Stream, ids: Iterable[str]) -> None:
        self._stream = stream
        self._ids = set(ids)
        self.done = asyncio.Event()

    def settled(self, stream: Stream, ids: Iterable[str]) -> None:
        """These entries have left."""
        if stream == self._stream:
            self._ids.difference_update(ids)
            if not self._ids:
                self.done.set()


Waiting = tuple[Stream, bool]
"""Where a batch waits to be sent: its stream, and whether it is a broadcast."""


class Project:
    """One project in one worker.

    Args:
        settings: what holds for this project.
        transport: the wire it is sent over.
        credential: its own, which signs requests to the services of today.
        errands: its management jobs.
        signer: what signs its messages, which on a legacy wire is the server key; None: `credential`.
        ceilings: of what all projects have on the wire, by the carrier of its requests; there may be none.
        legacy_key: the server key for legacy services; None: it has none.
    """

    def __init__(
        self,
        settings: ProjectSettings,
        transport: Transport,
        credential: Credential,
        errands: Errands,
        legacy_key: SecretFile | None = None,
        *,
        signer: Credential | None = None,
        ceilings: Mapping[str, Ceiling] = MappingProxyType({}),
    ) -> None:
        self.id = settings.id
        self.settings = settings
        self.transport = transport
        self.credential = credential
        self.signer = signer or credential
        self.errands = errands
        self.legacy_key = legacy_key
        self.limits = DecodeLimits(
            max_job_bytes=settings.max_job_bytes,
            default_expiry_s=settings.default_expiry_s,
            strict=settings.validation == "strict",
            checks=Checks(
                topic_payload_limit=settings.topic_payload_limit,
                narrow_keys=settings.reserved_keys == "narrow",
            ),
            legacy=settings.transport if settings.transport in ("legacy", "xmpp") else None,
        )
        self.rules = Rules(max_attempts=settings.max_attempts)
        # Gathers jobs into batches (writer: packing).
        self.packer = Packer(batch_limit(settings), settings.linger_ms / 1000, parcel_limit)
        # Requests in flight and their limit, by the carrier in use (writers: sending, settling).
        self._concurrency: dict[str, Concurrency] = {
            carrier: Concurrency(settings.concurrency(carrier), ceiling=ceilings.get(carrier))
            for carrier in (*WIRES, "v1-h2")
        }
        self.reading_turns = LaneTurns()
        self.sending_turns = LaneTurns()
        self.budget = RetryBudget()
        self.health = Health()
        self.lease = Lease()
        # Batches packed and not yet sent (writers: packing puts, sending takes). Broadcasts stand in a queue of
        # their own: the eleventh topic may wait half a minute for its turn, the tokens behind it must not.
        self.waiting: dict[Waiting, deque[Batch]] = {
            (stream, broadcast): deque() for stream in STREAMS for broadcast in (False, True)
        }
        # Times in a row that quota was refused to lanes other than high (writer: sending).
        self.refusals = 0
        # Batches of topics and conditions on the wire (writer: sending).
        self.broadcasts = 0
        # Entries in this process, from read to settled: what reconciliation compares with Redis
        # (writers: intake adds, settling removes).
        self.held: dict[Stream, set[str]] = {stream: set() for stream in STREAMS}
        # Who waits for entries to leave (writer: the recoverer).
        self.watchers: list[Watcher] = []
        # Redis clock, 0: no pause. Not read and not sent until it is 0 again (writers: settling on a project-wide
        # answer, sending when it was refused quota, the controller).
        self.paused_until = 0.0
        # Its control hash has been read: before that nothing is, or a worker that starts would send what was
        # cancelled while there was none (writer: the controller).
        self.instructed = False
        # An operator has stopped it, until further notice (writer: the controller).
        self.stopped = False
        # What operators have ordered of its lanes, targets and jobs; None: nothing (writer: the controller).
        self.orders: Orders | None = None
        # They have changed: what waits here must be looked at again (writers: the controller sets, sending clears).
        self.reordered = False
        # It stands still because our credential was refused (writers: settling, the key watcher).
        self.unauthorized = False
        # It is being seen off: not read and not sent any more (writer: the roster).
        self.leaving = False
        # Nothing more of it is admitted to the wire (writer: sending).
        self.dismissed = asyncio.Event()
        # This worker holds the one probe of a half-open project (writer: the controller).
        self.probing = False
        # A read failed: Redis may have handed over what never arrived (writers: intake sets, the reconciler clears).
        self.reconcile = False
        # Something to send, a slot to send it in, or a change of state.
        self.wake = asyncio.Event()
        # A `high` batch has come: whoever waits for quota on behalf of another lane looks again.
        self.urgent = asyncio.Event()

    @property
    def concurrency(self) -> Concurrency:
        """The limit of requests in flight over the wire in use."""
        return self._concurrency[self.transport.carrier]

    @property
    def has_waiting(self) -> bool:
        """Whether any batch waits to be sent."""
        return any(self.waiting.values())

    def enqueue(self, batches: Iterable[Batch]) -> None:
        """Put packed batches where sending finds them."""
        for batch in batches:
            if batch.parcel:
                self.errands.enqueue(batch)
                continue
            self.waiting[batch.stream, batch.broadcast].append(batch)
            if batch.stream == "high":
                self.urgent.set()
        self.wake.set()

    def take_back(self) -> list[Batch]:
        """Everything that is packed or being packed, out of the way of sending: for a pause or a drain."""
        batches = self.packer.flush()
        for queue in self.waiting.values():
            batches.extend(queue)
            queue.clear()
        return batches + self.errands.take_back()

    def awaken(self) -> None:
        """Let everyone who waits for a change of state look around."""
        self.wake.set()
        self.errands.wake.set()

    def may_send(self, loop_now: float) -> bool:
        """Whether the lease holds, and for long enough: past it nothing is sent."""
        return self.lease.holds(loop_now + LEASE_MARGIN_S)

    def may_read(self, loop_now: float) -> bool:
        """Whether entries may be taken out of its streams now."""
        return self.instructed and self.lease.holds(loop_now) and not self.paused and not self.leaving

    @property
    def paused(self) -> bool:
        """Whether the project stands still, by what this worker knows.

        A pause does not end by the clock: after it the project is half-open, and whoever read on would use up the
        one probe with all that it could read, and not know that it was the probe.
        """
        return self.stopped or (self.paused_until > 0.0 and not self.probing)


def batch_limit(settings: ProjectSettings) -> int:
    """Messages in a batch: no more than the burst that the quota allows, or it would wait for it in vain."""
    burst = settings.quota_per_minute * settings.quota_use / 60 * BURST_S
    most = settings.batch_size
    if settings.transport == "legacy" and "batch_size" not in settings.model_fields_set:
        most = MOST_RECIPIENTS  # the default is what the batch wire can take
    return max(1, min(most, int(burst)))

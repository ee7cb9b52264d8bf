"""Packs jobs into batches: as full as possible, as soon as possible.

A batch is one request, so everything in it shares one project, stream and target kind (a topic send may take
half a minute to be answered and must not keep tokens waiting) and one lease epoch (the fence under which it is
settled). A multicast job is never split: its answers are settled together. Jobs are packed in the order in which
they came; a batch is closed when the next job does not fit, and not searched for a smaller one that would: that
would cost more than the few places it saves. Management jobs go by parcels: those that may share a call.
"""

from __future__ import annotations

from collections.abc import Callable

from dispatcher.model import Batch, Job, Stream, TargetKind

BROADCAST: frozenset[TargetKind] = frozenset({"topic", "condition"})
"""Kinds that fan out: answered slowly, and sent with a timeout and a concurrency of their own."""


Key = tuple[Stream, TargetKind, str]
"""What jobs of one batch agree in; the last is `Job.parcel`."""


class Packer:
    """Collects the jobs of one project into batches.

    Args:
        batch_size: see below.
        linger_s: see below.
        parcel_limit: most items of a management operation in a batch; None: as of messages.

    Attributes:
        batch_size: most messages in a batch; may be changed at any time, since the burst that a project's quota
            allows may be smaller than what a request could hold. A multicast job that is larger travels alone.
        linger_s: how long an open batch waits for company.
    """

    def __init__(
        self, batch_size: int, linger_s: float, parcel_limit: Callable[[str], int] | None = None
    ) -> None:
        self.batch_size = batch_size
        self.linger_s = linger_s
        self._parcel_limit = parcel_limit
        self._open: dict[Key, Batch] = {}

    def add(self, jobs: list[Job], now: float, epoch: int) -> list[Batch]:
        """Pack sendable jobs of this packer's project.

        Args:
            jobs: jobs with at least one value each, so none that was refused.
            now: loop clock.
            epoch: the lease epoch under which they were read. An open batch of an older epoch is closed and
                returned: two fences do not fit into one request.

        Returns:
            The batches that this filled, oldest first.
        """
        closed: list[Batch] = []
        limit = self.batch_size
        stream: Stream | None = None
        kind: TargetKind | None = None
        parcel = ""
        batch: Batch | None = None
        size = nbytes = 0
        taken: list[Job] = []
        # One read is one stream and nearly always one kind: the open batch is looked up per run of equals, and
        # its counters live in locals meanwhile.
        for job in jobs:
            weight = len(job.values)
            if job.kind != kind or job.stream != stream or job.parcel != parcel:
                if batch is not None:
                    batch.size, batch.nbytes = size, nbytes
                stream, kind, parcel = job.stream, job.kind, job.parcel
                limit = self.batch_size
                if parcel and self._parcel_limit is not None:
                    limit = self._parcel_limit(job.operation)
                batch = self._open.get((stream, kind, parcel))
                if batch is not None and batch.epoch != epoch:
                    closed.append(self._open.pop((stream, kind, parcel)))
                    batch = None
                if batch is not None:
                    size, nbytes, taken = batch.size, batch.nbytes, batch.jobs
            if batch is not None and size + weight > limit:
                batch.size, batch.nbytes = size, nbytes
                closed.append(batch)
                batch = None
            if batch is None:
                batch = self._start(job, now, epoch)
                size, nbytes, taken = 0, 0, batch.jobs
            taken.append(job)
            size += weight
            nbytes += job.nbytes
            if size >= limit:
                batch.size, batch.nbytes = size, nbytes
                closed.append(self._open.pop((job.stream, job.kind, parcel)))
                batch = None
                # Makes the next job look its batch up again, where there is none.
                kind = None
        if batch is not None:
            batch.size, batch.nbytes = size, nbytes
        return closed

    def due(self, now: float) -> list[Batch]:
        """Close and return the batches that have lingered long enough, oldest first."""
        return self._close(
            [key for key, batch in self._open.items() if batch.packed_at + self.linger_s <= now]
        )

    def flush(self) -> list[Batch]:
        """Close and return every open batch, oldest first."""
        return self._close(list(self._open))

    def next_deadline(self) -> float | None:
        """When `due` will next have something to return, on the loop clock; None: nothing is open."""
        if not self._open:
            return None
        return min(batch.packed_at for batch in self._open.values()) + self.linger_s

    @property
    def waiting(self) -> int:
        """Messages in open batches."""
        return sum(batch.size for batch in self._open.values())

    def _start(self, job: Job, now: float, epoch: int) -> Batch:
        batch = Batch(
            project=job.project,
            stream=job.stream,
            jobs=[],
            size=0,
            nbytes=0,
            epoch=epoch,
            broadcast=job.kind in BROADCAST,
            packed_at=now,
            parcel=job.parcel,
        )
        self._open[job.stream, job.kind, job.parcel] = batch
        return batch

    def _close(self, keys: list[Key]) -> list[Batch]:
        batches = [self._open.pop(key) for key in keys]
        batches.sort(key=lambda batch: batch.packed_at)
        return batches

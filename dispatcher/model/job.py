"""What goes in: jobs as producers asked for them, and the batches they are sent in."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Annotated, Literal

import msgspec

from dispatcher.model.names import ErrorCode, Lane, OnUnknown, Stream, TargetKind

KIND_LETTERS: dict[TargetKind, str] = {
    "token": "t",
    "topic": "o",
    "condition": "c",
    "fid": "f",
    "group": "g",
    "apns_token": "a",
    "subscription": "s",
    "group_name": "n",
    "service": "v",
}
"""What a `Target.key` of this kind begins with."""


class Target(msgspec.Struct, frozen=True, gc=False):
    """Whom a limit applies to."""

    kind: TargetKind
    value: str

    @property
    def key(self) -> str:
        """The member that stands for this target in the shared set of pauses.

        Hashed (80 bits): tokens are secrets of a kind and up to a kilobyte long, topics are not short either. The
        letter before it is the kind's own: a token may read like a topic.
        """
        return KIND_LETTERS[self.kind] + blake2b(self.value.encode(), digest_size=10).hexdigest()


MANAGEMENT = Target("service", "management")
"""What is held when a management service asks for patience."""


class Attempt(msgspec.Struct, array_like=True, gc=False):
    """One send of one message that did not end it, as kept in `history`."""

    at: float
    http_status: int
    code: str


_Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]
_Place = Annotated[int, msgspec.Meta(ge=0, lt=1000)]


class JobState(msgspec.Struct, omit_defaults=True, gc=False):
    """`_state`: what a job carries through the delayed set, so that any worker can go on with it.

    Anybody who can write a job can write this: what is decoded is held to what a worker could have written.

    Attributes:
        id: entry id of the first enqueueing; the origin of deduplication and the default job id.
        lane: the lane it came from.
        at: first enqueue time.
        sends: sends so far (the outcome's `attempts`).
        counted: sends that count against MAX_ATTEMPTS (throttling does not).
        throttled: answers that said "too fast"; the exponent of that backoff.
        held: waits of this message alone (THIRD_PARTY_AUTH_ERROR, a doubtful SENDER_ID_MISMATCH); the exponent of that one.
        places: original places in `tokens` of the recipients that are left; empty: all, in order.
        slot: the time this message was given in its paused target's schedule; 0: none.
        duplicate: an earlier send's fate is unknown: the next one may repeat it.
        replay: which run this is.
        history: the sends so far, newest last, at most 10.
    """

    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,15}-[0-9]{1,20}\Z")]
    lane: Lane
    at: Annotated[float, msgspec.Meta(ge=0, le=1e11)]
    sends: _Count = 0
    counted: _Count = 0
    throttled: _Count = 0
    held: _Count = 0
    places: Annotated[list[_Place], msgspec.Meta(max_length=1000)] = []
    slot: Annotated[float, msgspec.Meta(ge=0, le=1e11)] = 0.0
    duplicate: bool = False
    replay: _Count = 0
    history: Annotated[list[Attempt], msgspec.Meta(max_length=100)] = []


class Refusal(msgspec.Struct, gc=False):
    """Why a job or message cannot be sent as it is; `reason` names the field and the mend."""

    code: ErrorCode
    reason: str


CautionCode = Literal[
    "apns-aps",
    "apns-alert",
    "apns-badge",
    "apns-sound",
    "apns-value",
    "apns-name",
    "apns-header",
    "apns-background",
    "webpush-value",
    "webpush-name",
    "webpush-header",
    "data-collapse-key",
    "topic-payload-size",
]
"""What a caution is about; a label of the metric that counts them."""


class Caution(msgspec.Struct, gc=False):
    """What looks wrong in a message that is sent all the same: where JSON is free, only its author can know."""

    code: CautionCode
    reason: str


class Lifetimes(msgspec.Struct, gc=False):
    """What a message itself says of how long it is worth delivering; -1: nothing.

    Attributes:
        android: `android.ttl`, seconds.
        android_v2: `android_v2.ttl`, seconds.
        web: `webpush.headers.TTL`, seconds.
        apns_until: `apns.headers.apns-expiration`, Unix seconds; 0: deliver once, now.
    """

    android: float = -1.0
    android_v2: float = -1.0
    web: float = -1.0
    apns_until: float = -1.0


class Job(msgspec.Struct, gc=False):
    """What a producer asked for: one stream entry, decoded and checked.

    A job is one message to one target, or (`multicast`) one message to up to 500 tokens: as many messages as
    it has `values`. `gc=False`: jobs hold no cycles, and the collector need not walk 20,000 of them.

    Attributes:
        entry_id: where it stands in `stream` now; what is acknowledged.
        stream: the stream it was read from.
        project: Firebase project id.
        entry: the entry as Redis holds it: name, value, name, value, ...; None: it is nothing but `message`, byte for byte,
            as most are, so one message without options. Whoever changes `message` sets it. Read it by `fields`.
        nbytes: what it weighs in the worker's room: bytes of `fields`, and of its messages as they stand in the request,
            which lies beside them until it is answered.
        id: the producer's id, else the origin's entry id; `job` in outcomes.
        lane: the producer's lane.
        message: the JSON object of the v1 Message without wrapper; without a target if `multicast`.
        kind: kind of all its targets.
        values: the target of each message; empty only in a refused job whose target cannot be read.
        multicast: the targets came from `tokens` and must be spliced into `message`.
        enqueued_at: first enqueue time.
        expires_at: not sent at or after this.
        deliver_at: not sent before this; 0: at once.
        lifetimes: what may have to be shortened in `message`; None: it says nothing of the kind, as most do not.
        state: what earlier runs left; None at first sight.
        delivery_receipt: ask for a report when a device has the message; only XMPP can.
        attributes: the producer's opaque JSON, as bytes; b"": none.
        operation: what a management job asks for; "": it is a message.
        request: the checked request of a management job.
        parcel: what it may share a call with; jobs of one batch agree in it. "": messages, which all may.
        legacy: what `message` says in the keys of the legacy protocol it goes out by, as members of a JSON object; None:
            it goes out as it is.
        unknown_fields: entry fields this version does not know; passed over and counted.
        warnings: what looks wrong in `message`; it is sent all the same.
        refusal: set if the job is malformed; then nothing else but identity is to be relied on.
    """

    entry_id: str
    stream: Stream
    project: str
    entry: list[bytes] | None
    nbytes: int
    id: str
    lane: Lane
    message: bytes
    kind: TargetKind
    values: list[str]
    multicast: bool
    enqueued_at: float
    expires_at: float
    deliver_at: float = 0.0
    lifetimes: Lifetimes | None = None
    state: JobState | None = None
    dedup_key: str = ""
    on_unknown: OnUnknown = "resend"
    campaign: str = ""
    validate_only: bool = False
    delivery_receipt: bool = False
    attributes: bytes = b""
    traceparent: str = ""
    operation: str = ""
    request: msgspec.Struct | None = None
    parcel: str = ""
    legacy: bytes | None = None
    unknown_fields: int = 0
    warnings: tuple[Caution, ...] = ()
    refusal: Refusal | None = None

    @property
    def fields(self) -> list[bytes]:
        """The entry as Redis holds it, for retries and dead letters."""
        return self.entry if self.entry is not None else [b"message", self.message]

    @property
    def origin_id(self) -> str:
        """The entry id of the first enqueueing, whatever stream the job stands in now."""
        return self.state.id if self.state is not None else self.entry_id

    @property
    def sends(self) -> int:
        """How often its messages were sent before."""
        return self.state.sends if self.state is not None else 0

    def place(self, position: int) -> int:
        """The place in the producer's `tokens` of the recipient at `position` of `values`."""
        if self.state is not None and self.state.places:
            return self.state.places[position]
        return position

    def target(self, position: int) -> Target:
        """The target of the message at `position` of `values`."""
        return Target(self.kind, self.values[position])

    def cut(self, positions: list[int]) -> Job:
        """The same job for the recipients at these positions of `values` only."""
        if len(positions) == len(self.values):
            return self
        state = self.state or JobState(self.entry_id, self.lane, self.enqueued_at)
        return msgspec.structs.replace(
            self,
            values=[self.values[p] for p in positions],
            state=msgspec.structs.replace(state, places=[self.place(p) for p in positions]),
        )


class Batch(msgspec.Struct, gc=False):
    """Messages for one request: jobs of one project, stream and kind; none of them split over two batches.

    Messages are numbered through: job by job, and within a job value by value (`messages()`).

    Attributes:
        size: number of messages (not jobs); a refused job without values counts as one.
        nbytes: `Job.nbytes` of all; of a `subset`, which is only sent, the whole's. The worker's room gets both back.
        epoch: the lease epoch under which the jobs were read.
        broadcast: topics and conditions: their own timeout and concurrency.
        packed_at: loop clock, when the first of its jobs was packed.
        parcel: of management jobs, what they agree in; "": messages.
    """

    project: str
    stream: Stream
    jobs: list[Job]
    size: int
    nbytes: int
    epoch: int
    broadcast: bool = False
    packed_at: float = 0.0
    parcel: str = ""

    def messages(self) -> Iterator[tuple[Job, int]]:
        """Each message as (job, position in `job.values`), in the order of the responses."""
        for job in self.jobs:
            for position in range(len(job.values)):
                yield job, position

    def subset(self, numbers: list[int]) -> Batch:
        """The batch of only the messages with these numbers (ascending)."""
        jobs: list[Job] = []
        wanted = iter(numbers)
        number = next(wanted, None)
        first = 0
        for job in self.jobs:
            end = first + len(job.values)
            positions = []
            while number is not None and number < end:
                positions.append(number - first)
                number = next(wanted, None)
            if positions:
                jobs.append(job.cut(positions))
            first = end
        return msgspec.structs.replace(self, jobs=jobs, size=len(numbers))

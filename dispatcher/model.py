"""The values that travel through the service; every floor above speaks in these.

What exists once per message is an unfrozen `msgspec.Struct` (about 100 ns to build where a frozen dataclass
takes 700 ns) and is never mutated after the stage that made it has passed it on. Times are Unix seconds on
the Redis clock unless a name says otherwise; delays are seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from hashlib import blake2b
from typing import Literal

import msgspec

Lane = Literal["high", "normal", "bulk"]
"""Where a producer put the job."""

Stream = Literal["high", "normal", "bulk", "due"]
"""Where a worker read it: a lane, or the stream of retries and scheduled jobs whose time has come."""

LANES: tuple[Lane, ...] = ("high", "normal", "bulk")
STREAMS: tuple[Stream, ...] = ("high", "due", "normal", "bulk")

TargetKind = Literal["token", "topic", "condition", "fid", "group"]
OnUnknown = Literal["resend", "give_up"]


class Status(StrEnum):
    """What became of a message, for good (README: outcome statuses)."""

    ACCEPTED = "accepted"
    DONE = "done"
    INVALID_TOKEN = "invalid_token"  # noqa: S105 - a status, not a secret
    WRONG_PROJECT = "wrong_project"
    REJECTED = "rejected"
    FAILED = "failed"
    EXPIRED = "expired"
    DUPLICATE = "duplicate"
    CANCELLED = "cancelled"


DEAD_STATUSES = frozenset({Status.REJECTED, Status.FAILED})
"""The statuses that leave a dead letter."""


class Action(StrEnum):
    """What an answer asks of us (the names of the error table)."""

    OK = "OK"
    DROP_TOKEN = "DROP_TOKEN"  # noqa: S105 - an action, not a secret
    WRONG_PROJECT = "WRONG_PROJECT"
    FIX_REQUEST = "FIX_REQUEST"
    RETRY = "RETRY"
    PAUSE_TARGET = "PAUSE_TARGET"
    PAUSE_PROJECT = "PAUSE_PROJECT"
    HOLD_MESSAGE = "HOLD_MESSAGE"
    REFRESH_CREDS = "REFRESH_CREDS"
    SWITCH_ROUTE = "SWITCH_ROUTE"
    GIVE_UP = "GIVE_UP"
    EXPIRE = "EXPIRE"


class ErrorCode(StrEnum):
    """The field's names for what went wrong: those of the official SDKs without `messaging/`, then our own."""

    INVALID_ARGUMENT = "invalid-argument"
    INVALID_RECIPIENT = "invalid-recipient"
    INVALID_PAYLOAD = "invalid-payload"
    INVALID_DATA_PAYLOAD_KEY = "invalid-data-payload-key"
    PAYLOAD_SIZE_LIMIT_EXCEEDED = "payload-size-limit-exceeded"
    INVALID_OPTIONS = "invalid-options"
    INVALID_REGISTRATION_TOKEN = "invalid-registration-token"  # noqa: S105 - a code, not a secret
    REGISTRATION_TOKEN_NOT_REGISTERED = "registration-token-not-registered"  # noqa: S105 - a code, not a secret
    INSTALLATION_ID_NOT_REGISTERED = "installation-id-not-registered"
    INVALID_PACKAGE_NAME = "invalid-package-name"
    MESSAGE_RATE_EXCEEDED = "message-rate-exceeded"
    DEVICE_MESSAGE_RATE_EXCEEDED = "device-message-rate-exceeded"
    TOPICS_MESSAGE_RATE_EXCEEDED = "topics-message-rate-exceeded"
    TOPICS_SUBSCRIPTION_RATE_EXCEEDED = "topics-subscription-rate-exceeded"
    TOO_MANY_TOPICS = "too-many-topics"
    THIRD_PARTY_AUTH_ERROR = "third-party-auth-error"
    MISMATCHED_CREDENTIAL = "mismatched-credential"
    AUTHENTICATION_ERROR = "authentication-error"
    SERVER_UNAVAILABLE = "server-unavailable"
    INTERNAL_ERROR = "internal-error"
    UNKNOWN_ERROR = "unknown-error"
    # Ours: no SDK has a word for these.
    UNSUPPORTED_OPERATION = "unsupported-operation"
    POISON = "poison"
    UNKNOWN_FATE = "unknown-fate"


class Target(msgspec.Struct, frozen=True, gc=False):
    """Whom a limit applies to."""

    kind: TargetKind
    value: str

    @property
    def key(self) -> str:
        """The member that stands for this target in the shared set of pauses.

        Hashed (80 bits): tokens are secrets of a kind and up to a kilobyte long, topics are not short either.
        """
        return self.kind[0] + blake2b(self.value.encode(), digest_size=10).hexdigest()


class Attempt(msgspec.Struct, array_like=True, gc=False):
    """One send of one message that did not end it, as kept in `history`."""

    at: float
    http_status: int
    code: str


class JobState(msgspec.Struct, omit_defaults=True, gc=False):
    """`_state`: what a job carries through the delayed set, so that any worker can go on with it.

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

    id: str
    lane: Lane
    at: float
    sends: int = 0
    counted: int = 0
    throttled: int = 0
    held: int = 0
    places: list[int] = []
    slot: float = 0.0
    duplicate: bool = False
    replay: int = 0
    history: list[Attempt] = []


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
        fields: the entry as Redis holds it: name, value, name, value, ...; kept for retries and dead letters.
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
        attributes: the producer's opaque JSON, as bytes; b"": none.
        unknown_fields: entry fields this version does not know; passed over and counted.
        warnings: what looks wrong in `message`; it is sent all the same.
        refusal: set if the job is malformed; then nothing else but identity is to be relied on.
    """

    entry_id: str
    stream: Stream
    project: str
    fields: list[bytes]
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
    attributes: bytes = b""
    traceparent: str = ""
    operation: str = ""
    unknown_fields: int = 0
    warnings: tuple[Caution, ...] = ()
    refusal: Refusal | None = None

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
        size: number of messages (not jobs).
        nbytes: weight in the worker's room.
        epoch: the lease epoch under which the jobs were read.
        broadcast: topics and conditions: their own timeout and concurrency.
        packed_at: loop clock, when the first of its jobs was packed.
    """

    project: str
    stream: Stream
    jobs: list[Job]
    size: int
    nbytes: int
    epoch: int
    broadcast: bool = False
    packed_at: float = 0.0

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


class Fate(StrEnum):
    """What is known of a send that has no success."""

    ANSWERED = "answered"
    """The server said no."""
    NOT_SENT = "not_sent"
    """It never left, or is known not to have been processed: repeating it is safe."""
    UNKNOWN = "unknown"
    """It left and no readable answer came back: repeating it may duplicate it."""


class SendError(msgspec.Struct, gc=False):
    """What an answer said, as facts; what follows from it is for policy/ to decide.

    Attributes:
        fate: whether the server is known to have refused it.
        http_status: of the part or the request; 0: none.
        fcm_code: `errorCode` of the FcmError detail; "": no such detail.
        error_info: `reason` of the ErrorInfo detail.
        rpc_status: `error.status`, as `NOT_FOUND`.
        violations: fields that a BadRequest detail names.
        quota_subjects: subjects and descriptions that a QuotaFailure detail names.
        retry_after: seconds, from the Retry-After header or a RetryInfo detail; None: neither.
        whole_request: the answer was to the whole request, not to one message of it.
        is_json: the body was a JSON error (front ends send HTML).
        reason: text for people; never a credential.
    """

    fate: Fate
    http_status: int = 0
    fcm_code: str = ""
    error_info: str = ""
    rpc_status: str = ""
    violations: list[str] = []
    quota_subjects: list[str] = []
    retry_after: float | None = None
    whole_request: bool = False
    is_json: bool = False
    reason: str = ""


class SendResponse(msgspec.Struct, gc=False):
    """The answer for one message: FCM's name for it, or an error."""

    message_id: str = ""
    error: SendError | None = None


class Disposition(msgspec.Struct, gc=False):
    """What we decided to do with one message after an answer that was no success.

    Attributes:
        action: the rule that applied.
        code: the field's name for the error.
        status: the terminal outcome; None: it waits and is sent again.
        reason: for people.
        delay: seconds until the next send; never below the floor that the answer asked for.
        counted: the send counts against MAX_ATTEMPTS.
        hold_target: the delay is the target's: take a slot in its schedule.
        pause_project: the project stops for `delay`.
        maybe_sent: the message may have been accepted although no answer says so.
        duplicate_of: the job that has the deduplication key.
        parked: the operator's stop that it waits for, `lane:<lane>` or `target:<Target.key>`.
    """

    action: Action
    code: ErrorCode | Literal[""] = ""
    status: Status | None = None
    reason: str = ""
    delay: float = 0.0
    counted: bool = True
    hold_target: bool = False
    pause_project: bool = False
    maybe_sent: bool = False
    duplicate_of: str = ""
    parked: str = ""


class Outcome(msgspec.Struct, omit_defaults=True, gc=False):
    """The terminal record of one message, field by field as producers read it (README: outcomes).

    `index`, `status` and `attempts` are always there; the rest is absent when empty.
    """

    job: str
    index: int
    status: Status
    attempts: int
    enqueued_at: float
    settled_at: float
    target: dict[str, str] = {}
    code: str = ""
    reason: str = ""
    message_id: str = ""
    http_status: int = 0
    possible_duplicate: bool = False
    replacement_token: str = ""
    duplicate_of: str = ""
    replay: int = 0
    result: msgspec.Raw = msgspec.Raw(b"")
    campaign: str = ""
    attributes: msgspec.Raw = msgspec.Raw(b"")

"""The public contract in words: keys, job fields, outcome fields, statuses. The README's tables are printed from here.

What a name means stands here once. Decoders and encoders are beside it (`job.py`, `outcome.py`); tests hold the
names here against the ones they read and write.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from dispatcher.model import DEAD_STATUSES, Status


class Key(NamedTuple):
    """One key, or one family of keys, of a project. `{P}` is the project id in its braces."""

    pattern: str
    type: str
    holds: str


class Field(NamedTuple):
    """One field of a job or of an outcome."""

    name: str
    meaning: str


class Operation(NamedTuple):
    """One management job: what it asks for, and what its outcome brings."""

    name: str
    request: str
    outcome: str


class Meaning(NamedTuple):
    """What a status says, and what its reader does about it."""

    status: Status
    meaning: str
    mend: str


KEYS = (
    Key("fcm:{P}:jobs:high", "stream", "jobs that go first"),
    Key("fcm:{P}:jobs:normal", "stream", "jobs"),
    Key("fcm:{P}:jobs:bulk", "stream", "jobs that can wait for the others"),
    Key(
        "fcm:{P}:jobs:due",
        "stream",
        "retries and scheduled jobs whose time has come; written by the workers only",
    ),
    Key("fcm:{P}:delayed", "zset", "jobs that wait for their time (ms, Redis clock)"),
    Key("fcm:{P}:delayed:jobs", "hash", "their fields"),
    Key("fcm:{P}:outcomes", "stream", "what became of each message"),
    Key("fcm:{P}:dead", "stream", "dead letters"),
    Key("fcm:{P}:upstream", "stream", "messages of devices and delivery receipts, over XMPP only"),
    Key("fcm:{P}:control", "hash", "pauses and cancellations, and what one worker learnt for all"),
    Key("fcm:{P}:pauses", "zset", "paused targets, hashed; score = the next free time (ms)"),
    Key("fcm:{P}:campaign:<id>", "hash", "messages of the campaign by status"),
    Key("fcm:{P}:quota", "string", "internal"),
    Key("fcm:{P}:dedup:<key>", "string", "internal"),
    Key("fcm:{P}:lease:<consumer>", "string", "internal"),
    Key("fcm:{P}:upstream:seen", "zset", "internal"),
)

JOB_FIELDS = (
    Field(
        "message",
        'the HTTP v1 `Message` resource as JSON, also wrapped as `{"message":{...}}`; snake_case or camelCase',
    ),
    Field(
        "tokens",
        "JSON array of 1 to 500 registration tokens: the message goes to each; `message` then has no target",
    ),
    Field("group", "a device group's notification key as the target; `message` then has none"),
    Field("id", "your own id, returned as `job` in outcomes; default: the entry id. Not an idempotency key"),
    Field("deliver_at", "not before this time: Unix seconds, decimals allowed"),
    Field(
        "expires_at",
        "not after this time, likewise; default: `DISPATCHER_DEFAULT_EXPIRY_S` after enqueueing",
    ),
    Field(
        "dedup_key",
        "a later job with the same key within `DISPATCHER_DEDUP_WINDOW_S` ends as `duplicate`, unsent",
    ),
    Field(
        "on_unknown",
        "when a send's fate is unknown (no answer after the request left): `resend` (default) or `give_up`",
    ),
    Field("campaign", "counts into that campaign, and can be cancelled by it"),
    Field("validate_only", "`1`: FCM checks the message and delivers nothing"),
    Field(
        "delivery_receipt",
        "`1`: report in `fcm:{P}:upstream` when a device has the message; over XMPP only, other wires have none",
    ),
    Field("attributes", "any JSON value up to 1 KB (1,024 bytes), returned in outcomes"),
    Field(
        "traceparent",
        "W3C trace context; with `OTEL_EXPORTER_OTLP_ENDPOINT` set, the span of its batch links to it",
    ),
    Field("operation", "a management job in place of a message: see below"),
    Field("request", "what the operation asks for, as JSON"),
)
"""What a producer may write. `_state` beside them is the dispatcher's own."""

OUTCOME_FIELDS = (
    Field("job", "the job's `id`, else its entry id"),
    Field("index", "place of the target in `tokens` (or in the list of a management job); 0 without"),
    Field("status", "see the next table"),
    Field("attempts", "sends of this message"),
    Field("enqueued_at", "Unix seconds, decimals"),
    Field("settled_at", "likewise"),
    Field(
        "target",
        '`{"token": ...}`, or `topic`, `condition`, `fid`, `group`; of management jobs also `apns_token`, `subscription`, `group_name`; none if it could not be read',
    ),
    Field("code", "what was wrong: the official SDKs' error code without `messaging/`, or one of our own"),
    Field("reason", "the same for people"),
    Field("message_id", "FCM's name for the message"),
    Field("http_status", "of the last answer"),
    Field(
        "possible_duplicate",
        "`true`: an earlier send of it may have arrived too; also of every job that a worker had when it died",
    ),
    Field("replacement_token", "the token to keep instead of this one, or that an import gave"),
    Field("duplicate_of", "entry id of the job that had the `dedup_key` first"),
    Field("replay", "which replay of a dead letter this is; absent in the first run"),
    Field("result", "what a management service, or a device group, answered"),
    Field("campaign", "the job's"),
    Field("attributes", "the job's"),
)

UPSTREAM_FIELDS = (
    Field("type", "`upstream`: a device sent it; `receipt`: a device has a message of yours"),
    Field("from", "the device's registration token; of a receipt the server's name"),
    Field("message_id", "unique for `from`; no two entries within the retention have both in common"),
    Field("category", "the app's package name"),
    Field(
        "data",
        "JSON object: what the app sent; of a receipt `message_status`, `original_message_id` (the outcome's `message_id`), `device_registration_id`, `message_sent_timestamp` (Unix milliseconds, as text)",
    ),
)
"""An entry of the upstream stream."""

_ONE_EACH = "one for each token"
_KEY = "`result.notification_key`"

OPERATIONS = (
    Operation(
        "topic.subscribe",
        "`topic`, `tokens` (1 to 1,000), `via`: `auto`, `batch`, `relation`, `v1`",
        _ONE_EACH,
    ),
    Operation("topic.unsubscribe", "`topic`, `tokens` (1 to 1,000), `via`: `auto`, `batch`, `v1`", _ONE_EACH),
    Operation("token.info", "`token`, `details`", "`result`: what the service knows"),
    Operation(
        "apns.import",
        "`application`, `sandbox`, `apns_tokens` (1 to 100)",
        "one for each, `replacement_token` is its registration token",
    ),
    Operation(
        "webpush.import",
        "`subscription`: what `PushSubscription.toJSON()` gave",
        "`replacement_token`: its token",
    ),
    Operation("webpush.refresh", "`token`, `subscription`", "`replacement_token`: the token to keep"),
    Operation("webpush.delete", "`token`", ""),
    Operation("group.create", "`name`, `tokens` (1 to 20)", _KEY),
    Operation("group.add", "`name`, `key`, `tokens` (1 to 20)", _KEY),
    Operation(
        "group.remove", "`name`, `key`, `tokens` (1 to 20)", f"{_KEY}; with the last member the key ends"
    ),
    Operation("group.get", "`name`", _KEY),
)

STATUSES = (
    Meaning(Status.ACCEPTED, "FCM took it (not: a device showed it)", "nothing"),
    Meaning(Status.DONE, "a management job was carried out; see `result`, `replacement_token`", "nothing"),
    Meaning(Status.INVALID_TOKEN, "the token is dead", "delete it"),
    Meaning(Status.WRONG_PROJECT, "the token belongs to another sender", "check, then delete it here"),
    Meaning(Status.REJECTED, "the job or message is wrong; `reason` names the field", "fix the producer"),
    Meaning(Status.FAILED, "given up: out of attempts, fate unknown, or poison", "look, then replay it"),
    Meaning(Status.EXPIRED, "its time ran out before it was, or could be, sent", "nothing"),
    Meaning(Status.DUPLICATE, "a job with its `dedup_key` came first; not sent", "nothing"),
    Meaning(Status.CANCELLED, "not sent, on request", "nothing"),
)


def keys_table() -> str:
    """The keys, in Markdown."""
    return _table(("key", "type", "holds"), ((f"`{k.pattern}`", k.type, k.holds) for k in KEYS))


def job_table() -> str:
    """The fields of a job, in Markdown."""
    return _table(("field", "meaning"), ((f"`{f.name}`", f.meaning) for f in JOB_FIELDS))


def outcome_table() -> str:
    """The fields of an outcome, in Markdown."""
    return _table(("field", "meaning"), ((f"`{f.name}`", f.meaning) for f in OUTCOME_FIELDS))


def upstream_table() -> str:
    """The fields of an upstream entry, in Markdown."""
    return _table(("field", "meaning"), ((f"`{f.name}`", f.meaning) for f in UPSTREAM_FIELDS))


def status_table() -> str:
    """The statuses, in Markdown."""
    rows = (
        (f"`{m.status}`", m.meaning, m.mend, "yes" if m.status in DEAD_STATUSES else "") for m in STATUSES
    )
    return _table(("status", "meaning", "what to do", "dead letter"), rows)


def operations_table() -> str:
    """The management jobs, in Markdown."""
    rows = ((f"`{o.name}`", o.request, o.outcome) for o in OPERATIONS)
    return _table(("`operation`", "`request`", "outcome, if `done`"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ("---",) * len(head), *rows))

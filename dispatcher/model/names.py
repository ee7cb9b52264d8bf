"""The words of the service: lanes, streams, kinds of targets, statuses, actions, error codes."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

Lane = Literal["high", "normal", "bulk"]
"""Where a producer put the job."""

Stream = Literal["high", "normal", "bulk", "due"]
"""Where a worker read it: a lane, or the stream of retries and scheduled jobs whose time has come."""

LANES: tuple[Lane, ...] = ("high", "normal", "bulk")
STREAMS: tuple[Stream, ...] = ("high", "due", "normal", "bulk")

TargetKind = Literal[
    "token", "topic", "condition", "fid", "group", "apns_token", "subscription", "group_name", "service"
]
"""The first five are what a message is sent to; the next three what management jobs are about beside tokens. `service`
is no target of a job: it is the management service of a project, which is held as a whole."""

Wire = Literal["v1", "legacy", "xmpp", "iid"]
"""Whose words an error is told in: a column of the error table. `v1` is also that of `/batch`; `iid` that of all
management services."""

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

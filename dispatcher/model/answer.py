"""What comes out: the answer for a message, what was decided on it, and what became of it for good."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from dispatcher.model.names import Action, ErrorCode, Status, Wire


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
        wire: whose words these are.
        word: the error's name on a wire that has no FcmError (`NotRegistered`, `BAD_REGISTRATION`, `NOT_FOUND`).
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
    wire: Wire = "v1"
    word: str = ""


class SendResponse(msgspec.Struct, gc=False):
    """The answer for one message: FCM's name for it, or an error.

    Attributes:
        message_id: FCM's name for the message; "": the wire gives none.
        error: what went wrong; None: accepted, or carried out.
        replacement_token: the token to keep instead of the one that was used (legacy canonical id, imports).
        result: what a management call or a device group answered, as JSON; b"": nothing to tell.
        failed_tokens: members of a device group that did not get it although others did.
    """

    message_id: str = ""
    error: SendError | None = None
    replacement_token: str = ""
    result: bytes = b""
    failed_tokens: tuple[str, ...] = ()


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
        hold_service: the delay is that of the project's management service: all of that waits, and no message.
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
    hold_service: bool = False
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

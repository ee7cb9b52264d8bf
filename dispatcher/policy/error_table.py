"""The error table: what each answer means, as data.

One `Row` is one row of the error table that all wires share: what follows (`Verdict`) and, wire by wire, the
answers that mean it (`When`). `v1` is the column of HTTP v1, single sends and parts of a `/batch` alike, and of the
outer answer of a `/batch`; `legacy`, `xmpp` and `iid` (all management services) are those of the other wires.
`classify` reads this table; nobody else has to know an FCM code by name.

How a column is read: step by step (`Step`, in order), and within a step row by row, first match wins. So special
rows stand above general ones. An answer whose name is listed in a step but matches none of its conditions goes on
to the next step; `ANY` catches the names that a step does not list.

"Bare" means without FcmError. The official SDKs take a bare 404 for a dead token, a bare 401 for a bad APNs key
and a bare 403 for a foreign token. Here those are faults of the project: a wrong setting must not wipe a token table.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

import msgspec

from dispatcher.model import Action, ErrorCode, Fate, TargetKind, Wire
from dispatcher.policy.backoff import HELD_BASE, THROTTLED_BASE, UNAVAILABLE_BASE

ANY = "*"
"""Any name that the step does not list."""

UNKNOWN_RETRIES = 3
"""Retries after an error nobody knows; then it is given up, since it may well be permanent."""

Scope = Literal["project", "device", "topic"]
"""Whose quota a QuotaFailure names."""


class Step(IntEnum):
    """What is looked at, in this order: the nearer to the cause, the earlier."""

    FATE = 0
    """Whether there was an answer at all: `SendError.fate`."""
    FCM_CODE = 1
    """`errorCode` of the FcmError detail: the code, where there is one."""
    ERROR_INFO = 2
    """`reason` of the ErrorInfo detail, from Google's front doors (quota, keys, API switches)."""
    RPC_STATUS = 3
    """`error.status`."""
    WORD = 4
    """`SendError.word`: the error's name on the wires that know no FcmError."""
    HTTP_STATUS = 5
    """All that an HTML page says."""


class Verdict(msgspec.Struct, frozen=True):
    """What follows from an answer.

    Attributes:
        action: the rule.
        code: the field's name for the error.
        base: first backoff step in seconds where the message waits; 0: it does not.
        retries: most retries for this error; 0: as many as any other.
    """

    action: Action
    code: ErrorCode
    base: float = 0.0
    retries: int = 0


class When(msgspec.Struct, frozen=True):
    """An answer: the names that a step may find, and conditions that must all hold.

    Attributes:
        step: what is looked at.
        names: what it is; one of these.
        http: HTTP status is one of these; empty: any.
        kinds: the target is of one of these; empty: any.
        whole: True: only the answer to a whole batch; False: only one to a single message.
        json: whether the body was a JSON error.
        info: `reason` of an ErrorInfo beside it.
        scope: a QuotaFailure names the quota of this.
        field: a BadRequest names a field that matches this expression in full.
        blames: that field in words.
        twin: the same payload was accepted for another token in the same answer, and no other field is blamed.
    """

    step: Step
    names: tuple[str, ...]
    http: frozenset[int] = frozenset()
    kinds: frozenset[TargetKind] = frozenset()
    whole: bool | None = None
    json: bool | None = None
    info: str = ""
    scope: Scope | None = None
    field: str = ""
    blames: str = ""
    twin: bool = False


class Row(msgspec.Struct, frozen=True):
    """One row: its name, what follows, and the answers it follows from, wire by wire."""

    name: str
    verdict: Verdict
    v1: tuple[When, ...] = ()
    legacy: tuple[When, ...] = ()
    xmpp: tuple[When, ...] = ()
    iid: tuple[When, ...] = ()

    def column(self, wire: Wire) -> tuple[When, ...]:
        """The answers of this wire."""
        found: tuple[When, ...] = getattr(self, wire)
        return found


def _fcm(*names: str, **conditions: object) -> When:
    return msgspec.structs.replace(When(Step.FCM_CODE, names), **conditions)


def _info(*names: str) -> When:
    return When(Step.ERROR_INFO, names)


def _rpc(*names: str, **conditions: object) -> When:
    return msgspec.structs.replace(When(Step.RPC_STATUS, names), **conditions)


def _http(*statuses: int, **conditions: object) -> When:
    return msgspec.structs.replace(When(Step.HTTP_STATUS, tuple(map(str, statuses))), **conditions)


def _word(*names: str, **conditions: object) -> When:
    return msgspec.structs.replace(When(Step.WORD, names), **conditions)


def _throttled(**conditions: object) -> tuple[When, ...]:
    """A 429 in all its clothes; an FcmError that says nothing does not make it less of one."""
    return (
        _fcm("QUOTA_EXCEEDED", **conditions),
        _fcm("UNSPECIFIED_ERROR", ANY, http=frozenset({429}), **conditions),
        _rpc("RESOURCE_EXHAUSTED", **conditions),
        _http(429, **conditions),
    )


def _bad_argument(blames: str, field: str) -> tuple[When, ...]:
    """A 400 that blames a field, with FcmError or (when the schema already refused it) without."""
    return (
        _fcm("INVALID_ARGUMENT", field=field, blames=blames),
        _rpc("INVALID_ARGUMENT", field=field, blames=blames),
    )


_TOKEN_FIELD = {"field": r"message\.token", "blames": "`message.token`"}
_REGISTRATIONS: frozenset[TargetKind] = frozenset({"token", "group"})  # v1 carries a group's key as a token

_NOT_SENT = (When(Step.FATE, (Fate.NOT_SENT,), http=frozenset({0})),)
_UNLISTED = (_word(ANY), When(Step.HTTP_STATUS, (ANY,)))
_SPOKEN = frozenset({200})  # legacy HTTP: only what stands in an answer to the send itself is about a token
_UNKNOWN_FATE = (When(Step.FATE, (Fate.UNKNOWN,)),)

TABLE: tuple[Row, ...] = (
    # No answer.
    Row(
        "not sent",
        # Connect, TLS or DNS failed before the request left, or HTTP/2 says that it was not processed.
        Verdict(Action.RETRY, ErrorCode.SERVER_UNAVAILABLE, UNAVAILABLE_BASE),
        v1=_NOT_SENT,
        legacy=_NOT_SENT,
        xmpp=_NOT_SENT,
        iid=_NOT_SENT,
    ),
    Row(
        "fate unknown",
        # Timeout or reset after it left, or an answer that cannot be read.
        Verdict(Action.RETRY, ErrorCode.UNKNOWN_FATE, UNAVAILABLE_BASE),
        v1=_UNKNOWN_FATE,
        legacy=_UNKNOWN_FATE,
        xmpp=_UNKNOWN_FATE,
        iid=_UNKNOWN_FATE,
    ),
    # The target is gone. Never from the answer to a whole batch: that one cannot be about a token.
    Row(
        "token invalid",
        Verdict(Action.DROP_TOKEN, ErrorCode.INVALID_REGISTRATION_TOKEN),
        v1=(
            _fcm("INVALID_ARGUMENT", **_TOKEN_FIELD, kinds=_REGISTRATIONS, whole=False),
            _fcm("INVALID_ARGUMENT", twin=True, kinds=_REGISTRATIONS, whole=False),
            _rpc("INVALID_ARGUMENT", **_TOKEN_FIELD, kinds=_REGISTRATIONS, whole=False),
        ),
        legacy=(_word("InvalidRegistration", http=_SPOKEN),),
        xmpp=(_word("BAD_REGISTRATION"),),
        iid=(_word("INVALID_ARGUMENT", kinds=frozenset({"token"}), whole=False),),
    ),
    Row(
        "installation gone",
        Verdict(Action.DROP_TOKEN, ErrorCode.INSTALLATION_ID_NOT_REGISTERED),
        v1=(_fcm("UNREGISTERED", kinds=frozenset({"fid"}), whole=False),),
    ),
    Row(
        "token gone",
        Verdict(Action.DROP_TOKEN, ErrorCode.REGISTRATION_TOKEN_NOT_REGISTERED),
        v1=(_fcm("UNREGISTERED", whole=False),),
        legacy=(_word("NotRegistered", http=_SPOKEN),),
        xmpp=(_word("DEVICE_UNREGISTERED"),),
        iid=(_word("NOT_FOUND", kinds=frozenset({"token"}), whole=False),),
    ),
    # The message is wrong. Which rule it breaks is told by the field; mostly we find it ourselves before sending.
    Row(
        "recipient",
        Verdict(Action.FIX_REQUEST, ErrorCode.INVALID_RECIPIENT),
        v1=_bad_argument("the target", r"message\.(target|topic|condition|fid|to)\b.*"),
        legacy=(_word("MissingRegistration"),),
        iid=(_word("NO_VALID_MEMBERS"),),
    ),
    Row(
        "data key",
        Verdict(Action.FIX_REQUEST, ErrorCode.INVALID_DATA_PAYLOAD_KEY),
        v1=_bad_argument("a key of `data`", r"message\.(android\.|webpush\.)?data(\[\d+\]|\..+)?\.key"),
        legacy=(_word("InvalidDataKey"),),
    ),
    Row(
        "package name",
        Verdict(Action.FIX_REQUEST, ErrorCode.INVALID_PACKAGE_NAME),
        v1=_bad_argument("the package name", r"message\.android\.restricted_?package_?name"),
        legacy=(_word("InvalidPackageName"),),
    ),
    Row(
        "options",
        Verdict(Action.FIX_REQUEST, ErrorCode.INVALID_OPTIONS),
        v1=_bad_argument(
            "ttl, priority, headers or options",
            r"message\.(android\.(ttl|priority|collapse_?key|direct_?boot_?ok|bandwidth.*)"
            r"|(apns|webpush)\.headers.*|((android|apns|webpush)\.)?fcm_?options.*)",
        ),
        legacy=(_word("InvalidTtl"),),
        xmpp=(_word("INVALID_TTL"),),
    ),
    Row(
        "payload",
        Verdict(Action.FIX_REQUEST, ErrorCode.INVALID_PAYLOAD),
        v1=_bad_argument(
            "data, notification or `apns`",
            r"message\.((android|webpush)\.)?(data|notification)\b.*|message\.apns\..*",
        ),
    ),
    Row(
        "too large",
        # A whole batch that is too large is halved first (`must_halve`).
        Verdict(Action.FIX_REQUEST, ErrorCode.PAYLOAD_SIZE_LIMIT_EXCEEDED),
        v1=(_http(413),),
        legacy=(_word("MessageTooBig"), _http(413)),
        iid=(_http(413),),
    ),
    Row(
        "argument",
        Verdict(Action.FIX_REQUEST, ErrorCode.INVALID_ARGUMENT),
        v1=(_fcm("INVALID_ARGUMENT"), _rpc("INVALID_ARGUMENT"), _http(400)),
        legacy=(_word("InvalidParameters"), _http(400)),
        xmpp=(_word("INVALID_JSON", "JSON_TYPE_ERROR"), _http(400)),
        # Ours, where the service has only prose: an APNs token it will not have, a group that is there or is not.
        iid=(_word("IMPORT_REFUSED", "GROUP_EXISTS", "GROUP_NOT_FOUND"), _http(400)),
    ),
    Row(
        "too many topics",
        Verdict(Action.FIX_REQUEST, ErrorCode.TOO_MANY_TOPICS),
        iid=(_word("TOO_MANY_TOPICS"),),
    ),
    Row(
        "not configured",
        Verdict(Action.FIX_REQUEST, ErrorCode.UNSUPPORTED_OPERATION),
        iid=(_word("NOT_CONFIGURED"),),
    ),
    # Too fast. FCM has one code for three quotas; whose it was is told by QuotaFailure, if at all.
    Row(
        "project too fast",
        Verdict(Action.PAUSE_PROJECT, ErrorCode.MESSAGE_RATE_EXCEEDED, THROTTLED_BASE),
        v1=(
            *_throttled(whole=True),
            _fcm("QUOTA_EXCEEDED", info="RATE_LIMIT_EXCEEDED"),
            _info("RATE_LIMIT_EXCEEDED"),
            *_throttled(scope="project"),
        ),
        legacy=(_http(429),),
        xmpp=(_word("QUOTA_EXCEEDED"),),
    ),
    Row(
        "subscriptions too fast",
        # Management is held as a whole, by itself: sends go on.
        Verdict(Action.PAUSE_PROJECT, ErrorCode.TOPICS_SUBSCRIPTION_RATE_EXCEEDED, THROTTLED_BASE),
        iid=(_word("RESOURCE_EXHAUSTED"), _http(429)),
    ),
    Row(
        "device too fast",
        Verdict(Action.PAUSE_TARGET, ErrorCode.DEVICE_MESSAGE_RATE_EXCEEDED, THROTTLED_BASE),
        v1=_throttled(scope="device"),
        legacy=(_word("DeviceMessageRateExceeded"),),
        xmpp=(_word("DEVICE_MESSAGE_RATE_EXCEEDED"),),
    ),
    Row(
        "topic too fast",
        Verdict(Action.PAUSE_TARGET, ErrorCode.TOPICS_MESSAGE_RATE_EXCEEDED, THROTTLED_BASE),
        v1=_throttled(scope="topic"),
        legacy=(_word("TopicsMessageRateExceeded"),),
        xmpp=(_word("TOPICS_MESSAGE_RATE_EXCEEDED"),),
    ),
    Row(
        "too fast",
        # Which quota is unknown. `health` halves the project's rate when many targets say so.
        Verdict(Action.PAUSE_TARGET, ErrorCode.MESSAGE_RATE_EXCEEDED, THROTTLED_BASE),
        v1=_throttled(),
    ),
    # Keys. The 401 of APNs and web push differs from our own by its FcmError only.
    Row(
        "platform key",
        Verdict(Action.HOLD_MESSAGE, ErrorCode.THIRD_PARTY_AUTH_ERROR, HELD_BASE),
        v1=(_fcm("THIRD_PARTY_AUTH_ERROR", "APNS_AUTH_ERROR"),),
        legacy=(_word("InvalidApnsCredential"),),
        xmpp=(_word("INVALID_APNS_CREDENTIAL"),),
    ),
    Row(
        "foreign token",
        Verdict(Action.WRONG_PROJECT, ErrorCode.MISMATCHED_CREDENTIAL),
        v1=(_fcm("SENDER_ID_MISMATCH", whole=False),),
        legacy=(_word("MismatchSenderId", http=_SPOKEN),),
        xmpp=(_word("SENDER_ID_MISMATCH"),),
        iid=(_word("PERMISSION_DENIED", whole=False),),
    ),
    Row(
        "front end forbids",
        # What an HTML page says about us: the SDKs' word for it.
        Verdict(Action.PAUSE_PROJECT, ErrorCode.AUTHENTICATION_ERROR, THROTTLED_BASE),
        v1=(_http(403, json=False),),
    ),
    Row(
        "project forbidden",
        Verdict(Action.PAUSE_PROJECT, ErrorCode.MISMATCHED_CREDENTIAL, THROTTLED_BASE),
        v1=(
            _info("SERVICE_DISABLED", "IAM_PERMISSION_DENIED"),
            _rpc("PERMISSION_DENIED"),
            _http(403),
        ),
        legacy=(_http(403),),
        iid=(_http(403),),
    ),
    Row(
        "not authenticated",
        Verdict(Action.REFRESH_CREDS, ErrorCode.AUTHENTICATION_ERROR, THROTTLED_BASE),
        v1=(
            _info("ACCESS_TOKEN_EXPIRED", "CREDENTIALS_MISSING"),
            _rpc("UNAUTHENTICATED"),
            _http(401),
        ),
        legacy=(_http(401),),
        xmpp=(_word("AUTHENTICATION_FAILED"), _http(401)),
        iid=(_http(401),),
    ),
    # The server's own trouble.
    Row(
        "unavailable",
        Verdict(Action.RETRY, ErrorCode.SERVER_UNAVAILABLE, UNAVAILABLE_BASE),
        v1=(_fcm("UNAVAILABLE"), _rpc("UNAVAILABLE", "DEADLINE_EXCEEDED"), _http(502, 503, 504)),
        legacy=(_word("Unavailable"), _http(502, 503, 504)),
        xmpp=(_word("SERVICE_UNAVAILABLE", "CONNECTION_DRAINING", "BAD_ACK"), _http(503)),
        iid=(_word("UNAVAILABLE", "DEADLINE_EXCEEDED"), _http(502, 503, 504)),
    ),
    Row(
        "internal",
        Verdict(Action.RETRY, ErrorCode.INTERNAL_ERROR, UNAVAILABLE_BASE),
        v1=(_fcm("INTERNAL"), _rpc("INTERNAL"), _http(500)),
        legacy=(_word("InternalServerError"), _http(500)),
        xmpp=(_word("INTERNAL_SERVER_ERROR"), _http(500)),
        iid=(_word("INTERNAL"), _http(500)),
    ),
    Row(
        "route gone",
        # The endpoint is gone, or the project's name in its path is wrong.
        Verdict(Action.SWITCH_ROUTE, ErrorCode.UNKNOWN_ERROR, THROTTLED_BASE),
        v1=(_rpc("NOT_FOUND"), _http(404, 405, 410)),
        legacy=(_word("DeprecatedApi"), _http(404, 405, 410)),
        iid=(_http(404, 405, 410),),
    ),
    Row(
        "unknown",
        Verdict(Action.RETRY, ErrorCode.UNKNOWN_ERROR, UNAVAILABLE_BASE, UNKNOWN_RETRIES),
        v1=(_fcm("UNSPECIFIED_ERROR", ANY), When(Step.HTTP_STATUS, (ANY,))),
        legacy=_UNLISTED,
        xmpp=_UNLISTED,
        iid=_UNLISTED,
    ),
)

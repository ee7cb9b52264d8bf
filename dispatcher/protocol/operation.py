"""Management jobs: what each operation asks for, what its outcomes are about, and the fields of such a job.

Producers and workers check a request by the same function, so that a mistake is told before the job is enqueued.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import orjson

from dispatcher.model import ErrorCode, Job, Refusal, TargetKind
from dispatcher.protocol.condition import TOPIC_NAME
from dispatcher.protocol.rules import refuse

Text = Annotated[str, msgspec.Meta(min_length=1)]
_Tokens = Annotated[list[Text], msgspec.Meta(min_length=1, max_length=1000)]
_Members = Annotated[list[Text], msgspec.Meta(min_length=1, max_length=20)]
_TOPICS = "/topics/"


class TopicChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`topic.subscribe`, `topic.unsubscribe`: one outcome for each token."""

    topic: Text
    tokens: _Tokens
    via: Literal["auto", "batch", "relation", "v1"] = "auto"


class TokenInfo(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`token.info`: `result` is the service's answer."""

    token: Text
    details: bool = False


class ApnsImport(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`apns.import`: one outcome for each APNs token, with its registration token as `replacement_token`."""

    application: Text
    apns_tokens: Annotated[list[Text], msgspec.Meta(min_length=1, max_length=100)]
    sandbox: bool = False


class WebPushImport(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`webpush.import`: `replacement_token` is the subscription's registration token."""

    subscription: dict[str, Any]


class WebPushRefresh(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`webpush.refresh`: `replacement_token` is the token to keep, perhaps the same."""

    token: Text
    subscription: dict[str, Any]


class WebPushDelete(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`webpush.delete`: the token is no more."""

    token: Text


class GroupCreate(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`group.create`: `result.notification_key` is the group's key."""

    name: Text
    tokens: _Members


class GroupChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`group.add`, `group.remove`."""

    name: Text
    key: Text
    tokens: _Members


class GroupGet(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`group.get`: `result.notification_key` is the group's key."""

    name: Text


class PushKeys(msgspec.Struct, kw_only=True):
    """The keys of a browser's subscription, base64url."""

    auth: Text
    p256dh: Text


class Subscription(msgspec.Struct, kw_only=True):
    """What `PushSubscription.toJSON()` gives in a browser must hold; it is passed on as it is, with all that it has."""

    endpoint: Text
    keys: PushKeys


OPERATIONS: dict[str, type[msgspec.Struct]] = {
    "topic.subscribe": TopicChange,
    "topic.unsubscribe": TopicChange,
    "token.info": TokenInfo,
    "apns.import": ApnsImport,
    "webpush.import": WebPushImport,
    "webpush.refresh": WebPushRefresh,
    "webpush.delete": WebPushDelete,
    "group.create": GroupCreate,
    "group.add": GroupChange,
    "group.remove": GroupChange,
    "group.get": GroupGet,
}
"""What `request` holds, by `operation`."""


LISTED = {"topic.subscribe": "tokens", "topic.unsubscribe": "tokens", "apns.import": "apns_tokens"}
"""The operations with an outcome for each item of a list in their request, and that list's name."""

_SUBJECTS: dict[str, tuple[TargetKind, str]] = {
    "token.info": ("token", "token"),
    "webpush.refresh": ("token", "token"),
    "webpush.delete": ("token", "token"),
    "group.create": ("group_name", "name"),
    "group.add": ("group", "key"),
    "group.remove": ("group", "key"),
    "group.get": ("group_name", "name"),
}
"""Of the others: what their one outcome is about, and where it stands in the request."""

PARCEL_LIMITS = {"topic.subscribe": 1000, "topic.unsubscribe": 1000, "apns.import": 100}
"""Most items in one call (Instance ID rules, sections 4 and 5)."""

OTHER_LIMIT = 100
"""Most jobs that go together where each is a call of its own."""


class Errand(msgspec.Struct, gc=False):
    """A checked request.

    Attributes:
        request: its struct in OPERATIONS.
        kind: kind of what its outcomes are about.
        values: one for each outcome.
        parcel: jobs that agree in it may share a call.
    """

    request: msgspec.Struct
    kind: TargetKind
    values: list[str]
    parcel: str


def read_operation(operation: str, raw: bytes) -> Errand | Refusal:
    """Check the request of a management job.

    Args:
        operation: one of OPERATIONS.
        raw: the field `request`, JSON.

    Returns:
        The errand; or why it cannot be carried out, with the field and the mend.
    """
    struct = OPERATIONS.get(operation)
    if struct is None:
        mend = f"use one of {', '.join(OPERATIONS)}"
        return refuse(ErrorCode.UNSUPPORTED_OPERATION, "operation", repr(operation), mend)
    where = "request"
    try:
        request = msgspec.json.decode(raw, type=struct)
        where = "request.subscription"
        if isinstance(request, (WebPushImport, WebPushRefresh)):
            endpoint = msgspec.convert(request.subscription, Subscription).endpoint
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Refusal(ErrorCode.INVALID_ARGUMENT, f"{where}: {error} (of {operation})")
    if isinstance(request, TopicChange):
        request.topic = request.topic.removeprefix(_TOPICS)
        if not TOPIC_NAME.fullmatch(request.topic):
            mend = "a topic has 1 to 900 characters of a-z A-Z 0-9 - _ . ~ %"
            return refuse(ErrorCode.INVALID_RECIPIENT, "request.topic", repr(request.topic), mend)
        if request.via == "relation" and operation == "topic.unsubscribe":
            mend = "use auto, batch or v1: a single token cannot be taken off by that call"
            return refuse(ErrorCode.INVALID_ARGUMENT, "request.via", "relation", mend)
        return Errand(request, "token", request.tokens, f"{operation} {request.via} {request.topic}")
    if isinstance(request, ApnsImport):
        parcel = f"{operation} {request.sandbox:d} {request.application}"
        return Errand(request, "apns_token", request.apns_tokens, parcel)
    if isinstance(request, WebPushImport):
        return Errand(request, "subscription", [endpoint], operation)
    kind, name = _SUBJECTS[operation]
    return Errand(request, kind, [getattr(request, name)], operation)


def parcel_limit(operation: str) -> int:
    """Most items (outcomes) of this operation that go together."""
    return PARCEL_LIMITS.get(operation, OTHER_LIMIT)


def encode_request(job: Job, positions: list[int]) -> bytes:
    """The field `request` for the items at these positions of `job.values` only.

    Args:
        job: a management job whose request was read.
        positions: the items that are left.
    """
    assert job.request is not None  # noqa: S101 - the caller has read it
    listed = LISTED.get(job.operation)
    if listed is None:
        return msgspec.json.encode(job.request)
    left = [job.values[position] for position in positions]
    return msgspec.json.encode(msgspec.structs.replace(job.request, **{listed: left}))


def encode_operation(operation: str, request: Mapping[str, Any], job_id: str = "") -> list[bytes]:
    """The fields of a management job, name and value in turn.

    Args:
        operation: one of OPERATIONS.
        request: as its struct there has it.
        job_id: the producer's own id.

    Raises:
        ValueError: there is no such operation, or the request is not as it wants it; the sentence names the field.
    """
    try:
        raw = orjson.dumps(dict(request))  # msgspec would write bytes as base64: another token
    except (TypeError, ValueError) as error:
        raise ValueError(f"request: {error} (of {operation})") from None
    read = read_operation(operation, raw)
    if isinstance(read, Refusal):
        raise ValueError(read.reason)  # noqa: TRY004 - a mistake in a value
    return [b"operation", operation.encode(), b"request", raw, *((b"id", job_id.encode()) if job_id else ())]

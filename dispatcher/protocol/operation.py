"""Management jobs: what each operation asks for, and the fields of such a job (README: management jobs).

Producers can write them; workers do not carry them out yet and reject them as `unsupported-operation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import orjson

Text = Annotated[str, msgspec.Meta(min_length=1)]
_Tokens = Annotated[list[Text], msgspec.Meta(min_length=1, max_length=1000)]


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


class WebPushChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`webpush.refresh`, `webpush.delete`."""

    token: Text
    subscription: dict[str, Any] | None = None


class GroupCreate(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`group.create`: `result.notification_key` is the group's key."""

    name: Text
    tokens: _Tokens


class GroupChange(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`group.add`, `group.remove`."""

    name: Text
    key: Text
    tokens: _Tokens


class GroupGet(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """`group.get`: `result.notification_key` is the group's key."""

    name: Text


OPERATIONS: dict[str, type[msgspec.Struct]] = {
    "topic.subscribe": TopicChange,
    "topic.unsubscribe": TopicChange,
    "token.info": TokenInfo,
    "apns.import": ApnsImport,
    "webpush.import": WebPushImport,
    "webpush.refresh": WebPushChange,
    "webpush.delete": WebPushChange,
    "group.create": GroupCreate,
    "group.add": GroupChange,
    "group.remove": GroupChange,
    "group.get": GroupGet,
}
"""What `request` holds, by `operation`."""


def encode_operation(operation: str, request: Mapping[str, Any], job_id: str = "") -> list[bytes]:
    """The fields of a management job, name and value in turn.

    Args:
        operation: one of OPERATIONS.
        request: as its struct there has it.
        job_id: the producer's own id.

    Raises:
        ValueError: there is no such operation, or the request is not as it wants it; the sentence names the field.
    """
    kind = OPERATIONS.get(operation)
    if kind is None:
        raise ValueError(f'operation: found "{operation}"; use one of {", ".join(OPERATIONS)}')
    try:
        msgspec.convert(dict(request), kind)
        raw = orjson.dumps(dict(request))
    except (msgspec.ValidationError, TypeError) as error:
        raise ValueError(f"request: {error} (of {operation})") from None
    return [b"operation", operation.encode(), b"request", raw, *((b"id", job_id.encode()) if job_id else ())]

"""Web push subscriptions as registration tokens, both directions (Instance ID rules, section 6).

    POST   /v1/web/iid                  a subscription becomes a token
    POST   /v1/web/iid/{token}:refresh  a token gets a new subscription, and perhaps a new name
    DELETE /v1/web/iid/{token}          a token ends

Paths are below the base of the Instance ID service, without `/iid` in front. Newer reference pages no longer have them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote, unquote

import msgspec
import orjson

from dispatcher.model import SendResponse
from dispatcher.protocol.call import Call, Denied, glance, read_failure, unknown_answer

VAPID_PUBLIC_KEY = "BDOU99-h67HcA6JeFXHbSNMu7e2yNNu3RzoMj8TM4W88jITfq7ZmPvIM1Iv-4_l2LxQcYwhqby2xGpWwzjfAnG4"
"""The public key that a browser must have subscribed with, unless with the project's own: FCM's, as FCM publishes it."""

_PATH = "/v1/web/iid"
_DONE = SendResponse()


# The client's side.


def import_request(subscription: Mapping[str, Any]) -> Call:
    """Asks for the token of a subscription: what `PushSubscription.toJSON()` gave, unchanged."""
    return Call("POST", _PATH, orjson.dumps(dict(subscription)))


def refresh_request(token: str, subscription: Mapping[str, Any]) -> Call:
    """Gives a token a new subscription."""
    return Call("POST", f"{_PATH}/{quote(token, safe=':')}:refresh", orjson.dumps(dict(subscription)))


def delete_request(token: str) -> Call:
    """Ends a token."""
    return Call("DELETE", f"{_PATH}/{quote(token, safe=':')}")


class _Token(msgspec.Struct, gc=False):
    token: str


_decode_token = msgspec.json.Decoder(_Token).decode


def read_import(status: int, retry_after: str | None, date: str | None, body: bytes) -> SendResponse:
    """Reads the answer to `import_request`: `replacement_token` is the subscription's token.

    Args:
        status: HTTP status; 201, and 200 with a token as well.
        retry_after: Retry-After header.
        date: Date header, which an HTTP-date in `retry_after` is relative to.
        body: of any kind.
    """
    if status not in (200, 201):
        return SendResponse(error=read_failure(status, retry_after, date, body))
    return _token(status, body)


def read_refresh(status: int, retry_after: str | None, date: str | None, body: bytes) -> SendResponse:
    """Reads the answer to `refresh_request`: `replacement_token` is the token to keep, the old one or another."""
    if status != 200:
        return SendResponse(error=read_failure(status, retry_after, date, body, about_token=True))
    return _token(status, body)


def read_delete(status: int, retry_after: str | None, date: str | None, body: bytes) -> SendResponse:
    """Reads the answer to `delete_request`: 204, or 200 whatever its body."""
    if status in (200, 204):
        return _DONE
    return SendResponse(error=read_failure(status, retry_after, date, body, about_token=True))


def _token(status: int, body: bytes) -> SendResponse:
    try:
        token = _decode_token(body).token
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        token = ""
    if not token:
        return unknown_answer(status, f"HTTP {status} without a token: {glance(body)}")
    return SendResponse(replacement_token=token)


# The server's side.

_TOKEN_PATH = re.compile(r"/v1/web/iid/([^/?]+)").fullmatch
_REFRESH = ":refresh"


class Asked(msgspec.Struct, frozen=True):
    """What a path asks for."""

    what: Literal["import", "refresh", "delete"]
    token: str = ""


def read_path(method: str, path: str) -> Asked | None:
    """What a request line asks for; None: nothing that the service has. See `instance_id.read_path`."""
    if method == "POST" and path == _PATH:
        return Asked("import")
    found = _TOKEN_PATH(path)
    if found is None:
        return None
    if method == "DELETE":
        return Asked("delete", unquote(found[1]))
    if method == "POST" and found[1].endswith(_REFRESH) and found[1] != _REFRESH:
        return Asked("refresh", unquote(found[1].removesuffix(_REFRESH)))
    return None


class _Keys(msgspec.Struct):
    auth: str
    p256dh: str


class Subscription(msgspec.Struct):
    """What the service wants of a subscription; whatever else stands in it is left alone.

    Attributes:
        endpoint: URL of the push service.
        keys: `auth` (16 bytes) and `p256dh` (65 bytes) in base64url.
    """

    endpoint: str
    keys: _Keys


_decode_subscription = msgspec.json.Decoder(Subscription).decode


def decode_subscription(body: bytes) -> Subscription | Denied:
    """Reads a subscription as strictly as the service does."""
    try:
        found = _decode_subscription(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Denied("InvalidSubscription")
    if not found.endpoint.startswith("https://") or not found.keys.auth or not found.keys.p256dh:
        return Denied("InvalidSubscription")
    return found


def token_body(token: str) -> bytes:
    """The body of a success."""
    return orjson.dumps({"token": token})

"""Topic subscriptions of FCM v1, both directions: one token and one topic a call (Instance ID rules, section 9).

    POST   /v1/projects/{project}/registrations/{token}/topicSubscriptions?topicName={topic}
    DELETE /v1/projects/{project}/registrations/{token}/topicSubscriptions/{topic}?allowMissing=true
    GET    the same path, of one subscription or of all

Paths are below FCM's base, errors are Google's. Subscribing twice answers 409, which is as good as a success; taking off
what was never on is one with `allowMissing`. A 404 says that nobody knows the token.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal
from urllib.parse import parse_qs, quote, unquote

import msgspec
import orjson

from dispatcher.model import SendResponse
from dispatcher.protocol.call import Call, read_failure

_DONE = SendResponse()


# The client's side.


def create_request(project: str, token: str, topic: str) -> Call:
    """Subscribes a token (or installation id) to a topic (its bare name)."""
    return Call("POST", f"{_collection(project, token)}?topicName={quote(topic, safe='')}", b"{}")


def delete_request(project: str, token: str, topic: str) -> Call:
    """Takes a token off a topic, whether it followed it or not."""
    return Call("DELETE", f"{_collection(project, token)}/{quote(topic, safe='')}?allowMissing=true")


def _collection(project: str, token: str) -> str:
    # A colon in a token would be taken for a custom method: it is encoded here, unlike on the Instance ID paths.
    return f"/v1/projects/{quote(project, safe=':')}/registrations/{quote(token, safe='')}/topicSubscriptions"


def read_create(status: int, retry_after: str | None, date: str | None, body: bytes) -> SendResponse:
    """Reads the answer to `create_request`.

    Args:
        status: HTTP status.
        retry_after: Retry-After header.
        date: Date header, which an HTTP-date in `retry_after` is relative to.
        body: of any kind.
    """
    if status == 200:
        return _DONE
    error = read_failure(status, retry_after, date, body, about_token=True)
    if status == 409 and (error.rpc_status == "ALREADY_EXISTS" or "already exist" in error.reason.lower()):
        return _DONE
    return SendResponse(error=error)


def read_delete(status: int, retry_after: str | None, date: str | None, body: bytes) -> SendResponse:
    """Reads the answer to `delete_request`; see `read_create`."""
    if status in (200, 204):
        return _DONE
    return SendResponse(error=read_failure(status, retry_after, date, body, about_token=True))


# The server's side.

_PATH = re.compile(r"/v1/projects/([^/?]+)/registrations/([^/?]+)/topicSubscriptions(?:/([^/?]+))?").fullmatch


class Asked(msgspec.Struct, frozen=True):
    """What a request asks for.

    Attributes:
        what: the method of the resource.
        project: its id or number.
        token: the registration.
        topic: "": none was named.
        allow_missing: deleting what is not there is a success.
    """

    what: Literal["create", "delete", "get", "list"]
    project: str
    token: str
    topic: str = ""
    allow_missing: bool = False


def read_path(method: str, path: str, query: str = "") -> Asked | None:
    """What a request line asks for; None: nothing that the service has. See `instance_id.read_path`."""
    found = _PATH(path)
    if found is None:
        return None
    project, token, topic = unquote(found[1]), unquote(found[2]), unquote(found[3] or "")
    options = parse_qs(query)
    if method == "POST" and not topic:
        return Asked("create", project, token, _option(options, "topicName", "topic_name"))
    if method == "DELETE" and topic:
        allowed = _option(options, "allowMissing", "allow_missing") == "true"
        return Asked("delete", project, token, topic, allow_missing=allowed)
    if method == "GET":
        return Asked("get" if topic else "list", project, token, topic)
    return None


def _option(options: dict[str, list[str]], *names: str) -> str:
    """An option of the query in either spelling: the SDKs write `topic_name`, the reference `topicName`."""
    return next((options[name][-1] for name in names if name in options), "")


class Subscription(msgspec.Struct, frozen=True):
    """One subscription as the service shows it; `create_time` in RFC 3339."""

    name: str
    topic_name: str
    create_time: str


def subscription_name(project: str, token: str, topic: str) -> str:
    """The resource name of a subscription."""
    return f"projects/{project}/registrations/{token}/topicSubscriptions/{topic}"


def encode_subscription(subscription: Subscription) -> bytes:
    """The body of a success that shows one."""
    return msgspec.json.encode(subscription)


def encode_list(subscriptions: Sequence[Subscription]) -> bytes:
    """The body of a success that shows all on one page."""
    return orjson.dumps({"topicSubscriptions": [msgspec.to_builtins(item) for item in subscriptions]})

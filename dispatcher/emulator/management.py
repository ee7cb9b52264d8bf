"""The management services: which call a request is, who may ask, and how it is answered and recorded.

    GET    /iid/info/{token}                          token.info
    POST   /iid/v1/{token}/rel/topics/{topic}         topic.subscribe
    POST   /iid/v1:batchAdd, :batchRemove             topic.subscribe, topic.unsubscribe
    POST   /iid/v1:batchImport                        apns.import
    POST   /v1/web/iid, /v1/web/iid/{token}:refresh   webpush.import, webpush.refresh
    DELETE /v1/web/iid/{token}                        webpush.delete
    any    /v1/projects/{p}/registrations/{token}/topicSubscriptions
    any    /fcm/notification                          group.create, add, remove, get

All but the v1 resource take a server key, or a Bearer token beside `access_token_auth: true`, and answer errors as
`{"error": text}`; a call names no project, it is that of the credentials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

from dispatcher.emulator.groups import GroupCalls
from dispatcher.emulator.imports import Imports
from dispatcher.emulator.judge import Asking, Judge, denied, reply
from dispatcher.emulator.messages import Trouble
from dispatcher.emulator.refusals import extra_headers, refusal
from dispatcher.emulator.subscriptions import Subscriptions
from dispatcher.emulator.wire import Reply, Request
from dispatcher.protocol import apns_import, device_group, instance_id, topic_subscription, web_push

if TYPE_CHECKING:
    from dispatcher.emulator.state import State

Service = Literal["apns", "groups"]
"""A service whose calls are told apart by their bodies."""

Call = instance_id.Asked | web_push.Asked | topic_subscription.Asked | Service
"""What a request asks of a management service."""


class Management:
    """Answers every call to a management service."""

    def __init__(self, state: State) -> None:
        self._state = state
        messages = state.messages
        judge = Judge(lambda: messages.registry, lambda: messages.faults, lambda: messages.limits)
        self._subscriptions = Subscriptions(judge)
        self._imports = Imports(judge)
        self._groups = GroupCalls(judge)

    def call(self, request: Request) -> Call | None:
        """What a request asks for, by its method and path; None: nothing of the kind."""
        method, query = request.method, request.query
        path = quote(request.path, safe="/:")  # the codecs read paths as they are on the wire
        if path == device_group.PATH:
            return "groups" if method in ("GET", "POST") else None
        if path == apns_import.PATH:
            return "apns" if method == "POST" else None
        return (
            instance_id.read_path(method, path, query)
            or web_push.read_path(method, path)
            or topic_subscription.read_path(method, path, query)
        )

    def answer(self, call: Call, request: Request, now: float, trouble: Trouble) -> Reply:
        """Answers a call.

        Args:
            call: what `call` said of it.
            request: the same request.
            now: Unix seconds.
            trouble: effects of rules on the whole answer are added here.
        """
        authority = self._state.authority
        if isinstance(call, topic_subscription.Asked):
            project = authority.named(call.project)
            name = authority.refusal_of(request.header("authorization"), project, now)
            answered = self._not_let_in(name, project, now) if name else None
        else:
            caller = authority.caller(request, now)
            project = caller.project
            answered = denied(caller.refusal, caller.text) if caller.refusal else None
        if answered is not None:
            self._state.ledger.refuse("iid", answered.status)
            return answered
        asking = Asking(project, now, trouble)
        answered = self._answered(call, request, asking)
        for deed in asking.deeds:
            deed.status = answered.status
        if asking.retry_after is not None and any(deed.word for deed in asking.deeds):
            headers = extra_headers("", asking.retry_after, "seconds", now)
            answered.headers += [(name.lower(), value) for name, value in headers.items()]
        if not asking.deeds and answered.status >= 400:
            self._state.ledger.refuse("iid", answered.status)
        self._state.calls.record(asking.deeds, now)
        return answered

    def _answered(self, call: Call, request: Request, asking: Asking) -> Reply:
        if isinstance(call, instance_id.Asked):
            if call.what == "info":
                return self._subscriptions.info(asking, call)
            if call.what == "relation":
                return self._subscriptions.relation(asking, call)
            return self._subscriptions.bulk(asking, request.body, remove=call.what == "remove")
        if isinstance(call, web_push.Asked):
            return self._imports.web(asking, call, request.body)
        if isinstance(call, topic_subscription.Asked):
            return self._subscriptions.resource(asking, call)
        if call == "apns":
            return self._imports.apns(asking, request.body)
        return self._group(asking, request)

    def _group(self, asking: Asking, request: Request) -> Reply:
        """A call about groups, which names its sender beside its credentials."""
        sender = request.header(device_group.SENDER_ID)
        if not sender:
            return denied(400, f"{device_group.SENDER_ID} header is missing")
        authority = self._state.authority
        number = authority.numbers.get(asking.project)
        if sender != number and not authority.believe_any:
            return denied(403, f"{device_group.SENDER_ID} must be the number of the sender's project")
        if request.method == "GET":
            return self._groups.get(asking, request.query)
        return self._groups.change(asking, request.body)

    def _not_let_in(self, name: str, project: str, now: float) -> Reply:
        status, body = refusal(name, project)
        answered = reply(status, body)
        headers = extra_headers(name, None, "", now)
        answered.headers += [(header.lower(), value) for header, value in headers.items()]
        return answered

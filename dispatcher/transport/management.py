"""Management jobs over HTTP: Instance ID, FCM's topic subscriptions, device groups.

A batch of one parcel is one call where the service takes lists (up to 1,000 tokens for a topic, 100 APNs tokens),
and otherwise a call for each item, a few at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import msgspec

from dispatcher.model import Action, Batch, Fate, Job, SendError, SendResponse
from dispatcher.policy.classify import classify
from dispatcher.protocol import apns_import, device_group, instance_id, topic_subscription, web_push
from dispatcher.protocol.call import Call, bearer_headers, key_headers
from dispatcher.protocol.operation import (
    ApnsImport,
    GroupChange,
    GroupCreate,
    GroupGet,
    TokenInfo,
    TopicChange,
    WebPushDelete,
    WebPushImport,
    WebPushRefresh,
)
from dispatcher.transport.session import Answer, Session
from dispatcher.transport.wire import MaySend, Observe, always

MOST_ANSWER_BYTES = 4 << 20
"""Far above a thousand results, and above the topics of one token, of which there may be 2,000."""

Read = Callable[[int, str | None, str | None, bytes], SendResponse]


class Services(msgspec.Struct, frozen=True):
    """Where the management services of a project are.

    Attributes:
        iid: base URL of Instance ID.
        fcm: base URL of FCM, for its topic subscriptions.
        groups: base URL of device groups.
        sender_id: the project's number; "": not known, and no group can be managed.
        server_key: what signs the calls is a server key, no access token.
    """

    iid: str
    fcm: str
    groups: str
    sender_id: str = ""
    server_key: bool = False


class ManagementTransport:
    """The way to the management services of one project.

    Args:
        session: the worker's connections.
        services: where they are.
        timeout_s: how long an answer may take.
        observe: told of the calls of each batch.
    """

    name = carrier = "management"

    def __init__(self, session: Session, services: Services, timeout_s: float, observe: Observe) -> None:
        self._session = session
        self._services = services
        self._timeout_s = timeout_s
        self._observe = observe
        # The service has no bulk calls any more: `auto` subscribes by FCM's own from now on.
        self._bulk_gone = False

    def requests(self, batch: Batch) -> int:
        """One for a list, else one for each item."""
        return 1 if self._bulk(batch) is not None else batch.size

    async def send(
        self, batch: Batch, access_token: str, *, now: float, at_once: int, may_send: MaySend = always
    ) -> list[SendResponse]:
        """Carry out `batch`, the jobs of one parcel (see `Transport.send`)."""
        del now  # nothing here has a time to live
        bulk = self._bulk(batch)
        if bulk is not None:
            responses = await self._call_once(batch, bulk, access_token, may_send)
            error = responses[0].error
            gone = error is not None and classify(error, "token").action is Action.SWITCH_ROUTE
            if not (gone and self._falls_back(batch)):
                return responses
            self._bulk_gone = True
        return await self._call_each(batch, access_token, at_once, may_send)

    def _falls_back(self, batch: Batch) -> bool:
        request = batch.jobs[0].request
        return isinstance(request, TopicChange) and request.via == "auto"

    def _bulk(self, batch: Batch) -> Call | None:
        """The one call that carries out the whole batch; None: there is no such call."""
        request = batch.jobs[0].request
        values = [job.values[position] for job, position in batch.messages()]
        if isinstance(request, ApnsImport):
            return apns_import.import_request(request.application, values, sandbox=request.sandbox)
        if isinstance(request, TopicChange) and (
            request.via == "batch" or (request.via == "auto" and not self._bulk_gone)
        ):
            remove = batch.jobs[0].operation == "topic.unsubscribe"
            return instance_id.bulk_request(request.topic, values, remove=remove)
        return None

    async def _call_once(
        self, batch: Batch, call: Call, access_token: str, may_send: MaySend
    ) -> list[SendResponse]:
        loop = asyncio.get_running_loop()
        started = loop.time()
        answer = await self._exchange(self._services.iid, call, access_token, may_send)
        self._observe(self.name, answer.status if isinstance(answer, Answer) else 0, [loop.time() - started])
        if not isinstance(answer, Answer):
            return [answer] * batch.size
        told = (answer.status, answer.retry_after, answer.date, answer.body)
        if isinstance(batch.jobs[0].request, ApnsImport):
            values = [job.values[position] for job, position in batch.messages()]
            return apns_import.read_import(*told, values)
        return instance_id.read_bulk(*told, batch.size)

    async def _call_each(
        self, batch: Batch, access_token: str, at_once: int, may_send: MaySend
    ) -> list[SendResponse]:
        """`at_once` runners share the items between them."""
        responses = [SendResponse()] * batch.size
        items: Iterator[tuple[int, tuple[Job, int]]] = iter(enumerate(batch.messages()))
        loop = asyncio.get_running_loop()
        took: dict[int, list[float]] = {}

        async def run() -> None:
            for number, (job, position) in items:
                if isinstance(job.request, _GROUPS) and not self._services.sender_id:
                    responses[number] = _no_sender_id(job)
                    continue
                base, call, read = self._single(job, position)
                started = loop.time()
                answer = await self._exchange(base, call, access_token, may_send)
                status = answer.status if isinstance(answer, Answer) else 0
                took.setdefault(status, []).append(loop.time() - started)
                if isinstance(answer, Answer):
                    responses[number] = read(answer.status, answer.retry_after, answer.date, answer.body)
                else:
                    responses[number] = answer

        async with asyncio.TaskGroup() as runners:
            for _ in range(min(batch.size, max(1, at_once))):
                runners.create_task(run())
        for status, durations in took.items():
            self._observe(self.name, status, durations)
        return responses

    def _single(self, job: Job, position: int) -> tuple[str, Call, Read]:
        """The call for one item: below which base, and how its answer is read."""
        request, value = job.request, job.values[position]
        places = self._services
        if isinstance(request, TopicChange):
            if request.via == "relation":
                return (
                    places.iid,
                    instance_id.relation_request(value, request.topic),
                    instance_id.read_relation,
                )
            if job.operation == "topic.subscribe":
                create = topic_subscription.create_request(job.project, value, request.topic)
                return places.fcm, create, topic_subscription.read_create
            delete = topic_subscription.delete_request(job.project, value, request.topic)
            return places.fcm, delete, topic_subscription.read_delete
        if isinstance(request, TokenInfo):
            info = instance_id.info_request(value, details=request.details)
            return places.iid, info, instance_id.read_info
        if isinstance(request, WebPushImport):
            return places.iid, web_push.import_request(request.subscription), web_push.read_import
        if isinstance(request, WebPushRefresh):
            refresh = web_push.refresh_request(request.token, request.subscription)
            return places.iid, refresh, web_push.read_refresh
        if isinstance(request, WebPushDelete):
            return places.iid, web_push.delete_request(request.token), web_push.read_delete
        return places.groups, *self._group(job)

    def _group(self, job: Job) -> tuple[Call, Read]:
        request = job.request
        if isinstance(request, GroupGet):
            return device_group.get_request(request.name), device_group.read_group
        if isinstance(request, GroupCreate):
            return device_group.create_request(request.name, request.tokens), device_group.read_group
        assert isinstance(request, GroupChange)  # noqa: S101 - the last of OPERATIONS
        name, key, tokens = request.name, request.key, request.tokens
        if job.operation == "group.add":
            return device_group.add_request(name, key, tokens), device_group.read_group
        return device_group.remove_request(name, key, tokens), _read_removed

    async def _exchange(
        self, base: str, call: Call, access_token: str, may_send: MaySend
    ) -> Answer | SendResponse:
        """One call; whatever is no whole answer is a response."""
        headers = {"Content-Type": "application/json"}
        if access_token:
            headers |= (
                key_headers(access_token) if self._services.server_key else bearer_headers(access_token)
            )
        if self._services.sender_id:
            headers[device_group.SENDER_ID] = self._services.sender_id
        answer = await self._session.request(
            call.method,
            base.rstrip("/") + call.path,
            call.body,
            headers,
            self._timeout_s,
            most=MOST_ANSWER_BYTES,
            may_send=may_send,
        )
        if isinstance(answer, Answer):
            return answer
        answer.wire = "iid"
        return SendResponse(error=answer)


_GROUPS = (GroupCreate, GroupChange, GroupGet)


def _no_sender_id(job: Job) -> SendResponse:
    reason = f"{job.operation} needs DISPATCHER_SENDER_ID of project {job.project}: the project's number"
    error = SendError(Fate.NOT_SENT, 501, reason=reason, wire="iid", word="NOT_CONFIGURED")
    return SendResponse(error=error)


def _read_removed(status: int, retry_after: str | None, date: str | None, body: bytes) -> SendResponse:
    return device_group.read_group(status, retry_after, date, body, removed=True)

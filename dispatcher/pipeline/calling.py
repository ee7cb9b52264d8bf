"""Calling: one call of a transport for one batch, and what surrounds it.

A new access token if the old one is refused, veiled reasons, metrics, a span. Messages and management jobs go out by the
same function.
"""

from __future__ import annotations

import asyncio

from structlog.typing import FilteringBoundLogger

from dispatcher.errors import CredentialsError
from dispatcher.model import Action, Batch, Disposition, Fate, SendError, SendResponse
from dispatcher.pipeline.project import Project
from dispatcher.pipeline.settling import Finished
from dispatcher.pipeline.veiling import veil
from dispatcher.policy.classify import classify
from dispatcher.queue.store import Queue
from dispatcher.telemetry.metrics import Metrics
from dispatcher.telemetry.traces import BatchSpan, Tracing
from dispatcher.transport.auth import Credential
from dispatcher.transport.wire import MaySend, Transport

_NO_ANSWER = SendResponse()
"""Stands for a message that was not sent."""


class Calling:
    """Calls transports.

    Args:
        queue: for its clock.
        metrics: the worker's.
        log: the worker's.
        tracing: makes a span of each batch; None: traces are off.
    """

    def __init__(
        self, queue: Queue, metrics: Metrics, log: FilteringBoundLogger, tracing: Tracing | None = None
    ) -> None:
        self._queue = queue
        self._metrics = metrics
        self._log = log
        self._tracing = tracing

    async def exchange(
        self,
        project: Project,
        batch: Batch,
        presets: dict[int, Disposition],
        *,
        transport: Transport,
        credential: Credential,
        at_once: int,
    ) -> Finished | None:
        """Send what may go of a batch, and gather the answers.

        Args:
            project: whose it is.
            batch: read under the lease epoch that it says.
            presets: messages that do not go now, by number.
            transport: the wire.
            credential: what signs the requests.
            at_once: requests in flight at a time.

        Returns:
            What settling is to be told; None: the lease lapsed meanwhile, and others may be about to take these
            entries over. Nothing was sent then.
        """
        if len(presets) == batch.size:
            return Finished(project, batch, [_NO_ANSWER] * batch.size, presets)
        numbers = [number for number in range(batch.size) if number not in presets] if presets else None
        try:
            token = await credential.token()
        except CredentialsError as error:
            answers = _spread(batch, numbers, _no_credential(error, batch.size))
            return Finished(project, batch, answers, presets)

        epoch = batch.epoch  # and not the batch: whoever keeps the question keeps what it is about

        def may_send() -> bool:
            # A batch that goes out message by message takes its time: the lease may end meanwhile.
            return epoch == project.lease.epoch and project.may_send(asyncio.get_running_loop().time())

        if not may_send():
            return None
        sendable = batch if numbers is None else batch.subset(numbers)
        responses = await self._call(transport, credential, sendable, token, at_once, may_send)
        return Finished(project, batch, _spread(batch, numbers, responses), presets)

    async def _call(
        self,
        transport: Transport,
        credential: Credential,
        batch: Batch,
        token: str,
        at_once: int,
        may_send: MaySend,
    ) -> list[SendResponse]:
        """Send a batch; what is refused for its access token goes out once more with a new one."""
        span = self._begin(batch)

        async def send(part: Batch, key: str) -> list[SendResponse]:
            now = self._queue.now()
            return await transport.send(part, key, now=now, at_once=at_once, may_send=may_send)

        responses = await send(batch, token)
        failed = [number for number, response in enumerate(responses) if response.error is not None]
        refused = [number for number in failed if _wants_new_token(responses[number], batch)]
        renewed = token
        if refused:
            try:
                renewed = await credential.renew(token)
            except CredentialsError as error:
                self._log.error("credentials_failed", project=batch.project, error=str(error))
        if refused and renewed != token:  # with the same one the answer would be the same
            for number, response in zip(refused, await send(batch.subset(refused), renewed), strict=True):
                responses[number] = response
        if failed:
            veil(batch, responses, {token, renewed})
        self._metrics.attempts.of(batch.project, transport.name).inc(batch.size)
        self._metrics.batch_size.of(transport.name).observe(batch.size)
        if span is not None:
            well = sum(response.error is None for response in responses)
            span.end(transport.name, well, batch.size - well)
        return responses

    def _begin(self, batch: Batch) -> BatchSpan | None:
        if self._tracing is None:
            return None
        parents = (job.traceparent for job in batch.jobs)
        return self._tracing.batch(batch.project, batch.stream, batch.size, parents)


def _spread(batch: Batch, numbers: list[int] | None, responses: list[SendResponse]) -> list[SendResponse]:
    """The responses of the messages that were sent, in the places they have in the whole batch.

    Args:
        batch: the whole.
        numbers: of the messages that were sent; None: all.
        responses: theirs.
    """
    if numbers is None:
        return responses
    whole = [_NO_ANSWER] * batch.size
    for number, response in zip(numbers, responses, strict=False):
        whole[number] = response
    return whole


def _no_credential(error: CredentialsError, count: int) -> list[SendResponse]:
    """No token, no send: the same as a refusal that a refresh has not mended."""
    refused = SendError(
        Fate.NOT_SENT, 401, rpc_status="UNAUTHENTICATED", whole_request=True, reason=str(error)
    )
    return [SendResponse(error=refused)] * count


def _wants_new_token(response: SendResponse, batch: Batch) -> bool:
    error = response.error
    return error is not None and classify(error, batch.jobs[0].kind).action is Action.REFRESH_CREDS

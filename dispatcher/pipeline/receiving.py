"""Receiving: what devices send and servers report by themselves, from the wire into Redis, then acknowledged.

Only XMPP has it. A project's connections stay open for it while there is nothing to send. What Redis has not taken is
not acknowledged: the server stops at a hundred, and sends them again when the connection is gone.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from structlog.typing import FilteringBoundLogger

from dispatcher.errors import CredentialsError, QueueError
from dispatcher.pipeline.project import Project
from dispatcher.queue.store import Queue
from dispatcher.telemetry.metrics import Metrics
from dispatcher.transport.xmpp import XmppTransport
from dispatcher.transport.xmpp_pool import Arrived

LOOK_EVERY_S = 30.0
"""Between two looks whether the server key is another one."""

REST_S = 1.0
"""Before trying again what Redis would not take, or a key that cannot be read."""


class Receiving:
    """The receiving stage of one worker.

    Args:
        queue: this worker's view of Redis.
        metrics: the worker's.
        log: the worker's.
    """

    def __init__(self, queue: Queue, metrics: Metrics, log: FilteringBoundLogger) -> None:
        self._queue = queue
        self._metrics = metrics
        self._log = log
        self._failing = False

    async def run(self, project: Project) -> None:
        """Keep what comes until cancelled; returns at once for a project whose wire brings nothing."""
        transport = project.transport
        if not isinstance(transport, XmppTransport):
            return
        try:
            while True:
                await self._listen(project, transport)
                arrived: list[Arrived] = []
                try:
                    async with asyncio.timeout(LOOK_EVERY_S):
                        arrived = await transport.receive()
                except TimeoutError:
                    continue
                await self._keep(project, arrived)
                transport.acknowledge(arrived)
        finally:
            await transport.aclose()

    async def _listen(self, project: Project, transport: XmppTransport) -> None:
        try:
            transport.listen(await project.signer.token())
        except CredentialsError as error:
            self._log.error("credentials_failed", project=project.id, error=str(error))
            await asyncio.sleep(REST_S)

    async def _keep(self, project: Project, arrived: list[Arrived]) -> None:
        """Write them, however long that takes; bounded by what servers send without an ack."""
        incoming = [one.incoming for one in arrived]
        while True:
            try:
                await self._queue.record_upstream(project.id, incoming)
            except QueueError as error:
                if not self._failing:
                    self._failing = True
                    self._log.error("upstream_waits_for_redis", project=project.id, error=str(error))
                await asyncio.sleep(REST_S)
            else:
                self._failing = False
                break
        for kind, count in Counter("receipt" if one.receipt else "upstream" for one in incoming).items():
            self._metrics.upstream.of(project.id, kind).inc(count)

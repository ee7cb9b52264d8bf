"""What all replicas must know within a second: pauses, the orders of operators, and what was learnt of an endpoint."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

from dispatcher.model import ErrorCode
from dispatcher.pipeline.project import Project
from dispatcher.pipeline.upkeep.duty import Duty
from dispatcher.queue.control import Control
from dispatcher.queue.store import Queue
from dispatcher.telemetry.metrics import Metrics
from dispatcher.transport.auto import VERDICT_TTL_S, AutoTransport

LOOK_S = 0.8
"""The promise: every replica knows within a second, the time of the look included."""

VERDICT = "transport"


_CODES = frozenset(ErrorCode)


def pause_label(reason: str) -> str:
    """The bounded part of a pause's reason: the error code it begins with, or `manual` for an operator's words."""
    code = reason.partition(":")[0]
    return code if code in _CODES else "manual"


class Controller(Duty):
    """Reads the control hash of every project, and tries the half-open ones.

    Args:
        queue: this worker's view of Redis.
        projects: all projects served.
        metrics: the worker's.
        log: the worker's.
    """

    def __init__(
        self, queue: Queue, projects: dict[str, Project], metrics: Metrics, log: FilteringBoundLogger
    ) -> None:
        super().__init__(LOOK_S, log)
        self._queue = queue
        self._projects = projects
        self._metrics = metrics

    async def round(self) -> float | None:
        """Look once."""
        controls = await self._queue.controls(list(self._projects), partial=True)

        async def follow(project: Project) -> None:
            if self._projects.get(project.id) is project:  # else gone meanwhile
                control = controls[project.id]
                self._obey(project, control)
                await self._pause(project, control)
                await self._verdict(project, control)

        await self.for_each([p for p in self._projects.values() if p.id in controls], follow)
        return None

    def _obey(self, project: Project, control: Control) -> None:
        if project.stopped != control.stopped:
            project.stopped = control.stopped
            self._log.warning("project_stopped" if control.stopped else "project_started", project=project.id)
        if project.orders != control.orders:
            project.orders = control.orders
            project.reordered = True
            self._log.info("orders_changed", project=project.id, in_force=control.orders is not None)
        project.instructed = True
        if project.stopped or project.reordered:
            project.urgent.set()  # whoever waits for quota looks around

    async def _pause(self, project: Project, control: Control) -> None:
        if not control.pause_until:
            # Closed, or never open. A probe of ours that is still out is no longer one.
            project.paused_until = 0.0
            project.probing = False
        elif control.paused:
            project.paused_until = control.pause_until
            project.probing = False
        elif not (project.probing or project.stopped):
            # Half-open: whoever gets the claim sends a handful, the others go on waiting.
            project.probing = await self._queue.claim_probe(project.id)
            project.paused_until = control.now + 2 * LOOK_S
        self._metrics.project_paused.forget(project.id)
        self._metrics.lane_paused.forget(project.id)
        if project.id in self._projects:
            for lane in control.orders.lanes if control.orders is not None else ():
                self._metrics.lane_paused.of(project.id, lane).set(1)
            if control.stopped:
                self._metrics.project_paused.of(project.id, "manual").set(1)
            if control.pause_until:
                self._metrics.project_paused.of(project.id, pause_label(control.pause_reason)).set(1)
            self._metrics.held.of(project.id).set(control.held)
        project.awaken()

    async def _verdict(self, project: Project, control: Control) -> None:
        transport = project.transport
        if not isinstance(transport, AutoTransport):
            return
        known = control.verdicts.get(VERDICT) == "v1"
        if transport.batch_gone and not transport.shared:
            await self._queue.set_verdict(project.id, VERDICT, "v1", VERDICT_TTL_S)
            transport.shared = True
            self._log.info("batch_endpoint_gone", project=project.id)
        else:
            # Also back to batch when the verdict has run out: then one replica finds out anew.
            transport.batch_gone = transport.shared = known

"""What all replicas must know of a project within a second: pauses, verdicts, and what operators have ordered."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any

import msgspec

from dispatcher.errors import QueueError
from dispatcher.policy.orders import Orders
from dispatcher.queue.access import Access
from dispatcher.queue.connection import Command
from dispatcher.queue.orders import Stop, read_orders, read_stops
from dispatcher.queue.script import Script

RAMP_S = 60.0
"""How long a project takes to come back to its full rate (the grant script reckons with the same)."""

_VERDICT = Script("verdict")
_PREFIX = "verdict:"


class Control(msgspec.Struct, gc=False):
    """The control hash of a project, read.

    Attributes:
        pause_until: end of the project's pause (Redis clock, seconds); 0: none. In the past: half-open.
        pause_reason: for people.
        held: messages that wait for a slot of their paused target.
        ramping: it is coming back from a pause.
        verdicts: shared findings that have not run out, e.g. {"transport": "v1"}.
        now: Redis clock, seconds.
        stops: what operators have stopped, the whole project first.
        orders: what a worker looks up for each job; None: nothing.
    """

    pause_until: float = 0.0
    pause_reason: str = ""
    held: int = 0
    ramping: bool = False
    verdicts: dict[str, str] = {}
    now: float = 0.0
    stops: list[Stop] = []
    orders: Orders | None = None

    @property
    def stopped(self) -> bool:
        """Whether an operator has stopped the whole project."""
        return bool(self.stops) and self.stops[0].name == "project"

    @property
    def paused(self) -> bool:
        """Whether nothing may be read or sent now."""
        return self.pause_until > self.now


class ControlTable(Access):
    """The control hashes."""

    async def controls(self, projects: Sequence[str], *, partial: bool = False) -> dict[str, Control]:
        """Read the control hash of each project, in one round trip.

        Args:
            projects: Firebase project ids.
            partial: leave those out whose server (of a Cluster) did not answer, unless it is all of them.
        """
        now = self.server.clock.now() if self.server.clock.known else await self.server.time()
        commands: list[Command] = [("HGETALL", self.keys.control(project)) for project in projects]
        found = {}
        failure: QueueError | None = None
        for project, reply in zip(projects, await self.server.pipeline(commands), strict=True):
            if isinstance(reply, QueueError):
                failure = reply
            else:
                found[project] = _control(reply, now)
        if failure is not None and not (partial and found):
            raise failure
        return found

    async def set_verdict(self, project: str, name: str, value: str, ttl_s: float) -> None:
        """Share a finding with all replicas for a time; works on a full Redis."""
        args = (_PREFIX + name, value, round(ttl_s * 1000))
        sent = monotonic()
        time = await self.server.eval(_VERDICT, (self.keys.control(project),), args)
        self.server.clock.note(sent, int(time[0]) + int(time[1]) / 1e6)


def _control(flat: list[Any], now: float) -> Control:
    fields = {flat[i].decode(): flat[i + 1].decode(errors="replace") for i in range(0, len(flat), 2)}
    ramp = float(fields.get("pause:ramp", 0)) / 1000
    verdicts = {}
    for name, text in fields.items():
        if name.startswith(_PREFIX):
            ends, _, value = text.partition(":")
            if float(ends) / 1000 > now:
                verdicts[name.removeprefix(_PREFIX)] = value
    return Control(
        pause_until=float(fields.get("pause:until", 0)) / 1000,
        pause_reason=fields.get("pause:reason", ""),
        held=max(0, int(fields.get("held", 0))),
        ramping="pause:until" not in fields and 0 <= now - ramp < RAMP_S,
        verdicts=verdicts,
        now=now,
        stops=read_stops(fields),
        orders=read_orders(fields, now),
    )

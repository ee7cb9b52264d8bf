"""What an operator orders of a project, written into its control hash: stops and cancellations.

Every worker reads them within a second (`ControlTable.controls`). The fields:

* `stop:project`, `stop:lane:<lane>`, `stop:target:<Target.key>` = `<since ms>:<what it is, for people>`
* `cancel:lane:<lane>`, `cancel:campaign:<name>`, `cancel:id:<id>` = `<end ms>:<last entry id, of a lane>`
"""

from __future__ import annotations

from typing import Literal

import msgspec

from dispatcher.errors import QueueError
from dispatcher.model import Lane
from dispatcher.policy.orders import Orders, as_numbers
from dispatcher.queue.access import Access
from dispatcher.queue.script import Script

STOP, CANCEL = "stop:", "cancel:"

KEPT_S = 30 * 86_400.0
"""How long a cancellation is remembered: FCM itself keeps messages for four weeks, few jobs are scheduled for later."""

MOST_ORDERS = 10_000
"""Cancellations a project may have at a time: every worker reads all of them every second."""

_DIGITS = 15
"""Of a time in milliseconds."""

_STOP = Script("stop")
_UNPARK = Script("unpark")
_CANCEL = Script("cancel")

CancelKind = Literal["lane", "campaign", "id"]


class Stop(msgspec.Struct):
    """Something that stands still.

    Attributes:
        name: `project`, `lane:<lane>` or `target:<Target.key>`.
        since: Redis clock, seconds.
        label: what it is, for people.
    """

    name: str
    since: float
    label: str


class OrderBook(Access):
    """Giving orders."""

    async def stop(self, project: str, name: str, label: str) -> bool:
        """Let a project, a lane or a target stand still until `resume`; works on a full Redis.

        Args:
            project: Firebase project id.
            name: `project`, `lane:<lane>` or `target:<Target.key>`.
            label: what it is, for people; no whole token.

        Returns:
            Whether it was not stopped before.
        """
        names = (self.keys.control(project),)
        return bool(await self.server.eval(_STOP, names, (STOP + name, label)))

    async def resume(self, project: str, name: str) -> bool:
        """Lift a stop; whoever waited for it is due at once. Returns whether there was one."""
        lifted = bool(await self.server.call("HDEL", self.keys.control(project), STOP + name))
        # Also where there was none: an earlier call may have been cut off here.
        cursor = b"0"
        names = (self.keys.delayed(project), self.keys.delayed_jobs(project), self.keys.control(project))
        while name != "project":
            cursor, _ = await self.server.eval(_UNPARK, names, (name, cursor))
            if cursor == b"0":
                break
        return lifted

    async def forget_pause(self, project: str, target: str) -> bool:
        """End the pause of a target that FCM throttled; what has a slot already waits for it. Returns whether there was one."""
        members = (target, f"{target}|until")
        return bool(await self.server.call("ZREM", self.keys.pauses(project), *members))

    async def cancel(self, project: str, kind: CancelKind, name: str) -> None:
        """Cancel a campaign or a job whenever it is met, or what is in a lane now; works on a full Redis.

        Raises:
            QueueError: there are too many cancellations in force.
        """
        lane: Lane = "normal"
        if kind == "lane":
            lane = name  # type: ignore[assignment]  # the command line has checked it
        names = (self.keys.control(project), self.keys.stream(project, lane))
        args = (kind, name, round(KEPT_S * 1000), MOST_ORDERS)
        if await self.server.eval(_CANCEL, names, args) is None:
            raise QueueError(
                f"{project} has {MOST_ORDERS} cancellations already: cancel a campaign or a lane instead, or take some back with --undo"
            )

    async def undo_cancel(self, project: str, kind: CancelKind, name: str) -> bool:
        """Take a cancellation back; what it has ended stays so. Returns whether there was one."""
        return bool(await self.server.call("HDEL", self.keys.control(project), f"{CANCEL}{kind}:{name}"))


def _moment(text: str) -> float:
    """Seconds of a time in milliseconds; 0 for what no script of ours has written."""
    return int(text) / 1000 if text.isdecimal() and len(text) <= _DIGITS else 0.0


def read_stops(fields: dict[str, str]) -> list[Stop]:
    """The stops in a control hash, the whole project first."""
    stops = []
    for field, text in fields.items():
        if field.startswith(STOP):
            since, _, label = text.partition(":")
            stops.append(Stop(field.removeprefix(STOP), _moment(since), label))
    return sorted(stops, key=lambda stop: (stop.name != "project", stop.name))


def read_orders(fields: dict[str, str], now: float) -> Orders | None:
    """The orders in a control hash that a worker looks up for each job; None: there are none.

    Args:
        fields: the hash.
        now: Redis clock, seconds.
    """
    stops: dict[str, set[str]] = {"lane": set(), "target": set(), "project": set()}
    cancelled: dict[str, dict[str, str]] = {"lane": {}, "campaign": {}, "id": {}}
    for field, text in fields.items():
        if field.startswith(STOP):
            kind, _, name = field.removeprefix(STOP).partition(":")
            stops.setdefault(kind, set()).add(name)
        elif field.startswith(CANCEL):
            kind, _, name = field.removeprefix(CANCEL).partition(":")
            ends, _, last = text.partition(":")
            if _moment(ends) > now:
                cancelled.setdefault(kind, {})[name] = last
    orders = Orders(
        lanes=frozenset(stops["lane"]),
        targets=frozenset(stops["target"]),
        cancelled_lanes={lane: as_numbers(last) for lane, last in cancelled["lane"].items() if last},
        campaigns=frozenset(cancelled["campaign"]),
        ids=frozenset(cancelled["id"]),
    )
    return orders or None

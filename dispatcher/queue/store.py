"""Queue: one worker's view of Redis, in one object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

from dispatcher.queue.address import Login
from dispatcher.queue.circuit import Circuit
from dispatcher.queue.control import ControlTable
from dispatcher.queue.dedup import Dedup
from dispatcher.queue.delayed import DelayedSet
from dispatcher.queue.health import Health
from dispatcher.queue.keys import Keys
from dispatcher.queue.leases import Leases
from dispatcher.queue.letters import Letters
from dispatcher.queue.membership import Membership
from dispatcher.queue.opening import open_server
from dispatcher.queue.orders import OrderBook
from dispatcher.queue.overview import Overview
from dispatcher.queue.pauses import Pauses
from dispatcher.queue.producing import Producing
from dispatcher.queue.quota import Quota
from dispatcher.queue.reading import Reading
from dispatcher.queue.reclaim import Reclaim
from dispatcher.queue.records import Records
from dispatcher.queue.retention import Retention
from dispatcher.queue.search import Search
from dispatcher.queue.settlement import Settlement
from dispatcher.queue.stats import Stats
from dispatcher.queue.upstream import Upstream


class Queue(
    Reading,
    Settlement,
    DelayedSet,
    Leases,
    Reclaim,
    Quota,
    Circuit,
    Pauses,
    Dedup,
    ControlTable,
    OrderBook,
    Stats,
    Retention,
    Health,
    Producing,
    Records,
    Overview,
    Search,
    Letters,
    Membership,
    Upstream,
):
    """Everything one worker asks of Redis; each part stands in its module, with its own documentation.

    Any call may raise `QueueUnavailable` (what was asked may or may not have happened), `QueueMisconfigured`
    or, where something is written that makes Redis grow, `QueueFull`. Nothing is repeated by itself.
    """

    @classmethod
    def at(cls, url: str, *, consumer: str, namespace: str = "fcm", **login: Unpack[Login]) -> Queue:
        """Make a queue; no connection is made before the first command.

        Args:
            url: `redis://`, `rediss://`, `unix://`, `redis+sentinel://h1,h2/master/0`, `redis+cluster://h1,h2`.
            consumer: a name no other process has or had, e.g. host name, pid and a random part.
            namespace: what keys begin with.
            login: files with the password and certificates; see `Login`.

        Raises:
            SettingsError: the URL or a file cannot be read.
        """
        return cls(open_server(url, **login), Keys(namespace), consumer)

    def now(self) -> float:
        """The Redis clock, in Unix seconds, estimated since the last reply that carried it."""
        return self.server.clock.now()

    @property
    def errors(self) -> Mapping[str, int]:
        """Failed calls so far, by kind."""
        return self.server.errors

    @property
    def commands(self) -> int:
        """Commands sent so far."""
        return self.server.commands

    async def aclose(self) -> None:
        """Close all connections."""
        await self.server.aclose()

"""All connections of a worker: sessions by route, and the HTTP/2 and XMPP pools of the projects."""

from __future__ import annotations

import weakref
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Protocol, Self

from dispatcher.transport.route import Route
from dispatcher.transport.session import Session


class Pool(Protocol):
    """A project's own connections: those of HTTP/2 or XMPP."""

    @property
    def connections(self) -> int:
        """Open connections."""
        ...

    def cut_off(self) -> None:
        """Stop waiting for answers, now and for good."""

    async def aclose(self) -> None:
        """Close the connections."""


class Sessions:
    """Sessions by route, opened when they are first asked for, and pools; an async context manager that closes them.

    Projects with equal routes share a session.
    """

    def __init__(self) -> None:
        self._open: dict[Route, Session] = {}
        # Weak: the pool of a project that is served no more goes with it, once its connections have idled out.
        self._pools: weakref.WeakSet[Pool] = weakref.WeakSet()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in list(self._pools):
            await pool.aclose()
        self._open.clear()
        await self._stack.aclose()

    async def over(self, route: Route) -> Session:
        """The session for a route.

        Raises:
            SettingsError: the route's CA file will not do.
        """
        session = self._open.get(route)
        if session is None:
            session = self._open[route] = await self._stack.enter_async_context(Session(route))
        return session

    def adopt(self, pool: Pool) -> None:
        """Count a project's own connections, cut them off and close them with the rest."""
        self._pools.add(pool)

    @property
    def connections(self) -> int:
        """Open connections of all of them."""
        of_sessions = sum(session.connections for session in self._open.values())
        return of_sessions + sum(pool.connections for pool in self._pools)

    def cut_off(self) -> None:
        """Stop waiting for answers, on all of them (see `Session.cut_off`)."""
        for session in self._open.values():
            session.cut_off()
        for pool in self._pools:
            pool.cut_off()

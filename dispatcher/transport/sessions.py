"""All connections of a worker: sessions by route, and the HTTP/2 pools of the projects."""

from __future__ import annotations

import weakref
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from dispatcher.transport.http2 import Http2Transport
from dispatcher.transport.route import Route
from dispatcher.transport.session import Session


class Sessions:
    """Sessions by route, opened when they are first asked for, and pools; an async context manager that closes them.

    Projects with equal routes share a session.
    """

    def __init__(self) -> None:
        self._open: dict[Route, Session] = {}
        # Weak: the pool of a project that is served no more goes with it, once its connections have idled out.
        self._pools: weakref.WeakSet[Http2Transport] = weakref.WeakSet()
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

    def adopt(self, pool: Http2Transport) -> None:
        """Count a project's HTTP/2 connections, cut them off and close them with the rest."""
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

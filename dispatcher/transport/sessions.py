"""All sessions of a worker: projects with equal routes share one."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from dispatcher.transport.route import Route
from dispatcher.transport.session import Session


class Sessions:
    """Sessions by route, opened when they are first asked for; an async context manager that closes them."""

    def __init__(self) -> None:
        self._open: dict[Route, Session] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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

    @property
    def connections(self) -> int:
        """Open connections of all of them."""
        return sum(session.connections for session in self._open.values())

    def cut_off(self) -> None:
        """Stop waiting for answers, on all of them (see `Session.cut_off`)."""
        for session in self._open.values():
            session.cut_off()

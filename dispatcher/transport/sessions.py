"""All connections of a worker: sessions and HTTP/2 pools, which projects share, and the XMPP pools of the projects.

What projects share they must not take from each other: their requests have a common ceiling, of which each has a share.
"""

from __future__ import annotations

import weakref
from contextlib import AsyncExitStack
from itertools import chain
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

from dispatcher.policy.concurrency import Ceiling
from dispatcher.protocol.http2.connection import USUAL_STREAMS
from dispatcher.transport.http2_connect import Place
from dispatcher.transport.http2_pool import Http2Pool
from dispatcher.transport.route import Route
from dispatcher.transport.session import Session

MOST_REQUESTS = 360
"""Single requests of a worker over HTTP/1.1: 320 for a project that is alone.

Each takes a connection, which under TLS keeps 66 kB (OpenSSL and uvloop, measured).
"""

MOST_STREAMS = 3375
"""Requests of a worker over HTTP/2: 3,000 for a project that is alone. 34 connections of 100 streams: at 50 ms to the
server that is more than a core can send."""


class Pool(Protocol):
    """Connections over HTTP/2, or a project's own over XMPP."""

    @property
    def connections(self) -> int:
        """Open connections."""
        ...

    def cut_off(self) -> None:
        """Stop waiting for answers, now and for good."""

    async def aclose(self) -> None:
        """Close the connections."""


class Sessions:
    """Sessions and pools, opened when they are first asked for; an async context manager that closes them.

    Projects with equal routes share a session, and those with the same endpoint besides an HTTP/2 pool.

    Attributes:
        requests: what all projects may have on the wire as single requests over HTTP/1.1.
        streams: the same over HTTP/2.
    """

    def __init__(self) -> None:
        self.requests = Ceiling(MOST_REQUESTS)
        self.streams = Ceiling(MOST_STREAMS)
        self._open: dict[Route, Session] = {}
        self._http2: dict[tuple[str, str, Route, bool], Http2Pool] = {}
        # Weak: the pool of a project that is served no more goes with it, once its connections have idled out.
        self._pools: weakref.WeakSet[Pool] = weakref.WeakSet()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in self._all_pools():
            await pool.aclose()
        self._http2.clear()
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

    def http2(self, endpoint: str, route: Route, *, only: bool) -> Http2Pool:
        """The HTTP/2 connections to an endpoint.

        Args:
            endpoint: base URL.
            route: the way there.
            only: nothing but HTTP/2 will do.

        Raises:
            SettingsError: the route's CA file will not do.
        """
        url = urlsplit(endpoint)
        key = (url.scheme, url.netloc, route, only)
        pool = self._http2.get(key)
        if pool is None:
            place = Place.of(endpoint, route, only_http2=only)
            pool = self._http2[key] = Http2Pool(
                place, lambda: -(-self.streams.most // USUAL_STREAMS), only=only
            )
        return pool

    def adopt(self, pool: Pool) -> None:
        """Count a project's own connections, cut them off and close them with the rest."""
        self._pools.add(pool)

    @property
    def connections(self) -> int:
        """Open connections of all of them."""
        of_sessions = sum(session.connections for session in self._open.values())
        return of_sessions + sum(pool.connections for pool in self._all_pools())

    def cut_off(self) -> None:
        """Stop waiting for answers, on all of them (see `Session.cut_off`)."""
        for session in self._open.values():
            session.cut_off()
        for pool in self._all_pools():
            pool.cut_off()

    def _all_pools(self) -> list[Pool]:
        return list(chain(self._http2.values(), self._pools))

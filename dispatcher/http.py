"""What Kubernetes and Prometheus ask a worker: `/livez`, `/readyz` and `/metrics`.

* `/livez` asks whether the event loop turns, and nothing else: that Redis or FCM is away is no reason to kill
  a worker, which would only lose its place. That an answer comes at all is the proof.
* `/readyz` asks whether this worker can do its work: Redis answered within the last seconds, and at least one
  project has an access token. FCM is not asked: its trouble is not mended by a new worker.
* `/metrics` is rendered on request.

It is given plain functions, so that it depends on nothing above or beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from aiohttp import web

from dispatcher.errors import SettingsError

REDIS_ANSWERED_WITHIN_S = 5.0
"""Ready as long as Redis answered this lately: blocking reads return more often than that."""

_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health:
    """The small HTTP server of a worker.

    Args:
        redis_silence_s: seconds since Redis last answered; infinite if it never did.
        projects_with_token: the projects that have an access token which still holds.
        metrics: all metrics in the text format.
        draining: whether the worker is on its way out; then it is not ready.
        unverified: projects whose certificates are not looked at; told, but no reason not to be ready.
    """

    def __init__(
        self,
        *,
        redis_silence_s: Callable[[], float],
        projects_with_token: Callable[[], list[str]],
        metrics: Callable[[], bytes],
        draining: Callable[[], bool] = lambda: False,
        unverified: Callable[[], list[str]] = list,
    ) -> None:
        self._redis_silence_s = redis_silence_s
        self._projects_with_token = projects_with_token
        self._metrics = metrics
        self._draining = draining
        self._unverified = unverified
        self._runner: web.AppRunner | None = None

    def app(self) -> web.Application:
        """The application, for a server of one's own."""
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._render_metrics)
        return app

    async def start(self, port: int, host: str | None = None) -> int:
        """Listen.

        Args:
            port: 0 for any free one.
            host: an address; all of the machine's by default.

        Returns:
            The port it listens on.

        Raises:
            SettingsError: the port is taken or not allowed.
        """
        # Scrapes and probes every few seconds from a handful of clients: no line in the log for each.
        runner = web.AppRunner(self.app(), access_log=None, handle_signals=False)
        await runner.setup()
        if port == 0 and host is None:
            # "All addresses" would get a free port for each address family, and only one of them be named.
            host = "0.0.0.0"  # noqa: S104 - as for any other port
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            await runner.cleanup()
            raise SettingsError(
                f"DISPATCHER_HTTP_PORT: cannot listen on port {port} ({error.strerror}); choose a free one, or 0 for any"
            ) from None
        self._runner = runner
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening. Harmless if it never started."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _livez(self, _request: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def _readyz(self, _request: web.Request) -> web.Response:
        silence = self._redis_silence_s()
        projects = self._projects_with_token()
        redis_answers = silence <= REDIS_ANSWERED_WITHIN_S
        draining = self._draining()
        ready = redis_answers and bool(projects) and not draining
        body = {
            "ready": ready,
            "redis": {
                "ok": redis_answers,
                "silent_s": round(silence, 1) if silence != float("inf") else None,
            },
            "credentials": {"ok": bool(projects), "projects": sorted(projects)},
            "draining": draining,
            "tls": {"unverified": sorted(self._unverified())},
        }
        return web.json_response(body, status=200 if ready else 503, dumps=_dumps)

    async def _render_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._metrics(), headers={"Content-Type": _METRICS_TYPE})


def _dumps(body: object) -> str:
    return json.dumps(body) + "\n"

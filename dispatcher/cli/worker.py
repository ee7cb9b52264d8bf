"""`dispatcher worker`: the service itself."""

from __future__ import annotations

from dispatcher.cli.options import Config, load

EXAMPLE = "Example: DISPATCHER_REDIS_URL=redis://localhost DISPATCHER_CREDENTIALS=key.json dispatcher worker"


def worker(*, config: Config = None) -> None:
    """Send jobs from Redis to FCM until SIGTERM; then finish what is in flight and leave."""
    settings = load(config)
    settings.require_redis_url()
    settings.require_credentials()
    from dispatcher.worker import run  # noqa: PLC0415 - brings everything; the other commands need none of it

    run(settings)

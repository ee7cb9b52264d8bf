"""The Redis that the settings name, for a worker or a command."""

from __future__ import annotations

from dispatcher.queue.address import Login
from dispatcher.queue.store import Queue
from dispatcher.settings import Settings


def login_of(settings: Settings) -> Login:
    """The files that the connection to Redis is made with."""
    return Login(
        password_file=settings.redis_password_file,
        ca_file=settings.redis_ca_file,
        cert_file=settings.redis_cert_file,
        key_file=settings.redis_key_file,
    )


def queue_of(settings: Settings, consumer: str) -> Queue:
    """A view of Redis of one's own; close it with `aclose`.

    Args:
        settings: all of them.
        consumer: a name that no other process has or had.

    Raises:
        SettingsError: no Redis URL is set, or it or one of its files cannot be read.
    """
    return Queue.at(
        settings.require_redis_url(), consumer=consumer, namespace=settings.namespace, **login_of(settings)
    )

"""What every part of the queue stands on."""

from __future__ import annotations

from dispatcher.queue.connection import Server
from dispatcher.queue.keys import Keys


class Access:
    """One worker's access: a server, the names of its keys, and the name it reads under.

    Attributes:
        server: the connection; counts commands and keeps the clock.
        keys: names of keys.
        consumer: this process's consumer name, unique among the living and the dead.
    """

    def __init__(self, server: Server, keys: Keys, consumer: str) -> None:
        self.server = server
        self.keys = keys
        self.consumer = consumer

"""From a URL to a server, whatever its kind."""

from __future__ import annotations

from typing import Unpack

from dispatcher.queue.address import Login, parse_url
from dispatcher.queue.cluster import ClusterServer
from dispatcher.queue.connection import DirectServer, Server


def open_server(url: str, **login: Unpack[Login]) -> Server:
    """The server a URL names; connects with the first command.

    Raises:
        SettingsError: the URL or a file cannot be read.
    """
    address = parse_url(url, **login)
    return ClusterServer(address) if address.kind == "cluster" else DirectServer(address)

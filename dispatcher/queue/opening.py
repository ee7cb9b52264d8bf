"""From a URL to a server, whatever its kind."""

from __future__ import annotations

from pathlib import Path

from dispatcher.queue.address import parse_url
from dispatcher.queue.cluster import ClusterServer
from dispatcher.queue.connection import DirectServer, Server


def open_server(url: str, password_file: Path | None = None) -> Server:
    """The server a URL names; connects with the first command.

    Raises:
        SettingsError: the URL or the password file cannot be read.
    """
    address = parse_url(url, password_file)
    return ClusterServer(address) if address.kind == "cluster" else DirectServer(address)

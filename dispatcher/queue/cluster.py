"""Redis Cluster (follows)."""

from __future__ import annotations

from dispatcher.errors import SettingsError
from dispatcher.queue.address import Address
from dispatcher.queue.connection import DirectServer


class ClusterServer(DirectServer):
    """Placeholder until the Cluster connection is written."""

    def __init__(self, address: Address) -> None:
        raise SettingsError(f"redis+cluster:// is not supported yet ({address.hosts[0][0]})")

"""Whether the server is fit to hold jobs."""

from __future__ import annotations

from importlib.util import find_spec

import msgspec

from dispatcher.errors import QueueMisconfigured
from dispatcher.queue.access import Access
from dispatcher.queue.script import Script

OLDEST = (6, 2)
"""The oldest server we can work with: ZMSCORE, XPENDING IDLE, XTRIM MINID."""

_RIGHTS = Script("rights")


class ServerReport(msgspec.Struct):
    """What the server says of itself.

    Attributes:
        version: as `7.0.15`.
        mode: `standalone`, `sentinel` or `cluster`.
        policy: `maxmemory_policy`.
        maxmemory: bytes; 0: no limit.
        aof: append-only file on.
        findings: sentences for the operator, gravest first; empty: all is well.
    """

    version: str
    mode: str
    policy: str
    maxmemory: int
    aof: bool
    findings: list[str]


class Health(Access):
    """Checks of the server."""

    async def ping(self) -> float:
        """Whether it answers; returns the Redis clock, seconds."""
        return await self.server.time()

    async def memory(self) -> tuple[int, int]:
        """(bytes used, maxmemory or 0 for none); of a Cluster, of its fullest server."""
        servers = [_facts(info) for info in await self.server.infos("memory")]
        pairs = [(int(facts.get("used_memory", 0)), int(facts.get("maxmemory", 0))) for facts in servers]
        return max(pairs, key=lambda pair: (pair[0] / pair[1] if pair[1] else 0.0, pair[0]))

    async def check_server(self) -> ServerReport:
        """Look at version, eviction policy, persistence and rights.

        Raises:
            QueueMisconfigured: it cannot do this work at all (older than 6.2, no scripts, no rights).
        """
        facts = _facts(await self.server.call("INFO"))
        version = facts.get("redis_version", "0.0")
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
            raise QueueMisconfigured(f"Redis {version} is too old: 6.2 is needed, 7.4 or newer recommended")
        if facts.get("redis_mode") == "cluster" and not self.server.cluster:
            raise QueueMisconfigured(
                "this server is part of a Cluster: use redis+cluster://host,host as DISPATCHER_REDIS_URL"
            )
        await self.server.eval(_RIGHTS, (self.keys.prefix("check") + "nothing",), ())
        return ServerReport(
            version=version,
            mode="cluster" if self.server.cluster else facts.get("redis_mode", "standalone"),
            policy=facts.get("maxmemory_policy", ""),
            maxmemory=int(facts.get("maxmemory", 0)),
            aof=facts.get("aof_enabled") == "1",
            findings=_findings(facts),
        )


def _facts(info: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in info.decode(errors="replace").splitlines())
    return {name: value for name, sep, value in lines if sep}


def _findings(facts: dict[str, str]) -> list[str]:
    # From INFO, not from CONFIG, which managed services forbid.
    findings = []
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        findings.append(f"maxmemory-policy is {policy}: a full Redis throws jobs away; set it to noeviction")
    if facts.get("role") == "slave":
        findings.append(
            "this server is a replica and takes no writes: point DISPATCHER_REDIS_URL at the master, or use Sentinel"
        )
    if facts.get("aof_enabled") != "1":
        findings.append(
            "appendonly is off: a restart of Redis loses jobs; set appendonly yes, appendfsync everysec"
        )
    if facts.get("maxmemory", "0") == "0":
        findings.append(
            "maxmemory is not set: a growing backlog gets Redis killed; set it below the machine's memory"
        )
    if int(facts.get("connected_slaves", 0)) and "min_slaves_good_slaves" not in facts:
        findings.append("min-replicas-to-write is 0: a failover may lose accepted jobs; set it to 1")
    if find_spec("hiredis") is None:
        findings.append(
            "the hiredis parser is missing: reading is ten times slower; pip install 'redis[hiredis]'"
        )
    return findings

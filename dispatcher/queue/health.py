"""Whether the server is fit to hold jobs."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dispatcher.errors import QueueError, QueueMisconfigured, QueueUnavailable
from dispatcher.queue.access import Access
from dispatcher.queue.faults import COVERAGE_MEND
from dispatcher.queue.rights import keys_of, probes
from dispatcher.queue.script import Script

OLDEST = (6, 2)
"""The oldest server we can work with: ZMSCORE, XPENDING IDLE, XTRIM MINID."""

_RIGHTS = Script("rights")
_SLOTS = 16_384


class ServerReport(msgspec.Struct):
    """What the server says of itself; of a Cluster, what its servers say together.

    Attributes:
        version: as `7.0.15`; the oldest.
        mode: `standalone`, `sentinel` or `cluster`.
        policy: `maxmemory_policy`; where servers differ, all of them.
        maxmemory: bytes; 0: no limit; the smallest.
        aof: append-only file on, everywhere.
        findings: sentences for the operator, gravest first; empty: all is well.
        cautions: the same, of what is a matter of taste to some.
    """

    version: str
    mode: str
    policy: str
    maxmemory: int
    aof: bool
    findings: list[str]
    cautions: list[str]


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

    async def check_server(self, projects: Sequence[str] = ()) -> ServerReport:
        """Look at version, eviction policy, persistence, coverage and rights.

        Args:
            projects: those whose keys are to be used; rights are tried on them. None: on keys like theirs.

        Raises:
            QueueMisconfigured: it cannot do this work at all (older than 6.2, evicts, no scripts, no rights).
            QueueUnavailable: it cannot do it now (a replica, a Cluster with a slot that no server holds).
        """
        servers = [_facts(info) for info in await self.server.infos("default")]
        for facts in servers:
            _refuse(facts, cluster=self.server.cluster)
        if self.server.cluster:
            _refuse_uncovered(_facts(await self.server.call("CLUSTER", "INFO")))
        for project in projects or ("check",):
            await self._check_rights(project)
        whole = servers[0]
        return ServerReport(
            version=min((facts.get("redis_version", "0.0") for facts in servers), key=_numbers),
            mode="cluster" if self.server.cluster else whole.get("redis_mode", "standalone"),
            policy=" and ".join(sorted({facts.get("maxmemory_policy", "") for facts in servers})),
            maxmemory=min(int(facts.get("maxmemory", 0)) for facts in servers),
            aof=all(facts.get("aof_enabled") == "1" for facts in servers),
            findings=list(dict.fromkeys(text for facts in servers for text in _findings(facts))),
            cautions=list(dict.fromkeys(text for facts in servers for text in _cautions(facts))),
        )

    async def _check_rights(self, project: str) -> None:
        """See that this user may run every command and use every key that a worker needs.

        Raises:
            QueueMisconfigured: it may not; all that is missing is named.
        """
        names = keys_of(self.keys, project)
        replies = await self.server.pipeline([("EXISTS", name) for name in names])
        for name, reply in zip(names, replies, strict=True):
            # That EXISTS itself may not be run is told below, with whatever else is missing.
            if isinstance(reply, QueueMisconfigured) and "keys used as arguments" in str(reply):
                raise QueueMisconfigured(
                    f"this user of Redis may not use the key {name}: ACL SETUSER ... ~{self.keys.prefix(project)}*"
                )
            if isinstance(reply, QueueError) and not isinstance(reply, QueueMisconfigured):
                raise reply
        await self.server.call("SCAN", 0, "COUNT", 1)
        refused = [name.decode() for name in await self.server.eval(_RIGHTS, names[:1], probes(names[0]))]
        if refused:
            grants = " ".join(f"+{name}" for name in refused)
            raise QueueMisconfigured(f"this user of Redis lacks rights: ACL SETUSER ... {grants}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() and len(part) < 10 else 0 for part in version.split(".")[:3])


def _refuse(facts: dict[str, str], *, cluster: bool) -> None:
    """What no job may be trusted to.

    Raises:
        QueueMisconfigured: for good.
        QueueUnavailable: as it stands at the moment.
    """
    version = facts.get("redis_version", "0.0")
    if _numbers(version)[:2] < OLDEST:
        raise QueueMisconfigured(f"Redis {version} is too old: 6.2 is needed, 7.4 or newer recommended")
    if facts.get("redis_mode") == "cluster" and not cluster:
        raise QueueMisconfigured(
            "this server is part of a Cluster: use redis+cluster://host,host as DISPATCHER_REDIS_URL"
        )
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy.startswith("allkeys"):
        raise QueueMisconfigured(
            f"maxmemory-policy is {policy}: a full Redis would throw jobs away; set it to noeviction"
        )
    if facts.get("role") == "slave":
        raise QueueUnavailable(
            "this Redis is a replica and takes no writes: point DISPATCHER_REDIS_URL at the master, or use redis+sentinel://"
        )


def _refuse_uncovered(facts: dict[str, str]) -> None:
    held = min(int(facts.get(f"cluster_slots_{state}", _SLOTS)) for state in ("assigned", "ok"))
    if held < _SLOTS:
        raise QueueUnavailable(
            f"{_SLOTS - held} of the {_SLOTS} slots of this Redis Cluster are held by no server that answers: "
            f"{COVERAGE_MEND}"
        )
    if facts.get("cluster_state", "ok") != "ok":
        raise QueueUnavailable(
            "this Redis Cluster is down (cluster_state): see redis-cli --cluster check HOST:PORT"
        )


def _facts(info: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in info.decode(errors="replace").splitlines())
    return {name: value for name, sep, value in lines if sep}


def _cautions(facts: dict[str, str]) -> list[str]:
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return []
    text = f"maxmemory-policy is {policy}: a full Redis would drop leases and deduplication keys, and messages be sent twice"
    return [f"{text}; set it to noeviction"]


def _findings(facts: dict[str, str]) -> list[str]:
    # From INFO, not from CONFIG, which managed services forbid.
    findings = []
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
    return findings

"""Least rights: what a user of Redis must be allowed to do for each task, as `ACL SETUSER` wants it.

The README's table is printed from here, and the tests run each task with exactly these rights.
"""

from __future__ import annotations

import msgspec

from dispatcher.model import STREAMS
from dispatcher.queue.keys import Keys


class Task(msgspec.Struct, frozen=True):
    """A task and its rights.

    Attributes:
        name: for the table.
        who: what does it.
        keys: patterns, the namespace left out.
        commands: in lower case; a subcommand as `xgroup|create`.
    """

    name: str
    who: str
    keys: tuple[str, ...]
    commands: tuple[str, ...]

    def rules(self, namespace: str = "fcm") -> list[str]:
        """As arguments of ACL SETUSER, behind the user's name; PASSWORD stands for the password."""
        patterns = [f"~{namespace}:{{*}}:{pattern}" for pattern in self.keys]
        return [
            "reset",
            "on",
            ">PASSWORD",
            "resetchannels",
            *patterns,
            *(f"+{command}" for command in self.commands),
        ]


_SCRIPTS = ("eval", "evalsha")

WORKER = Task(
    "worker",
    "`dispatcher worker`, `dispatcher check`",
    ("*",),
    (
        *_SCRIPTS,
        *("info", "time", "scan", "exists", "del", "get", "set", "strlen", "pexpire"),
        *("hdel", "hexists", "hget", "hgetall", "hincrby", "hlen", "hmget", "hset"),
        *("xack", "xadd", "xclaim", "xdel", "xlen", "xpending", "xrange", "xreadgroup", "xrevrange", "xtrim"),
        *("xgroup|create", "xgroup|delconsumer", "xinfo|consumers", "xinfo|groups"),
        *("zadd", "zcard", "zcount", "zmscore", "zrange", "zrangebyscore"),
        *("zrem", "zremrangebyrank", "zremrangebyscore", "zscore"),
    ),
)
PRODUCER = Task(
    "producer",
    "`Producer`, `SyncProducer`, `dispatcher send`; `replicas` needs `+wait` as well",
    ("jobs:*", "delayed", "delayed:jobs"),
    (*_SCRIPTS, "time", "xadd", "xlen", "hsetnx", "zadd"),
)
READER = Task(
    "reader",
    "`OutcomeReader`, `UpstreamReader`, `dispatcher outcomes` without `--job`, `--token`",
    ("outcomes", "upstream"),
    ("xrange", "xread", "xrevrange"),
)
GROUP_READER = Task(
    "group reader",
    "`OutcomeGroupReader`",
    ("outcomes",),
    (
        *_SCRIPTS,
        *("xack", "xclaim", "xdel", "xpending", "xrange", "xreadgroup"),
        *("xgroup|create", "xgroup|delconsumer"),
    ),
)
OPERATOR = Task(
    "operator",
    "`DeadLetters`, and every command but `worker`, `check` and `demo`",
    ("*",),
    (
        *_SCRIPTS,
        *("time", "scan", "exists", "pttl", "hdel", "hexists", "hget", "hgetall", "hincrby", "hscan", "hset"),
        *("xadd", "xdel", "xlen", "xpending", "xrange", "xread", "xrevrange", "xinfo|stream"),
        *(
            "zadd",
            "zcard",
            "zcount",
            "zmscore",
            "zrange",
            "zrangebyscore",
            "zrem",
            "zrevrangebyscore",
            "zscore",
        ),
    ),
)
TASKS = (WORKER, PRODUCER, READER, GROUP_READER, OPERATOR)

CLUSTER = ("asking", "cluster|info", "cluster|slots", "command")
"""What each of them needs besides in a Cluster (`asking`: while slots move)."""

_HERE = "\0key"
"""Stands for the key in a probe."""

# A call of each command that changes nothing, or nothing that is not undone at once, where the key is missing.
_PROBES: dict[str, tuple[str, ...]] = {
    "del": (_HERE,),
    "exists": (_HERE,),
    "get": (_HERE,),
    "set": (_HERE, "1", "XX"),
    "strlen": (_HERE,),
    "pexpire": (_HERE, "1"),
    "hdel": (_HERE, "f"),
    "hexists": (_HERE, "f"),
    "hget": (_HERE, "f"),
    "hgetall": (_HERE,),
    "hincrby": (_HERE, "f", "1"),
    "hlen": (_HERE,),
    "hmget": (_HERE, "f"),
    "hset": (_HERE, "f", "1"),
    "xack": (_HERE, "g", "0-1"),
    "xadd": (_HERE, "NOMKSTREAM", "*", "f", "1"),
    "xclaim": (_HERE, "g", "c", "0", "0-1"),
    "xdel": (_HERE, "0-1"),
    "xlen": (_HERE,),
    "xpending": (_HERE, "g"),
    "xrange": (_HERE, "-", "+"),
    "xreadgroup": ("GROUP", "g", "c", "STREAMS", _HERE, ">"),
    "xrevrange": (_HERE, "+", "-"),
    "xtrim": (_HERE, "MAXLEN", "1"),
    "xgroup|create": (_HERE, "g", "0"),
    "xgroup|delconsumer": (_HERE, "g", "c"),
    "xinfo|consumers": (_HERE, "g"),
    "xinfo|groups": (_HERE,),
    "zadd": (_HERE, "XX", "1", "m"),
    "zcard": (_HERE,),
    "zcount": (_HERE, "0", "1"),
    "zmscore": (_HERE, "m"),
    "zrange": (_HERE, "0", "0"),
    "zrangebyscore": (_HERE, "0", "1"),
    "zrem": (_HERE, "m"),
    "zremrangebyrank": (_HERE, "0", "0"),
    "zremrangebyscore": (_HERE, "0", "1"),
    "zscore": (_HERE, "m"),
    "time": (),
}
ASKED_OTHERWISE = frozenset({*_SCRIPTS, "info", "scan"})
"""Commands of a worker that are found missing by calling them as it does."""


def probes(key: str) -> list[str]:
    """What the script `rights` tries: of each call how many words, the command's name as in the rules, and the words."""
    flat: list[str] = []
    for name, words in _PROBES.items():
        call = [*name.upper().split("|"), *(key if word == _HERE else word for word in words)]
        flat += (str(len(call)), name, *call)
    return flat


def keys_of(keys: Keys, project: str) -> list[str]:
    """A key of each kind that a worker uses of a project; the first is never there."""
    return [
        keys.lease(project, "check"),
        *(keys.stream(project, stream) for stream in STREAMS),
        *(keys.delayed(project), keys.delayed_jobs(project), keys.outcomes(project), keys.dead(project)),
        *(keys.control(project), keys.pauses(project), keys.quota(project), keys.quota_management(project)),
        *(keys.dedup(project, "check"), keys.campaign(project, "check")),
        *(keys.upstream(project), keys.upstream_seen(project)),
    ]


def markdown() -> str:
    """The README's paragraphs of rights."""
    parts = []
    for task in TASKS:
        rules = " ".join(task.rules())
        parts.append(f"{task.name}: {task.who}\n\n    ACL SETUSER {task.name.replace(' ', '-')} {rules}\n")
    cluster = " ".join(f"+{command}" for command in CLUSTER)
    parts.append(f"and each of them in a Cluster, besides\n\n    {cluster}\n")
    return "\n".join(parts)

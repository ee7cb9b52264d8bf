"""What an operator sees of an installation, from Redis alone: projects, workers, recent outcomes, paused targets."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from dispatcher.errors import QueueError
from dispatcher.model import STREAMS
from dispatcher.queue.access import Access
from dispatcher.queue.connection import Command
from dispatcher.queue.keys import GROUP, RELEASED, entry_time

_PAGE = 50


class WorkerFacts(msgspec.Struct):
    """A worker, as far as one project is concerned.

    Attributes:
        name: its consumer name: host, process, and a random part; `released` holds what workers handed back.
        lease_s: how long its lease goes on without a sign of life; 0: it has none, and others take its jobs over.
        in_flight: jobs it has read and not settled.
    """

    name: str
    lease_s: float
    in_flight: int


class PausedTarget(msgspec.Struct):
    """A target that FCM throttled.

    Attributes:
        key: `Target.key`: its kind's letter and a hash.
        for_s: seconds until its pause is over.
        queue_s: seconds until its next free slot: as long is its queue.
        free_at: that slot, Redis clock in seconds.
    """

    key: str
    for_s: float
    queue_s: float
    free_at: float


class Overview(Access):
    """Looking."""

    async def projects_in_use(self) -> tuple[list[str], dict[str, dict[str, float]]]:
        """Projects that have keys, and the leases of each: {project: {worker: seconds left}}."""
        head = f"{self.keys.namespace}:{{"
        projects: set[str] = set()
        leases: list[tuple[str, str, str]] = []
        for raw in await self.server.scan(f"{head}*}}:*"):
            key = raw.decode(errors="replace")
            project, sep, name = key.removeprefix(head).partition("}:")
            if not sep or name == "quota" or name.startswith(("dedup:", "campaign:")):
                continue
            projects.add(project)
            if name.startswith("lease:"):
                leases.append((project, name.removeprefix("lease:"), key))
        left = await self.server.pipeline([("PTTL", key) for _, _, key in leases])
        found: dict[str, dict[str, float]] = {}
        for (project, worker, _), ms in zip(leases, left, strict=True):
            if isinstance(ms, int) and ms > 0:
                found.setdefault(project, {})[worker] = ms / 1000
        return sorted(projects), found

    async def knows(self, project: str) -> bool:
        """Whether a worker or a producer has ever had to do with this project here."""
        keys = self.keys
        names = [keys.stream(project, stream) for stream in STREAMS]
        names += (keys.delayed(project), keys.outcomes(project), keys.dead(project))
        return bool(await self.server.call("EXISTS", *names))

    async def workers(self, project: str, leases: dict[str, float]) -> list[WorkerFacts]:
        """The workers of a project, the dead ones with jobs too.

        Args:
            project: Firebase project id.
            leases: of the project, from `projects_in_use`.
        """
        asked: list[Command] = [("XPENDING", self.keys.stream(project, stream), GROUP) for stream in STREAMS]
        held = dict.fromkeys(leases, 0)
        for reply in await self.server.pipeline(asked):
            if isinstance(reply, QueueError):
                if "NOGROUP" not in str(reply):
                    raise reply
                continue
            for name, count in reply[3] or ():
                worker = name.decode(errors="replace")
                held[worker] = held.get(worker, 0) + int(count)
        return [
            WorkerFacts(name, round(leases.get(name, 0.0), 1), count)
            for name, count in sorted(held.items())
            if count or name != RELEASED
        ]

    async def paused_targets(self, project: str, limit: int = 20) -> tuple[list[PausedTarget], int]:
        """Targets that are paused now, those with the longest queue first; and how many there are."""
        now = self.server.clock.now() if self.server.clock.known else await self.server.time()
        key = self.keys.pauses(project)
        reply = await self.server.call("ZREVRANGEBYSCORE", key, "+inf", int(now * 1000), "WITHSCORES")
        ends: dict[str, float] = {}
        free: dict[str, float] = {}
        for number in range(0, len(reply), 2):
            member, at = reply[number].decode(), float(reply[number + 1]) / 1000 - now
            name, _, until = member.partition("|")
            (ends if until else free)[name] = at
        found = [
            PausedTarget(name, round(ends.get(name, 0.0), 1), round(at, 1), at + now)
            for name, at in free.items()
        ]
        return found[:limit], len(found)

    async def recent_outcomes(
        self, project: str, seconds: float, most: int = 200
    ) -> tuple[list[bytes], float]:
        """The newest values of the outcome stream, and the seconds they cover: fewer where there are many.

        Args:
            project: Firebase project id.
            seconds: how far to look back.
            most: entries at most; each holds the outcomes of one settled batch.
        """
        now = await self.server.time()
        oldest = int((now - seconds) * 1000)
        values: list[bytes] = []
        before = "+"
        covered = seconds
        while len(values) < most:
            page = await self.server.call(
                "XREVRANGE", self.keys.outcomes(project), before, f"{oldest}-0", "COUNT", _PAGE
            )
            for entry_id, fields in page:
                values += fields[1::2]
                before = f"({entry_id.decode()}"
            if len(page) < _PAGE:
                break
        else:
            covered = max(0.001, now - entry_time(before.removeprefix("(")))
        return values, covered

    async def lengths(self, streams: Sequence[str]) -> list[int]:
        """Entries in each of these keys."""
        replies = await self.server.pipeline([("XLEN", key) for key in streams])
        return [reply if isinstance(reply, int) else 0 for reply in replies]

"""Dead letters: what was rejected or given up; look, put it back, or remove it.

Example:
    async with DeadLetters.at(REDIS_URL) as dead:
        unlucky = DeadFilter(status="failed", code="server-unavailable")
        print((await dead.count(PROJECT, unlucky)).messages)
        print(await dead.replay(PROJECT, unlucky))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Self, Unpack
from uuid import uuid4

import msgspec

from dispatcher.client.connected import Connected
from dispatcher.protocol.letter import DeadLetter, decode_letter, replay_state
from dispatcher.queue.address import Login
from dispatcher.queue.letters import Replay
from dispatcher.queue.store import Queue

_PAGE = 200
"""Letters read at a time; one may hold 250 KB."""


class DeadFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which dead letters; what is left out does not matter.

    Attributes:
        code: this code.
        status: `rejected` or `failed`.
        target: one of its targets is this token, topic, condition, installation or group.
        job: this job (its own id, else the entry id of its enqueueing).
        campaign: of this campaign.
        older_than_s: dead for at least so many seconds, by Redis's clock.
        younger_than_s: dead for at most so many seconds.
        until: up to and with this letter; `DeadCount.last`, to act on just what was counted.
    """

    code: str = ""
    status: str = ""
    target: str = ""
    job: str = ""
    campaign: str = ""
    older_than_s: float = 0.0
    younger_than_s: float = 0.0
    until: str = ""

    def takes(self, letter: DeadLetter) -> bool:
        """Whether it is such a letter, its age and place apart."""
        return (
            self.code in ("", letter.code)
            and self.status in ("", letter.status)
            and self.job in ("", letter.job)
            and self.campaign in ("", letter.campaign)
            and (not self.target or any(target.value == self.target for target in letter.targets))
        )


ALL = DeadFilter()
"""Every letter."""


class DeadCount(msgspec.Struct):
    """What a filter finds.

    Attributes:
        letters: dead letters.
        messages: messages in them: a letter of a multicast job holds one for each dead token.
        codes: messages by (status, code).
        last: the newest of the letters; "": there is none.
    """

    letters: int = 0
    messages: int = 0
    codes: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    last: str = ""


class Replayed(msgspec.Struct):
    """What a replay did.

    Attributes:
        jobs: letters that are jobs again.
        messages: messages in them.
        expired: letters left where they are: their job's `expires_at` is over.
        gone: letters that somebody else replayed or removed meanwhile.
    """

    jobs: int = 0
    messages: int = 0
    expired: int = 0
    gone: int = 0


class DeadLetters(Connected):
    """The dead letters of the projects of one namespace.

    Args:
        queue: a view of Redis; closed by `aclose`.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    @classmethod
    def at(cls, redis_url: str, *, namespace: str = "fcm", **login: Unpack[Login]) -> Self:
        """With a connection of its own, which is made at the first call (see `Producer.at`)."""
        consumer = f"letters-{uuid4().hex[:12]}"
        return cls(Queue.at(redis_url, consumer=consumer, namespace=namespace, **login))

    async def projects(self) -> list[str]:
        """The projects that have dead letters."""
        return await self._queue.projects_with_dead()

    async def letters(
        self, project: str, where: DeadFilter = ALL, *, after: str = "0-0", limit: int = 0
    ) -> AsyncIterator[DeadLetter]:
        """The letters that the filter takes, oldest first, up to the newest there is at the start.

        Args:
            project: Firebase project id.
            where: which.
            after: only those behind this letter, to go on from there.
            limit: at most so many; 0: all.
        """
        found = 0
        async for page in self._pages(project, where, after):
            for letter in page:
                yield letter
                found += 1
                if found == limit:
                    return

    async def get(self, project: str, entry_id: str) -> DeadLetter | None:
        """One letter by its id; None: it is not there (any more).

        Raises:
            ValueError: this is no id of an entry.
        """
        found = await self._queue.record(project, "dead", _checked(entry_id))
        return decode_letter(project, *found) if found else None

    async def count(self, project: str, where: DeadFilter = ALL) -> DeadCount:
        """How many the filter takes; replays and removes nothing."""
        counted = DeadCount()
        async for page in self._pages(project, where, "0-0"):
            for letter in page:
                counted.letters += 1
                counted.messages += letter.messages
                counted.codes[letter.status, letter.code] += letter.messages
                counted.last = letter.entry_id
        return counted

    async def replay(
        self,
        project: str,
        where: DeadFilter | Sequence[str] = ALL,
        *,
        expires_at: float = 0.0,
        limit: int = 0,
        progress: Callable[[Replayed], object] | None = None,
    ) -> Replayed:
        """Put letters back into the lanes they came from.

        Each is a new run of the same job: `replay` in its outcomes says which one, its attempts and its life begin
        anew, its history goes along. Letter and job are never there both, nor neither: called twice, interrupted or
        done by two at once, it sends nothing twice. What dies again while this runs is left alone.

        Args:
            project: Firebase project id.
            where: which; or their entry ids.
            expires_at: Unix seconds; in place of the jobs' own. Without it, a job whose own time is over stays.
            limit: at most so many letters; 0: all.
            progress: called after each page with the sums so far.

        Raises:
            ValueError: an id is none, or expires_at is over.
            QueueError: Redis refused or went away; what is done is done, and calling again does the rest.
        """
        now = await self._queue.ping()
        if expires_at and expires_at <= now:
            raise ValueError(f"expires_at: found {expires_at:.0f}, which is over; give a later time")
        done = Replayed()
        async for page in self._chosen(project, where):
            live = [letter for letter in page if expires_at or not 0 < letter.expires_at <= now]
            done.expired += len(page) - len(live)
            if limit:
                live = live[: limit - done.jobs]
            rows = [
                Replay(letter.entry_id, letter.lane, len(letter.fields), _added(letter, now, expires_at))
                for letter in live
            ]
            ids = await self._queue.replay_letters(project, rows)
            done.jobs += sum(map(bool, ids))
            done.messages += sum(letter.messages for letter, made in zip(live, ids, strict=True) if made)
            done.gone += ids.count("")
            if progress is not None:
                progress(done)
            if limit and done.jobs >= limit:
                break
        else:
            if not isinstance(where, DeadFilter):
                done.gone += len(_listed(where)) - done.jobs - done.expired - done.gone
        return done

    async def purge(
        self,
        project: str,
        where: DeadFilter | Sequence[str] = ALL,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> int:
        """Remove letters for good.

        Args:
            project: Firebase project id.
            where: which; or their entry ids.
            progress: called after each page with the number so far.

        Returns:
            How many were removed.

        Raises:
            ValueError: an id is none.
        """
        removed = 0
        async for page in self._chosen(project, where):
            removed += await self._queue.remove_letters(project, [letter.entry_id for letter in page])
            if progress is not None:
                progress(removed)
        return removed

    async def _chosen(
        self, project: str, where: DeadFilter | Sequence[str]
    ) -> AsyncIterator[list[DeadLetter]]:
        if isinstance(where, DeadFilter):
            async for page in self._pages(project, where, "0-0"):
                yield page
            return
        for entry_id in _listed(where):
            letter = await self.get(project, entry_id)
            if letter is not None:
                yield [letter]

    async def _pages(self, project: str, where: DeadFilter, after: str) -> AsyncIterator[list[DeadLetter]]:
        """The letters that the filter takes, those of one read at a time."""
        # Letters that are replayed and die again would be met for ever without an end that is set now.
        until = _checked(where.until) if where.until else await self._queue.last_record(project, "dead")
        if where.older_than_s or where.younger_than_s:
            now = await self._queue.ping()
            if where.younger_than_s:
                after = max(after, _end_of(now - where.younger_than_s - 0.001), key=_order)
            if where.older_than_s:
                until = min(until, _end_of(now - where.older_than_s), key=_order)
        while entries := await self._queue.records(project, "dead", after=after, until=until, count=_PAGE):
            after = entries[-1][0]
            page = [decode_letter(project, *entry) for entry in entries]
            yield [letter for letter in page if where.takes(letter)]


def _listed(where: Sequence[str]) -> list[str]:
    """Entry ids, each once."""
    return [_checked(entry_id) for entry_id in dict.fromkeys([where] if isinstance(where, str) else where)]


def _added(letter: DeadLetter, now: float, expires_at: float) -> list[bytes]:
    added = [b"_state", replay_state(letter, now)]
    if expires_at:
        added += (b"expires_at", f"{expires_at:.3f}".encode())
    return added


def _order(entry_id: str) -> tuple[int, int]:
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number)


def _end_of(at: float) -> str:
    """The last id that an entry of this millisecond can have."""
    return f"{max(0, int(at * 1000))}-{2**64 - 1}"


def _checked(entry_id: str) -> str:
    ms, dash, number = entry_id.partition("-")
    if not (dash and ms.isascii() and ms.isdigit() and number.isascii() and number.isdigit()):
        raise ValueError(f'"{entry_id}" is no id of a dead letter; it looks like 1731000000000-0')
    return entry_id

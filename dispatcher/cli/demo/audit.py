"""The demo checks itself: outcomes and the emulator's own ledger against what was asked."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from urllib.request import urlopen

import msgspec

from dispatcher.cli.demo.traffic import RETRY_AFTER_S, Plan, busy
from dispatcher.model import Outcome, Status

NOTICE_S = 1.0
"""A throttled target must be left alone from this long after its 429."""

_TIMEOUT_S = 30.0


class Row(msgspec.Struct, array_like=True, gc=False):
    """One arrival in the emulator's ledger."""

    number: int
    time: float
    request: int
    project: str
    kind: str
    target: str
    id: str
    digest: int
    status: int
    code: str


class Page(msgspec.Struct):
    """A page of the ledger."""

    rows: list[Row]
    next: int | None


class Check(msgspec.Struct):
    """One claim and whether it holds."""

    claim: str
    holds: bool
    found: str


def fetch_ledger(base: str) -> list[Row]:
    """Everything that arrived at the emulator, in order."""
    rows: list[Row] = []
    after: int | None = 0
    while after is not None:
        with urlopen(f"{base}/_emulator/ledger?after={after}", timeout=_TIMEOUT_S) as answer:  # noqa: S310 - our own loopback URL
            page = msgspec.json.decode(answer.read(), type=Page)
        rows += page.rows
        after = page.next
    return rows


def audit(plan: Plan, outcomes: list[Outcome], ledger: list[Row]) -> list[Check]:
    """Compare the three.

    Args:
        plan: what was asked.
        outcomes: all that were recorded.
        ledger: all that arrived at the emulator.
    """
    return [
        _one_outcome_each(plan, outcomes),
        _as_expected(plan, outcomes),
        _nothing_unasked(plan, ledger),
        _accepted_once(outcomes, ledger),
        _left_alone(plan, ledger),
        _nobody_delayed(plan, ledger),
    ]


def _one_outcome_each(plan: Plan, outcomes: list[Outcome]) -> Check:
    counts = Counter((outcome.job, outcome.index) for outcome in outcomes)
    missing = sum(key not in counts for key in plan.asked)
    several = sum(count > 1 for count in counts.values())
    strange = sum(key not in plan.asked for key in counts)
    return Check(
        "every message has exactly one outcome",
        not (missing or several or strange),
        f"{len(counts):,} of {len(plan.asked):,}, {several} twice, {strange} unknown",
    )


def _as_expected(plan: Plan, outcomes: list[Outcome]) -> Check:
    wrong = [
        outcome
        for outcome in outcomes
        if (asked := plan.asked.get((outcome.job, outcome.index))) is not None
        and (outcome.status is not asked.status or outcome.target != {asked.kind: asked.value})
    ]
    seen = f"; the first: {wrong[0].status} {wrong[0].code} {wrong[0].reason}" if wrong else ""
    return Check(
        "unregistered tokens are invalid, all others accepted", not wrong, f"{len(wrong)} wrong{seen}"
    )


def _nothing_unasked(plan: Plan, ledger: list[Row]) -> Check:
    asked = {(a.id, a.kind, a.value) for a in plan.asked.values()}
    strange = sum((row.id, row.kind, row.target) not in asked for row in ledger)
    return Check(
        "nothing was sent that was not asked for", not strange, f"{len(ledger):,} sends, {strange} unasked"
    )


def _accepted_once(outcomes: list[Outcome], ledger: list[Row]) -> Check:
    taken = Counter((row.id, row.kind, row.target) for row in ledger if row.code == "OK")
    duplicates = sum(count - 1 for count in taken.values())
    accepted = sum(outcome.status is Status.ACCEPTED for outcome in outcomes)
    return Check(
        "`accepted` means that FCM took it, and took it once",
        accepted == len(taken) and not duplicates,
        f"{accepted:,} accepted, {len(taken):,} taken, {duplicates} duplicates",
    )


def _left_alone(plan: Plan, ledger: list[Row]) -> Check:
    """After its 429 a target gets nothing until its Retry-After is over."""
    throttled: dict[str, list[float]] = defaultdict(list)
    early = 0
    names = {asked.value for asked in plan.asked.values() if busy(asked)}
    for row in ledger:
        if row.target not in names:
            continue
        early += any(NOTICE_S < row.time - then < RETRY_AFTER_S for then in throttled[row.target])
        if row.status == 429:
            throttled[row.target].append(row.time)
    count = sum(map(len, throttled.values()))
    return Check("throttled targets are left alone", not early, f"{count} times 429, {early} sends too early")


def _nobody_delayed(plan: Plan, ledger: list[Row]) -> Check:
    """First sends to the other targets never stop for as long as a throttled one is held."""
    names = {asked.value for asked in plan.asked.values() if busy(asked)}
    seen: set[tuple[str, str]] = set()
    times: list[float] = []
    for row in ledger:
        key = (row.id, row.target)
        if row.target not in names and key not in seen:
            seen.add(key)
            times.append(row.time)
    longest = max((later - earlier for earlier, later in itertools.pairwise(times)), default=0.0)
    return Check(
        "no other target was delayed by them",
        longest < RETRY_AFTER_S,
        f"first sends to the others never paused for more than {longest:.2f} s",
    )

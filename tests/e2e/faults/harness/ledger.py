"""The ledger: the producer's log, the emulator's log, the outcomes and the dead letters, held against each other.

Nothing in it is taken from the workers' own idea of what happened, except their counters, which are checked too.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from functools import partial
from itertools import pairwise
from typing import Any

from harness.jobs import Message, messages_of
from harness.processes import total
from harness.stage import STREAMS, Stage
from harness.waiting import until

GRACE_S = 0.5
"""What had left a worker when it was killed may reach the emulator this much later, on a machine that never stalls."""

COUNTED_S = 10.0
"""Until a worker has counted what it has settled, however slowly its replies come."""

MOST_RSS = 150 << 20
"""The bound on a worker's memory that the design sets."""

WELL = {"accepted", "done"}
DEAD = {"rejected", "failed"}


class Findings(dict[str, Any]):
    """What a scenario came to, for the report."""


async def close_books(
    stage: Stage,
    *,
    counters: bool = True,
    lost_ok: bool = False,
    stop: bool = True,
    spread: float = 2.0,
    others: bool = False,
) -> Findings:
    """End all workers in an orderly way and check everything.

    Args:
        stage: with everything settled.
        counters: the workers' counters are compared (not after a kill: a dead worker's are gone).
        lost_ok: Redis itself has lost data: missing outcomes and sends that nobody asked for are no failure.
        stop: end the workers.
        spread: most time from a kill to the first reclaim, in leases.
        others: messages that the producer's log does not know are no failure.
    """
    for worker in stage.workers:
        assert worker.alive or worker.killed or worker.code == 0, (
            f"{worker.name} ended by itself with {worker.code}: {worker.last_words}"
        )
    outcomes = await read_outcomes(stage)
    if counters and not any(worker.killed for worker in stage.workers):
        await _counters_agree(stage, outcomes)
    for worker in stage.live:
        await worker.metrics()
    if stop:
        for worker in stage.live:
            code = await worker.stop()
            assert code == 0, f"{worker.name} ended with {code}: {worker.last_words}"
    outcomes = await read_outcomes(stage)
    rows, calls = await stage.emulator.rows(), await stage.emulator.calls()
    assert not stage.tls or await stage.emulator.spoke_only_http2(), await stage.emulator.get("summary")
    found = Findings(
        messages=len(stage.asked),
        faults=stage.faults,
        outcomes=sum(map(len, outcomes.values())),
        sends=len(rows) + len(calls),
    )
    if not lost_ok:
        _exactly_one_each(stage, outcomes)
    if not others:
        strange = outcomes.keys() - stage.asked.keys()
        assert not strange, f"outcomes of messages nobody asked for: {sorted(strange)[:5]}"
    accepted = _accepted_times(rows) | _done_times(stage, calls)
    _accepted_means_accepted(outcomes, accepted)
    found |= _duplicates_are_bounded(stage, outcomes, accepted)
    await _dead_letters_agree(stage, outcomes)
    await _nothing_is_left(stage)
    found |= _recovered_in_time(stage, spread)
    peaks = [worker.peak_rss for worker in stage.workers if worker.peak_rss]
    found["peak_rss_mb"] = max(peaks, default=0) >> 20
    assert max(peaks, default=0) <= MOST_RSS, f"a worker's memory reached {found['peak_rss_mb']} MiB"
    return found


async def read_outcomes(stage: Stage) -> dict[Message, list[dict[str, Any]]]:
    """All outcomes of all projects, by message."""
    found: dict[Message, list[dict[str, Any]]] = defaultdict(list)
    for project in stage.projects:
        for _, fields in await stage.redis.client.xrange(stage.keys.outcomes(project)):
            for outcome in json.loads(fields["outcomes"]):
                # Poison is not decoded, so that its outcome has no target.
                value = next(iter(outcome.get("target", {}).values()), "")
                found[outcome["job"], value or _target_of(stage, outcome["job"])].append(outcome)
    return found


async def repeated_unmarked(stage: Stage) -> set[Message]:
    """Messages that the emulator accepted twice, and whose outcome does not say that this may be."""
    times = _accepted_times(await stage.emulator.rows())
    marked = {
        message
        for message, ended in (await read_outcomes(stage)).items()
        if any(outcome.get("possible_duplicate") for outcome in ended)
    }
    return {message for message, each in times.items() if len(each) > 1} - marked


def _target_of(stage: Stage, name: str) -> str:
    """By the producer's log."""
    return next((value for known, value in stage.asked if known == name), "")


def _exactly_one_each(stage: Stage, outcomes: dict[Message, list[dict[str, Any]]]) -> None:
    missing = [m for m, asked in stage.asked.items() if not (asked.unsure or outcomes.get(m))]
    assert not missing, f"{len(missing)} messages have no outcome, as {missing[:5]}"
    wrong = []
    for message, asked in stage.asked.items():
        statuses = [outcome["status"] for outcome in outcomes.get(message, ())]
        if asked.unsure and not statuses:
            continue
        # A job that a producer enqueued twice (a lost reply) has an outcome for each entry.
        if len(statuses) != asked.entries or not asked.may.issuperset(statuses):
            wrong.append(
                (message, statuses, outcomes[message][0].get("code"), outcomes[message][0].get("reason"))
            )
    assert not wrong, f"{len(wrong)} messages ended wrongly or more than once, as {wrong[:5]}"


def _accepted_times(rows: list[dict[str, Any]]) -> dict[Message, list[float]]:
    times: dict[Message, list[float]] = defaultdict(list)
    for row in rows:
        if row["code"] == "OK":
            times[row["id"], row["target"]].append(row["time"])
    return times


def _done_times(stage: Stage, calls: list[dict[str, Any]]) -> dict[Message, list[float]]:
    """The same for the items of management jobs. That it was so already is as good as having done it."""
    items = {asked.deed: message for message, asked in stage.asked.items() if asked.deed}
    times: dict[Message, list[float]] = defaultdict(list)
    for call in calls:
        if call["word"] in ("", "ALREADY_EXISTS"):
            times[items[call["operation"], call["subject"], call["value"]]].append(call["time"])
    return times


def _accepted_means_accepted(
    outcomes: dict[Message, list[dict[str, Any]]], accepted: dict[Message, list[float]]
) -> None:
    for message, ended in outcomes.items():
        statuses = {outcome["status"] for outcome in ended}
        if statuses & WELL:
            assert message in accepted, f"{message} is {statuses}, and the emulator never took it"
        elif not any(outcome.get("possible_duplicate") or outcome.get("code") for outcome in ended):
            assert message not in accepted, f"{message} is {statuses}, and the emulator took it"


def _duplicates_are_bounded(
    stage: Stage, outcomes: dict[Message, list[dict[str, Any]]], accepted: dict[Message, list[float]]
) -> Findings:
    """No message is sent more often than it was lost on the wire, by the emulator's log."""
    allowed: Counter[Message] = Counter()
    for cut in stage.cuts:
        grace = stage.stalls.after(cut.clock, GRACE_S)
        for message in cut.unsettled:
            # What was read and had not been sent is no excuse.
            if any(at < cut.at + grace for at in accepted.get(message, ())):
                allowed[message] += 1
    lapses = _lapses_of_the_machine(stage)
    duplicates: Counter[Message] = Counter()
    for message, times in accepted.items():
        if len(times) > 1:
            duplicates[message] = len(times) - 1
            allowed[message] += sum(
                any(first < at and second > at - 2 * stage.lease_s for first, second in pairwise(times))
                for at in lapses
            )
    over = {m: (n, allowed[m]) for m, n in duplicates.items() if n > allowed[m]}
    first = next(iter(over), None)
    assert not over, (
        f"{len(over)} messages were sent more often than they were on the wire at a cut, as {first}: "
        f"{over[first]} {accepted[first]}; cuts: {[(cut.what, cut.at, len(cut.unsettled)) for cut in stage.cuts]}"
    )
    marked = sum(any(outcome.get("possible_duplicate") for outcome in ended) for ended in outcomes.values())
    return Findings(duplicates=duplicates.total(), bound=allowed.total(), marked=marked, lapses=len(lapses))


def _lapses_of_the_machine(stage: Stage) -> list[float]:
    """Unix times at which workers found that they had lost their lease, without a fault of ours before it.

    On a machine so busy that a process gets no processor for a whole lease this is an outage like any other; only
    nobody could note what was on the wire.
    """
    offset = time.time() - time.monotonic()
    return [
        at + offset
        for worker in stage.workers
        for at, _ in worker.said("lease_lost")
        if not any(cut.worker is worker and cut.clock < at for cut in stage.cuts)
    ]


async def _dead_letters_agree(stage: Stage, outcomes: dict[Message, list[dict[str, Any]]]) -> None:
    expected = Counter(
        message for message, ended in outcomes.items() for outcome in ended if outcome["status"] in DEAD
    )
    letters: Counter[Message] = Counter()
    for project in stage.projects:
        for _, fields in await stage.redis.client.xrange(stage.keys.dead(project)):
            letters.update(messages_of(fields))
    assert letters == expected, f"dead letters {letters - expected} too many, {expected - letters} too few"


async def _nothing_is_left(stage: Stage) -> None:
    client = stage.redis.client
    for project in stage.projects:
        left = await stage.waiting(project)
        assert not left, f"{project}: {left} jobs are left"
        assert not await client.hlen(stage.keys.delayed_jobs(project)), "fields of delayed jobs are left"
        for stream in STREAMS:
            key = stage.keys.stream(project, stream)  # type: ignore[arg-type]
            if await client.exists(key):
                pending = await client.xpending(key, "dispatcher")
                assert not pending["pending"], f"{key}: {pending} is left"
        # These go by themselves, once their time has come: slots of the last messages, leases of the killed.
        await until(partial(_no_pauses, stage, project), 10, f"{project}: no target is paused")
        await until(
            partial(_no_leases, stage, project), 2 * stage.lease_s, f"{project}: no leases of others are left"
        )
        control = await client.hgetall(stage.keys.control(project))
        assert "pause:until" not in control, f"{project} is still paused"
        assert int(control.get("held", 0)) == 0, f"{project} counts {control['held']} messages as held"


async def _no_pauses(stage: Stage, project: str) -> bool:
    seconds, micros = await stage.redis.client.time()
    now_ms = seconds * 1000 + micros // 1000
    return not await stage.redis.client.zcount(stage.keys.pauses(project), now_ms, "+inf")


async def _no_leases(stage: Stage, project: str) -> bool:
    alive = {worker.consumer for worker in stage.live}
    names = [name async for name in stage.redis.client.scan_iter(stage.keys.lease(project, "*"))]
    return all(name.rpartition(":lease:")[2] in alive for name in names)


async def _counters_agree(stage: Stage, outcomes: dict[Message, list[dict[str, Any]]]) -> None:
    """Redis knows that a batch is settled before its worker, who counts it, reads the reply: that is waited for."""
    by_status = Counter(outcome["status"] for ended in outcomes.values() for outcome in ended)
    counted: dict[str, float] = {}

    async def agree() -> bool:
        for worker in stage.live:
            await worker.metrics()
        for status in by_status | Counter({"accepted": 0}):
            counted[status] = sum(
                total(worker.final, "messages_total", status=status) for worker in stage.workers
            )
        return all(counted[status] == by_status[status] for status in counted)

    try:
        await until(agree, COUNTED_S)
    except AssertionError:
        raise AssertionError(f"metrics count {counted}, the ledger {dict(by_status)}") from None


def _recovered_in_time(stage: Stage, spread: float) -> Findings:
    """From each kill that left something to the first reclaim after it.

    A worker that was started after the kill must have lived for a lease itself before it takes over: where no
    other was there, the clock starts with it.
    """
    reclaims = sorted(
        [*stage.reclaims]
        + [at for worker in stage.workers for at, line in worker.said("jobs_reclaimed") if line["crashes"]]
    )
    took = []
    for death in stage.deaths:
        seen = next((at for at in reclaims if at > death.at), None)
        if death.pending and seen is not None:
            there = [
                w.began
                for w in stage.workers
                if w.began + stage.lease_s < seen and not (w.killed and w.ended_at <= death.at)
            ]
            began = max(death.at, min(there, default=death.at)) if death.heirs == 0 else death.at
            # An heir that waits for a processor loses its own lease, and must hold the next for as long first.
            losses = [at for w in stage.workers for at, _ in w.said("lease_lost") if began < at < seen]
            began = max(losses, default=began)
            took.append(seen - began)
            limit = stage.stalls.after(began, spread * stage.lease_s)
            assert took[-1] <= limit, (
                f"the first reclaim came {took[-1]:.1f} s after the kill; the machine accounts for {limit - spread * stage.lease_s:.1f} s"
            )
    if not took:
        return Findings()
    return Findings(recovery_s=round(max(took), 2), lease_s=round(stage.lease_s, 1))

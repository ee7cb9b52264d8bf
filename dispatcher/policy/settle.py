"""What becomes of a message after an answer that was no success: an outcome, or another send after a wait.

Three clocks run for a message. Attempts count sends that failed on the server's side (5xx, network, unknown); being
told "too fast" or "not your turn" costs none. Each kind of wait doubles by its own count, so that a message which was
throttled twice does not start its first 5xx wait at four seconds. And nothing is sent at or after `expires_at`: a
wait that ends there ends the message now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from dispatcher.model import (
    Action,
    Attempt,
    Disposition,
    ErrorCode,
    Fate,
    Job,
    JobState,
    SendError,
    Status,
)
from dispatcher.policy.backoff import HELD_BASE, THROTTLED_BASE, delay, floor
from dispatcher.policy.classify import classify
from dispatcher.policy.error_table import Verdict

HISTORY_KEPT = 10
"""Sends kept in `history`, the newest; throttled messages may see many."""

DOUBTS = 3
"""Waits of a message that may be for another project, while too few answers say whose fault that is: seven minutes in
which a swapped credential shows itself; after them a project that sends little gets its verdict all the same."""

_FINAL: dict[Action, Status] = {
    Action.DROP_TOKEN: Status.INVALID_TOKEN,
    Action.WRONG_PROJECT: Status.WRONG_PROJECT,
    Action.FIX_REQUEST: Status.REJECTED,
}

_MAYBE_SENT = frozenset({500, 502, 504})
"""Outer statuses after which a batch may have been carried out in part (batch wire rules, section 6)."""


class Rules(msgspec.Struct, frozen=True):
    """Settings that decide how long a message is tried.

    Attributes:
        max_attempts: sends that count; throttling does not.
    """

    max_attempts: int = 5


DEFAULTS = Rules()


def decide(
    job: Job,
    error: SendError,
    *,
    now: float,
    chance: float,
    rules: Rules = DEFAULTS,
    twin_accepted: bool = False,
    refreshed: bool = False,
    last_route: bool = False,
    pausing: Collection[ErrorCode] = (),
    doubtful: Collection[ErrorCode] = (),
    extra_delay: float = 0.0,
) -> Disposition:
    """Decide for one message of a job.

    `REFRESH_CREDS` and `SWITCH_ROUTE` are returned as such, without a wait, while there is something the sender can
    do at once; when it has done so, they become `PAUSE_PROJECT`.

    Args:
        job: the job as it was sent; its state tells what happened before this send.
        error: the answer to this send.
        now: Redis clock.
        chance: uniform in [0, 1), another one for every message.
        rules: settings.
        twin_accepted: the same payload was accepted for another token in the same answer.
        refreshed: the message was sent again with fresh credentials, and this is the answer to that.
        last_route: there is no other transport to switch to.
        pausing: codes of which the project's `health` says that so many are the project's fault: such messages
            wait instead of ending.
        doubtful: codes of which `health` cannot tell yet whose fault they are: such messages wait, DOUBTS times.
        extra_delay: seconds that the retry budget adds to a retry.
    """
    verdict = classify(error, job.kind, twin_accepted=twin_accepted)
    action = verdict.action
    maybe_sent = error.fate is Fate.UNKNOWN or (error.whole_request and error.http_status in _MAYBE_SENT)
    if action is Action.RETRY:
        if maybe_sent and job.on_unknown == "give_up":
            return _given_up(
                job, error, ErrorCode.UNKNOWN_FATE, "it may have been sent, and on_unknown is give_up"
            )
        if _used_up(job, verdict, rules):
            return _given_up(job, error, verdict.code, f"given up after {job.sends + 1} sends", maybe_sent)
        least = floor(_counted(job) + 1, verdict.base, error.retry_after)
        wait = delay(least, chance) + extra_delay
        return _waiting(job, error, verdict, action, now=now, wait=wait, counted=True, maybe_sent=maybe_sent)
    if action is Action.PAUSE_TARGET:
        wait = delay(floor(_throttled(job) + 1, verdict.base, error.retry_after), chance)
        return _waiting(job, error, verdict, action, now=now, wait=wait, hold_target=True)
    if verdict.code in pausing or _is_stuck(action, error, refreshed=refreshed, last_route=last_route):
        action = Action.PAUSE_PROJECT
    if action is Action.WRONG_PROJECT and verdict.code in doubtful and _held(job) < DOUBTS:
        wait = delay(floor(_held(job) + 1, HELD_BASE, None), chance)
        return _waiting(job, error, verdict, Action.HOLD_MESSAGE, now=now, wait=wait)
    if action in _FINAL:
        return Disposition(action, verdict.code, _FINAL[action], error.reason)
    if action is Action.HOLD_MESSAGE:
        wait = delay(floor(_held(job) + 1, verdict.base, error.retry_after), chance)
        return _waiting(job, error, verdict, action, now=now, wait=wait)
    if action is Action.PAUSE_PROJECT:
        # A project is never probed sooner than a minute after it failed, whatever the answer asked for.
        least = floor(_throttled(job) + 1, THROTTLED_BASE, error.retry_after)
        wait = delay(max(THROTTLED_BASE, least), chance)
        if job.operation:
            return _waiting(job, error, verdict, action, now=now, wait=wait, hold_service=True)
        return _waiting(job, error, verdict, action, now=now, wait=wait, pause_project=True)
    return Disposition(action, verdict.code, reason=error.reason, counted=False, maybe_sent=maybe_sent)


def next_state(job: Job, disposition: Disposition, error: SendError, now: float) -> JobState:
    """What the job carries into its next send.

    Args:
        job: the job as it was sent, already cut to the recipients that wait.
        disposition: what was decided for them.
        error: the answer it was decided on.
        now: Redis clock.
    """
    state = job.state or JobState(job.entry_id, job.lane, job.enqueued_at)
    attempt = Attempt(now, error.http_status, str(disposition.code))
    throttled = disposition.action in {Action.PAUSE_TARGET, Action.PAUSE_PROJECT}
    return msgspec.structs.replace(
        state,
        sends=state.sends + 1,
        counted=state.counted + disposition.counted,
        throttled=state.throttled + throttled,
        held=state.held + (disposition.action is Action.HOLD_MESSAGE),
        slot=0.0,
        duplicate=state.duplicate or disposition.maybe_sent,
        history=[*state.history, attempt][-HISTORY_KEPT:],
    )


def doubted_state(job: Job) -> JobState:
    """The state of a job that a worker had when it died: whether that one sent it nobody knows, and a send may repeat it."""
    state = job.state or JobState(job.entry_id, job.lane, job.enqueued_at)
    return msgspec.structs.replace(state, duplicate=True)


def together(waiting: Iterable[tuple[int, Disposition]]) -> list[tuple[list[int], Disposition]]:
    """Which recipients of one multicast job wait as one job, so that a failed request does not become 500 entries.

    Those that wait for the same reason stay together, for the longest of their delays. Those whose target is paused
    go alone: each takes a slot in its own target's schedule.

    Args:
        waiting: positions in `job.values` with what was decided for them, status None.

    Returns:
        Ascending positions with what holds for all of them.
    """
    groups: dict[tuple[object, ...], tuple[list[int], Disposition]] = {}
    for position, disposition in waiting:
        alone = position if disposition.hold_target else None
        key = (disposition.action, disposition.code, disposition.counted, disposition.maybe_sent, alone)
        if key not in groups:
            groups[key] = ([position], disposition)
            continue
        positions, longest = groups[key]
        positions.append(position)
        if disposition.delay > longest.delay:
            groups[key] = (positions, disposition)
    return list(groups.values())


def _is_stuck(action: Action, error: SendError, *, refreshed: bool, last_route: bool) -> bool:
    """Whether the sender's remedy is used up, so that only people can mend it."""
    if action is Action.REFRESH_CREDS:
        return refreshed
    if action is Action.SWITCH_ROUTE:
        # Where one part of a batch answers so, the endpoint is there and it is the project that is not.
        return last_route or not error.whole_request
    return False


def _used_up(job: Job, verdict: Verdict, rules: Rules) -> bool:
    """Whether this send was the last that may count, or the last for an error nobody knows."""
    if _counted(job) + 1 >= rules.max_attempts:
        return True
    if not verdict.retries or job.state is None:
        return False
    # What a replay brought along from earlier runs stands before this run's sends.
    history = job.state.history[max(0, len(job.state.history) - job.state.sends) :]
    return sum(attempt.code == verdict.code for attempt in history) >= verdict.retries


def _waiting(
    job: Job,
    error: SendError,
    verdict: Verdict,
    action: Action,
    *,
    now: float,
    wait: float,
    counted: bool = False,
    hold_target: bool = False,
    hold_service: bool = False,
    pause_project: bool = False,
    maybe_sent: bool = False,
) -> Disposition:
    """Send again after the wait, unless the message expires before it; target and project are held either way."""
    expired = now + wait >= job.expires_at
    return Disposition(
        Action.EXPIRE if expired else action,
        verdict.code,
        Status.EXPIRED if expired else None,
        _said(f"it expires before it may be sent again in {wait:.1f} s", error) if expired else error.reason,
        wait,
        counted,
        hold_target,
        hold_service,
        pause_project,
        maybe_sent,
    )


def _given_up(job: Job, error: SendError, code: ErrorCode, why: str, maybe_sent: bool = True) -> Disposition:
    return Disposition(
        Action.GIVE_UP,
        code,
        Status.FAILED,
        _said(why, error),
        maybe_sent=maybe_sent or (job.state is not None and job.state.duplicate),
    )


def _said(why: str, error: SendError) -> str:
    return f"{why}: {error.reason}" if error.reason else why


def _counted(job: Job) -> int:
    return job.state.counted if job.state is not None else 0


def _throttled(job: Job) -> int:
    return job.state.throttled if job.state is not None else 0


def _held(job: Job) -> int:
    return job.state.held if job.state is not None else 0

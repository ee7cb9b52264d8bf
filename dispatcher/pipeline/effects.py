"""What becomes of one entry: its outcomes, what of it waits, its dead letters, what it counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection

import msgspec

from dispatcher.model import (
    DEAD_STATUSES,
    MANAGEMENT,
    Action,
    Attempt,
    Disposition,
    ErrorCode,
    Job,
    JobState,
    Outcome,
    SendError,
    SendResponse,
    Status,
)
from dispatcher.policy.schedule import INTERVALS
from dispatcher.policy.settle import Rules, next_state, together
from dispatcher.protocol.job import encode_retry_fields
from dispatcher.protocol.letter import encode_letter
from dispatcher.protocol.outcome import encode_outcome
from dispatcher.queue.settlement import Delayed, Hold, Settled

_encode = msgspec.json.Encoder().encode

_WELL = (Status.ACCEPTED, Status.DONE)
"""How a message or a management job ends that found nothing wrong."""


class Context(msgspec.Struct):
    """What the decisions of one batch depend on beside its answers.

    Attributes:
        now: Redis clock.
        rules: of the project.
        chance: uniform in [0, 1), new at each call.
        failures_only: OUTCOMES=failures: no record of accepted messages.
        pausing: codes that the project's health takes for the project's own fault.
        doubtful: codes of which it cannot tell yet.
        extra_delay: seconds that the retry budget adds to each retry.
        pauses: ends of the pauses that this batch began, by target; filled while deciding.
    """

    now: float
    rules: Rules
    chance: Callable[[], float]
    failures_only: bool = False
    pausing: Collection[ErrorCode] = ()
    doubtful: Collection[ErrorCode] = ()
    extra_delay: float = 0.0
    pauses: dict[str, float] = {}


class Conclusion(msgspec.Struct):
    """What follows from one batch.

    Attributes:
        items: one for each entry, in the order of the batch.
        ended: terminal outcomes by (status, code).
        waits: messages that wait, by (action, code).
        pause: an answer that stops the whole project; of several the one that asked for the longest.
        pause_s: what it asked for (Retry-After), seconds; 0: nothing.
        possible_duplicates: accepted messages that may have been accepted before.
    """

    items: list[Settled]
    ended: Counter[tuple[Status, str]]
    waits: Counter[tuple[Action, str]]
    pause: Disposition | None = None
    pause_s: float = 0.0
    possible_duplicates: int = 0


def settle_job(
    job: Job,
    responses: list[SendResponse],
    decided: list[Disposition | None],
    context: Context,
    conclusion: Conclusion,
) -> Settled:
    """All effects of one entry.

    Args:
        job: the entry.
        responses: one for each of its messages.
        decided: what was decided for each; None: it was accepted.
        context: of its batch.
        conclusion: of its batch; counts and pauses are added to it.
    """
    fragments: list[bytes] = []
    counts: Counter[str] = Counter()
    waiting: list[tuple[int, Disposition]] = []
    dead: dict[tuple[Status, str, str], list[int]] = {}
    doubted: set[int] = set()
    for position, (response, disposition) in enumerate(zip(responses, decided, strict=True)):
        if disposition is not None:
            if disposition.pause_project:
                asked = (response.error.retry_after if response.error is not None else None) or 0.0
                if conclusion.pause is None or asked > conclusion.pause_s:
                    conclusion.pause, conclusion.pause_s = disposition, asked
            if disposition.status is None:
                waiting.append((position, disposition))
                conclusion.waits[disposition.action, disposition.code] += 1
                continue
        outcome = _outcome(job, position, response, disposition, context)
        status, code = outcome.status, outcome.code
        conclusion.possible_duplicates += outcome.possible_duplicate and status in _WELL
        conclusion.ended[status, code] += 1
        counts[status] += 1
        if not (context.failures_only and _dull(outcome)):
            fragments.append(encode_outcome(outcome))
        if status in DEAD_STATUSES:
            dead.setdefault((status, code, outcome.reason), []).append(position)
            if outcome.possible_duplicate:
                doubted.add(position)
    accepted = sum(counts[status] for status in _WELL)
    return Settled(
        job.entry_id,
        b",".join(fragments),
        accepted=not waiting and accepted == len(decided),
        delayed=[
            _delayed(job, positions, disposition, responses[positions[0]].error, context)
            for positions, disposition in together(waiting)
        ],
        dead=[
            _dead_letter(
                job,
                positions,
                responses[positions[0]].error,
                *key,
                context,
                duplicate=not doubted.isdisjoint(positions),
            )
            for key, positions in dead.items()
        ],
        campaign=(job.campaign, dict(counts)) if job.campaign else None,
        # A job that ends other than accepted frees its key, if it is its own; one that waits keeps it.
        dedup=(job.dedup_key, dedup_origin(job)) if job.dedup_key and not waiting and not accepted else None,
    )


def _dull(outcome: Outcome) -> bool:
    """Whether OUTCOMES=failures leaves it out: nobody has to act on it, and it tells nothing but its success."""
    return outcome.status is Status.ACCEPTED and not (outcome.replacement_token or outcome.result)


def dedup_origin(job: Job) -> str:
    """What a deduplication key remembers of the job that holds it; ids are unique within a lane only."""
    return f"{job.lane}:{job.origin_id}"


def _outcome(
    job: Job,
    position: int,
    response: SendResponse,
    disposition: Disposition | None,
    context: Context,
) -> Outcome:
    sent = disposition is None or response.error is not None
    outcome = Outcome(
        job.id,
        job.place(position) if job.values else 0,
        Status.DONE if job.operation else Status.ACCEPTED,
        job.sends + sent,
        job.enqueued_at,
        context.now,
        {job.kind: job.values[position]} if job.values else {},
    )
    if disposition is None:
        outcome.message_id = response.message_id
        outcome.http_status = 200
        outcome.replacement_token = response.replacement_token
        if response.result:
            outcome.result = msgspec.Raw(response.result)
    else:
        assert disposition.status is not None  # noqa: S101 - the caller keeps the others waiting
        outcome.status = disposition.status
        outcome.code = disposition.code or ""
        outcome.reason = disposition.reason
        outcome.duplicate_of = disposition.duplicate_of
        if response.error is not None:
            outcome.http_status = response.error.http_status
        outcome.possible_duplicate = disposition.maybe_sent
    outcome.campaign = job.campaign
    if job.attributes:
        outcome.attributes = msgspec.Raw(job.attributes)
    if job.state is not None:
        outcome.replay = job.state.replay
        outcome.possible_duplicate = outcome.possible_duplicate or job.state.duplicate
    return outcome


def _delayed(
    job: Job, positions: list[int], disposition: Disposition, error: SendError | None, context: Context
) -> Delayed:
    """The messages at `positions`, waiting."""
    cut = job.cut(positions)
    if error is not None:
        state = next_state(cut, disposition, error, round(context.now, 3))
    else:
        # Not sent: nothing has happened to it but time.
        state = cut.state or JobState(job.entry_id, job.lane, job.enqueued_at)
    due = max(context.now + disposition.delay, job.deliver_at)
    target = MANAGEMENT if disposition.hold_service else job.target(positions[0])
    hold = None
    if disposition.parked:
        # Until somebody lifts the stop; at its expiry it is promoted all the same, and ends as expired.
        due = job.expires_at
    elif disposition.hold_target or disposition.hold_service:
        # Only the target's own 429 moves the end of its pause; who merely joins the queue takes the next slot.
        # Several 429s of one target in one batch are one pause: the jitter is the target's, not the message's.
        until = context.pauses.setdefault(target.key, due) if error is not None else 0.0
        hold = Hold(target.key, INTERVALS[target.kind], until)
    return Delayed(
        # Unique and the same in each repetition: a message waits in one place at a time.
        member=f"{state.lane}:{state.id}:{state.replay}:{job.place(positions[0])}",
        due=due,
        # Not orjson, whose bytes keep the room they were written in, four times theirs: thousands wait for their settlement.
        fields=_encode(encode_retry_fields(cut, state)),
        hold=hold,
        parked=disposition.parked,
    )


def _dead_letter(
    job: Job,
    positions: list[int],
    error: SendError | None,
    status: Status,
    code: str,
    reason: str,
    context: Context,
    *,
    duplicate: bool,
) -> list[bytes]:
    """The original fields and what became of them, flat."""
    history = list(job.state.history) if job.state is not None else []
    if error is not None:
        history.append(Attempt(round(context.now, 3), error.http_status, code))
    return encode_letter(
        job,
        positions,
        status=status,
        code=code,
        reason=reason,
        history=history,
        died_at=context.now,
        duplicate=duplicate,
    )

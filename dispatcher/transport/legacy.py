"""The `legacy` wire: `POST /fcm/send`, where messages that say the same go to up to 1,000 tokens in one call.

Google closed its own in 2024; compatible servers serve it on. What a batch holds is packed by what it says: jobs of one
campaign become a few calls, jobs that are all different one call each. Topics, conditions and device groups are never
packed: the wire has no place for two of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec

from dispatcher.model import Batch, Fate, Job, Refusal, SendError, SendResponse, TargetKind
from dispatcher.policy.classify import must_halve
from dispatcher.protocol import legacy, legacy_message
from dispatcher.transport.session import Answer, Session
from dispatcher.transport.wire import MaySend, Observe, Timeouts, always, unknown_fate

MOST_ANSWER_BYTES = 4 << 20
"""Far above 1,000 results of the largest kind."""

_COUNTS_KEPT = 64
"""Batches whose number of calls is remembered: they are asked for more often than they are sent."""


class Packed(msgspec.Struct, gc=False):
    """One call.

    Attributes:
        kind: of its recipients.
        values: its recipients.
        numbers: of their messages in the batch, in the same order.
        options: see `legacy_message.options`.
        members: see `legacy_message.translate`.
    """

    kind: TargetKind
    values: list[str]
    numbers: list[int]
    options: bytes
    members: bytes

    def halves(self) -> tuple[Packed, Packed]:
        """The same for the first and for the other recipients."""
        middle = len(self.values) // 2
        first, second = (
            msgspec.structs.replace(self, values=self.values[part], numbers=self.numbers[part])
            for part in (slice(None, middle), slice(middle, None))
        )
        return first, second


class LegacyTransport:
    """Messages as calls to `POST {endpoint}/fcm/send`; its access token is the project's server key.

    Args:
        session: the worker's connections.
        endpoint: base URL, as `https://fcm.googleapis.com`.
        timeouts: how long an answer may take.
        observe: told of the calls of each batch.
    """

    name = carrier = "legacy"

    def __init__(self, session: Session, endpoint: str, timeouts: Timeouts, observe: Observe) -> None:
        self._session = session
        self._url = endpoint.rstrip("/") + legacy.PATH
        self._timeouts = timeouts
        self._observe = observe
        # By a name that is not worth being kept alive for; two batches that share one share a limit for a moment.
        self._counts: dict[tuple[int, float, int], int] = {}

    def requests(self, batch: Batch) -> int:
        """As many calls as it has different messages, and for all but tokens as many as it has messages."""
        if batch.jobs[0].kind != "token":
            return batch.size
        name = (id(batch), batch.packed_at, batch.size)
        count = self._counts.get(name)
        if count is None:
            if len(self._counts) >= _COUNTS_KEPT:
                self._counts.clear()
            # Lifetimes that are cut short may make it more.
            count = self._counts[name] = len({job.legacy for job in batch.jobs})
        return count

    async def send(
        self, batch: Batch, access_token: str, *, now: float, at_once: int, may_send: MaySend = always
    ) -> list[SendResponse]:
        """Send `batch` (see `Transport.send`)."""
        found: dict[int, SendResponse] = {}
        queue: Iterator[Packed] = iter(calls := pack(batch, now, found))
        headers = {"Content-Type": "application/json", "Authorization": f"key={access_token}"}
        timeout_s = self._timeouts.of(batch)
        took: dict[int, list[float]] = {}

        async def run() -> None:
            for call in queue:
                await self._post(call, headers, timeout_s, may_send, found, took)

        async with asyncio.TaskGroup() as runners:
            for _ in range(min(len(calls), max(1, at_once))):
                runners.create_task(run())
        for status, durations in took.items():
            self._observe(self.name, status, durations)
        return [found[number] for number in range(batch.size)]

    async def _post(
        self,
        call: Packed,
        headers: dict[str, str],
        timeout_s: float,
        may_send: MaySend,
        found: dict[int, SendResponse],
        took: dict[int, list[float]],
    ) -> None:
        """One call, and what it says of its messages into `found`."""
        body = legacy.encode_request(call.kind, call.values, call.options, call.members)
        loop = asyncio.get_running_loop()
        started = loop.time()
        answer = await self._session.post(
            self._url, body, headers, timeout_s, most=MOST_ANSWER_BYTES, may_send=may_send
        )
        status = answer.status if isinstance(answer, Answer) else 0
        took.setdefault(status, []).append(loop.time() - started)
        count = len(call.values)
        responses = _read(answer, count)
        error = responses[0].error
        if status == 413 and error is not None and must_halve(error, count):
            for half in call.halves():
                await self._post(half, headers, timeout_s, may_send, found, took)
            return
        found.update(zip(call.numbers, responses, strict=True))


def pack(batch: Batch, now: float, found: dict[int, SendResponse]) -> list[Packed]:
    """The calls that `batch` becomes.

    Args:
        batch: what to send.
        now: Redis clock.
        found: gets a response for each message that has no legacy form, and was not decoded for this wire, which refuses
            it.
    """
    calls: list[Packed] = []
    # Of each kind of content the call that is not full yet.
    open_calls: dict[tuple[bytes, bytes], Packed] = {}
    number = 0
    for job in batch.jobs:
        numbers = range(number, number + len(job.values))
        number = numbers.stop
        members = job.legacy if job.legacy is not None else legacy_message.translate(job, "legacy")
        if isinstance(members, Refusal):
            found.update(dict.fromkeys(numbers, _refused(members)))
            continue
        options = legacy_message.options(job, now)
        if job.kind != "token":
            calls += _single(job, numbers, options, members)
            continue
        call = open_calls.get((options, members))
        # A multicast job stays whole.
        if call is None or len(call.values) + len(numbers) > legacy.MOST_RECIPIENTS:
            call = open_calls[options, members] = Packed("token", [], [], options, members)
            calls.append(call)
        call.values += job.values
        call.numbers += numbers
    return calls


def _single(job: Job, numbers: range, options: bytes, members: bytes) -> Iterator[Packed]:
    for number, value in zip(numbers, job.values, strict=True):
        yield Packed(job.kind, [value], [number], options, members)


def _read(answer: Answer | SendError, count: int) -> list[SendResponse]:
    """What the answer to one call, or its absence, says of each of its messages."""
    if isinstance(answer, Answer):
        if not answer.broken or not 200 <= answer.status < 300:
            return legacy.read_answer(count, answer.status, answer.retry_after, answer.date, answer.body)
        answer = unknown_fate(f"the answer broke off: {answer.broken}", http_status=answer.status)
    answer.wire = "legacy"
    # A call with one message in it says nothing of others.
    answer.whole_request = count > 1
    return [SendResponse(error=answer)] * count


def _refused(refusal: Refusal) -> SendResponse:
    error = SendError(
        Fate.ANSWERED, is_json=True, reason=refusal.reason, wire="legacy", word="InvalidParameters"
    )
    return SendResponse(error=error)

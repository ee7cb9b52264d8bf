"""The `v1` wire: one `messages:send` request a message, many in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import orjson

from dispatcher.model import Batch, Fate, SendError, SendResponse
from dispatcher.protocol.answer import read_answer, unknown
from dispatcher.protocol.message import bodies
from dispatcher.transport.session import Answer, Session
from dispatcher.transport.wire import MaySend, Observe, Timeouts, always

MOST_ANSWER_BYTES = 256 << 10
"""Far above the largest error with all its details."""


class V1Transport:
    """Messages as single requests to `POST {endpoint}/v1/projects/{project}/messages:send`.

    Args:
        session: the worker's connections.
        endpoint: base URL, as `https://fcm.googleapis.com`.
        timeouts: how long an answer may take.
        observe: told of the requests of each batch.
    """

    name = "v1"

    def __init__(self, session: Session, endpoint: str, timeouts: Timeouts, observe: Observe) -> None:
        self._observe = observe
        self._session = session
        self._base = endpoint.rstrip("/")
        self._timeouts = timeouts

    def requests(self, batch: Batch) -> int:
        """A request a message."""
        return batch.size

    async def send(
        self, batch: Batch, access_token: str, *, now: float, at_once: int, may_send: MaySend = always
    ) -> list[SendResponse]:
        """Send `batch` (see `Transport.send`): `at_once` runners share the messages between them."""
        contents = [body for job in batch.jobs for body in bodies(job, now)]
        responses: list[SendResponse] = [_UNSENT] * len(contents)
        url = f"{self._base}/v1/projects/{batch.project}/messages:send"
        headers = {"Content-Type": "application/json"}
        if access_token:
            headers["Authorization"] = f"Bearer {access_token}"
        timeout_s = self._timeouts.of(batch)
        queue: Iterator[tuple[int, bytes]] = iter(enumerate(contents))
        loop = asyncio.get_running_loop()
        took: dict[int, list[float]] = {}

        async def run() -> None:
            for number, body in queue:
                started = loop.time()
                answer = await self._session.post(
                    url, body, headers, timeout_s, most=MOST_ANSWER_BYTES, may_send=may_send
                )
                status = answer.status if isinstance(answer, Answer) else 0
                took.setdefault(status, []).append(loop.time() - started)
                responses[number] = _read(answer)

        async with asyncio.TaskGroup() as runners:
            for _ in range(min(len(contents), max(1, at_once))):
                runners.create_task(run())
        for status, durations in took.items():
            self._observe(self.name, status, durations)
        return responses


_UNSENT = SendResponse()


def _read(answer: Answer | SendError) -> SendResponse:
    """What the answer to one request says of its message."""
    if not isinstance(answer, Answer):
        # One request is one message here: its failure says nothing of the others.
        answer.whole_request = False
        return SendResponse(error=answer)
    response = read_answer(answer.status, answer.retry_after, answer.date, answer.body)
    error = response.error
    if error is not None and error.fate is Fate.ANSWERED and not error.is_json and _broke_off(answer):
        # A 404 whose detail is lost could be a dead token or a wrong project: it is neither until it is whole.
        why = answer.broken or "JSON that ends too early"
        return SendResponse(
            error=unknown(f"HTTP {answer.status}, and the answer broke off: {why}", answer.status)
        )
    return response


def _broke_off(answer: Answer) -> bool:
    """Whether an answer is not whole; one that ends with its connection shows it only by its JSON."""
    if answer.broken:
        return True
    if not answer.body or "json" not in (answer.content_type or "").lower():
        return False
    try:
        orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return True
    return False

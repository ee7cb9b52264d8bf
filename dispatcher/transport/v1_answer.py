"""What the answer to one `messages:send` request says of its message, over whatever HTTP it came."""

from __future__ import annotations

import orjson

from dispatcher.model import Fate, SendResponse
from dispatcher.protocol.answer import read_answer, unknown
from dispatcher.transport.session import Answer


def read(answer: Answer) -> SendResponse:
    """What the answer to one request says of its message."""
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

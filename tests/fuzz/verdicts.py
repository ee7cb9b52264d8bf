"""What must be true of every error that a decoder reads out of an answer."""

from __future__ import annotations

from dispatcher.model import SendError
from dispatcher.policy.classify import classify


def judged(error: SendError) -> None:
    """What follows from it is within bounds."""
    assert error.retry_after is None or 0 <= error.retry_after <= 1e9
    assert len(error.reason) <= 1000
    classify(error, "token")

"""The outcome entry, one JSON array for a settled batch, and the history of a dead letter; both directions.

Producers read these with any JSON library, so absent means empty and no field ever changes its type.
"""

from __future__ import annotations

import msgspec

from dispatcher.errors import ProtocolError
from dispatcher.model import Attempt, Outcome, Status

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Outcome])
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode

# The encoder leaves a field out if it *is* the default; an equal but other empty Raw would break the JSON.
_BLANK = Outcome("", 0, Status.ACCEPTED, 0, 0.0, 0.0)
_NO_RESULT, _NO_ATTRIBUTES = _BLANK.result, _BLANK.attributes


def encode_outcome(outcome: Outcome) -> bytes:
    """One outcome as a JSON object, empty fields left out."""
    if outcome.attributes is not _NO_ATTRIBUTES and not bytes(outcome.attributes):
        outcome.attributes = _NO_ATTRIBUTES
    if outcome.result is not _NO_RESULT and not bytes(outcome.result):
        outcome.result = _NO_RESULT
    return _encoder.encode(outcome)


def encode_outcomes(outcomes: list[Outcome]) -> bytes:
    """The field `outcomes` of an entry, for outcomes without `attributes` and `result`: in one go, for the hot path."""
    return _encoder.encode(outcomes)


def split_outcomes(field: bytes) -> list[bytes]:
    """The objects of a field `outcomes` that we wrote, each as `encode_outcome` makes it."""
    return [bytes(outcome) for outcome in _split(field)]


def decode_outcomes(field: bytes) -> list[Outcome]:
    """Reads the field `outcomes` of an entry; names that this version does not know are passed over.

    Raises:
        ProtocolError: it is no array of outcomes.
    """
    try:
        return _decoder.decode(field)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"outcomes: not an array of outcomes: {error}") from error


class _Past(msgspec.Struct, gc=False):
    """An attempt by names, as people and producers read it in a dead letter."""

    at: float
    http_status: int
    code: str


_past = msgspec.json.Decoder(list[_Past])


def encode_history(attempts: list[Attempt]) -> bytes:
    """The field `history` of a dead letter: [{"at": Unix seconds, "http_status": 503, "code": "server-unavailable"}, ...]."""
    return _encoder.encode([_Past(a.at, a.http_status, a.code) for a in attempts])


def decode_history(field: bytes) -> list[Attempt]:
    """Reads the field `history` of a dead letter.

    Raises:
        ProtocolError: it is no array of attempts.
    """
    try:
        return [Attempt(p.at, p.http_status, p.code) for p in _past.decode(field)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"history: not an array of attempts: {error}") from error

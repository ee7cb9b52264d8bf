from __future__ import annotations

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.errors import ProtocolError
from dispatcher.model import Attempt, Outcome, Status
from dispatcher.protocol.outcome import (
    decode_history,
    decode_outcomes,
    encode_history,
    encode_outcome,
    encode_outcomes,
    split_outcomes,
)

TEXT = st.text(max_size=8)
TIME = st.floats(0, 2e9)
RAW = st.sampled_from([b"", b"null", b'{"a":[1,2]}', b'"x"']).map(msgspec.Raw)
OUTCOMES = st.builds(
    Outcome,
    job=TEXT,
    index=st.integers(0, 499),
    status=st.sampled_from(Status),
    attempts=st.integers(0, 99),
    enqueued_at=TIME,
    settled_at=TIME,
    target=st.dictionaries(TEXT, TEXT, max_size=1),
    code=TEXT,
    message_id=TEXT,
    http_status=st.integers(0, 599),
    possible_duplicate=st.booleans(),
    replay=st.integers(0, 3),
    result=RAW,
    attributes=RAW,
)


def plain(outcome):
    fields = msgspec.structs.asdict(outcome)
    return {**fields, "result": bytes(outcome.result), "attributes": bytes(outcome.attributes)}


@settings(max_examples=60)
@given(st.lists(OUTCOMES, max_size=3))
def test_outcomes_are_read_as_they_were_written(outcomes):
    objects = [encode_outcome(outcome) for outcome in outcomes]
    field = b"[" + b",".join(objects) + b"]"
    assert split_outcomes(field) == objects
    assert [plain(o) for o in decode_outcomes(field)] == [plain(o) for o in outcomes]


@settings(max_examples=60)
@given(st.lists(OUTCOMES, max_size=3))
def test_outcomes_without_json_of_their_own_are_written_the_same_in_one_go(outcomes):
    blank = Outcome("", 0, Status.ACCEPTED, 0, 0.0, 0.0)
    for outcome in outcomes:
        outcome.result, outcome.attributes = blank.result, blank.attributes
    assert split_outcomes(encode_outcomes(outcomes)) == [encode_outcome(outcome) for outcome in outcomes]


def test_what_is_empty_is_absent():
    written = orjson.loads(encode_outcome(Outcome("1-0", 0, Status.ACCEPTED, 1, 10.25, 11.5)))
    assert written == {
        "job": "1-0",
        "index": 0,
        "status": "accepted",
        "attempts": 1,
        "enqueued_at": 10.25,
        "settled_at": 11.5,
    }


def test_names_of_a_newer_version_are_passed_over():
    (outcome,) = decode_outcomes(
        b'[{"job":"a","index":0,"status":"done","attempts":1,"enqueued_at":1,"settled_at":2,"later":{}}]'
    )
    assert (outcome.status, outcome.enqueued_at) == (Status.DONE, 1.0)


def test_a_field_cut_at_any_byte_or_with_something_behind_it_is_refused():
    field = encode_outcomes([Outcome("1-0", 0, Status.ACCEPTED, 1, 10.25, 11.5)])
    for broken in (
        *(field[:n] for n in range(len(field))),
        field + b"x",
        b"\xff",
        b'[{"job":"\xff"}]',
        b"{}",
    ):
        with pytest.raises(ProtocolError, match="outcomes"):
            decode_outcomes(broken)


@given(st.lists(st.builds(Attempt, at=TIME, http_status=st.integers(0, 599), code=TEXT), max_size=3))
@settings(max_examples=30)
def test_a_history_is_read_as_it_was_written(attempts):
    assert decode_history(encode_history(attempts)) == attempts


def test_a_history_names_its_fields():
    assert encode_history([Attempt(1.5, 503, "server-unavailable")]) == (
        b'[{"at":1.5,"http_status":503,"code":"server-unavailable"}]'
    )


def test_a_broken_history_is_refused():
    for broken in (b"", b"[", b"[[1,2,3]]", b"[] x"):
        with pytest.raises(ProtocolError, match="history"):
            decode_history(broken)

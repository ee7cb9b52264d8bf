"""A dead letter gives the job back as it was, and tells what became of it."""

import json

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.model import Attempt, JobState, Status
from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.protocol.letter import decode_letter, encode_letter, replay_state

AT = 1731000000.0
LIMITS = DecodeLimits()


def job_of(*fields, stream="normal"):
    return decode_entry("p", stream, f"{int(AT * 1000)}-0", list(fields), LIMITS)


def letter_of(job, positions=(0,), **changed):
    given = {
        "status": Status.FAILED,
        "code": "internal-error",
        "reason": "gave up",
        "history": [Attempt(AT + 1, 500, "internal-error")],
        "died_at": AT + 2.5,
        "duplicate": False,
    } | changed
    return decode_letter("p", "1731000003000-7", encode_letter(job, list(positions), **given))


def test_it_says_everything():
    job = job_of(
        b"message", b'{"topic":"news"}', b"campaign", b"c", b"expires_at", b"4102444800", stream="bulk"
    )
    letter = letter_of(job)
    assert (letter.entry_id, letter.project, letter.job) == ("1731000003000-7", "p", job.entry_id)
    assert (letter.status, letter.code, letter.reason) == ("failed", "internal-error", "gave up")
    assert (letter.lane, letter.died_at, letter.campaign, letter.expires_at) == (
        "bulk",
        AT + 2.5,
        "c",
        4102444800.0,
    )
    assert [(t.kind, t.value) for t in letter.targets] == [("topic", "news")]
    assert letter.fields == job.fields
    assert letter.messages == 1


def test_fields_of_the_producer_that_are_named_like_ours_stay_the_producers():
    job = job_of(b"message", b'{"token":"t"}', b"status", b"theirs", b"died_at", b"never")
    letter = letter_of(job)
    assert letter.fields == job.fields
    assert (letter.status, letter.died_at) == ("failed", AT + 2.5)


def test_places_are_those_in_the_first_list():
    job = job_of(b"message", b"{}", b"tokens", b'["a","b","c","d"]')
    letter = letter_of(job, [1, 3])
    assert [t.value for t in letter.targets] == ["b", "d"]
    assert letter.state.places == [1, 3]
    again = job_of(*letter.fields, b"_state", replay_state(letter, AT + 9))
    assert letter_of(again, [1]).state.places == [3]
    assert letter_of(job, [0, 1]).state.places == []


def test_a_replay_begins_anew_and_remembers():
    letter = letter_of(job_of(b"message", b'{"token":"t"}'), duplicate=True)
    again = job_of(*letter.fields, b"_state", replay_state(letter, AT + 9))
    assert again.refusal is None
    assert again.state == JobState(
        f"{int(AT * 1000)}-0", "normal", AT + 9, duplicate=True, replay=1, history=letter.history
    )
    assert letter_of(again).replay == 1


def test_only_the_last_sends_are_remembered():
    history = [Attempt(AT + n, 500, "x") for n in range(30)]
    letter = letter_of(job_of(b"message", b'{"token":"t"}'), history=history)
    assert len(letter.history) == 30
    assert len(json.loads(replay_state(letter, AT))["history"]) == 10


def test_a_letter_of_an_older_version_has_no_state():
    letter = decode_letter(
        "p",
        "5000-1",
        [b"message", b'{"token":"t"}', b"status", b"failed", b"code", b"poison", b"lane", b"high"],
    )
    assert (letter.state.id, letter.replay, letter.lane, letter.died_at) == ("5000-1", 0, "high", 5.0)
    assert letter.fields == [b"message", b'{"token":"t"}']


@given(
    st.lists(
        st.binary(max_size=12) | st.sampled_from([b"_state", b"tokens", b"group", b"history", b"lane"]),
        max_size=12,
    )
)
def test_nothing_is_unreadable(fields):
    letter = decode_letter("p", "5-0", fields)
    letter.texts()
    assert letter.messages >= 1


@given(
    st.dictionaries(
        st.sampled_from([b"message", b"id", b"tokens", b"status", b"odd"]), st.binary(max_size=20)
    )
)
def test_whatever_was_enqueued_comes_back(given_fields):
    flat = [value for pair in given_fields.items() for value in pair]
    job = job_of(*flat)
    positions = list(range(max(1, len(job.values))))
    assert letter_of(job, positions).texts().keys() == {name.decode() for name in given_fields}

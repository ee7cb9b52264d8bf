"""What was settled lately is found again by id and fields, and the memory of it is bounded."""

from __future__ import annotations

import pytest

from dispatcher.model import Batch
from dispatcher.pipeline import recall as module
from dispatcher.pipeline.recall import Recall
from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.queue.settlement import Settled

FIELDS = [b"message", b'{"token":"a"}']


def batch(*ids, project="p", stream="normal"):
    jobs = [decode_entry(project, stream, entry_id, FIELDS, DecodeLimits()) for entry_id in ids]
    return Batch(project, stream, jobs, size=len(jobs), nbytes=sum(job.nbytes for job in jobs), epoch=1)


def test_an_accepted_job_is_settled_again_with_its_outcome():
    recall = Recall()
    recall.note(batch("1-0", "2-0"), ["1-0", "2-0"], b'[{"n":1},{"n":2}]', [])
    again, rest = recall.split("p", "normal", [("2-0", FIELDS), ("3-0", FIELDS)])
    assert again == [Settled("2-0", b'{"n":2}')]
    assert rest == [("3-0", FIELDS)]


def test_any_other_is_settled_again_with_all_that_became_of_it():
    recall = Recall()
    items = [Settled("1-0", b"", accepted=False, dead=[[b"a", b"b"]])]
    recall.note(batch("1-0"), ["1-0"], None, items)
    assert recall.split("p", "normal", [("1-0", FIELDS)]) == (items, [])


def test_the_same_id_of_another_job_stream_or_project_is_another_job():
    recall = Recall()
    recall.note(batch("1-0"), ["1-0"], b"[{}]", [])
    for project, stream, fields in (
        ("p", "normal", [b"message", b'{"token":"b"}']),
        ("p", "bulk", FIELDS),
        ("q", "normal", FIELDS),
    ):
        assert recall.split(project, stream, [("1-0", fields)]) == ([], [("1-0", fields)])


@pytest.mark.parametrize(
    "fields",
    [
        [b"message", b'{"token":"a"}'],
        [b"message", b'{"message":{"token":"a"}}'],
        [b"message", b'{"topic":"/topics/news"}'],
        [b"message", b'{"token":"a"}', b"id", b"7"],
        [b"id", b"7", b"message", b'{"token":"a"}'],
        [b"message", b"no JSON"],
        [b"tokens", b'["a"]'],
    ],
)
def test_whatever_the_entry_was_it_is_known_again_and_only_itself(fields):
    job = decode_entry("p", "normal", "1-0", fields, DecodeLimits())
    recall = Recall()
    recall.note(Batch("p", "normal", [job], size=1, nbytes=job.nbytes, epoch=1), ["1-0"], b"[{}]", [])
    assert recall.split("p", "normal", [("1-0", list(fields))]) == ([Settled("1-0", b"{}")], [])
    other = [*fields[:-1], fields[-1] + b" "]
    assert recall.split("p", "normal", [("1-0", other)]) == ([], [("1-0", other)])
    assert recall.split("p", "normal", [("1-0", [])]) == ([], [("1-0", [])])


def test_in_doubt_what_is_here_already_is_not_taken_twice():
    recall = Recall()
    entries = [("1-0", FIELDS), ("2-0", FIELDS)]
    assert recall.unheld(0.0, {"1-0"}, entries) == entries
    recall.doubt(0.0)
    assert recall.unheld(59.0, {"1-0"}, entries) == entries[1:]
    assert recall.in_doubt(59.0)
    assert recall.unheld(60.0, {"1-0"}, entries) == entries
    assert not recall.in_doubt(60.0)


def test_the_oldest_is_forgotten_first(monkeypatch):
    monkeypatch.setattr(module, "MOST_MESSAGES", 2)
    recall = Recall()
    for entry_id in ("1-0", "2-0", "3-0"):
        recall.note(batch(entry_id), [entry_id], b"[{}]", [])
    again, rest = recall.split("p", "normal", [(f"{n}-0", FIELDS) for n in (1, 2, 3)])
    assert {item.entry_id for item in again} == {"2-0", "3-0"}
    assert [entry_id for entry_id, _ in rest] == ["1-0"]


def test_outcomes_that_are_not_recorded_are_not_recorded_again():
    recall = Recall()
    recall.note(batch("1-0", "2-0"), ["1-0", "2-0"], b"", [])
    again, _ = recall.split("p", "normal", [("1-0", FIELDS), ("2-0", FIELDS)])
    assert again == [Settled("1-0", b""), Settled("2-0", b"")]


def test_what_is_large_is_forgotten_by_its_weight(monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", batch("1-0").nbytes)
    recall = Recall()
    recall.note(batch("1-0"), ["1-0"], None, [Settled("1-0")])
    recall.note(batch("2-0"), ["2-0"], None, [Settled("2-0")])
    assert len(recall.split("p", "normal", [("1-0", FIELDS), ("2-0", FIELDS)])[0]) == 1


def test_an_id_that_was_settled_twice_is_settled_again_once():
    recall = Recall()
    recall.note(batch("1-0", "1-0"), ["1-0", "1-0"], b"[{},{}]", [])
    again, rest = recall.split("p", "normal", [("1-0", FIELDS)])
    assert (again, rest) == ([Settled("1-0", b"{}")], [])

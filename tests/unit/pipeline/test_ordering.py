"""A batch is sorted by the orders in force."""

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.model import Batch, Status
from dispatcher.pipeline.ordering import sort_out, tally
from dispatcher.policy.orders import Orders
from dispatcher.protocol.job import DecodeLimits, decode_entry


def batch(*ids):
    jobs = []
    for number, name in enumerate(ids):
        message = b"no JSON" if name == "broken" else b'{"token":"t","data":{"a":"1"}}'
        fields = [b"message", message, b"id", name.encode()]
        jobs.append(decode_entry("p", "normal", f"1-{number}", fields, DecodeLimits()))
    return Batch("p", "normal", jobs, len(jobs), sum(job.nbytes for job in jobs), epoch=3)


def names(part):
    return [job.id for job in part.jobs]


def test_a_batch_that_no_order_meets_is_the_same_batch():
    whole = batch("a", "b")
    kept, ended = sort_out(whole, Orders(ids=frozenset({"x"})))
    assert kept is whole
    assert ended == []


def test_what_ends_is_taken_out_alike_ones_together():
    whole = batch("a", "b", "c")
    kept, ((verdict, part),) = sort_out(whole, Orders(ids=frozenset({"a", "c"})))
    assert (names(kept), kept.size, kept.epoch) == (["b"], 1, 3)
    assert (names(part), part.size, part.epoch) == (["a", "c"], 2, 3)
    assert kept.nbytes + part.nbytes == whole.nbytes
    assert verdict.status is Status.CANCELLED


def test_of_a_batch_that_ends_nothing_is_kept():
    assert sort_out(batch("a"), Orders(lanes=frozenset({"normal"})))[0] is None


def test_what_cannot_be_read_goes_on_to_its_refusal():
    kept, ended = sort_out(batch("broken"), Orders(lanes=frozenset({"normal"})))
    assert names(kept) == ["broken"]
    assert ended == []


ENTRIES = (
    [b"message", b'{"token":"t"}'],
    [b"message", b'{"token":"t","data":{"collapse_key":"1"}}'],
    [b"message", b'{"token":"t"}', b"id", b"7"],
    [b"message", b'{"token":"t"}', b"id", b"7", b"colour", b"red", b"size", b"9"],
    [b"message", b'{"data":{"a":"1"}}', b"tokens", b'["a","b","c"]'],
    [b"message", b'{"topic":"/topics/news"}'],
    [b"message", b"no JSON"],
    [],
)


@given(st.lists(st.sampled_from(ENTRIES), min_size=1))
def test_what_was_read_is_counted_job_by_job(entries):
    jobs = [decode_entry("p", "normal", f"1-{n}", fields, DecodeLimits()) for n, fields in enumerate(entries)]
    found = tally(jobs)
    messages = [max(1, len(job.values)) for job in jobs]
    assert (found.messages, found.most_messages) == (sum(messages), max(messages))
    assert (found.nbytes, found.most_bytes) == (sum(j.nbytes for j in jobs), max(j.nbytes for j in jobs))
    assert found.unknown_fields == sum(job.unknown_fields for job in jobs)
    assert found.warned == [job for job in jobs if job.warnings]

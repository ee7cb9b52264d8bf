"""A batch is sorted by the orders in force."""

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.model import Batch, Status, Target
from dispatcher.pipeline.errands import Errands
from dispatcher.pipeline.ordering import sort_out, tally, unsent_batch
from dispatcher.pipeline.project import Project
from dispatcher.policy.orders import Orders
from dispatcher.policy.packer import Packer
from dispatcher.protocol.job import DecodeLimits, decode_entry, identify
from dispatcher.protocol.operation import parcel_limit
from dispatcher.settings import Settings
from dispatcher.transport.auth import StaticToken
from dispatcher.transport.session import Session
from dispatcher.transport.v1 import V1Transport
from dispatcher.transport.wire import Timeouts


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


STRANGE = [b"message", b'{"token":"t","data":{"collapse_key":"1"}}']
ENTRIES = (
    [b"message", b'{"token":"t"}'],
    STRANGE,
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
    assert found.warned == [job for job, fields in zip(jobs, entries, strict=True) if fields is STRANGE]


SUBSCRIPTION = [
    *(b"operation", b"topic.subscribe"),
    *(b"request", b'{"topic":"news","tokens":["a","b"]}'),
]
POISON = [b"message", b'{"token":"t"}', b"campaign", b"c"]
ORDERS = st.builds(
    Orders,
    lanes=st.sampled_from([frozenset(), frozenset({"normal"})]),
    targets=st.frozensets(st.sampled_from([Target("token", "t").key, Target("topic", "news").key])),
    campaigns=st.frozensets(st.sampled_from(["c", "d"])),
    ids=st.frozensets(st.sampled_from(["7", "1-0", "1-3"])),
)


SESSION = Session()  # one for all examples: it reads the system's certificates


def project() -> Project:
    settings = Settings.load(None, {}).project("p")
    wire = V1Transport(SESSION, settings.fcm_endpoint, Timeouts(15, 60), lambda *_: None)
    return Project(settings, wire, StaticToken(), Errands(wire, StaticToken(), 1000))


@given(
    st.lists(st.sampled_from([*ENTRIES, SUBSCRIPTION, POISON]), min_size=1, max_size=40),
    ORDERS,
    st.integers(1, 6),
)
def test_batches_give_back_the_room_that_was_taken_for_their_jobs(entries, orders, batch_size):
    """Whatever becomes of a job: what is not given back is lost to the worker until it is started anew."""
    jobs = [
        # Of an entry that is not to be touched only the identity is read.
        (identify if fields is POISON else decode_entry)("p", "normal", f"1-{n}", fields, DecodeLimits())
        for n, fields in enumerate(entries)
    ]
    taken = tally(jobs)
    mine = project()
    kept, ended = sort_out(unsent_batch(mine, "normal", jobs, 1), orders)
    rest = kept.jobs if kept is not None else []
    packer = Packer(batch_size, 0.0, parcel_limit)
    batches = [
        *(part for _, part in ended),
        unsent_batch(mine, "normal", [job for job in rest if job.refusal or not job.values], 1),
        *packer.add([job for job in rest if not job.refusal and job.values], 0.0, 1),
        *packer.flush(),
    ]
    assert sum(len(part.jobs) for part in batches) == len(jobs)
    assert sum(part.size for part in batches) == taken.messages
    assert sum(part.nbytes for part in batches) == taken.nbytes

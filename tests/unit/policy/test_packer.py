"""dispatcher.policy.packer"""

from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.model import Batch, Job
from dispatcher.policy.packer import Packer


def job(number=0, *, stream="normal", kind="token", messages=1, nbytes=10):
    return Job(
        entry_id=f"{number}-0",
        stream=stream,
        project="demo-orchard-41",
        entry=[],
        nbytes=nbytes,
        id=f"{number}-0",
        lane="normal",
        message=b"{}",
        kind=kind,
        values=[f"t{number}.{n}" for n in range(messages)],
        multicast=messages > 1,
        enqueued_at=0.0,
        expires_at=100.0,
    )


def ids(batches):
    return [[j.entry_id for j in batch.jobs] for batch in batches]


def test_a_full_batch_leaves_at_once_and_the_rest_waits():
    packer = Packer(batch_size=2, linger_s=0.02)
    full = packer.add([job(n) for n in range(5)], now=1.0, epoch=7)
    assert ids(full) == [["0-0", "1-0"], ["2-0", "3-0"]]
    assert [(b.size, b.nbytes, b.epoch, b.broadcast) for b in full] == [(2, 20, 7, False)] * 2
    assert packer.waiting == 1
    assert ids(packer.flush()) == [["4-0"]]
    assert packer.flush() == []


def test_an_open_batch_leaves_when_it_has_lingered_counting_from_its_first_job():
    packer = Packer(batch_size=500, linger_s=0.5)
    assert packer.next_deadline() is None
    packer.add([job(1)], now=1.0, epoch=1)
    packer.add([job(2)], now=1.25, epoch=1)
    assert packer.next_deadline() == 1.5
    assert packer.due(1.49) == []
    (batch,) = packer.due(1.5)
    assert (batch.size, batch.packed_at) == (2, 1.0)
    assert packer.next_deadline() is None


def test_a_multicast_job_is_never_split():
    packer = Packer(batch_size=10, linger_s=1)
    full = packer.add([job(1, messages=6), job(2, messages=6), job(3, messages=4)], now=0, epoch=1)
    assert ids(full) == [["1-0"], ["2-0", "3-0"]]


def test_a_multicast_job_larger_than_the_limit_travels_alone():
    packer = Packer(batch_size=5, linger_s=1)
    full = packer.add([job(1), job(2, messages=500), job(3)], now=0, epoch=1)
    assert ids(full) == [["1-0"], ["2-0"]]
    assert full[1].size == 500


def test_streams_and_kinds_do_not_share_a_batch():
    packer = Packer(batch_size=500, linger_s=1)
    jobs = [
        job(1),
        job(2, kind="topic"),
        job(3, stream="high"),
        job(4),
        job(5, kind="condition"),
        job(6, kind="topic"),
    ]
    assert packer.add(jobs, now=0, epoch=1) == []
    batches = packer.flush()
    assert sorted((b.stream, b.broadcast, len(b.jobs)) for b in batches) == [
        ("high", False, 1),
        ("normal", False, 2),
        ("normal", True, 1),
        ("normal", True, 2),
    ]


def test_jobs_read_under_another_lease_epoch_close_the_older_batch():
    packer = Packer(batch_size=500, linger_s=1)
    packer.add([job(1)], now=0, epoch=1)
    (old,) = packer.add([job(2)], now=0, epoch=2)
    (new,) = packer.flush()
    assert (old.epoch, new.epoch) == (1, 2)


def test_the_limit_may_shrink_while_a_batch_is_open():
    packer = Packer(batch_size=500, linger_s=1)
    packer.add([job(n) for n in range(8)], now=0, epoch=1)
    packer.batch_size = 5
    full = packer.add([job(n) for n in range(8, 14)], now=0, epoch=1)
    assert [b.size for b in full] == [8, 5]


job_shapes = st.tuples(
    st.sampled_from(["high", "due", "normal", "bulk"]),
    st.sampled_from(["token", "fid", "group", "topic", "condition"]),
    st.integers(1, 12),
)


@settings(max_examples=60, deadline=None)
@given(
    reads=st.lists(st.tuples(st.lists(job_shapes, max_size=12), st.integers(1, 2)), max_size=8),
    limit=st.integers(1, 10),
)
def test_every_job_comes_out_once_in_order_in_a_batch_it_fits(reads, limit):
    packer = Packer(batch_size=limit, linger_s=0.5)
    batches: list[Batch] = []
    put = []
    for now, (shapes, epoch) in enumerate(reads):
        jobs = [job(len(put) + n, stream=s, kind=k, messages=m) for n, (s, k, m) in enumerate(shapes)]
        put += jobs
        batches += packer.add(jobs, float(now), epoch)
        assert packer.waiting == sum(b.size for b in packer._open.values())
        batches += packer.due(float(now))
    batches += packer.flush()
    assert packer.waiting == 0
    assert sorted(id(j) for b in batches for j in b.jobs) == sorted(id(j) for j in put)
    for batch in batches:
        assert batch.size == sum(len(j.values) for j in batch.jobs)
        assert batch.nbytes == sum(j.nbytes for j in batch.jobs)
        assert batch.size <= limit or len(batch.jobs) == 1
        assert len({(j.stream, j.kind) for j in batch.jobs}) == 1
        assert batch.stream == batch.jobs[0].stream
        assert batch.broadcast == (batch.jobs[0].kind in {"topic", "condition"})
    for key in {(j.stream, j.kind) for j in put}:
        came = [id(j) for j in put if (j.stream, j.kind) == key]
        went = [id(j) for b in batches for j in b.jobs if (j.stream, j.kind) == key]
        assert came == went


def errand(number, parcel):
    done = job(number)
    done.operation, done.parcel = parcel.partition(" ")[0], parcel
    return done


def test_management_jobs_go_by_parcels_with_limits_of_their_own():
    packer = Packer(batch_size=4, linger_s=1, parcel_limit=lambda operation: 3 if operation == "few" else 100)
    mixed = [
        errand(1, "few a"),
        errand(2, "few b"),
        job(3),
        errand(4, "few a"),
        errand(5, "many a"),
        errand(6, "few a"),
    ]
    [full] = packer.add(mixed, 0.0, 1)
    assert ([j.entry_id for j in full.jobs], full.parcel, full.size) == (["1-0", "4-0", "6-0"], "few a", 3)
    rest = {batch.parcel: [j.entry_id for j in batch.jobs] for batch in packer.flush()}
    assert rest == {"few b": ["2-0"], "": ["3-0"], "many a": ["5-0"]}

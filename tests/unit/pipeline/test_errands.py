"""dispatcher.pipeline.errands"""

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.model import STREAMS, Batch
from dispatcher.pipeline.errands import WINDOW_S, Errands


def batch(stream, size):
    return Batch("p", stream, [], size, 0, 1, parcel="token.info")


def errands(per_second):
    # What it calls, and with which key, is none of its queues' business.
    return Errands(transport=None, credential=None, per_second=per_second)


sizes = st.lists(st.tuples(st.sampled_from(STREAMS), st.integers(1, 1000)), max_size=30)


@given(sizes, st.sampled_from([1, 100, 2000]))
def test_what_stays_fits_the_window_and_what_goes_comes_back_at_the_rate(given_sizes, per_second):
    mine = errands(per_second)
    for stream, size in given_sizes:
        mine.enqueue(batch(stream, size))
    put_off = mine.overflow(loop_now=50.0)
    left = [waiting for queue in mine.waiting.values() for waiting in queue]
    assert len(left) + len(put_off) == len(given_sizes)
    assert len(left) == 1 or sum(b.size for b in left) <= WINDOW_S * per_second
    due = WINDOW_S
    for late, delay in put_off:
        due += late.size / per_second
        assert delay == due or abs(delay - due) < 1e-6
    if left and put_off:
        # The least urgent go first, and of a stream the youngest.
        last_kept = max(STREAMS.index(b.stream) for b in left)
        assert all(STREAMS.index(b.stream) >= last_kept for b, _ in put_off)


def test_what_is_put_off_later_comes_behind_what_was_put_off_before():
    mine = errands(10)
    for _ in range(3):
        mine.enqueue(batch("normal", 10))
    first = [delay for _, delay in mine.overflow(loop_now=0.0)]
    for _ in range(2):
        mine.enqueue(batch("normal", 10))
    assert first == [2.0, 3.0]
    assert [delay for _, delay in mine.overflow(loop_now=0.0)] == [4.0, 5.0]


def test_everything_can_be_taken_back():
    mine = errands(1000)
    mine.enqueue(batch("high", 5))
    assert mine.has_waiting
    assert [b.stream for b in mine.take_back()] == ["high"]
    assert not mine.has_waiting

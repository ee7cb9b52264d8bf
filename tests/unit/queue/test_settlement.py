from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.queue.settlement import (
    MAX_BYTES,
    MAX_ENTRIES,
    Delayed,
    Hold,
    Settled,
    _chunks,
    _delayed_row,
    _joined,
)

sizes = st.lists(st.sampled_from([0, 300, 5_000, 400_000, 2_000_000]), max_size=40)


@given(sizes)
def test_chunks_are_all_entries_in_order_and_none_is_too_large(lengths):
    items = [Settled(str(n), b"x" * length) for n, length in enumerate(lengths)]
    chunks = list(_chunks(items))
    assert [item for chunk in chunks for item in chunk] == items
    for chunk in chunks:
        assert len(chunk) == 1 or sum(len(item.outcomes) for item in chunk) <= MAX_BYTES


def test_chunks_hold_a_thousand_entries():
    chunks = list(_chunks([Settled(str(n)) for n in range(2 * MAX_ENTRIES + 1)]))
    assert [len(chunk) for chunk in chunks] == [MAX_ENTRIES, MAX_ENTRIES, 1]


def test_what_is_delayed_or_dead_weighs_too():
    heavy = Settled("1", b"", False, [Delayed("m", 1, b"x" * 600_000)])
    dead = Settled("2", b"", False, (), [[b"message", b"x" * 600_000]])
    assert [len(chunk) for chunk in _chunks([heavy, dead, heavy])] == [1, 1, 1]


def test_outcomes_are_joined_to_one_array_with_the_length_of_each():
    assert _joined([b'{"a":1}', b"", b'{"b":1},{"c":1}']) == (b'[{"a":1},{"b":1},{"c":1}]', "7,0,15")
    assert _joined([b"", b""]) == (b"", "0,0")


def test_times_are_rounded_up_to_milliseconds_never_down():
    blobs = []
    assert _delayed_row(Delayed("m", 1.0001, b"[]"), blobs) == ("m", 1001, 1)
    held = Delayed("m", 0, b"[]", Hold("t", 0.25, 5.00001))
    assert _delayed_row(held, blobs) == ("m", 0, 2, "t", 250, 5001)
    assert blobs == [b"[]", b"[]"]

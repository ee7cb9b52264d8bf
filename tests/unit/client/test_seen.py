"""The table of what has been seen finds repetitions, and only these."""

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.client.seen import Seen


@given(st.lists(st.binary(min_size=1, max_size=3), max_size=200))
def test_it_finds_what_a_set_would_find(tokens):
    known, expected = set(), []
    for place, token in enumerate(tokens):
        if token in known:
            expected.append(place)
        known.add(token)
    assert Seen(1000).repeated(tokens) == expected


def test_it_remembers_over_calls():
    seen = Seen(1000)
    assert seen.repeated([b"a", b"b"]) == []
    assert seen.repeated([b"c", b"a"]) == [1]


def test_a_hundred_thousand_different_ones_are_different():
    seen = Seen(200_000)
    assert seen.repeated([b"token-%d" % n for n in range(100_000)]) == []
    assert len(seen.repeated([b"token-%d" % n for n in range(100_000)])) == 100_000
    assert not seen.overflowed


def test_when_it_is_full_it_begins_anew_and_says_so():
    seen = Seen(4096)
    for start in range(0, 20_000, 1000):
        seen.repeated([b"%d" % n for n in range(start, start + 1000)])
    assert seen.overflowed
    assert seen.repeated([b"19999", b"0"]) == [0]

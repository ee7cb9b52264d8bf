"""dispatcher.policy.backoff"""

from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.policy.backoff import CAP, THROTTLED_BASE, UNAVAILABLE_BASE, delay, floor


def test_steps_double_from_the_base():
    assert [floor(n, UNAVAILABLE_BASE, None) for n in range(1, 7)] == [1, 2, 4, 8, 16, 32]
    assert [floor(n, THROTTLED_BASE, None) for n in range(1, 4)] == [60, 120, 240]


def test_steps_end_at_the_cap_however_many_there_were():
    assert floor(13, 1.0, None) == CAP
    assert floor(100_000, 60.0, None) == CAP
    assert floor(5, 60.0, None, cap=100.0) == 100.0


def test_retry_after_replaces_the_step_and_is_honoured_beyond_the_cap():
    assert floor(1, THROTTLED_BASE, 2.0) == 2.0
    assert floor(9, UNAVAILABLE_BASE, 2.0) == 2.0
    assert floor(1, UNAVAILABLE_BASE, 86_400.0) == 86_400.0


def test_a_retry_after_in_the_past_is_no_wait():
    assert floor(1, THROTTLED_BASE, 0.0) == 0.0
    assert floor(1, THROTTLED_BASE, -5.0) == 0.0


def test_jitter_adds_up_to_the_floor_and_never_takes_away():
    assert delay(60.0, 0.0) == 60.0
    assert delay(60.0, 0.5) == 90.0


@settings(max_examples=100, deadline=None)
@given(
    n=st.integers(0, 10_000),
    base=st.sampled_from([1.0, 60.0]),
    retry_after=st.none() | st.floats(0, 1e6),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_the_delay_lies_between_the_floor_and_twice_the_floor(n, base, retry_after, chance):
    least = floor(n, base, retry_after)
    assert least <= delay(least, chance) <= 2 * least
    if retry_after is not None:
        assert least == retry_after
    else:
        assert base <= least <= CAP
        assert floor(n + 1, base, None) >= least

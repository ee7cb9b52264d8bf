"""dispatcher.policy.asking"""

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.policy.asking import MOST_SPREAD, SPREAD, wait_to_ask

CHANCE = 0.5


def test_a_worker_alone_asks_again_just_when_it_was_told_to():
    assert wait_to_ask(0.055, 1, CHANCE) == 0.055


def test_with_others_it_asks_later_and_later():
    waits = [wait_to_ask(0.0, refusals, CHANCE) for refusals in range(1, 10)]
    expected = [0.0, *(CHANCE * SPREAD * 2**n for n in range(7)), CHANCE * MOST_SPREAD]
    assert waits == expected


@given(told=st.floats(0, 60), refusals=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_it_never_asks_too_early_nor_much_too_late(told, refusals, chance):
    assert told <= wait_to_ask(told, refusals, chance) <= told + MOST_SPREAD

"""dispatcher.policy.retries"""

from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.policy.retries import RetryBudget


def test_a_quiet_project_may_retry_a_little():
    budget = RetryBudget()
    budget.plan(1000.0, 9)
    assert budget.allowed(1000.0)
    budget.plan(1000.0, 1)
    assert not budget.allowed(1000.0)


def test_retries_are_a_fifth_of_first_attempts():
    budget = RetryBudget()
    budget.sent(1000.0, 500)
    budget.plan(1000.0, 99)
    assert budget.delay(1000.0) == 0.0
    budget.plan(1000.0, 1)
    assert budget.delay(1000.0) > 0


def test_what_does_not_fit_waits_until_the_window_has_slid_on():
    budget = RetryBudget()
    budget.sent(1000.0, 500)
    budget.plan(1000.0, 100)
    assert budget.delay(1000.0) == 60.0
    assert budget.delay(1030.0) == 30.0
    assert budget.delay(1060.0) == 0.0


def test_what_waits_for_the_same_room_does_not_come_back_at_once():
    budget = RetryBudget()
    budget.sent(1000.0, 500)
    budget.plan(1000.0, 100)
    assert [budget.delay(1000.0, chance) for chance in (0.0, 0.5, 0.75)] == [60.0, 62.5, 63.75]
    assert budget.delay(1060.0, 0.9) == 0.0


def test_more_first_attempts_make_more_room():
    budget = RetryBudget()
    budget.plan(1000.0, 10)
    budget.sent(1001.0, 1000)
    assert budget.allowed(1001.0)


def test_first_attempts_of_long_ago_count_no_longer():
    budget = RetryBudget()
    budget.sent(1000.0, 100_000)
    budget.plan(1070.0, 10)
    assert not budget.allowed(1070.0)


def test_planned_retries_push_the_next_ones_further_out():
    budget = RetryBudget()
    waits = []
    for _ in range(4):
        waits.append(budget.delay(1000.0))
        budget.plan(1000.0, 10)
    assert waits == [0.0, 60.0, 120.0, 180.0]


def test_the_extra_delay_ends_at_an_hour():
    budget = RetryBudget()
    for _ in range(100):
        budget.plan(1000.0, 10)
    assert budget.delay(1000.0) == 3600.0


def test_nothing_planned_is_nothing_booked():
    budget = RetryBudget()
    budget.plan(1000.0, 0)
    assert not budget._retries


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(0, 20), st.integers(0, 500), st.integers(0, 100), st.floats(0, 1, exclude_max=True)
        ),
        min_size=1,
        max_size=60,
    )
)
def test_no_window_holds_more_than_its_allowance_and_one_batch(batches):
    budget = RetryBudget()
    now = 1000.0
    first, planned = [], []
    for passed, firsts, retries, chance in batches:
        now += passed
        budget.sent(now, firsts)
        first.append((now, firsts))
        wait = budget.delay(now, chance)
        assert 0.0 <= wait <= 3600.0
        budget.plan(now, retries)
        allowance = max(10, 0.2 * sum(n for at, n in first if at > now - 65))
        if retries and wait < 3600.0:
            end = now + wait
            before = sum(n for at, n in planned if end - 55 < at <= end)
            assert before <= allowance
            planned.append((end, retries))

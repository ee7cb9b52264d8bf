"""dispatcher.policy.concurrency"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dispatcher.policy.concurrency import Concurrency


def test_a_tenth_is_kept_for_the_high_lane():
    requests = Concurrency(64)
    assert (requests.free(high=False), requests.free(high=True)) == (58, 64)
    requests.start(58)
    assert (requests.free(high=False), requests.free(high=True)) == (0, 6)
    requests.finish()
    assert requests.free(high=False) == 1


def test_congestion_halves_the_limit_once_a_window():
    requests = Concurrency(64)
    assert requests.congested(100.0)
    assert not requests.congested(109.9)
    assert requests.limit == 32
    assert requests.congested(110.0)
    assert requests.limit == 16


def test_what_is_on_the_wire_may_exceed_a_halved_limit_but_nothing_is_added():
    requests = Concurrency(64)
    requests.start(58)
    requests.congested(0.0)
    assert requests.free(high=True) == 0


def test_the_limit_never_falls_below_one_request_of_any_lane():
    requests = Concurrency(4)
    for window in range(10):
        requests.congested(window * 10.0)
    assert requests.limit == 1
    assert requests.free(high=False) == 1


def test_a_round_of_successes_adds_one():
    requests = Concurrency(64)
    requests.congested(0.0)
    for _ in range(31):
        requests.succeeded()
    assert requests.limit == 32
    requests.succeeded()
    assert requests.limit == 33
    requests.succeeded(33 + 34 + 10)
    assert requests.limit == 35


def test_congestion_ends_the_round():
    requests = Concurrency(64)
    requests.congested(0.0)
    requests.succeeded(31)
    requests.congested(20.0)
    requests.succeeded(15)
    assert requests.limit == 16


def test_the_limit_grows_back_to_its_most_and_no_further():
    requests = Concurrency(8)
    requests.congested(0.0)
    requests.succeeded(10_000)
    assert requests.limit == 8


class Wire(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.requests = Concurrency(30)
        self.now = 0.0
        self.halvings = []

    @rule(high=st.booleans(), wanted=st.integers(1, 10))
    def start(self, high, wanted):
        self.requests.start(min(wanted, self.requests.free(high=high)))

    @precondition(lambda self: self.requests.running)
    @rule(good=st.booleans())
    def finish(self, good):
        self.requests.finish()
        if good:
            self.requests.succeeded()

    @rule(passed=st.floats(0, 30))
    def congest(self, passed):
        self.now += passed
        before = self.requests.limit
        if self.requests.congested(self.now):
            assert self.requests.limit == max(1, before // 2)
            self.halvings.append(self.now)
        else:
            assert self.requests.limit == before

    @invariant()
    def within_bounds(self):
        assert 1 <= self.requests.limit <= 30
        assert 0 <= self.requests.running <= 30
        assert 0 <= self.requests.free(high=False) <= self.requests.free(high=True)
        assert all(b - a >= 10 for a, b in zip(self.halvings, self.halvings[1:], strict=False))


TestWire = Wire.TestCase
TestWire.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)

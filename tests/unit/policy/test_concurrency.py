"""dispatcher.policy.concurrency"""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dispatcher.policy.concurrency import Ceiling, Concurrency


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


def test_alone_under_a_ceiling_a_project_has_its_limit():
    ceiling = Ceiling(9)
    ceiling.fit(1000)
    project = Concurrency(1000, ceiling=ceiling)
    assert (ceiling.most, project.reach, project.free(high=True)) == (1125, 1000, 1000)


def test_who_begins_under_a_full_ceiling_gets_a_little_and_more_as_the_others_finish():
    ceiling = Ceiling(1125)
    first, second = Concurrency(1000, ceiling=ceiling), Concurrency(1000, ceiling=ceiling)
    first.start(1000)
    assert second.free(high=True) == 125 * 8 // 9
    second.start(second.free(high=True))
    assert first.free(high=True) == 0
    first.finish(500)
    assert second.free(high=True) + second.running == (1125 - 500) * 8 // 9


def test_the_least_share_is_left_whatever_the_others_have():
    ceiling = Ceiling(1125)
    for _ in range(30):
        greedy = Concurrency(1000, ceiling=ceiling)
        greedy.start(greedy.free(high=True))
    assert Concurrency(1000, ceiling=ceiling).reach == 1125 // 40


@given(st.lists(st.tuples(st.integers(0, 19), st.booleans()), max_size=400))
def test_projects_that_finish_and_start_again_stay_under_the_ceiling(steps):
    """Each starts what it may have and finishes it, in any order."""
    ceiling = Ceiling(1125)
    projects = [Concurrency(1000, ceiling=ceiling) for _ in range(20)]
    for number, starts in steps:
        project = projects[number]
        if starts:
            project.start(project.free(high=True))
        else:
            project.finish(project.running)
        assert ceiling.running == sum(each.running for each in projects)
        assert ceiling.active == sum(each.running > 0 for each in projects)
        assert ceiling.running <= 2 * ceiling.most
        assert all(each.reach >= ceiling.most // 40 for each in projects)


def test_twenty_that_always_have_work_have_no_more_than_twice_the_mean():
    ceiling = Ceiling(1125)
    projects = [Concurrency(1000, ceiling=ceiling) for _ in range(20)]
    for _ in range(100):
        for project in projects:
            project.finish(project.running)
            project.start(project.free(high=True))
    mean = ceiling.most / len(projects)
    assert all(mean / 2 <= project.running <= 2 * mean for project in projects)
    assert 1000 < ceiling.running <= ceiling.most


def test_a_ceiling_is_one_for_any_number_of_projects():
    ceiling = Ceiling(1125)
    projects = [Concurrency(1000, ceiling=ceiling) for _ in range(500)]
    for _ in range(3):
        for project in projects:
            project.finish(project.running)
            project.start(max(1, project.free(high=True)))
    assert ceiling.running <= 2 * ceiling.most
    for project in projects:
        project.finish(project.running)
    assert (ceiling.running, ceiling.active) == (0, 0)


def test_a_tenth_of_a_share_is_kept_for_the_high_lane():
    ceiling = Ceiling(1125)
    first, second = Concurrency(1000, ceiling=ceiling), Concurrency(1000, ceiling=ceiling)
    first.start(675)
    assert (second.free(high=False), second.free(high=True)) == (360, 400)


def test_congestion_halves_what_a_project_may_have_under_the_ceiling():
    ceiling = Ceiling(1125)
    first, second = Concurrency(1000, ceiling=ceiling), Concurrency(1000, ceiling=ceiling)
    first.start(675)
    assert second.congested(0.0)
    assert second.limit == 200

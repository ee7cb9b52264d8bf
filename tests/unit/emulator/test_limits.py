from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.emulator.faults import Limit, Scenario
from dispatcher.emulator.limits import Limits


def limits(*buckets: Limit, quota: int | None = None, device: int | None = None) -> Limits:
    return Limits(Scenario(limits=list(buckets), quota_per_minute=quota, device_per_minute=device))


def test_a_project_is_refused_when_its_minute_is_used_up_until_the_window_ends() -> None:
    at_work = limits(quota=2)
    assert at_work.admit("p", "token", "a", 100.0) is None
    assert at_work.admit("p", "topic", "b", 120.0) is None
    excess = at_work.admit("p", "token", "c", 130.0)
    assert (excess.of, excess.retry_after) == ("project", 30)
    assert at_work.admit("p", "token", "c", 160.0) is None


def test_windows_keep_their_own_rhythm_after_silence() -> None:
    at_work = limits(quota=1)
    assert at_work.admit("p", "token", "a", 100.0) is None
    assert at_work.admit("p", "token", "a", 285.0) is None  # in the window from 280 on
    assert at_work.admit("p", "token", "a", 330.0).retry_after == 10


def test_one_project_does_not_use_up_another_ones_quota() -> None:
    at_work = limits(quota=1)
    assert at_work.admit("p", "token", "a", 0.0) is None
    assert at_work.admit("q", "token", "a", 0.0) is None


def test_a_refused_message_costs_quota_but_a_429_does_not() -> None:
    at_work = limits(Limit(target="hot", per_second=1.0), quota=3)
    at_work.charge("p", 0.0)
    assert at_work.admit("p", "token", "hot", 0.0) is None
    for _ in range(5):
        assert at_work.admit("p", "token", "hot", 0.0).of == "token"
    assert at_work.admit("p", "token", "cold", 0.0) is None
    assert at_work.admit("p", "token", "cold", 0.0).of == "project"


def test_a_device_has_a_limit_of_its_own_and_a_topic_has_not() -> None:
    at_work = limits(device=2)
    answers = [at_work.admit("p", "token", "a", 10.0) for _ in range(3)]
    assert [answer is None for answer in answers] == [True, True, False]
    assert at_work.admit("p", "token", "b", 10.0) is None
    assert all(at_work.admit("p", "topic", "t", 10.0) is None for _ in range(5))
    assert at_work.admit("p", "token", "a", 70.0) is None


def test_a_bucket_refills_and_tells_what_it_was_told_to_tell() -> None:
    at_work = limits(Limit(kind="topic", prefix="news", per_second=2.0, burst=2.0, retry_after=2.0))
    assert [at_work.admit("p", "topic", "news-1", 0.0) is None for _ in range(3)] == [True, True, False]
    assert at_work.admit("p", "topic", "news-1", 0.0).retry_after == 2.0
    assert at_work.admit("p", "topic", "news-1", 0.5) is None
    assert at_work.admit("p", "topic", "news-1", 0.5) is not None
    assert at_work.admit("p", "topic", "news-2", 0.5) is None
    assert at_work.admit("p", "token", "news-1", 0.5) is None


@settings(max_examples=50)
@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=60), st.floats(0.5, 20.0), st.integers(1, 5))
def test_a_bucket_never_lets_more_through_than_burst_and_rate(
    gaps: list[float], rate: float, burst: int
) -> None:
    at_work = limits(Limit(per_second=rate, burst=float(burst)))
    now, passed = 1000.0, 0
    for gap in gaps:
        now += gap
        passed += at_work.admit("p", "token", "t", now) is None
    assert passed <= burst + rate * (now - 1000.0) + 1e-6

"""dispatcher.policy.health"""

from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.model import ErrorCode
from dispatcher.policy.health import Answers, Health

MISMATCHED = frozenset({ErrorCode.MISMATCHED_CREDENTIAL})
PLATFORM = frozenset({ErrorCode.THIRD_PARTY_AUTH_ERROR})
FIVE = ["a", "b", "c", "d", "e"]


def test_good_answers_find_nothing():
    found = Health().feed(0.0, Answers(10_000))
    assert (found.congested, found.pausing) == (False, frozenset())


def test_a_fifth_of_429s_from_five_targets_is_congestion():
    assert Health().feed(0.0, Answers(25, throttled=5, throttled_targets=FIVE)).congested
    assert not Health().feed(0.0, Answers(26, throttled=5, throttled_targets=FIVE)).congested


def test_429s_of_four_targets_are_the_targets_own():
    assert not Health().feed(0.0, Answers(400, throttled=400, throttled_targets=FIVE[:4])).congested


def test_targets_and_shares_add_up_over_batches_within_ten_seconds():
    health = Health()
    for second, target in enumerate("abcd"):
        assert not health.feed(second, Answers(5, throttled=1, throttled_targets=[target])).congested
    assert health.feed(4.0, Answers(5, throttled=1, throttled_targets=["e"])).congested


def test_the_same_target_again_is_no_other_target():
    health = Health()
    for second in range(8):
        assert not health.feed(second, Answers(1, throttled=1, throttled_targets=["a"])).congested


def test_429s_are_forgotten_after_ten_seconds():
    health = Health()
    health.feed(0.0, Answers(5, throttled=5, throttled_targets=FIVE))
    assert health.feed(9.0, Answers(1)).congested
    assert not health.feed(10.0, Answers(1)).congested


def test_more_than_a_fifth_of_foreign_tokens_in_500_answers_is_a_swapped_credential():
    assert Health().feed(0.0, Answers(500, mismatched=101)).pausing == MISMATCHED
    assert Health().feed(0.0, Answers(500, mismatched=100)).pausing == frozenset()
    assert Health().feed(0.0, Answers(499, mismatched=499)).pausing == frozenset()


def test_the_batch_that_crosses_the_line_is_already_judged_by_it():
    health = Health()
    assert not health.feed(0.0, Answers(400, mismatched=300)).pausing
    assert health.feed(59.0, Answers(100)).pausing == MISMATCHED


def test_a_high_share_of_foreign_tokens_in_fewer_answers_is_doubt_and_no_verdict():
    found = Health().feed(0.0, Answers(16, mismatched=16))
    assert (found.pausing, found.doubtful) == (frozenset(), MISMATCHED)
    assert not Health().feed(0.0, Answers(16, mismatched=3)).doubtful
    assert not Health().feed(0.0, Answers(4, mismatched=4)).doubtful
    assert not Health().feed(0.0, Answers(500, mismatched=500)).doubtful


def test_foreign_tokens_are_forgotten_after_a_minute():
    health = Health()
    health.feed(0.0, Answers(500, mismatched=500))
    assert health.feed(60.0, Answers(500)).pausing == frozenset()


def test_nine_in_ten_refused_platform_keys_is_the_projects_fault():
    assert Health().feed(0.0, Answers(100, platform=91)).pausing == PLATFORM
    assert Health().feed(0.0, Answers(100, platform=90)).pausing == frozenset()
    assert Health().feed(0.0, Answers(99, platform=99)).pausing == frozenset()


def test_one_platforms_bad_key_does_not_stop_the_other():
    health = Health()
    for second in range(60):
        assert health.feed(second, Answers(500, platform=50)).pausing == frozenset()


def test_a_reset_forgets():
    health = Health()
    health.feed(0.0, Answers(500, 500, 500, 0, FIVE))
    health.reset()
    found = health.feed(0.0, Answers(1))
    assert (found.congested, found.pausing) == (False, frozenset())


batches = st.tuples(
    st.integers(0, 5),
    st.integers(0, 300),
    st.lists(st.sampled_from("abcdefgh"), max_size=30),
    st.integers(0, 300),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(batches, max_size=30))
def test_windows_agree_with_counting_by_hand(steps):
    health = Health()
    now = 0
    fed = []
    for passed, good, throttled, foreign in steps:
        now += passed
        total = good + len(throttled) + foreign
        found = health.feed(
            float(now),
            Answers(total, len(throttled), foreign, 0, set(throttled)),
        )
        fed.append((now, total, throttled, foreign))
        recent = [(t, k) for at, t, k, _ in fed if at > now - 10]
        keys = [key for _, k in recent for key in k]
        assert found.congested == (len(set(keys)) >= 5 and len(keys) >= 0.2 * sum(t for t, _ in recent))
        minute = [(t, f) for at, t, _, f in fed if at // 6 > now // 6 - 10]
        answers = sum(t for t, _ in minute)
        assert bool(found.pausing) == (answers >= 500 and sum(f for _, f in minute) > 0.2 * answers)
    assert all(len(part.throttled_targets) <= 5 for _, part in health._recent)

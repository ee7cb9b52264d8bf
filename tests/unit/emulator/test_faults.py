import msgspec
import pytest

from dispatcher.emulator.faults import Faults, Limit, Rule, Scenario


def faults(*rules: Rule, seed: int = 0) -> Faults:
    return Faults(Scenario(seed=seed, rules=list(rules)))


def fired(at_work: Faults, tokens: list[str]) -> list[str]:
    return [token for token in tokens if at_work.for_message("batch", "p", "token", token) is not None]


TOKENS = [f"token-{number}" for number in range(2000)]


def test_the_first_rule_that_fires_wins() -> None:
    at_work = faults(Rule(prefix="dead-", error="UNREGISTERED"), Rule(error="INTERNAL"))
    assert at_work.for_message("v1", "p", "token", "dead-1").error == "UNREGISTERED"
    assert at_work.for_message("v1", "p", "token", "alive").error == "INTERNAL"


@pytest.mark.parametrize(
    "rule",
    [
        Rule(wire="v1"),
        Rule(project="other"),
        Rule(kind="topic"),
        Rule(target="another"),
        Rule(prefix="x"),
        Rule(rate=0.0),
        Rule(share=0.0),
        Rule(times=0),
        Rule(per="request"),
    ],
)
def test_a_rule_does_not_fire_when_one_condition_fails(rule: Rule) -> None:
    assert faults(rule).for_message("batch", "p", "token", "t") is None


def test_skip_lets_the_first_ones_pass_and_times_ends_it() -> None:
    assert fired(faults(Rule(skip=2, times=3)), TOKENS[:10]) == TOKENS[2:5]


def test_a_rate_is_about_kept_and_the_same_seed_repeats_it() -> None:
    first = fired(faults(Rule(rate=0.1), seed=7), TOKENS)
    assert fired(faults(Rule(rate=0.1), seed=7), TOKENS) == first
    assert fired(faults(Rule(rate=0.1), seed=8), TOKENS) != first
    assert 140 < len(first) < 260


def test_a_share_of_targets_is_the_same_in_any_order() -> None:
    at_work = faults(Rule(share=0.1))
    first = fired(at_work, TOKENS)
    assert sorted(fired(at_work, TOKENS[::-1])) == sorted(first)
    assert 140 < len(first) < 260


def test_two_rules_choose_different_shares() -> None:
    both = faults(Rule(share=0.5, times=0), Rule(share=0.5))
    other = faults(Rule(share=0.5))
    assert fired(both, TOKENS) != fired(other, TOKENS)


def test_a_rule_for_requests_looks_at_the_wire_only() -> None:
    at_work = faults(Rule(per="request", wire="batch", status=503))
    assert at_work.for_request("v1", "/x") is None
    assert at_work.for_request("batch", "/batch").status == 503


def test_it_counts_how_often_a_rule_matched_and_fired() -> None:
    at_work = faults(Rule(name="late", skip=1))
    fired(at_work, TOKENS[:3])
    assert at_work.counts() == [{"name": "late", "matched": 3, "fired": 2}]


@pytest.mark.parametrize(
    "text",
    [
        b'{"rules":[{"error":"NO_SUCH"}]}',
        b'{"rules":[{"error":"INTERNAL","status":500}]}',
        b'{"rules":[{"wire":"oauth","error":"INTERNAL"}]}',
        b'{"rules":[{"rate":1.5}]}',
        b'{"rules":[{"status":99}]}',
        b'{"rules":[{"delay":-1}]}',
        b'{"rules":[{"misspelt":1}]}',
        b'{"limits":[{"per_second":0}]}',
        b'{"limits":[{"burst":5}]}',
        b'{"misspelt":1}',
    ],
)
def test_a_scenario_that_could_not_work_is_refused(text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Scenario)


def test_a_scenario_survives_its_own_json() -> None:
    scenario = Scenario(
        seed=3,
        rules=[Rule(name="a", error="UNREGISTERED", rate=0.5), Rule(per="request", cut="after", truncate=10)],
        limits=[Limit(kind="topic", per_second=2.0, retry_after=2)],
        quota_per_minute=None,
    )
    assert msgspec.json.decode(msgspec.json.encode(scenario), type=Scenario) == scenario

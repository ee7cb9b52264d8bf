"""dispatcher.policy.circuit"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dispatcher.policy.circuit import (
    CLOSED,
    OPEN_CAP,
    PROBE_LEASE,
    RAMP_LEAST,
    Circuit,
    claim,
    close,
    open_for,
    pause,
    phase,
    ramp_factor,
)

T = 1_731_000_000.0


def probed(circuit, now):
    taken = claim(circuit, now)
    assert taken is not None
    return taken


def test_a_project_without_trouble_goes_at_full_rate():
    assert phase(CLOSED, T) == "closed"
    assert ramp_factor(CLOSED, T) == 1.0
    assert claim(CLOSED, T) is None


def test_a_pause_lasts_a_minute_or_what_the_answer_asks_for_if_that_is_longer():
    assert pause(CLOSED, T, None, "x").until == T + 60
    assert pause(CLOSED, T, 42.0, "x").until == T + 60
    assert pause(CLOSED, T, 7200.0, "x").until == T + 7200


def test_nobody_sends_while_it_is_open():
    circuit = pause(CLOSED, T, None, "message-rate-exceeded")
    assert circuit.reason == "message-rate-exceeded"
    assert phase(circuit, T + 59.9) == "open"
    assert ramp_factor(circuit, T + 59.9) == 0.0
    assert claim(circuit, T + 59.9) is None


def test_after_it_one_replica_alone_probes():
    circuit = pause(CLOSED, T, None, "x")
    assert phase(circuit, T + 60) == "probe"
    assert ramp_factor(circuit, T + 60) == 0.0
    taken = probed(circuit, T + 60)
    assert phase(taken, T + 61) == "open"
    assert claim(taken, T + 61) is None


def test_a_probe_nobody_reports_on_can_be_claimed_again():
    taken = probed(pause(CLOSED, T, None, "x"), T + 60)
    assert claim(taken, T + 60 + PROBE_LEASE) is not None


def test_a_failed_probe_doubles_the_pause_up_to_an_hour():
    circuit, now, lengths = CLOSED, T, []
    for _ in range(9):
        circuit = pause(circuit, now, None, "x")
        lengths.append(circuit.until - now)
        now = circuit.until
        circuit = probed(circuit, now)
    assert lengths == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert open_for(10_000, None) == OPEN_CAP


def test_answers_to_requests_from_before_do_not_draw_the_pause_out():
    circuit = pause(CLOSED, T, None, "x")
    assert pause(circuit, T + 14, None, "y") == circuit
    assert pause(circuit, T + 14, 100.0, "y").until == T + 114
    assert pause(circuit, T + 14, 100.0, "y").step == 0


def test_a_good_probe_starts_a_ramp_of_a_minute():
    circuit = close(probed(pause(CLOSED, T, None, "x"), T + 60), T + 61)
    assert phase(circuit, T + 61) == "ramp"
    assert ramp_factor(circuit, T + 61) == RAMP_LEAST
    assert ramp_factor(circuit, T + 91) == 0.5
    assert phase(circuit, T + 121) == "closed"
    assert ramp_factor(circuit, T + 121) == 1.0


def test_a_good_answer_to_an_old_request_closes_nothing():
    circuit = pause(CLOSED, T, None, "x")
    assert close(circuit, T + 5) == circuit
    assert close(circuit, T + 65) == circuit
    assert close(CLOSED, T) == CLOSED


def test_trouble_during_the_ramp_doubles_the_pause_and_after_it_starts_anew():
    ramping = close(probed(pause(CLOSED, T, None, "x"), T + 60), T + 61)
    assert close(ramping, T + 70) == ramping
    assert pause(ramping, T + 70, None, "x").until == T + 70 + 120
    assert pause(ramping, T + 200, None, "x").until == T + 200 + 60


class Replicas(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.now = T
        self.circuit = Circuit()
        self.asked = 0.0

    @rule(passed=st.floats(0, 200))
    def time_passes(self, passed):
        self.now += passed

    @rule(retry_after=st.none() | st.floats(0, 5000))
    def trouble(self, retry_after):
        self.circuit = pause(self.circuit, self.now, retry_after, "x")
        self.asked = max(self.asked, self.now + (retry_after or 0))
        assert phase(self.circuit, self.now) == "open"

    @rule()
    def probe(self):
        taken = claim(self.circuit, self.now)
        if taken is not None:
            self.circuit = taken
            assert claim(taken, self.now) is None

    @rule()
    def good_answer(self):
        self.circuit = close(self.circuit, self.now)

    @invariant()
    def nobody_sends_before_what_was_asked_for(self):
        if self.now < self.asked:
            assert phase(self.circuit, self.now) == "open"
        factor = ramp_factor(self.circuit, self.now)
        assert 0.0 <= factor <= 1.0
        assert (factor == 0.0) == (phase(self.circuit, self.now) in {"open", "probe"})


TestReplicas = Replicas.TestCase
TestReplicas.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)

from pathlib import Path

import pytest

from dispatcher.emulator.faults import Rule, Scenario
from dispatcher.emulator.state import State


def test_projects_are_enrolled_with_a_file_each(tmp_path: Path) -> None:
    state = State()
    files = state.enrol(tmp_path, "http://127.0.0.1:1", ["demo-a", "demo-b"])
    assert files == {name: str(tmp_path / f"{name}.json") for name in ("demo-a", "demo-b")}
    assert state.accounts == ["demo-a", "demo-b"]


@pytest.mark.parametrize("name", ["", "../evil", "Upper", "a/b", "-x", "x" * 63])
def test_no_file_is_written_for_what_is_no_project_id(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no project id"):
        State().enrol(tmp_path, "http://127.0.0.1:1", ["good", name])
    assert list(tmp_path.iterdir()) == []


def test_a_new_scenario_takes_over_everything_it_speaks_of() -> None:
    state = State()
    state.install(Scenario(rules=[Rule(error="INTERNAL")], auth="any", unknown_tokens="unregistered"))
    assert state.scenario.rules[0].error == "INTERNAL"
    assert state.authority.refusal_of("Bearer x", "demo", 0.0) == ""
    assert state.messages.registry.token_state("demo", "t") == "unregistered"


def test_a_reset_goes_back_to_the_scenario_it_was_started_with() -> None:
    state = State(Scenario(latency=0.5))
    state.install(Scenario(auth="any"))
    state.reset()
    assert state.scenario.latency == 0.5
    assert state.authority.refusal_of("Bearer x", "demo", 0.0) == "ACCESS_TOKEN_EXPIRED"

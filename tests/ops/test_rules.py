"""Alerting and recording rules, checked by promtool; every alert fires when it should and only then."""

from __future__ import annotations

import os
import re
import sys

import pytest
import yaml
from alert_cases import CASES, Case
from paths import ALERTS, RECORDING, RUNBOOK, must

RECORDED = yaml.safe_load(RECORDING.read_text())["groups"]
GROUPS = yaml.safe_load(ALERTS.read_text())["groups"]
RULES = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}


def rendered(text: str, case: Case) -> str:
    """An annotation as Prometheus shows it."""
    text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda match: (case.labels or {})[match[1]], text)
    return re.sub(r"\{\{ \$value [^}]*\}\}", case.value, text)


def unit_test(name: str, case: Case) -> dict[str, object]:
    """One test in promtool's words."""
    rule = RULES[name]
    expected = []
    if case.labels is not None:
        expected = [
            {
                "exp_labels": {**case.labels, **rule["labels"]},
                "exp_annotations": {key: rendered(text, case) for key, text in rule["annotations"].items()},
            }
        ]
    return {
        "name": f"{name}: {case.why}",
        "interval": "1m",
        "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
        "alert_rule_test": [{"eval_time": case.at, "alertname": name, "exp_alerts": expected}],
    }


def test_promtool_finds_no_fault():
    must("promtool", "check", "rules", "--lint=all", "--lint-fatal", RECORDING, ALERTS)


@pytest.mark.parametrize("name", RULES)
def test_each_alert_fires_when_it_should_and_only_then(name, tmp_path):
    cases = CASES[name]
    assert {case.labels is None for case in cases} == {True, False}, "a firing and a quiet case"
    document = {
        "rule_files": [str(RECORDING), str(ALERTS)],
        "evaluation_interval": "1m",
        # Else in any order, and an alert sees at times what was recorded a minute ago.
        "group_eval_order": [group["name"] for group in (*RECORDED, *GROUPS)],
        "tests": [unit_test(name, case) for case in cases],
    }
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump(document))
    must("promtool", "test", "rules", file)


def test_no_case_is_left_of_an_alert_that_is_gone():
    assert set(CASES) == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_each_alert_says_how_grave_it_is_what_it_means_and_what_to_do(name):
    rule = RULES[name]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"deploy/runbook.md#{name.lower()}"


def test_the_runbook_has_a_whole_section_for_each_alert_and_for_nothing_else():
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(), re.MULTILINE | re.DOTALL))
    assert set(sections) == set(RULES)
    for name, text in sections.items():
        for part in ("Meaning.", "Impact.", "How to see.", "What to do."):
            assert f"**{part}**" in text, f"{name} lacks: {part}"


COMMANDS = sorted(
    {" ".join(text.split()) for text in re.findall(r"`[^`]*?\b(dispatcher [a-z][^`]*)`", RUNBOOK.read_text())}
)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_of_the_runbook_is_one_and_has_these_options(command):
    words = command.split()[1:]
    names = [word for word in words[: 2 if words[0] == "dead" else 1] if not word.startswith("-")]
    shown = must(sys.executable, "-m", "dispatcher", *names, "--help", env={**os.environ, "COLUMNS": "200"})
    for option in (word for word in words if word.startswith("--")):
        assert re.search(rf"{option}\b", shown), option


def test_the_runbook_uses_our_commands_where_there_are_any():
    assert len(COMMANDS) > 12
    used = {command.split()[1] for command in COMMANDS}
    assert {"status", "dead", "outcomes", "pause", "resume", "cancel", "check"} <= used
    # What Redis alone can tell: the groups of the applications, and streams that are none of ours.
    others = re.findall(r"redis-cli -u \$REDIS_URL ([A-Z]+)", " ".join(RUNBOOK.read_text().split()))
    assert set(others) == {"XINFO", "XGROUP", "DEL"}

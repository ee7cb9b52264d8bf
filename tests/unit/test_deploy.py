"""What is checked of rules, dashboard and runbook without their tools; `make ops` checks the rest."""

import json
import re
from pathlib import Path

import pytest

from dispatcher.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
FILES = {
    path.name: path.read_text(encoding="utf-8")
    for path in (
        DEPLOY / "prometheus" / "alerts.yml",
        DEPLOY / "prometheus" / "recording.yml",
        DEPLOY / "grafana" / "dashboards" / "dispatcher.json",
        DEPLOY / "runbook.md",
        ROOT / "helm" / "dispatcher" / "templates" / "scaledobject.yaml",
    )
}
ALERTS = re.findall(r"- alert: (\w+)", FILES["alerts.yml"])


@pytest.mark.parametrize("name", FILES)
def test_every_metric_that_is_named_is_in_the_table(name):
    known = set()
    for row in Metrics("1").rows():
        known |= {row.name, f"{row.name}_bucket", f"{row.name}_sum", f"{row.name}_count"}
    named = set(re.findall(r"\bdispatcher_[a-z0-9_]+", FILES[name]))
    assert named
    assert named <= known


def test_every_alert_has_its_section_in_the_runbook():
    assert len(ALERTS) > 10
    assert set(ALERTS) == set(re.findall(r"^## (\w+)$", FILES["runbook.md"], re.MULTILINE))


def test_the_dashboard_is_json_with_queries():
    assert any(panel.get("targets") for panel in json.loads(FILES["dispatcher.json"])["panels"])


@pytest.mark.parametrize("name", ["alerts.yml", "recording.yml"])
def test_the_chart_has_the_same_rules(name):
    assert (ROOT / "helm" / "dispatcher" / "files" / name).read_text(encoding="utf-8") == FILES[name]

"""The dashboard: made from its table, whole, and without a misspelt name."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from chart_files import thing, whole
from custom_schemas import DURATION, TEXT, several
from dashboard import ROWS, text
from jsonschema import Draft7Validator
from paths import DASHBOARD, DEPLOY, RUNBOOK
from queries import dashboard, known, label_names, names, rules, scaling

from dispatcher.telemetry.metrics import Metrics

FOUND = json.loads(DASHBOARD.read_text())
PANELS = [panel for panel in FOUND["panels"] if panel["type"] != "row"]
FROM_SCRAPING = {"namespace", "pod", "job", "instance", "le"}


def test_the_file_is_made_from_its_table():
    assert DASHBOARD.read_text() == text(), "stale: make ops-files"


def test_it_has_the_rows_an_operator_looks_for():
    assert [panel["title"] for panel in FOUND["panels"] if panel["type"] == "row"] == [
        title for title, _ in ROWS
    ]
    for word in ("glance", "Flow", "Queue", "code", "Throttling", "Credentials", "Resources", "Autoscaling"):
        assert any(word in title for title, _ in ROWS)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_panel_has_title_description_unit_and_queries(panel):
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["expr"]
        assert target["datasource"]["uid"] == "${datasource}"


def test_panels_do_not_overlap_and_have_ids_of_their_own():
    taken: set[tuple[int, int]] = set()
    for panel in FOUND["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in FOUND["panels"]}) == len(FOUND["panels"])


def test_it_can_be_narrowed_down():
    variables = [variable["name"] for variable in FOUND["templating"]["list"]]
    assert variables == ["datasource", "namespace", "project", "pod"]
    used = set(re.findall(r"\$(\w+)", " ".join(dashboard().values()))) - {"__rate_interval"}
    assert used <= set(variables)


QUERIES = {**dashboard(), **rules(), **scaling()}


@pytest.mark.parametrize("where", QUERIES)
def test_each_metric_that_is_named_is_in_the_table(where):
    named = names(QUERIES[where])
    assert named
    assert named <= known()


@pytest.mark.parametrize("where", QUERIES)
def test_each_label_that_is_asked_for_is_one_of_the_metric(where):
    own = {row.name: set(row.labels) for row in Metrics("").rows()}
    for name, labels in label_names(QUERIES[where]).items():
        base = name if name in own else re.sub(r"_(bucket|sum|count)$", "", name)
        assert labels <= own[base] | FROM_SCRAPING, name


def test_each_metric_is_shown_somewhere():
    shown = {name for query in QUERIES.values() for name in names(query)}
    for row in Metrics("").rows():
        assert row.name in shown or any(f"{row.name}_{part}" in shown for part in ("bucket", "sum", "count"))


@pytest.mark.parametrize("where", QUERIES)
def test_shared_gauges_are_never_summed_over_replicas(where):
    shared = [row.name for row in Metrics("").rows() if row.meaning.endswith("(shared)")]
    for name in shared:
        for before in re.findall(rf"(\w+)(?: by \([^)]*\))? ?\({name}\b", QUERIES[where]):
            # The scaler's `0 * sum(...)` only asks whether there is any.
            assert before in ("max", "min") or "0 * sum(" in QUERIES[where], where


def test_the_runbook_names_only_what_there_is():
    named = set(re.findall(r"\bdispatcher_[a-z0-9_]+", RUNBOOK.read_text()))
    assert named <= known()


DATASOURCES = thing(
    ("apiVersion", "datasources"),
    apiVersion={"const": 1},
    datasources=several(
        thing(
            ("name", "type", "url"),
            name=TEXT,
            uid=TEXT,
            type={"const": "prometheus"},
            access={"enum": ["proxy", "direct"]},
            url={"type": "string", "pattern": "^https?://"},
            isDefault={"type": "boolean"},
            editable={"type": "boolean"},
            jsonData=thing(timeInterval=DURATION, httpMethod={"enum": ["GET", "POST"]}),
        )
    ),
)
PROVIDERS = thing(
    ("apiVersion", "providers"),
    apiVersion={"const": 1},
    providers=several(
        thing(
            ("name", "type", "options"),
            name=TEXT,
            type={"const": "file"},
            folder=TEXT,
            allowUiUpdates={"type": "boolean"},
            disableDeletion={"type": "boolean"},
            updateIntervalSeconds=whole(1),
            options=thing(("path",), path={"type": "string", "pattern": "^/"}),
        )
    ),
)
"""Grafana's provisioning files, of the fields it documents; others it passes over in silence."""


@pytest.mark.parametrize(
    ("file", "schema"),
    [("datasources/prometheus.yaml", DATASOURCES), ("dashboards/dispatcher.yaml", PROVIDERS)],
)
def test_grafana_finds_in_its_provisioning_what_it_reads(file, schema):
    Draft7Validator(schema).validate(yaml.safe_load((DEPLOY / "grafana/provisioning" / file).read_text()))


def test_grafana_is_given_its_datasource_and_dashboards():
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "dispatcher.yaml").read_text())["providers"]
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert (
        f"./grafana/dashboards:{provider['options']['path']}:ro" in compose["services"]["grafana"]["volumes"]
    )

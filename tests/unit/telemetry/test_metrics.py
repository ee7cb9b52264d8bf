"""The table of metrics keeps its own rules."""

import re

from prometheus_client.parser import text_string_to_metric_families

from dispatcher.model import Status
from dispatcher.telemetry.metrics import Metrics, markdown, status_class

BOUNDED = {
    "project",
    "lane",
    "transport",
    "status",
    "code",
    "reason",
    "result",
    "kind",
    "stream",
    "version",
    "python",
}


def test_names_have_the_prefix_and_counters_end_in_total():
    for row in Metrics("1").rows():
        assert re.fullmatch(r"dispatcher_[a-z][a-z_]*[a-z]", row.name)
        assert row.name.endswith("_total") == (row.type == "counter")
        assert row.meaning


def test_labels_are_bounded_and_project_comes_first():
    for row in Metrics("1").rows():
        assert set(row.labels) <= BOUNDED
        assert "project" not in row.labels[1:]


def test_units_are_base_units():
    for row in Metrics("1").rows():
        assert not re.search(r"_(ms|millis|minutes|hours|kb|mb|percent)(_|$)", row.name)


def test_what_is_rendered_can_be_read_back():
    metrics = Metrics("1.2.3")
    metrics.messages.of("demo-a", "rejected", "invalid-payload").inc(3)
    metrics.outcome_latency.of("bulk").observe_many([0.1, 0.2])
    metrics.backlog.of("demo-a", "bulk").set(7)
    families = {f.name: f for f in text_string_to_metric_families(metrics.render().decode())}
    assert families["dispatcher_messages"].samples[0].value == 3
    assert families["dispatcher_backlog_jobs"].samples[0].labels == {"project": "demo-a", "lane": "bulk"}
    assert families["dispatcher_build_info"].samples[0].labels["version"] == "1.2.3"
    assert "process_resident_memory_bytes" in families


def test_a_project_shows_its_statuses_at_zero_from_the_start():
    metrics = Metrics("1")
    metrics.start_project("demo-a")
    for status in Status:
        labels = {"project": "demo-a", "status": status.value, "code": ""}
        assert metrics.registry.get_sample_value("dispatcher_messages_total", labels) == 0


def test_a_project_that_is_served_no_more_leaves_no_gauges_behind():
    metrics = Metrics("1")
    metrics.backlog.of("demo-a", "bulk").set(7)
    metrics.messages.of("demo-a", "accepted", "").inc()
    metrics.forget_project("demo-a")
    text = metrics.render().decode()
    assert "dispatcher_backlog_jobs{" not in text
    assert 'dispatcher_messages_total{code="",project="demo-a"' in text


def test_counters_without_labels_are_there_before_anything_happens():
    assert Metrics("1").registry.get_sample_value("dispatcher_redis_commands_total") == 0


def test_a_gauge_that_nobody_has_set_says_nothing():
    assert Metrics("1").registry.get_sample_value("dispatcher_redis_memory_bytes") is None


def test_status_classes():
    assert [status_class(s) for s in (0, 200, 404, 429, 503)] == ["none", "2xx", "4xx", "429", "5xx"]


def test_the_readmes_table_has_a_line_for_each():
    assert len(markdown().splitlines()) == 2 + len(list(Metrics("1").rows()))
    assert "| `dispatcher_backlog_jobs` | gauge | `project`, `lane` |" in markdown()

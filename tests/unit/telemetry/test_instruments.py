"""Counters, gauges and histograms: what they add up to, and that their labels are bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from dispatcher.telemetry.instruments import Counter, Distribution, Gauge, Histogram, ProjectLabels


def registry(*families):
    made = CollectorRegistry()
    for family in families:
        made.register(family)
    return made


def test_a_counter_counts_a_batch_in_one_call():
    counter = Counter("x_total", ("project", "status"), "Things", ProjectLabels())
    counter.of("demo-a", "accepted").inc(500)
    counter.of("demo-a", "accepted").inc()
    assert registry(counter).get_sample_value("x_total", {"project": "demo-a", "status": "accepted"}) == 501


def test_a_series_is_made_once():
    counter = Counter("x_total", ("project",), "Things", ProjectLabels())
    assert counter.of("demo-a") is counter.of("demo-a")


def test_past_the_limit_projects_are_counted_together():
    counter = Counter("x_total", ("project", "code"), "Things", ProjectLabels(limit=2))
    for project in ("a", "b", "c", "d", "a"):
        counter.of(project, "k").inc(10)
    read = registry(counter)
    assert read.get_sample_value("x_total", {"project": "a", "code": "k"}) == 20
    assert read.get_sample_value("x_total", {"project": "c", "code": "k"}) is None
    assert read.get_sample_value("x_total", {"project": "other", "code": "k"}) == 20


@pytest.mark.parametrize(("merge", "expected"), [("sum", 7), ("max", 4), ("min", 3)])
def test_gauges_past_the_limit_do_not_overwrite_each_other(merge, expected):
    gauge = Gauge("x", ("project",), "Things", ProjectLabels(limit=1), merge)
    for project, value in {"a": 1, "b": 3, "c": 9}.items():
        gauge.of(project).set(value)
    gauge.of("c").set(4)
    read = registry(gauge)
    assert read.get_sample_value("x", {"project": "a"}) == 1
    assert read.get_sample_value("x", {"project": "other"}) == expected


def test_all_metrics_agree_on_which_projects_are_named():
    projects = ProjectLabels(limit=1)
    first = Counter("x_total", ("project",), "Things", projects)
    second = Counter("y_total", ("project",), "Things", projects)
    first.of("a")
    second.of("b").inc()
    assert registry(second).get_sample_value("y_total", {"project": "other"}) == 1


def test_a_gauge_forgets_the_series_that_begin_with_given_labels():
    gauge = Gauge("x", ("project", "reason"), "Things", ProjectLabels())
    gauge.of("a", "quota").set(1)
    gauge.of("a", "credentials").set(1)
    gauge.of("b", "quota").set(1)
    gauge.forget("a")
    read = registry(gauge)
    assert read.get_sample_value("x", {"project": "a", "reason": "quota"}) is None
    assert read.get_sample_value("x", {"project": "b", "reason": "quota"}) == 1


def test_a_series_with_the_wrong_number_of_labels_is_a_mistake_of_ours():
    for family in (
        Counter("x_total", ("project",), "", ProjectLabels()),
        Gauge("x", (), "", ProjectLabels()),
    ):
        with pytest.raises(ValueError, match="has the labels"):
            family.of("a", "b")


def test_a_value_on_a_bound_belongs_to_the_bucket_below_it():
    histogram = Histogram("x", ("lane",), "Times", ProjectLabels(), (1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 3.0):
        histogram.of("bulk").observe(value)
    read = registry(histogram)
    assert read.get_sample_value("x_bucket", {"lane": "bulk", "le": "1.0"}) == 2
    assert read.get_sample_value("x_bucket", {"lane": "bulk", "le": "2.0"}) == 3
    assert read.get_sample_value("x_bucket", {"lane": "bulk", "le": "+Inf"}) == 4
    assert read.get_sample_value("x_count", {"lane": "bulk"}) == 4
    assert read.get_sample_value("x_sum", {"lane": "bulk"}) == 6


@given(st.lists(st.floats(min_value=0, max_value=100), max_size=50))
def test_many_at_once_are_the_same_as_one_by_one(values):
    together, single = Distribution((1.0, 5.0, 50.0)), Distribution((1.0, 5.0, 50.0))
    together.observe_many(values)
    for value in values:
        single.observe(value)
    assert together.counts == single.counts
    assert together.total == pytest.approx(single.total)

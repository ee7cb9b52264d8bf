"""A real Prometheus scrapes three live workers: every query finds what it asks for, and counts it once."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from paths import must
from queries import dashboard, recorded, rules, scaling
from site_live import LOST, PATIENCE_S, SERVED, SLOW, SLOW_BACKLOG, WORKERS, Site, wait_for

from dispatcher.telemetry.metrics import Metrics

ONLY_OVER_XMPP = {"dispatcher_upstream_messages_total"}
"""The site has no XMPP server: tests/integration/pipeline/test_xmpp.py shows that one."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        made = Site(stack, tmp_path_factory.mktemp("site"))
        made.trouble()
        made.produce()
        wait_for("first outcomes", lambda: made.series("sum(dispatcher_messages_total) > 1000"))
        made.stall()
        made.hang_up()
        yield made


def filled(expression: str) -> str:
    """A dashboard's query with everything chosen."""
    text = expression.replace("$__rate_interval", "2m").replace("$__range", "2m")
    return re.sub(r"\$(namespace|project|pod)", ".*", text)


def test_all_workers_are_scraped(site):
    wait_for("all up", lambda: site.series(f"count(up == 1) == {WORKERS}"))


@pytest.mark.parametrize("number", range(WORKERS))
def test_promtool_finds_no_fault_with_what_a_worker_exports(site, number):
    must("promtool", "check", "metrics", input=site.scrape(number))


def test_every_metric_of_the_table_is_set_by_the_pipeline(site):
    def unset() -> list[str]:
        text = "".join(site.scrape(number) for number in range(WORKERS))
        present = {re.split(r"[{ ]", line)[0] for line in text.splitlines() if not line.startswith("#")}
        return [
            row.name
            for row in Metrics("").rows()
            if row.name not in ONLY_OVER_XMPP
            and (f"{row.name}_count" if row.type == "histogram" else row.name) not in present
        ]

    deadline = time.monotonic() + PATIENCE_S
    while (left := unset()) and time.monotonic() < deadline:
        site.stall()
        site.hang_up()
    assert left == []


def test_nothing_but_the_table_is_exported(site):
    known = {row.name for row in Metrics("").rows()}
    for line in site.scrape().splitlines():
        if line.startswith("# TYPE dispatcher_"):
            name, kind = line.split()[2:]
            assert name in known or (kind == "counter" and f"{name}_total" in known), name


@pytest.mark.parametrize("where", dashboard())
def test_every_query_of_the_dashboard_returns_series(site, where):
    expression = filled(dashboard()[where])
    wait_for(f"{where}: {expression}", lambda: site.series(expression))


@pytest.mark.parametrize("where", scaling())
def test_every_query_of_the_scaler_returns_one_number(site, where):
    expression = scaling()[where]
    (one,) = wait_for(expression, lambda: site.series(expression))
    assert one["metric"] == {}
    assert float(one["value"][1]) >= 0


@pytest.mark.parametrize("name", sorted(recorded()))
def test_every_recording_rule_records(site, name):
    wait_for(name, lambda: site.series(name))


def test_every_rule_is_evaluated_without_an_error(site):
    found = {rule["name"]: rule for group in site.ask("rules")["groups"] for rule in group["rules"]}
    assert set(found) == set(rules())
    for rule in found.values():
        assert rule["health"] in ("ok", "unknown"), rule
    assert any(rule["health"] == "ok" for rule in found.values())


def test_the_backlog_is_counted_once_and_not_by_each_worker(site):
    # This project may send one message a second: its backlog is nearly constant, and every worker exports it.
    selector = f'project="{SLOW}"'
    assert len(site.series(f'dispatcher_backlog_jobs{{{selector}, lane="bulk"}}')) == WORKERS
    truth = site.redis.xlen(f"fcm:{{{SLOW}}}:jobs:bulk")
    assert truth > SLOW_BACKLOG / 2
    expression = dashboard()["Backlog A"].replace('project=~"$project"', selector)
    assert site.value(filled(expression)) == pytest.approx(truth, abs=30)
    # What one worker says of all projects that are not paused is what the scaler divides.
    (query,) = [text for where, text in scaling().items() if where.endswith(" backlog")]
    alone = 'sum(dispatcher_backlog_jobs{pod="fcm-1"} unless on (project) dispatcher_project_paused{pod="fcm-1"} == 1)'
    assert site.value(query) == pytest.approx(site.value(alone), rel=0.5)


def test_jobs_that_nobody_serves_are_told_once_for_each_project(site):
    found = wait_for("unserved", lambda: site.series("max by (project) (dispatcher_unserved_jobs) > 0"))
    assert {one["metric"]["project"] for one in found} == {LOST, SERVED[0]}


def test_labels_hold_no_target_and_no_job(site):
    text = site.scrape()
    for secret in ("tree0", "busy-device", "orchard-1", "slow0"):
        assert secret not in text


def test_a_worker_that_leaves_ends_well(site):
    # Last: the others go on.
    worker = site.workers[-1]
    worker.terminate()
    assert worker.wait(90) == 0

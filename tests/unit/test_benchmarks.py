"""The benchmarks' tables and plots are those of the figures that are kept; what computes them is right."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"
RESULTS = sorted((FOLDER / "results").glob("*.json"))


@pytest.fixture
def script(monkeypatch):
    """A module of benchmarks/ by its name: they are scripts, and import each other as such."""
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    yield importlib.import_module
    # Their names are plain words (`server`, `results`), which nobody else is to find loaded.
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == FOLDER:
            del sys.modules[name]


@pytest.fixture
def tables(script):
    return script("tables")


@pytest.mark.parametrize("name", ["README.md", "benchmarks/README.md"])
def test_the_tables_of_a_readme_are_those_of_the_results(tables, name):
    text = (ROOT / name).read_text(encoding="utf-8")
    assert tables.renewed(text, tables.READMES[ROOT / name]) == text, f"{name} is stale: make bench-tables"


def test_each_table_stands_in_one_readme_once(tables):
    texts = [path.read_text(encoding="utf-8") for path in tables.READMES]
    assert sorted(re.findall(r"<!-- bench: (\w+) -->", "".join(texts))) == sorted(tables.TABLES)


def test_the_plots_are_those_of_the_results(script):
    for name, picture in script("plots").drawn().items():
        assert (FOLDER / "plots" / f"{name}.svg").read_text(encoding="utf-8") == picture, name


def test_what_is_published_is_of_whole_runs():
    assert RESULTS
    assert not [file.name for file in RESULTS if json.loads(file.read_text())["measured"]["quick"]]


def test_a_quick_run_changes_nothing_that_is_published(script, monkeypatch, tmp_path):
    results = script("results")
    monkeypatch.setattr(results, "QUICK_FOLDER", tmp_path / "quick")
    before = {file: file.read_bytes() for file in RESULTS}

    results.save("pipeline", {"rows": []}, quick=True)

    assert results.load("pipeline", quick=True)["rows"] == []
    assert {file: file.read_bytes() for file in RESULTS} == before


def test_a_table_without_figures_stays_as_it_is(tables, script, monkeypatch, tmp_path):
    monkeypatch.setattr(script("results"), "FOLDER", tmp_path)
    text = "before\n<!-- bench: codec -->\n<!-- end -->\nafter\n"
    assert tables.renewed(text, "plots") == text


def test_every_benchmark_is_run_by_make_bench_and_has_a_table(tables):
    run = subprocess.run(
        ["make", "--dry-run", "bench", "QUICK=1"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    named = re.findall(r"benchmarks/(\w+)\.py --quick$", run.stdout, re.MULTILINE)
    sources = {source for source, _ in tables.TABLES.values()} - {"peers"} | {"comparison"}
    assert named[-1] == "tables"
    assert set(named[:-1]) == sources


def worker(name, rounds, **more):
    medians = {figure: sorted(each)[len(each) // 2] for figure, each in rounds.items()}
    return {"name": name, "wire": "-", **medians, "each": rounds, **more}


def test_a_ratio_is_the_median_of_those_of_the_rounds(script):
    ours = worker("worker, v1-h2", {"msg_per_s": [20_000, 60_000, 30_000], "cpu_us": [1, 1, 1]})
    theirs = worker("node fcm-v1-http2 1.0", {"msg_per_s": [10_000, 40_000, 10_000], "cpu_us": [1, 1, 1]})
    [what, figure, aim, met], *_ = script("aims").beside_peers({"rows": [ours, theirs]})
    assert "node fcm-v1-http2" in what
    assert (figure, aim, met) == ("2.00", "at least 2", "yes")


def test_of_older_results_a_ratio_is_that_of_the_medians(script):
    ours = {"name": "worker, v1-h2", "msg_per_s": 30_000, "cpu_us": 10}
    theirs = {"name": "node fcm-v1-http2 1.0", "msg_per_s": 20_000, "cpu_us": 10}
    [_, figure, _, met], *_ = script("aims").beside_peers({"rows": [ours, theirs]})
    assert (figure, met) == ("1.50", "no")


@pytest.mark.parametrize(
    ("bound", "least", "beyond", "value", "met"),
    [
        (2, True, False, 2, True),
        (2, True, False, 1.99, False),
        (16, False, False, 16, True),
        (16, False, False, 16.1, False),
        (150, False, True, 150, False),
        (150, False, True, 149, True),
    ],
)
def test_an_aim_is_met_up_to_its_bound(script, bound, least, beyond, value, met):
    assert script("aims").Aim(bound, least=least, open=beyond).met(value) is met


def test_aims_are_computed_of_one_wire_and_one_backlog_too(script):
    row = {"wire": "batch", "jobs": 10_000, "latency_ms": 0.0, "projects": 1, "rss_mb": 151.0}
    row |= {"msg_per_s": 70_000.0, "cpu_us": 17.0}
    found = [(figure, met) for _, figure, _, met in script("aims").of_workers({"rows": [row]})]
    assert found == [("17.0", "no"), ("70,000", "yes"), ("151", "no")]


def test_what_is_compared_runs_close_together(script):
    pipeline = script("pipeline")
    cases = pipeline.cases(list(pipeline.WIRES), list(pipeline.JOBS), [50.0, 200.0], [20])
    assert len(cases) == len(set(cases)) == 21
    for jobs in pipeline.JOBS:
        assert cases.index(("bare", jobs, 0.0, 1)) + 1 == cases.index(("batch", jobs, 0.0, 1))
    for wire in ("batch", "v1", "v1-h2"):
        assert cases.index((wire, 100_000, 0.0, 1)) + 1 == cases.index((wire, 100_000, 0.0, 20))
        assert cases.index((wire, 1_000_000, 0.0, 1)) - cases.index((wire, 10_000, 0.0, 1)) <= 2


def test_what_is_published_is_of_everyone_in_as_many_rounds_as_it_says(script):
    comparison = script("comparison")
    ours = [f"worker, {case.wire}" for case in comparison.WORKERS]
    rows = json.loads((FOLDER / "results" / "peers.json").read_text())["rows"]
    assert [row["name"] for row in rows] == [*ours, *(peer.name for peer in comparison.PEERS)]
    assert {row["rounds"] for row in rows} == {5}
    for name in ("pipeline", "latency"):
        assert {
            row["rounds"] for row in json.loads((FOLDER / "results" / f"{name}.json").read_text())["rows"]
        } == {3}


def test_latency_is_measured_on_both_lanes_at_all_rates_and_its_figures_are_medians(script):
    latency = script("latency")
    cases = latency.cases(list(latency.RATES), None, latency.BULK_JOBS)
    for wire, rates in latency.RATES.items():
        assert [case.lane for case in cases if case.wire == wire].count("high") == 1
        assert {case.rate for case in cases if case.wire == wire and case.lane == "normal"} >= set(rates)
    assert latency.percentiles([float(wait) for wait in range(1000)]) == {
        "p50": 500,
        "p99": 990,
        "p99.9": 999,
    }
    rounds = [{"messages": 9.0, "p99": wait, "generator_behind_ms": wait} for wait in (30.0, 40.0, 90.0)]
    row = latency.row_of(cases[0], rounds)
    assert (row["p99"], row["generator_behind_ms"]) == (40.0, 90.0)


def test_memory_is_measured_with_every_wire_kind_and_crowd_at_every_server(script):
    memory = script("memory")
    for wire in memory.WIRES:
        for answers in (memory.AT_ONCE, "after 1000 ms", memory.AWAY):
            for kind in memory.KINDS:
                crowds = [crowd for _, crowd in memory.cases(wire, answers, kind, quick=False)]
                assert crowds.count(memory.MANY) == 1
                assert crowds.count(1) >= 1


def test_requests_over_http2_are_all_answered_as_nginx_answers(script):
    codec = script("codec")
    exchanges = codec.Exchanges(3 * codec.STREAMS)
    exchanges.connect()
    assert exchanges.run() == 3 * codec.STREAMS
    assert not exchanges.connection.closed
    assert exchanges.connection.streams == 0

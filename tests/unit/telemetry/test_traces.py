"""Traces are off, and cost nothing, until the environment says where to export to."""

import subprocess
import sys

import pytest

from dispatcher.errors import SettingsError
from dispatcher.telemetry import traces
from dispatcher.telemetry.traces import MOST_LINKS, open_tracing, parse_parents, wanted

ON = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_they_are_off_by_default():
    assert not wanted({})
    assert open_tracing({}, "1") is None


@pytest.mark.parametrize(
    ("environ", "on"),
    [
        (ON, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({**ON, "OTEL_SDK_DISABLED": "true"}, False),
        ({**ON, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
    ],
)
def test_the_standard_variables_decide(environ, on):
    assert wanted(environ) is on


def test_asked_for_without_the_extra_the_start_fails_and_says_what_to_install(monkeypatch):
    monkeypatch.setattr(traces, "find_spec", lambda _name: None)
    with pytest.raises(SettingsError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT is set.*fcm-dispatcher\[otel\]"):
        open_tracing(ON, "1")


def test_off_we_import_nothing_of_it():
    # (The Redis client imports what it finds of OpenTelemetry for its own metrics; the exporter is ours alone.)
    code = (
        "import sys, dispatcher.worker\n"
        "ours = ('opentelemetry.exporter', 'dispatcher.telemetry.otel')\n"
        "sys.exit(any(name.startswith(ours) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_the_extra_everything_else_imports():
    code = "import sys; sys.modules['opentelemetry'] = None; import dispatcher.worker"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_producers_spans_are_found_once_each():
    assert parse_parents([PARENT, "", PARENT], lambda *ids: ids) == [
        (0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, 1)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        PARENT.upper(),
        PARENT[:-1],
        f"ff{PARENT[2:]}",
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
    ],
)
def test_what_is_no_traceparent_is_passed_over(text):
    assert parse_parents([text], lambda *ids: ids) == []


def test_a_later_version_with_more_parts_is_read_as_far_as_it_is_known():
    assert parse_parents([f"01{PARENT[2:]}-more"], lambda *ids: ids)


def test_links_are_limited():
    texts = [f"00-{n:032x}-{n:016x}-00" for n in range(1, 500)]
    assert len(parse_parents(texts, lambda *ids: ids)) == MOST_LINKS

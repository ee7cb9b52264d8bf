"""Every PromQL query that people or machines rely on, and which metrics it names."""

from __future__ import annotations

import json
import re

import yaml
from paths import ALERTS, DASHBOARD, RECORDING
from rendering import VALUES, objects, of_kind, template

from dispatcher.telemetry.metrics import Metrics

OTHERS = {"ALERTS", "process_cpu_seconds_total", "process_resident_memory_bytes"}
"""Prometheus' own, and those of the process that prometheus-client exports."""


def dashboard() -> dict[str, str]:
    """Panel and letter -> expression."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in panels
        for target in panel.get("targets", ())
    }


def rules() -> dict[str, str]:
    """Alert or recorded name -> expression."""
    groups = [g for file in (RECORDING, ALERTS) for g in yaml.safe_load(file.read_text())["groups"]]
    return {rule.get("alert") or rule["record"]: rule["expr"] for group in groups for rule in group["rules"]}


def recorded() -> set[str]:
    return {r["record"] for g in yaml.safe_load(RECORDING.read_text())["groups"] for r in g["rules"]}


def scaling() -> dict[str, str]:
    """Trigger -> expression, as the chart renders it for KEDA."""
    found: dict[str, str] = {}
    for values in VALUES:
        for scaled in of_kind(objects(template(values)), "ScaledObject"):
            for trigger in scaled["spec"]["triggers"]:
                found[f"{values.stem} {trigger['name']}"] = trigger["metadata"]["query"]
    return found


def names(expression: str) -> set[str]:
    """The metrics an expression names."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    return set(re.findall(r"\b(?:dispatcher[_:][a-z0-9_:]+|process_[a-z_]+|ALERTS)\b", bare))


def known() -> set[str]:
    """What may be named."""
    found = set(OTHERS) | recorded()
    for row in Metrics("").rows():
        found.add(row.name)
        if row.type == "histogram":
            found |= {f"{row.name}_{part}" for part in ("bucket", "sum", "count")}
    return found


def label_names(expression: str) -> dict[str, set[str]]:
    """Metric -> labels it is selected by."""
    found: dict[str, set[str]] = {}
    for name, selector in re.findall(r"(dispatcher_[a-z0-9_]+)\{([^}]*)\}", expression):
        found.setdefault(name, set()).update(
            re.findall(r"(\w+)\s*(?:=|!)", re.sub(r'"[^"]*"', '""', selector))
        )
    return found

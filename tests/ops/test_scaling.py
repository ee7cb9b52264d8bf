"""What the scaler would see, by promtool: once, without paused projects, no more than the quota can feed."""

from __future__ import annotations

import pytest
import yaml
from paths import must
from queries import scaling

QUERIES = scaling()
(BACKLOG,) = [text for where, text in QUERIES.items() if where.endswith(" backlog")]
(AGE,) = [text for where, text in QUERIES.items() if where.endswith(" oldest-job-age")]

Series = dict[str, str]


def gauge(name: str, value: float, *, pods: int = 1, **labels: str) -> Series:
    """The same number from each of several workers."""
    text = ", ".join(f'{key}="{label}"' for key, label in labels.items())
    return {
        f'dispatcher_{name}{{namespace="push", job="fcm", pod="fcm-{n}", {text}}}': f"{value}x10"
        for n in range(pods)
    }


def project(name: str, backlog: float, age: float, *, quota: float = 600_000, pods: int = 3) -> Series:
    return {
        **gauge("backlog_jobs", backlog, pods=pods, project=name, lane="normal"),
        **gauge("oldest_job_age_seconds", age, pods=pods, project=name, lane="normal"),
        **gauge("quota_per_minute", quota, pods=pods, project=name),
    }


PAUSED = gauge("project_paused", 1, pods=3, project="b", reason="authentication-error")

CASES = {
    "three workers tell of one backlog": (project("a", 4000, 30), 4000, 30),
    "projects add up, ages do not": ({**project("a", 4000, 30), **project("b", 1000, 40)}, 5000, 40),
    "a paused project is left out": (
        {**project("a", 4000, 30), **project("b", 9000, 900), **PAUSED},
        4000,
        30,
    ),
    "a paused lane is left out": (
        {
            **project("a", 4000, 30),
            **gauge("backlog_jobs", 9000, pods=3, project="a", lane="bulk"),
            **gauge("oldest_job_age_seconds", 90_000, pods=3, project="a", lane="bulk"),
            **gauge("lane_paused", 1, pods=2, project="a", lane="bulk"),
        },
        4000,
        30,
    ),
    "all paused is no work": ({**project("b", 9000, 900), **PAUSED}, 0, 0),
    "another release is not ours": (
        {
            **project("a", 10, 1),
            'dispatcher_backlog_jobs{namespace="other", job="fcm", project="z", lane="high"}': "9x10",
        },
        10,
        1,
    ),
    # 120,000 a minute are 2,000 a second: one worker's work, whatever waits (5,000 jobs, or 60 s, for each).
    "a backlog before the wall of the quota asks for no more than it can feed": (
        project("a", 1_000_000, 7200, quota=120_000),
        5000,
        60,
    ),
    "no workers, no answer: the fallback holds": ({}, None, None),
}


@pytest.mark.parametrize("why", CASES)
def test_the_scaler_sees(why, tmp_path):
    series, backlog, age = CASES[why]
    tests = [
        {
            "expr": query,
            "eval_time": "5m",
            "exp_samples": [] if value is None else [{"labels": "{}", "value": value}],
        }
        for query, value in ((BACKLOG, backlog), (AGE, age))
    ]
    document = {
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": tests,
            }
        ]
    }
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump(document))
    must("promtool", "test", "rules", file)

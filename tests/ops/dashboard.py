"""The Grafana dashboard, as a table: rows of panels, each with title, unit, description and queries.

`make ops-files` writes it to deploy/grafana/dashboards/dispatcher.json. Shared gauges are the same in every replica:
their maximum is taken, never the sum.
"""

from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple

NS = 'namespace=~"$namespace"'
PROJECT = f'{NS}, project=~"$project"'
POD = f'{NS}, pod=~"$pod"'
BOTH = f'{PROJECT}, pod=~"$pod"'
RATE = "$__rate_interval"
WIDTH = 24

BACKLOG = f"sum(max by (project, lane) (dispatcher_backlog_jobs{{{PROJECT}}}))"
MOVING = f"unless on (project, lane) max by (project, lane) (dispatcher_lane_paused{{{PROJECT}}}) == 1"
UNPAUSED = f"unless on (project) max by (project) (dispatcher_project_paused{{{PROJECT}}}) == 1"


class Panel(NamedTuple):
    """One panel.

    Attributes:
        queries: (expression, legend).
    """

    title: str
    unit: str
    description: str
    queries: tuple[tuple[str, str], ...]
    kind: Literal["timeseries", "stat", "table"] = "timeseries"
    width: int = 8
    stacked: bool = False
    thresholds: tuple[tuple[str, float | None], ...] = (("green", None),)


def stat(
    title: str, unit: str, description: str, query: str, *thresholds: tuple[str, float | None], width: int = 3
) -> Panel:
    steps = thresholds or (("green", None),)
    return Panel(title, unit, description, ((query, ""),), "stat", width, thresholds=steps)


def quantile(share: float, metric: str, selector: str, *by: str) -> str:
    labels = ", ".join(("le", *by))
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{{selector}}}[{RATE}])))"


GREEN_RED = (("green", None), ("red", 1.0))
RED_GREEN = (("red", None), ("green", 1.0))

ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Health at a glance",
        (
            stat(
                "Workers",
                "short",
                "Workers that Prometheus scrapes.",
                f"count(dispatcher_build_info{{{NS}}})",
                *RED_GREEN,
            ),
            stat(
                "Redis",
                "short",
                "1: at least one worker had an answer of Redis lately.",
                f"max(dispatcher_redis_up{{{NS}}})",
                *RED_GREEN,
            ),
            stat(
                "Settled",
                "ops",
                "Messages that got their outcome, per second.",
                f"sum(rate(dispatcher_messages_total{{{PROJECT}}}[{RATE}]))",
            ),
            stat(
                "Backlog",
                "short",
                "Jobs whose time has come and that are not settled, over all lanes; counted once, not by worker.",
                BACKLOG,
            ),
            stat(
                "Oldest job",
                "s",
                "Age of the oldest job of the backlog.",
                f"max(dispatcher_oldest_job_age_seconds{{{PROJECT}}})",
                ("green", None),
                ("yellow", 60.0),
                ("red", 300.0),
            ),
            stat(
                "Failing",
                "percentunit",
                "Share of messages that end as failed, rejected or wrong_project. Dead tokens are no failure.",
                f'sum(rate(dispatcher_messages_total{{{PROJECT}, status=~"failed|rejected|wrong_project"}}[{RATE}]))'
                f" / (sum(rate(dispatcher_messages_total{{{PROJECT}}}[{RATE}])) > 0)",
                ("green", None),
                ("yellow", 0.01),
                ("red", 0.05),
            ),
            stat(
                "Paused projects",
                "short",
                "Projects of which nothing is sent because FCM's answers spoke of the project as a whole, or by hand.",
                f"count(max by (project) (dispatcher_project_paused{{{PROJECT}}}) == 1) or vector(0)",
                *GREEN_RED,
            ),
            stat(
                "Firing alerts",
                "short",
                "Alerts of this service that fire; each has a section in the runbook.",
                'count(ALERTS{alertname=~"Dispatcher.+", alertstate="firing"}) or vector(0)',
                *GREEN_RED,
            ),
        ),
    ),
    (
        "Flow: rate, errors, latency",
        (
            Panel(
                "Outcomes by status",
                "ops",
                "Messages settled per second, by what became of them.",
                ((f"sum by (status) (rate(dispatcher_messages_total{{{PROJECT}}}[{RATE}]))", "{{status}}"),),
                stacked=True,
            ),
            Panel(
                "Sends and retries",
                "ops",
                "Messages sent per second, repeated ones too, and those put back to be sent again.",
                (
                    (
                        f"sum by (transport) (rate(dispatcher_attempts_total{{{BOTH}}}[{RATE}]))",
                        "sent, {{transport}}",
                    ),
                    (f"sum(rate(dispatcher_retries_total{{{BOTH}}}[{RATE}]))", "put back"),
                ),
            ),
            Panel(
                "Enqueue to outcome",
                "s",
                "How long jobs took from enqueueing, or the time they were to be delivered, to their outcome: median and 99 % by lane.",
                (
                    (
                        quantile(0.5, "dispatcher_outcome_latency_seconds", POD, "lane"),
                        "50 %, {{lane}}",
                    ),
                    (
                        quantile(0.99, "dispatcher_outcome_latency_seconds", POD, "lane"),
                        "99 %, {{lane}}",
                    ),
                ),
            ),
            Panel(
                "Request duration",
                "s",
                "How long FCM takes to answer a request: 95 % by wire and status class; none: there was no answer.",
                (
                    (
                        quantile(0.95, "dispatcher_request_duration_seconds", POD, "transport", "status"),
                        "{{transport}} {{status}}",
                    ),
                ),
            ),
            Panel(
                "Requests by status class",
                "reqps",
                "Requests per second. Over `batch` one request carries up to 500 messages.",
                (
                    (
                        f"sum by (transport, status) (rate(dispatcher_request_duration_seconds_count{{{POD}}}[{RATE}]))",
                        "{{transport}} {{status}}",
                    ),
                ),
                stacked=True,
            ),
            Panel(
                "Latency objective",
                "percentunit",
                "Share of jobs in high and normal that took more than 10 s; the objective allows 1 %.",
                (
                    (f"dispatcher:outcomes_late:ratio_rate5m{{{NS}}}", "5 min, {{lane}}"),
                    (f"dispatcher:outcomes_late:ratio_rate1h{{{NS}}}", "1 h, {{lane}}"),
                ),
                thresholds=(("green", None), ("red", 0.01)),
            ),
        ),
    ),
    (
        "Queue",
        (
            Panel(
                "Backlog by lane",
                "short",
                "Jobs whose time has come and that are not settled.",
                (
                    (
                        f"sum by (lane) (max by (project, lane) (dispatcher_backlog_jobs{{{PROJECT}}}))",
                        "{{lane}}",
                    ),
                ),
                stacked=True,
            ),
            Panel(
                "Age of the oldest job",
                "s",
                "By lane.",
                ((f"max by (lane) (dispatcher_oldest_job_age_seconds{{{PROJECT}}})", "{{lane}}"),),
            ),
            Panel(
                "Waiting for their time",
                "short",
                "Delayed: scheduled jobs and retries. Held: messages of a paused target, which are among them. Pending: read by a worker.",
                (
                    (f"sum(max by (project) (dispatcher_delayed_jobs{{{PROJECT}}}))", "delayed"),
                    (f"sum(max by (project) (dispatcher_held_messages{{{PROJECT}}}))", "held"),
                    (f"sum(max by (project) (dispatcher_pending_jobs{{{PROJECT}}}))", "pending"),
                ),
            ),
            Panel(
                "In flight",
                "short",
                "Messages in each worker: read and not settled.",
                ((f"sum by (pod) (dispatcher_in_flight_messages{{{BOTH}}})", "{{pod}}"),),
                stacked=True,
            ),
            Panel(
                "Dead letters",
                "short",
                "Messages given up or refused, kept to be looked at and replayed.",
                ((f"max by (project) (dispatcher_dead_letters{{{PROJECT}}})", "{{project}}"),),
            ),
            Panel(
                "Unserved jobs",
                "short",
                "Jobs in streams that no worker reads: no credential for the project, or a misspelt lane. Any project.",
                ((f"max by (project) (dispatcher_unserved_jobs{{{NS}}})", "{{project}}"),),
                thresholds=GREEN_RED,
            ),
            Panel(
                "Outcome stream",
                "short",
                "Entries kept, those that not every reader has read, and the most that are kept.",
                (
                    (
                        f"max by (project) (dispatcher_outcomes_entries{{{PROJECT}}})",
                        "kept, {{project}}",
                    ),
                    (
                        f"max by (project) (dispatcher_outcomes_unread_entries{{{PROJECT}}})",
                        "unread, {{project}}",
                    ),
                    (f"min(dispatcher_outcomes_max_entries{{{PROJECT}}})", "limit"),
                ),
            ),
            Panel(
                "Readers behind",
                "s",
                "Age of the oldest outcome that not every reader has read, and when it would be cut.",
                (
                    (
                        f"max by (project) (dispatcher_outcomes_lag_seconds{{{PROJECT}}})",
                        "{{project}}",
                    ),
                    (f"min(dispatcher_outcomes_retention_seconds{{{PROJECT}}})", "cut at"),
                ),
            ),
            Panel(
                "Cut unread",
                "short",
                "Entries of outcomes and dead letters that retention removed before anybody read them.",
                (
                    (
                        f"sum by (project, stream) (increase(dispatcher_retention_cut_entries_total{{{PROJECT}}}[{RATE}]))",
                        "{{stream}}, {{project}}",
                    ),
                ),
                thresholds=GREEN_RED,
            ),
            Panel(
                "From devices",
                "ops",
                "Messages of devices and delivery receipts that came over XMPP; 0 where no project has that wire.",
                (
                    (
                        f"sum(rate(dispatcher_upstream_messages_total{{{BOTH}}}[{RATE}])) or vector(0)",
                        "kept",
                    ),
                ),
            ),
            Panel(
                "Taken over",
                "ops",
                "Jobs taken over from workers that are gone, and jobs whose own settling came too late.",
                (
                    (f"sum(rate(dispatcher_reclaimed_jobs_total{{{BOTH}}}[{RATE}]))", "taken over"),
                    (f"sum(rate(dispatcher_stale_settlements_total{{{BOTH}}}[{RATE}]))", "too late"),
                ),
            ),
            Panel(
                "Leases lost",
                "short",
                "Times a worker did not renew its lease in time: it stalled, or Redis did.",
                (
                    (
                        f"sum by (pod) (increase(dispatcher_leases_lost_total{{{BOTH}}}[{RATE}]))",
                        "{{pod}}",
                    ),
                ),
                thresholds=GREEN_RED,
            ),
            Panel(
                "Batch size",
                "short",
                "Messages in a batch, on average.",
                (
                    (
                        f"sum by (transport) (rate(dispatcher_batch_messages_sum{{{POD}}}[{RATE}]))"
                        f" / sum by (transport) (rate(dispatcher_batch_messages_count{{{POD}}}[{RATE}]))",
                        "{{transport}}",
                    ),
                ),
            ),
        ),
    ),
    (
        "Outcomes by code",
        (
            Panel(
                "Codes",
                "ops",
                "Messages per second that did not end as accepted or done, by error code.",
                (
                    (
                        f'sum by (status, code) (rate(dispatcher_messages_total{{{PROJECT}, code!=""}}[{RATE}]))',
                        "{{status}}: {{code}}",
                    ),
                ),
                width=12,
                stacked=True,
            ),
            Panel(
                "Retries by code",
                "ops",
                "Messages per second put back to be sent again, by what the send met.",
                (
                    (
                        f"sum by (code) (rate(dispatcher_retries_total{{{PROJECT}}}[{RATE}]))",
                        "{{code}}",
                    ),
                ),
                width=12,
                stacked=True,
            ),
            Panel(
                "Totals by project",
                "short",
                "Messages of each project by status and code since the workers started.",
                (
                    (
                        f"sum by (project, status, code) (dispatcher_messages_total{{{PROJECT}}}) > 0",
                        "",
                    ),
                ),
                "table",
                12,
            ),
            Panel(
                "Possible duplicates",
                "ops",
                "Messages per second that may have been sent twice: after a crash or a lost answer.",
                (
                    (
                        f"sum by (project) (rate(dispatcher_possible_duplicates_total{{{PROJECT}}}[{RATE}]))",
                        "{{project}}",
                    ),
                ),
                width=6,
            ),
            Panel(
                "Warnings",
                "ops",
                "Messages per second that look wrong and are sent all the same, by what is odd about them.",
                (
                    (
                        f"sum by (code) (rate(dispatcher_message_warnings_total{{{PROJECT}}}[{RATE}]))",
                        "{{code}}",
                    ),
                ),
                width=6,
            ),
            Panel(
                "Unknown fields",
                "ops",
                "Fields of stream entries that this version does not know: a newer producer, or a misspelt name.",
                (
                    (
                        f"sum by (project) (rate(dispatcher_unknown_fields_total{{{PROJECT}}}[{RATE}]))",
                        "{{project}}",
                    ),
                ),
                width=6,
            ),
        ),
    ),
    (
        "Throttling and quota",
        (
            Panel(
                "Quota used",
                "percentunit",
                "Messages charged to the project's quota by all workers, of what the settings let them send.",
                (
                    (
                        f"sum by (project) (rate(dispatcher_quota_used_messages_total{{{PROJECT}}}[{RATE}])) * 60"
                        f" / max by (project) (dispatcher_quota_per_minute{{{PROJECT}}})",
                        "{{project}}",
                    ),
                ),
                thresholds=(("green", None), ("red", 0.95)),
            ),
            Panel(
                "Waiting for quota",
                "percentunit",
                "Share of the time in which sending stood still because the quota was used up, of each worker and project.",
                (
                    (
                        f"sum by (pod, project) (rate(dispatcher_quota_wait_seconds_total{{{BOTH}}}[{RATE}]))",
                        "{{project}}, {{pod}}",
                    ),
                ),
            ),
            Panel(
                "Too many requests",
                "reqps",
                "Requests answered with 429 as a whole, and messages put back because they went too fast.",
                (
                    (
                        f'sum(rate(dispatcher_request_duration_seconds_count{{{POD}, status="429"}}[{RATE}])) or vector(0)',
                        "requests",
                    ),
                    (
                        f'sum by (code) (rate(dispatcher_retries_total{{{PROJECT}, code=~".*-rate-exceeded"}}[{RATE}]))',
                        "{{code}}",
                    ),
                ),
            ),
            Panel(
                "Concurrency",
                "short",
                "Requests that wait for their answer, and how many may; the limit is halved when FCM says too many.",
                (
                    (
                        f"sum by (project) (dispatcher_requests_in_flight{{{BOTH}}})",
                        "in flight, {{project}}",
                    ),
                    (
                        f"sum by (project) (dispatcher_concurrency_limit{{{BOTH}}})",
                        "limit, {{project}}",
                    ),
                ),
            ),
            Panel(
                "Paused targets",
                "short",
                "Tokens, topics and other targets that wait for the end of their own pause.",
                ((f"max by (project) (dispatcher_paused_targets{{{PROJECT}}})", "{{project}}"),),
            ),
            Panel(
                "Project pauses",
                "short",
                "1 while a project is paused, or a lane by hand, and how often FCM's answers were the reason.",
                (
                    (
                        f"max by (project, lane) (dispatcher_lane_paused{{{PROJECT}}})",
                        "{{project}}: lane {{lane}}",
                    ),
                    (
                        f"max by (project, reason) (dispatcher_project_paused{{{PROJECT}}})",
                        "{{project}}: {{reason}}",
                    ),
                    (
                        f"sum by (project) (increase(dispatcher_project_pauses_total{{{PROJECT}}}[{RATE}]))",
                        "begun, {{project}}",
                    ),
                ),
                thresholds=GREEN_RED,
            ),
            Panel(
                "Retry budget",
                "ops",
                "Retries per second put off because more than a fifth of the sends were retries.",
                (
                    (
                        f"sum by (project) (rate(dispatcher_retries_over_budget_total{{{PROJECT}}}[{RATE}]))",
                        "{{project}}",
                    ),
                ),
            ),
        ),
    ),
    (
        "Credentials",
        (
            Panel(
                "Access tokens end in",
                "s",
                "Least time left on any worker. Tokens are renewed five minutes ahead.",
                (
                    (
                        f"min by (project) (dispatcher_credential_expires_in_seconds{{{PROJECT}}})",
                        "{{project}}",
                    ),
                ),
                width=6,
                thresholds=(("red", None), ("green", 120.0)),
            ),
            Panel(
                "Token fetches",
                "short",
                "Access tokens fetched, and attempts that failed.",
                (
                    (
                        f"sum by (project, result) (increase(dispatcher_credential_refreshes_total{{{PROJECT}}}[{RATE}]))",
                        "{{project}}: {{result}}",
                    ),
                ),
                width=6,
            ),
            Panel(
                "Credential trouble",
                "short",
                "Key files that cannot be used and projects that lack one, on the worst worker; and projects whose certificates are not looked at.",
                (
                    (f"max(dispatcher_credential_problems{{{NS}}})", "problems"),
                    (
                        f"max by (project) (dispatcher_tls_unverified{{{PROJECT}}})",
                        "TLS not verified, {{project}}",
                    ),
                ),
                width=6,
                thresholds=GREEN_RED,
            ),
            Panel(
                "Platform credentials",
                "ops",
                "Messages per second that APNs or web push refused because of the project's own credentials there.",
                (
                    (
                        f'sum by (project) (rate(dispatcher_retries_total{{{PROJECT}, code="third-party-auth-error"}}[{RATE}]))',
                        "{{project}}",
                    ),
                ),
                width=6,
                thresholds=GREEN_RED,
            ),
        ),
    ),
    (
        "Resources",
        (
            Panel(
                "CPU",
                "percentunit",
                "Of one core; a worker uses one at most.",
                (
                    (
                        f"rate(process_cpu_seconds_total{{{POD}}}[{RATE}]) and on (instance) dispatcher_build_info{{{POD}}}",
                        "{{pod}}",
                    ),
                ),
            ),
            Panel(
                "Memory",
                "bytes",
                "Resident memory of each worker, and the bytes of jobs it holds.",
                (
                    (
                        f"process_resident_memory_bytes{{{POD}}} and on (instance) dispatcher_build_info{{{POD}}}",
                        "{{pod}}",
                    ),
                    (f"dispatcher_in_flight_bytes{{{POD}}}", "jobs, {{pod}}"),
                ),
            ),
            Panel(
                "Event loop lag",
                "s",
                "How late the event loop wakes, 99 %. Above 100 ms the worker is starved of CPU.",
                ((quantile(0.99, "dispatcher_event_loop_lag_seconds", POD, "pod"), "{{pod}}"),),
            ),
            Panel(
                "Connections to FCM",
                "short",
                "Open connections of each worker.",
                ((f"sum by (pod) (dispatcher_connections{{{POD}}})", "{{pod}}"),),
            ),
            Panel(
                "Redis memory",
                "bytes",
                "What Redis uses, and its maxmemory; 0: there is no limit, which is a mistake.",
                (
                    (f"max(dispatcher_redis_memory_bytes{{{NS}}})", "used"),
                    (f"max(dispatcher_redis_memory_limit_bytes{{{NS}}})", "maxmemory"),
                ),
            ),
            Panel(
                "Redis commands",
                "ops",
                "Commands per second, and calls that failed, by kind.",
                (
                    (f"sum(rate(dispatcher_redis_commands_total{{{POD}}}[{RATE}]))", "commands"),
                    (
                        f"sum by (kind) (rate(dispatcher_redis_errors_total{{{POD}}}[{RATE}]))",
                        "{{kind}}",
                    ),
                ),
            ),
        ),
    ),
    (
        "Autoscaling",
        (
            Panel(
                "Workers",
                "short",
                "How many there are, and how many the quota of the projects could feed at 2,000 messages a second each.",
                (
                    (f"count(dispatcher_build_info{{{NS}}})", "workers"),
                    (
                        f"ceil(sum(max by (project) (dispatcher_quota_per_minute{{{PROJECT}}}) {UNPAUSED}) / 60 / 2000)",
                        "quota feeds",
                    ),
                ),
            ),
            Panel(
                "Backlog to scale on",
                "short",
                "The backlog of all projects and lanes that are not paused: what KEDA divides by the jobs for each worker.",
                (
                    (
                        f"sum(max by (project, lane) (dispatcher_backlog_jobs{{{PROJECT}}}) {MOVING} {UNPAUSED})",
                        "backlog",
                    ),
                ),
            ),
            Panel(
                "Versions",
                "short",
                "Workers by version.",
                ((f"count by (version, python) (dispatcher_build_info{{{NS}}})", "{{version}}"),),
                "table",
            ),
        ),
    ),
)


def _variables() -> list[dict[str, Any]]:
    def query(name: str, label: str, expression: str, **more: Any) -> dict[str, Any]:
        return {
            "name": name,
            "label": label,
            "type": "query",
            "datasource": _SOURCE,
            "query": {"query": expression, "refId": name},
            "definition": expression,
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            # Also where a label is missing, as without Kubernetes.
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
            **more,
        }

    return [
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "current": {},
        },
        query("namespace", "Namespace", "label_values(dispatcher_build_info, namespace)"),
        query(
            "project",
            "Project",
            'label_values(dispatcher_messages_total{namespace=~"$namespace"}, project)',
        ),
        query("pod", "Pod", 'label_values(dispatcher_build_info{namespace=~"$namespace"}, pod)'),
    ]


_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def _panel(panel: Panel, number: int, x: int, y: int, height: int) -> dict[str, Any]:
    options: dict[str, Any] = {}
    custom: dict[str, Any] = {}
    if panel.kind == "timeseries":
        custom = {"fillOpacity": 10, "showPoints": "never"}
        if panel.stacked:
            custom |= {"fillOpacity": 40, "stacking": {"mode": "normal", "group": "A"}}
        options = {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    elif panel.kind == "stat":
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": height},
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": 0,
                "custom": custom,
                "thresholds": {
                    "mode": "absolute",
                    "steps": [{"color": color, "value": value} for color, value in panel.thresholds],
                },
            },
            "overrides": [],
        },
        "options": options,
        "targets": [
            {
                "refId": "ABCDEF"[place],
                "datasource": _SOURCE,
                "expr": expression,
                "legendFormat": legend or "__auto",
                "editorMode": "code",
                **(
                    {"instant": True, "range": False, "format": "table"}
                    if panel.kind == "table"
                    else {"range": True}
                ),
            }
            for place, (expression, legend) in enumerate(panel.queries)
        ],
    }


def build() -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1},
            }
        )
        y += 1
        height = 4 if row[0].kind == "stat" else 8
        x = 0
        for panel in row:
            if x + panel.width > WIDTH:
                x, y = 0, y + height
            panels.append(_panel(panel, len(panels) + 1, x, y, height))
            x += panel.width
        y += height
    return {
        "uid": "fcm-dispatcher",
        "title": "FCM dispatcher",
        "description": "Push messages from Redis streams to Firebase Cloud Messaging.",
        "tags": ["fcm", "dispatcher"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "links": [],
        "panels": panels,
    }


def text() -> str:
    """The file."""
    return json.dumps(build(), indent=2) + "\n"

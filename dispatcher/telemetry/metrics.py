"""The table of metrics: every name the service exports, with its type, labels and meaning.

Each row below is one metric; `python -m dispatcher.telemetry.metrics` prints them for the README. Labels are bounded: project (past 200
of them `other`), lane, transport, status, code and words of our own; never a token, a topic or a job id.
What says "shared" is read from Redis and the same in every replica: take `max by (...)` of it, never a sum.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest

from dispatcher.model import Status
from dispatcher.telemetry.instruments import Counter, Gauge, Histogram, Merge, ProjectLabels

PREFIX = "dispatcher_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# A good request takes 50 to 300 ms, a topic up to 30 s; timeouts are at 15 and 60.
REQUEST_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0)
# From "at once" to a day: a job may wait for a pause, for its quota or for its time.
OUTCOME_BOUNDS = (
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    900.0,
    3600.0,
    21600.0,
    86400.0,
)
BATCH_BOUNDS = (1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 200.0, 300.0, 400.0, 499.0, 500.0)
LAG_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)

SHARED = "(shared)"
"""Ends the meaning of a gauge that is read from Redis."""

_P = ("project",)
_PL = ("project", "lane")
_Family = TypeVar("_Family", Counter, Gauge, Histogram)


class Row(NamedTuple):
    """One metric, as people read it."""

    name: str
    type: str
    labels: tuple[str, ...]
    meaning: str


class Metrics:
    """All metrics of one process, in a registry of their own.

    `metrics.messages.of(project, "accepted", "").inc(500)`: counts of a batch in one call.

    Args:
        version: of this package, for `dispatcher_build_info`.
    """

    def __init__(self, version: str) -> None:  # noqa: PLR0915 - one statement a metric: it is the table
        self.registry = CollectorRegistry(auto_describe=False)
        self._projects = ProjectLabels()
        self._rows: list[Row] = []
        c, g, h = self._counter, self._gauge, self._histogram

        # One row a metric.
        # fmt: off
        # What became of messages
        self.messages = c("messages", ("project", "status", "code"), "Messages settled, by outcome status and error code")
        self.outcome_latency = h("outcome_latency_seconds", ("lane",), "Time from enqueueing, or from deliver_at, to the outcome, of each job", OUTCOME_BOUNDS)
        self.possible_duplicates = c("possible_duplicates", _P, "Messages that may have been sent twice")
        self.unknown_fields = c("unknown_fields", _P, "Fields of stream entries that this version does not know and ignored")
        self.upstream = c("upstream_messages", ("project", "kind"), "What came over XMPP and is kept: upstream (of devices) or receipt")
        self.message_warnings = c("message_warnings", ("project", "code"), "What looked wrong in messages that were sent all the same, by kind")

        # Sending
        self.attempts = c("attempts", ("project", "transport"), "Sends of messages, repeated ones too")
        self.retries = c("retries", ("project", "code"), "Messages put back to be sent again, by what the send met")
        self.request_duration = h("request_duration_seconds", ("transport", "status"), "Time a request took, by status class: 2xx, 4xx, 429, 5xx, or none if there was no answer", REQUEST_BOUNDS)
        self.batch_size = h("batch_messages", ("transport",), "Messages in a batch", BATCH_BOUNDS)
        self.requests_in_flight = g("requests_in_flight", _P, "Requests that wait for their answer")
        self.concurrency_limit = g("concurrency_limit", _P, "Most requests in flight at the moment; halved when FCM says too many")
        self.connections = g("connections", ("transport",), "Open connections to FCM")
        self.in_flight = g("in_flight_messages", _P, "Messages in this worker: read and not settled")
        self.in_flight_bytes = g("in_flight_bytes", (), "Bytes of jobs and their requests in this worker")

        # The queue
        self.backlog = g("backlog_jobs", _PL, "Jobs whose time has come and that are not settled; the number to scale on (shared)")
        self.oldest_age = g("oldest_job_age_seconds", _PL, "Age of the oldest of them (shared)", "max")
        self.pending = g("pending_jobs", _P, "Jobs read by a worker and not settled (shared)")
        self.delayed = g("delayed_jobs", _P, "Jobs that wait for their time, held ones too (shared)")
        self.held = g("held_messages", _P, "Messages that wait because their target is paused (shared)")
        self.dead = g("dead_letters", _P, "Dead letters kept (shared)")
        self.unserved = g("unserved_jobs", _P, "Jobs that no worker reads: no credential for the project, or a misspelt lane (shared)")
        self.outcomes = g("outcomes_entries", _P, "Entries of the outcome stream, one for each settled batch (shared)")
        self.outcomes_unread = g("outcomes_unread_entries", _P, "Those that not every consumer group has read; estimated before Redis 7 (shared)")
        self.outcomes_lag = g("outcomes_lag_seconds", _P, "Age of the oldest of these (shared)", "max")
        self.outcomes_limit = g("outcomes_max_entries", _P, "Most entries the settings keep in the outcome stream", "min")
        self.outcomes_retention = g("outcomes_retention_seconds", _P, "How long the settings keep unread outcomes", "min")
        self.retention_cut = c("retention_cut_entries", ("project", "stream"), "Entries that retention removed unread, of outcomes, dead and upstream")
        self.reclaimed = c("reclaimed_jobs", _P, "Jobs taken over from workers that are gone")
        self.stale_settlements = c("stale_settlements", _P, "Jobs whose settling came too late: another worker has them")
        self.leases_lost = c("leases_lost", _P, "Times this worker's lease ran out before it was renewed")

        # Held back
        self.paused_targets = g("paused_targets", _P, "Tokens, topics and other targets that are paused (shared)")
        self.lane_paused = g("lane_paused", _PL, "1 while an operator has the lane stand still (shared)", "max")
        self.project_paused = g("project_paused", ("project", "reason"), "1 while the project is paused (shared)", "max")
        self.project_pauses = c("project_pauses", ("project", "reason"), "Times this worker paused the project")
        self.retries_over_budget = c("retries_over_budget", _P, "Retries put off because too large a share of the sends were retries")
        self.quota_per_minute = g("quota_per_minute", _P, "Messages a minute that the settings let all workers send together: DISPATCHER_QUOTA_PER_MINUTE x DISPATCHER_QUOTA_USE")
        self.quota_used = c("quota_used_messages", _P, "Messages charged to the quota by this worker")
        self.quota_wait = c("quota_wait_seconds", _P, "Time for which sending stood still because the quota was used up, of this worker")

        # What it stands on
        self.credential_refreshes = c("credential_refreshes", ("project", "result"), "Access tokens fetched: ok or failed")
        self.credential_expires_in = g("credential_expires_in_seconds", _P, "Time until the access token expires", "min")
        self.credential_problems = g("credential_problems", (), "Key, token and CA files that cannot be used, and projects that lack a key")
        self.tls_unverified = g("tls_unverified", _P, "1 while the project's certificates are not looked at (tls_verify is off)", "max")
        self.redis_up = g("redis_up", (), "1 if Redis answered lately")
        self.redis_commands = c("redis_commands", (), "Commands sent to Redis")
        self.redis_errors = c("redis_errors", ("kind",), "Failed calls to Redis: unavailable, full, misconfigured or refused")
        self.redis_memory = g("redis_memory_bytes", (), "Memory that Redis uses (shared)", "max")
        self.redis_memory_limit = g("redis_memory_limit_bytes", (), "Its maxmemory; 0: none (shared)", "max")
        self.loop_lag = h("event_loop_lag_seconds", (), "How late the event loop woke", LAG_BOUNDS)
        # fmt: on
        build = g("build_info", ("version", "python"), "Always 1; the version is in the labels")

        build.of(version, platform.python_version()).set(1)
        ProcessCollector(registry=self.registry)

    def start_project(self, project: str) -> None:
        """Show this project's counts of messages at 0, so that the first failure is seen as an increase."""
        for status in Status:
            self.messages.of(project, status.value, "")

    def forget_project(self, project: str) -> None:
        """Stop showing the gauges of a project that this worker serves no more."""
        for family in vars(self).values():
            if isinstance(family, Gauge) and family.labels[:1] == _P:
                family.forget(project)

    def forget_shared(self) -> None:
        """Stop showing what Redis says: it has not answered for a while, and another replica may know better."""
        for family in vars(self).values():
            if isinstance(family, Gauge) and family.meaning.endswith(SHARED):
                family.forget()

    def render(self) -> bytes:
        """All series in the text format (`CONTENT_TYPE`)."""
        return generate_latest(self.registry)

    def rows(self) -> Iterator[Row]:
        """The table."""
        yield from self._rows

    def _counter(self, name: str, labels: tuple[str, ...], meaning: str) -> Counter:
        return self._add(Counter(f"{PREFIX}{name}_total", labels, meaning, self._projects))

    def _gauge(self, name: str, labels: tuple[str, ...], meaning: str, merge: Merge = "sum") -> Gauge:
        return self._add(Gauge(PREFIX + name, labels, meaning, self._projects, merge))

    def _histogram(
        self, name: str, labels: tuple[str, ...], meaning: str, bounds: tuple[float, ...]
    ) -> Histogram:
        return self._add(Histogram(PREFIX + name, labels, meaning, self._projects, bounds))

    def _add(self, family: _Family) -> _Family:
        self.registry.register(family)
        self._rows.append(Row(family.name, family.type, family.labels, family.meaning))
        if not family.labels and not isinstance(family, Gauge):
            family.of()  # it stands at 0 from the start; a gauge does not claim to know before it is set
        return family


def status_class(http_status: int) -> str:
    """The label `status` of a request: 2xx, 3xx, 4xx, 429, 5xx, or none if there was no answer."""
    if http_status == 429:
        return "429"
    return f"{http_status // 100}xx" if http_status else "none"


def markdown() -> str:
    """The table in Markdown."""
    lines = ["| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
    for row in Metrics("").rows():
        labels = ", ".join(f"`{label}`" for label in row.labels)
        lines.append(f"| `{row.name}` | {row.type} | {labels} | {row.meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())

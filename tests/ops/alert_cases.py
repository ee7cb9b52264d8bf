"""For every alert: input series with which it fires, and with which it stays quiet.

Series are written in promtool's notation, one value a minute: `a+bxn` is a, a+b, a+2b, ... `$P` stands for the
labels that every series of a project has.
"""

from __future__ import annotations

from typing import NamedTuple

P = 'namespace="push", job="fcm", pod="fcm-0", project="demo-a"'
Q = 'namespace="push", job="fcm", pod="fcm-1", project="demo-a"'
W = 'namespace="push", job="fcm", pod="fcm-0"'
PROJECT = {"namespace": "push", "job": "fcm", "project": "demo-a"}

Series = dict[str, str]


class Case(NamedTuple):
    """Series, when to look, and what must be firing then.

    Attributes:
        at: evaluation time, as promtool reads it.
        labels: of the alert that fires, beside its severity; None: none fires.
        value: how `$value` shows in the description.
    """

    why: str
    series: Series
    at: str
    labels: dict[str, str] | None = None
    value: str = ""


def fires(why: str, series: Series, at: str, labels: dict[str, str], value: str = "") -> Case:
    return Case(why, series, at, labels, value)


def quiet(why: str, series: Series, at: str) -> Case:
    return Case(why, series, at)


def latency(good: float, late: float, lane: str = "high") -> Series:
    """Counters of jobs a minute that were on time and late."""
    name = "dispatcher_outcome_latency_seconds"
    labels = f'{W}, lane="{lane}"'
    return {
        f'{name}_bucket{{{labels}, le="10.0"}}': f"0+{good}x400",
        f'{name}_bucket{{{labels}, le="+Inf"}}': f"0+{good + late}x400",
        f"{name}_count{{{labels}}}": f"0+{good + late}x400",
    }


def messages(rate: float, status: str = "accepted", code: str = "") -> Series:
    return {f'dispatcher_messages_total{{{P}, status="{status}", code="{code}"}}': f"0+{rate}x400"}


CASES: dict[str, list[Case]] = {
    "DispatcherBacklogStuck": [
        fires(
            "jobs wait, on both workers' word, and nothing is settled",
            {
                f'dispatcher_backlog_jobs{{{P}, lane="high"}}': "500x60",
                f'dispatcher_backlog_jobs{{{Q}, lane="high"}}': "500x60",
                f'dispatcher_backlog_jobs{{{P}, lane="bulk"}}': "0+10x60",
                **messages(0),
            },
            "30m",
            PROJECT,
            "800",
        ),
        quiet(
            "idle: nothing waits, nothing is settled",
            {f'dispatcher_backlog_jobs{{{P}, lane="high"}}': "0x60", **messages(0)},
            "30m",
        ),
        quiet(
            "the only worker was restarted and begins to count anew",
            {
                f'dispatcher_backlog_jobs{{{P}, lane="high"}}': "500x60",
                f'dispatcher_messages_total{{{P}, status="accepted", code=""}}': "0+60x19 0+60x40",
            },
            "30m",
        ),
        quiet(
            "an operator has paused the lane in which they wait",
            {
                f'dispatcher_backlog_jobs{{{P}, lane="bulk"}}': "500x60",
                f'dispatcher_backlog_jobs{{{P}, lane="high"}}': "0x60",
                f'dispatcher_lane_paused{{{P}, lane="bulk"}}': "1x60",
                **messages(0),
            },
            "30m",
        ),
        quiet(
            "a large backlog that is worked on",
            {f'dispatcher_backlog_jobs{{{P}, lane="high"}}': "50000+10x60", **messages(60)},
            "30m",
        ),
        quiet(
            "the project is paused, which has an alert of its own",
            {
                f'dispatcher_backlog_jobs{{{P}, lane="high"}}': "500x60",
                f'dispatcher_project_paused{{{P}, reason="authentication-error"}}': "1x60",
                **messages(0),
            },
            "30m",
        ),
    ],
    "DispatcherOldestJobTooOld": [
        quiet("no job waits, and none ever did", {f"dispatcher_redis_up{{{W}}}": "1x30"}, "20m"),
        fires(
            "a job in the lane normal is twenty minutes old",
            {f'dispatcher_oldest_job_age_seconds{{{P}, lane="normal"}}': "1200x30"},
            "10m",
            {**PROJECT, "lane": "normal"},
            "20m 0s",
        ),
        fires(
            "a job in the lane bulk is seven hours old",
            {f'dispatcher_oldest_job_age_seconds{{{P}, lane="bulk"}}': "25200x30"},
            "10m",
            {**PROJECT, "lane": "bulk"},
            "7h 0m 0s",
        ),
        quiet(
            "an operator has paused the lane",
            {
                f'dispatcher_oldest_job_age_seconds{{{P}, lane="bulk"}}': "25200x30",
                f'dispatcher_oldest_job_age_seconds{{{Q}, lane="bulk"}}': "25200x30",
                f'dispatcher_lane_paused{{{P}, lane="bulk"}}': "1x30",
            },
            "20m",
        ),
        quiet(
            "the project is paused, which has an alert of its own",
            {
                f'dispatcher_oldest_job_age_seconds{{{P}, lane="high"}}': "3600x30",
                f'dispatcher_project_paused{{{P}, reason="manual"}}': "1x30",
            },
            "20m",
        ),
        fires(
            "a job in the lane high is six minutes old",
            {f'dispatcher_oldest_job_age_seconds{{{P}, lane="high"}}': "360x30"},
            "10m",
            {**PROJECT, "lane": "high"},
            "6m 0s",
        ),
        quiet(
            "the same age is well for normal, an hour for bulk",
            {
                f'dispatcher_oldest_job_age_seconds{{{P}, lane="normal"}}': "360x30",
                f'dispatcher_oldest_job_age_seconds{{{P}, lane="bulk"}}': "3600x30",
            },
            "20m",
        ),
    ],
    "DispatcherErrorRatioHigh": [
        fires(
            "a tenth of the messages is rejected",
            {**messages(540), **messages(60, "rejected", "invalid-payload")},
            "30m",
            {**PROJECT, "code": "invalid-payload"},
            "10%",
        ),
        quiet(
            "dead tokens are no errors, and a few refusals are no ratio",
            {
                **messages(540),
                **messages(300, "invalid_token", "registration-token-not-registered"),
                **messages(6, "rejected", "invalid-payload"),
            },
            "30m",
        ),
    ],
    "DispatcherDeadLettersGrowing": [
        fires("ten more a minute", {f"dispatcher_dead_letters{{{P}}}": "5000+10x120"}, "70m", PROJECT, "600"),
        quiet(
            "the first worker ever looks: nothing is known of an hour ago",
            {f"dispatcher_dead_letters{{{P}}}": "_x60 9000x20"},
            "75m",
        ),
        quiet("many, but no more than before", {f"dispatcher_dead_letters{{{P}}}": "90000x120"}, "90m"),
    ],
    "DispatcherLatencyBurnFast": [
        fires(
            "a fifth is late",
            latency(80, 20),
            "70m",
            {"namespace": "push", "job": "fcm", "lane": "high"},
            "20%",
        ),
        quiet("half a percent is late", latency(199, 1), "70m"),
        quiet("a job a minute, and a few of them late: too few to tell by", latency(0.8, 0.2), "70m"),
        quiet("no job at all", latency(0, 0), "70m"),
        quiet("bulk may take its time", latency(0, 100, "bulk"), "70m"),
    ],
    "DispatcherLatencyBurnSlow": [
        fires(
            "a tenth is late for hours",
            latency(90, 10, "normal"),
            "390m",
            {"namespace": "push", "job": "fcm", "lane": "normal"},
            "10%",
        ),
        quiet("half a percent is late", latency(199, 1, "normal"), "390m"),
        quiet("a job in ten minutes, and each tenth of them late", latency(0.09, 0.01, "normal"), "390m"),
    ],
    "DispatcherProjectPaused": [
        fires(
            "paused by an answer of FCM",
            {f'dispatcher_project_paused{{{P}, reason="authentication-error"}}': "1x30"},
            "15m",
            {**PROJECT, "reason": "authentication-error"},
        ),
        quiet(
            "paused now and then, for less than ten minutes",
            {
                f'dispatcher_project_paused{{{P}, reason="message-rate-exceeded"}}': "1x5 stale _x3 1x5 stale _x20"
            },
            "15m",
        ),
        quiet("paused by an operator", {f'dispatcher_project_paused{{{P}, reason="manual"}}': "1x30"}, "15m"),
    ],
    "DispatcherCredentialsFailing": [
        quiet(
            "some fail and some do not",
            {
                f'dispatcher_credential_refreshes_total{{{P}, result="failed"}}': "0+4x60",
                f'dispatcher_credential_refreshes_total{{{P}, result="ok"}}': "0+1x60",
            },
            "30m",
        ),
        fires(
            "every fetch fails",
            {
                f'dispatcher_credential_refreshes_total{{{P}, result="failed"}}': "0+4x60",
                f'dispatcher_credential_refreshes_total{{{P}, result="ok"}}': "1x60",
            },
            "30m",
            PROJECT,
        ),
        quiet(
            "no token is needed: nothing is fetched",
            {f'dispatcher_credential_refreshes_total{{{P}, result="failed"}}': "0x60"},
            "30m",
        ),
        quiet(
            "one failed, the next did not",
            {
                f'dispatcher_credential_refreshes_total{{{P}, result="failed"}}': "0x20 1x40",
                f'dispatcher_credential_refreshes_total{{{P}, result="ok"}}': "1x21 2x40",
            },
            "28m",
        ),
    ],
    "DispatcherCredentialsExpiring": [
        fires(
            "a token runs out on one worker",
            {
                f"dispatcher_credential_expires_in_seconds{{{P}}}": "3000x60",
                f"dispatcher_credential_expires_in_seconds{{{Q}}}": "300-60x5 0x20",
            },
            "10m",
            PROJECT,
        ),
        quiet(
            "it is renewed in time",
            {f"dispatcher_credential_expires_in_seconds{{{P}}}": "600-60x5 3600-60x20"},
            "8m",
        ),
    ],
    "DispatcherCredentialUnusable": [
        fires(
            "one worker finds two bad files",
            {
                f"dispatcher_credential_problems{{{W}}}": "2x30",
                'dispatcher_credential_problems{namespace="push", job="fcm", pod="fcm-1"}': "0x30",
            },
            "15m",
            {"namespace": "push", "job": "fcm"},
            "2",
        ),
        quiet("all files are good", {f"dispatcher_credential_problems{{{W}}}": "0x30"}, "15m"),
    ],
    "DispatcherPlatformCredentialsFailing": [
        fires(
            "APNs refuses message after message",
            {f'dispatcher_retries_total{{{P}, code="third-party-auth-error"}}': "0+30x60"},
            "30m",
            PROJECT,
        ),
        quiet(
            "retries for other reasons",
            {
                f'dispatcher_retries_total{{{P}, code="server-unavailable"}}': "0+300x60",
                f'dispatcher_retries_total{{{P}, code="third-party-auth-error"}}': "3x60",
            },
            "30m",
        ),
    ],
    "DispatcherQuotaExhausted": [
        quiet(
            "all of it is used, and nothing waits for more",
            {
                f"dispatcher_quota_per_minute{{{P}}}": "1000x60",
                f"dispatcher_quota_used_messages_total{{{P}}}": "0+1000x60",
                f'dispatcher_backlog_jobs{{{P}, lane="bulk"}}': "50x60",
            },
            "40m",
        ),
        fires(
            "two workers use up what one project has, and jobs wait",
            {
                f"dispatcher_quota_per_minute{{{P}}}": "1000x60",
                f"dispatcher_quota_per_minute{{{Q}}}": "1000x60",
                f"dispatcher_quota_used_messages_total{{{P}}}": "0+500x60",
                f"dispatcher_quota_used_messages_total{{{Q}}}": "0+500x60",
                f'dispatcher_backlog_jobs{{{P}, lane="bulk"}}': "5000x60",
            },
            "40m",
            PROJECT,
            "100%",
        ),
        quiet(
            "half of it is used",
            {
                f"dispatcher_quota_per_minute{{{P}}}": "1000x60",
                f"dispatcher_quota_used_messages_total{{{P}}}": "0+500x60",
                f'dispatcher_backlog_jobs{{{P}, lane="bulk"}}': "5000x60",
            },
            "40m",
        ),
    ],
    "DispatcherNoWorker": [
        fires("nothing is scraped", {}, "10m", {}),
        quiet(
            "one is there", {f'dispatcher_build_info{{{W}, version="1", python="3.11.14"}}': "1x30"}, "10m"
        ),
    ],
    "DispatcherRedisUnreachable": [
        fires(
            "no worker reaches it",
            {f"dispatcher_redis_up{{{W}}}": "1x5 0x30"},
            "12m",
            {"namespace": "push", "job": "fcm"},
        ),
        fires(
            "a worker that starts has not reached it yet",
            {f"dispatcher_redis_up{{{W}}}": "_x2 0x30"},
            "12m",
            {"namespace": "push", "job": "fcm"},
        ),
        quiet("it was away for a minute", {f"dispatcher_redis_up{{{W}}}": "1x5 0x1 1x30"}, "12m"),
        quiet(
            "one worker does not, another does",
            {
                f"dispatcher_redis_up{{{W}}}": "0x30",
                'dispatcher_redis_up{namespace="push", job="fcm", pod="fcm-1"}': "1x30",
            },
            "12m",
        ),
    ],
    "DispatcherRedisNearlyFull": [
        fires(
            "nine tenths",
            {
                f"dispatcher_redis_memory_bytes{{{W}}}": "900x30",
                f"dispatcher_redis_memory_limit_bytes{{{W}}}": "1000x30",
            },
            "10m",
            {"namespace": "push", "job": "fcm"},
            "90%",
        ),
        quiet(
            "half, or no limit",
            {
                f"dispatcher_redis_memory_bytes{{{W}}}": "500x30",
                f"dispatcher_redis_memory_limit_bytes{{{W}}}": "1000x30",
                'dispatcher_redis_memory_bytes{namespace="other", job="fcm"}': "500x30",
                'dispatcher_redis_memory_limit_bytes{namespace="other", job="fcm"}': "0x30",
            },
            "10m",
        ),
    ],
    "DispatcherReclaimStorm": [
        quiet(
            "many, and few beside what is sent",
            {f"dispatcher_reclaimed_jobs_total{{{P}}}": "0+300x60", **messages(60000)},
            "40m",
        ),
        fires(
            "a fifth of what is sent was taken over",
            {f"dispatcher_reclaimed_jobs_total{{{P}}}": "0+120x60", **messages(600)},
            "40m",
            PROJECT,
            "2.0",
        ),
        quiet(
            "one worker died: a burst once, of little beside what is sent",
            {f"dispatcher_reclaimed_jobs_total{{{P}}}": "0x10 20000x50", **messages(600000)},
            "40m",
        ),
    ],
    "DispatcherOutcomesAboutToBeCut": [
        fires(
            "nine tenths of the entries are unread",
            {
                f"dispatcher_outcomes_unread_entries{{{P}}}": "18000x30",
                f"dispatcher_outcomes_max_entries{{{P}}}": "20000x30",
                f"dispatcher_outcomes_lag_seconds{{{P}}}": "60x30",
                f"dispatcher_outcomes_retention_seconds{{{P}}}": "86400x30",
            },
            "10m",
            PROJECT,
            "90%",
        ),
        fires(
            "few, but nearly a day old",
            {
                f"dispatcher_outcomes_unread_entries{{{P}}}": "3x30",
                f"dispatcher_outcomes_max_entries{{{P}}}": "20000x30",
                f"dispatcher_outcomes_lag_seconds{{{P}}}": "77760x30",
                f"dispatcher_outcomes_retention_seconds{{{P}}}": "86400x30",
            },
            "10m",
            PROJECT,
            "90%",
        ),
        quiet(
            "a reader that is a little behind",
            {
                f"dispatcher_outcomes_unread_entries{{{P}}}": "300x30",
                f"dispatcher_outcomes_max_entries{{{P}}}": "20000x30",
                f"dispatcher_outcomes_lag_seconds{{{P}}}": "60x30",
                f"dispatcher_outcomes_retention_seconds{{{P}}}": "86400x30",
            },
            "10m",
        ),
    ],
    "DispatcherRetentionCutUnread": [
        fires(
            "one more cut",
            {f'dispatcher_retention_cut_entries_total{{{P}, stream="dead"}}': "40x120 50x60"},
            "140m",
            {**PROJECT, "stream": "dead"},
            "10",
        ),
        fires(
            "the first cut ever",
            {f'dispatcher_retention_cut_entries_total{{{P}, stream="outcomes"}}': "_x30 40x30"},
            "40m",
            {**PROJECT, "stream": "outcomes"},
            "40",
        ),
        quiet(
            "the worker that cut something is gone, and one that has not came in its place",
            {
                f'dispatcher_retention_cut_entries_total{{{P}, stream="dead"}}': "40x100 _x100",
                f'dispatcher_retention_cut_entries_total{{{Q}, stream="outcomes"}}': "_x200",
            },
            "150m",
        ),
        quiet(
            "it was long ago",
            {f'dispatcher_retention_cut_entries_total{{{P}, stream="outcomes"}}': "40x200"},
            "150m",
        ),
    ],
    "DispatcherUnservedJobs": [
        fires(
            "jobs for a project without a credential",
            {f"dispatcher_unserved_jobs{{{P}}}": "7x30"},
            "15m",
            PROJECT,
            "7",
        ),
        quiet("none", {f"dispatcher_unserved_jobs{{{P}}}": "0x30"}, "15m"),
    ],
}

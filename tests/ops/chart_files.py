"""What the chart is given from elsewhere: its schema with the worker's own settings, its README, its copies."""

from __future__ import annotations

import json
import re
from typing import Any

from paths import ALERTS, CHART, DASHBOARD, RECORDING

from dispatcher.settings.kinds import PROJECT_ID
from dispatcher.settings.model import TABLE_ONLY, ProjectValues, Settings

OWN = {"redis_url", "redis_password_file", "credentials", "projects", "http_port"}
"""Settings that other values of the chart stand for."""

NUMBERS = {"drain_s", "request_timeout_s"}
"""The chart reckons with these."""

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NAME: Schema = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"}
FLAG: Schema = {"type": "boolean"}
LABELS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
FREE: Schema = {"type": "object"}
LIST: Schema = {"type": "array", "items": {"type": "object"}}
SPAN: Schema = {"type": "string", "pattern": "^[0-9]+(ms|s|m)$"}


def whole(least: int, most: int | None = None) -> Schema:
    return {"type": "integer", "minimum": least, **({"maximum": most} if most is not None else {})}


def thing(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """An object that refuses what it does not know."""
    found: Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**found, "required": list(required)} if required else found


def maybe(schema: Schema) -> Schema:
    """This, or the empty string."""
    return {"anyOf": [{"const": ""}, schema]}


def setting(name: str) -> Schema:
    return {
        "type": "number" if name in NUMBERS else ["string", "number", "boolean"],
        **({"minimum": 0} if name in NUMBERS else {}),
    }


def settings_schema(names: list[str]) -> Schema:
    return thing(**{name: setting(name) for name in sorted(names)})


def schema() -> Schema:
    """values.schema.json."""
    per_project = [*ProjectValues.model_fields, *TABLE_ONLY]
    project: Schema = {"type": "string", "pattern": f"^{PROJECT_ID.shape}$"}
    port = whole(1, 65535)
    values = thing(
        **{"global": FREE},
        image=thing(
            repository={"type": "string", "minLength": 1},
            tag=TEXT,
            pullPolicy={"enum": ["Always", "IfNotPresent", "Never"]},
        ),
        imagePullSecrets={"type": "array", "items": NAME},
        nameOverride=TEXT,
        fullnameOverride=TEXT,
        redis=thing(
            url=maybe(
                {"type": "string", "pattern": r"^(redis|rediss|redis\+sentinel|redis\+cluster|unix)://"}
            ),
            existingSecret=thing(name=maybe(NAME), passwordKey=TEXT, urlKey=TEXT),
        ),
        credentials=thing(
            existingSecret=maybe(NAME),
            files={
                "type": "object",
                "propertyNames": {"pattern": r"^[-._a-zA-Z0-9]+\.json$"},
                "additionalProperties": {"type": "string"},
            },
            workloadIdentity=FLAG,
            none=FLAG,
        ),
        projects={"type": "array", "items": project, "uniqueItems": True},
        settings=settings_schema([name for name in Settings.model_fields if name not in OWN]),
        projectSettings={
            "type": "object",
            "propertyNames": {"pattern": project["pattern"]},
            "additionalProperties": settings_schema(per_project),
        },
        replicas=whole(0),
        autoscaling=thing(
            minReplicas=whole(1),
            maxReplicas=whole(1),
            keda=thing(
                enabled=FLAG,
                serverAddress=maybe({"type": "string", "pattern": "^https?://"}),
                authenticationRef=maybe(NAME),
                backlogPerReplica=whole(1),
                oldestJobAgePerReplica=whole(1),
                messagesPerSecondPerReplica=whole(1),
                pollingInterval=whole(1),
                stabilizationSeconds=whole(0, 3600),
            ),
            hpa=thing(
                enabled=FLAG,
                targetCPUUtilizationPercentage=whole(1),
                backlogMetric=TEXT,
                backlogPerReplica=whole(1),
            ),
        ),
        terminationGracePeriodSeconds=whole(0),
        resources=FREE,
        serviceAccount=thing(create=FLAG, name=maybe(NAME), annotations=LABELS),
        podMonitor=thing(enabled=FLAG, labels=LABELS, interval=SPAN, scrapeTimeout=SPAN),
        prometheusRule=thing(enabled=FLAG, labels=LABELS, runbookUrl=TEXT),
        dashboards=thing(enabled=FLAG, labels=LABELS, annotations=LABELS),
        podDisruptionBudget=thing(
            enabled=FLAG,
            maxUnavailable={"anyOf": [whole(0), {"type": "string", "pattern": "^[0-9]{1,3}%$"}]},
        ),
        networkPolicy=thing(
            enabled=FLAG,
            scrapeFrom=LIST,
            redisPorts={"type": "array", "items": port, "minItems": 1},
            extraEgress=LIST,
        ),
        topologySpread=thing(
            topologyKeys={"type": "array", "items": TEXT},
            whenUnsatisfiable={"enum": ["ScheduleAnyway", "DoNotSchedule"]},
        ),
        podAnnotations=LABELS,
        podLabels=LABELS,
        priorityClassName=TEXT,
        nodeSelector=LABELS,
        tolerations=LIST,
        affinity=FREE,
        extraEnv=LIST,
        extraVolumes=LIST,
        extraVolumeMounts=LIST,
    )
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart", **values}


def rows() -> list[tuple[str, str, str]]:
    """(value, default, meaning) of each leaf of values.yaml, from its comments."""
    found: list[tuple[str, str, str]] = []
    path: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in (CHART / "values.yaml").read_text().splitlines()[2:]:
        text = line.strip()
        if text.startswith("#"):
            comment.append(text.removeprefix("#").strip())
            continue
        match = re.fullmatch(r"( *)([\w.-]+):(?: (.*))?", line)
        if match is None:
            comment = []
            continue
        indent, key, default = len(match[1]), match[2], match[3]
        path = [part for part in path if part[0] < indent]
        name = ".".join([*(part[1] for part in path), key])
        if default is None:
            path.append((indent, key))
        else:
            found.append((name, default, " ".join(comment)))
        comment = []
    return found


def readme() -> str:
    """The chart's README."""
    lines = [
        "# Helm chart: dispatcher",
        "",
        "Workers that send push-message jobs from Redis streams to Firebase Cloud Messaging. Needs a Redis (6.2 or newer,",
        "`appendonly yes`, `maxmemory-policy noeviction`) and a credential for each Firebase project.",
        "",
        "    kubectl create secret generic fcm-keys --from-file=demo-orchard-41.json",
        "    helm install push helm/dispatcher --set redis.url=redis://redis:6379/0 --set credentials.existingSecret=fcm-keys",
        "",
        "`ci/` has whole examples: the least, KEDA with Workload Identity, a HorizontalPodAutoscaler, and everything else.",
        "`helm test push --logs` asks Redis and fetches a token with every credential.",
        "",
        "Unknown values are refused (`values.schema.json`), and so is what could not work: no Redis, no credentials, a",
        "password in `redis.url`, two scalers, a grace period shorter than the drain.",
        "",
        "## Scaling",
        "",
        "KEDA asks Prometheus for the backlog and for the age of the oldest job, leaves paused projects and lanes out, and",
        "takes the greater count. Every pod tells the same backlog, so the queries take its maximum, never the sum. No more",
        "workers are started than the quota of the projects can feed (`messagesPerSecondPerReplica`): more would wait in turn.",
        "The queries select `namespace` and `job`, the release's name, as the chart's PodMonitor sets them.",
        "",
        "## Values",
        "",
        "| value | default | meaning |",
        "| --- | --- | --- |",
    ]
    lines += [f"| `{name}` | `{default}` | {meaning} |" for name, default, meaning in rows()]
    return "\n".join(lines) + "\n"


def files() -> dict[str, str]:
    """Everything that is made, by its path in the chart."""
    return {
        "values.schema.json": json.dumps(schema(), indent=2) + "\n",
        "README.md": readme(),
        "files/alerts.yml": ALERTS.read_text(),
        "files/recording.yml": RECORDING.read_text(),
        "files/dispatcher.json": DASHBOARD.read_text(),
    }

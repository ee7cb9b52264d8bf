"""Strict schemas of the custom resources the chart uses, of the fields it uses: no cluster tells us of a typing error.

Written after the published definitions: monitoring.coreos.com/v1 (PodMonitor, PrometheusRule), keda.sh/v1alpha1
(ScaledObject) and KEDA's Prometheus scaler.
"""

from __future__ import annotations

from typing import Any

from chart_files import LABELS, thing, whole

DURATION = {"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"}
TEXT = {"type": "string", "minLength": 1}
NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}


def several(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": item}


METADATA = thing(("name", "namespace", "labels"), name=NAME, namespace=NAME, labels=LABELS)


def resource(version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return thing(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion={"const": version},
        kind={"const": kind},
        metadata=METADATA,
        spec=spec,
    )


KEDA_PROMETHEUS = thing(
    ("serverAddress", "query", "threshold"),
    serverAddress={"type": "string", "pattern": "^https?://"},
    query=TEXT,
    threshold={"type": "string", "pattern": "^[0-9]+([.][0-9]+)?$"},
    activationThreshold={"type": "string", "pattern": "^[0-9]+([.][0-9]+)?$"},
    namespace=TEXT,
    customHeaders=TEXT,
    ignoreNullValues={"enum": ["true", "false"]},
    queryParameters=TEXT,
    unsafeSsl={"enum": ["true", "false"]},
    timeout=TEXT,
    authModes={"enum": ["bearer", "basic", "tls", "custom"]},
)
"""What the Prometheus scaler reads; what else stands there it passes over in silence. All values are strings."""

POLICIES = thing(
    ("policies",),
    stabilizationWindowSeconds=whole(0, 3600),
    selectPolicy={"enum": ["Max", "Min", "Disabled"]},
    policies=several(
        thing(
            ("type", "value", "periodSeconds"),
            type={"enum": ["Percent", "Pods"]},
            value=whole(1),
            periodSeconds=whole(1, 1800),
        )
    ),
)

SCHEMAS: dict[str, dict[str, Any]] = {
    "PodMonitor": resource(
        "monitoring.coreos.com/v1",
        "PodMonitor",
        thing(
            ("selector", "podMetricsEndpoints"),
            jobLabel=TEXT,
            selector=thing(("matchLabels",), matchLabels=LABELS),
            namespaceSelector=thing(any={"type": "boolean"}, matchNames=several(NAME)),
            podMetricsEndpoints=several(
                thing(
                    ("port",),
                    port=NAME,
                    path={"type": "string", "pattern": "^/"},
                    interval=DURATION,
                    scrapeTimeout=DURATION,
                )
            ),
        ),
    ),
    "PrometheusRule": resource(
        "monitoring.coreos.com/v1",
        "PrometheusRule",
        thing(
            ("groups",),
            groups=several(
                thing(
                    ("name", "rules"),
                    name=TEXT,
                    rules=several(
                        {
                            "oneOf": [
                                thing(("record", "expr"), record=TEXT, expr=TEXT),
                                thing(
                                    ("alert", "expr", "labels", "annotations"),
                                    **{"for": DURATION},
                                    alert=TEXT,
                                    expr=TEXT,
                                    labels=LABELS,
                                    annotations=LABELS,
                                ),
                            ]
                        }
                    ),
                )
            ),
        ),
    ),
    "ScaledObject": resource(
        "keda.sh/v1alpha1",
        "ScaledObject",
        thing(
            ("scaleTargetRef", "triggers", "minReplicaCount", "maxReplicaCount"),
            scaleTargetRef=thing(
                ("name",), apiVersion={"const": "apps/v1"}, kind={"const": "Deployment"}, name=NAME
            ),
            minReplicaCount=whole(1),
            maxReplicaCount=whole(1),
            pollingInterval=whole(1),
            cooldownPeriod=whole(0),
            fallback=thing(("failureThreshold", "replicas"), failureThreshold=whole(1), replicas=whole(1)),
            advanced=thing(
                restoreToOriginalReplicaCount={"type": "boolean"},
                horizontalPodAutoscalerConfig=thing(
                    name=NAME, behavior=thing(scaleUp=POLICIES, scaleDown=POLICIES)
                ),
            ),
            triggers=several(
                thing(
                    ("type", "name", "metadata"),
                    type={"const": "prometheus"},
                    name=NAME,
                    metricType={"enum": ["AverageValue", "Value"]},
                    metadata=KEDA_PROMETHEUS,
                    authenticationRef=thing(
                        ("name",),
                        name=NAME,
                        kind={"enum": ["TriggerAuthentication", "ClusterTriggerAuthentication"]},
                    ),
                )
            ),
        ),
    ),
}

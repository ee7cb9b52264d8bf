"""The chart: linted, rendered, valid for the oldest and newest Kubernetes, and refusing what could not work."""

from __future__ import annotations

import json
import re
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from chart_files import files
from custom_schemas import SCHEMAS
from jsonschema import Draft7Validator
from paths import ALERTS, CHART, must, run
from rendering import GOLDEN, NAMESPACE, RELEASE, VALUES, Object, golden, objects, of_kind, template

from dispatcher.settings.model import Settings
from dispatcher.worker import OVERDUE_S

OLDEST = "1.27"
NEWEST = max(
    (
        re.match(r"v(1\.\d+)", folder.name)[1]
        for folder in (Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema").glob("v1.*")
    ),
    key=lambda version: int(version.split(".")[1]),
)
MINIMAL = CHART / "ci" / "minimal-values.yaml"

every = pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def rendered() -> dict[str, list[Object]]:
    """Each ci file's objects."""
    return {values.stem: objects(template(values)) for values in VALUES}


def settings_of(found: list[Object]) -> dict[str, str]:
    (config,) = [thing for thing in of_kind(found, "ConfigMap") if "DISPATCHER_HTTP_PORT" in thing["data"]]
    return config["data"]


def worker_of(found: list[Object]) -> Object:
    (deployment,) = of_kind(found, "Deployment")
    return deployment["spec"]["template"]


@every
def test_helm_lint_finds_nothing(values):
    must("helm", "lint", "--strict", CHART, "--values", values)


@every
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_what_kubernetes_knows_is_valid_for_it(rendered, values, version):
    checked = 0
    for thing in rendered[values.stem]:
        if thing["kind"] not in SCHEMAS:
            kubernetes_validate.validate(thing, version, strict=True)
            checked += 1
    assert checked >= 5


def test_the_chart_says_the_oldest_version_it_is_tested_with():
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"] == f">={OLDEST}.0-0"


@every
def test_custom_resources_fit_their_strict_schemas(rendered, values):
    for thing in rendered[values.stem]:
        if thing["kind"] in SCHEMAS:
            Draft7Validator(SCHEMAS[thing["kind"]]).validate(thing)


def test_all_custom_resources_are_rendered_somewhere(rendered):
    assert set(SCHEMAS) <= {thing["kind"] for found in rendered.values() for thing in found}


@pytest.mark.parametrize("kind", SCHEMAS)
def test_the_schemas_are_strict(kind, rendered):
    (thing, *_) = [t for found in rendered.values() for t in of_kind(found, kind)]
    thing = json.loads(json.dumps(thing))
    thing["spec"]["misspelt"] = 1
    assert not Draft7Validator(SCHEMAS[kind]).is_valid(thing)


@every
def test_selectors_match_the_workers_and_nothing_else(rendered, values):
    found = rendered[values.stem]
    labels = worker_of(found)["metadata"]["labels"]
    selectors = [thing["spec"]["selector"] for thing in of_kind(found, "Deployment")]
    selectors += [thing["spec"]["selector"] for thing in of_kind(found, "PodDisruptionBudget")]
    selectors += [thing["spec"]["selector"] for thing in of_kind(found, "PodMonitor")]
    selectors += [thing["spec"]["podSelector"] for thing in of_kind(found, "NetworkPolicy")]
    selectors += [s["labelSelector"] for s in worker_of(found)["spec"].get("topologySpreadConstraints", [])]
    (test_pod,) = of_kind(found, "Pod")
    for selector in selectors:
        assert selector["matchLabels"].items() <= labels.items()
        assert not selector["matchLabels"].items() <= test_pod["metadata"]["labels"].items()


@every
def test_ports_agree(rendered, values):
    found = rendered[values.stem]
    (container,) = worker_of(found)["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": int(settings_of(found)["DISPATCHER_HTTP_PORT"])}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    for monitor in of_kind(found, "PodMonitor"):
        assert {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]} <= ports.keys()
    for policy in of_kind(found, "NetworkPolicy"):
        assert [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]] == ["http"]


@every
def test_liveness_never_asks_for_redis_or_fcm(rendered, values):
    (container,) = worker_of(rendered[values.stem])["spec"]["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


@every
def test_a_pod_may_drain_and_wait_for_one_request_before_it_is_killed(rendered, values):
    found = rendered[values.stem]
    given = settings_of(found)
    drain = float(given.get("DISPATCHER_DRAIN_S", Settings.model_fields["drain_s"].default))
    request = float(
        given.get("DISPATCHER_REQUEST_TIMEOUT_S", Settings.model_fields["request_timeout_s"].default)
    )
    grace = worker_of(found)["spec"]["terminationGracePeriodSeconds"]
    assert grace > drain + request
    assert grace > drain + OVERDUE_S


@every
def test_at_most_one_thing_scales_and_then_no_replicas_are_set(rendered, values):
    found = rendered[values.stem]
    scalers = of_kind(found, "ScaledObject") + of_kind(found, "HorizontalPodAutoscaler")
    assert len(scalers) <= 1
    (deployment,) = of_kind(found, "Deployment")
    assert ("replicas" in deployment["spec"]) != bool(scalers)
    for scaler in scalers:
        assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]


@every
def test_no_secret_stands_in_a_config_map(rendered, values):
    for thing in of_kind(rendered[values.stem], "ConfigMap"):
        text = json.dumps(thing["data"])
        assert not re.search(r"private_key|service_account|-----BEGIN|://[^/@\"]*:[^/@\"]+@", text)


@every
def test_pods_run_as_nobody_and_can_write_nothing_but_tmp(rendered, values):
    found = rendered[values.stem]
    (test_pod,) = of_kind(found, "Pod")
    for pod in (worker_of(found)["spec"], test_pod["spec"]):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            writable = [mount for mount in container["volumeMounts"] if not mount.get("readOnly")]
            assert [mount["mountPath"] for mount in writable] == ["/tmp"]
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted == {volume["name"] for volume in pod["volumes"]}
            assert "memory" in container["resources"]["limits"]


@every
def test_the_worker_takes_the_settings_it_is_given(rendered, values, tmp_path):
    found = rendered[values.stem]
    given = {name: value for name, value in settings_of(found).items() if name.startswith("DISPATCHER_")}
    if "DISPATCHER_REDIS_URL" not in given:
        given["DISPATCHER_REDIS_URL"] = "redis://from-the-secret"
    for name in ("DISPATCHER_REDIS_PASSWORD_FILE", "DISPATCHER_CREDENTIALS"):
        if given.get(name, "").startswith("/"):
            stand_in = tmp_path / name
            stand_in.write_text("x")
            given[name] = str(stand_in)
    toml = [
        thing["data"]["dispatcher.toml"]
        for thing in of_kind(found, "ConfigMap")
        if "dispatcher.toml" in thing["data"]
    ]
    config = None
    if toml:
        config = tmp_path / "dispatcher.toml"
        config.write_text(toml[0])
    settings = Settings.load(config, given)
    for project, wanted in (yaml.safe_load(values.read_text()).get("projectSettings") or {}).items():
        taken = settings.project(project)
        assert {name: str(getattr(taken, name)) for name in wanted} == {
            name: str(value) for name, value in wanted.items()
        }


def test_large_numbers_are_written_in_full(rendered):
    assert settings_of(rendered["keda-values"])["DISPATCHER_QUOTA_PER_MINUTE"] == "1200000"


def test_the_rules_in_the_cluster_are_those_of_deploy(rendered):
    (rule,) = of_kind(rendered["keda-values"], "PrometheusRule")
    alerts = {r["alert"]: r for group in rule["spec"]["groups"] for r in group["rules"] if "alert" in r}
    source = {r["alert"]: r for g in yaml.safe_load(ALERTS.read_text())["groups"] for r in g["rules"]}
    assert set(alerts) == set(source)
    for name, alert in alerts.items():
        url = alert["annotations"]["runbook_url"]
        assert url == f"https://runbooks.example.com/dispatcher.md#{name.lower()}"
    # This release's workers: those of another would hide that ours are gone.
    assert alerts["DispatcherNoWorker"]["expr"] == (
        f'absent(dispatcher_build_info{{namespace="{NAMESPACE}", job="{RELEASE}"}})'
    )
    others = set(alerts) - {"DispatcherNoWorker"}
    assert {name: alerts[name]["expr"] for name in others} == {name: source[name]["expr"] for name in others}


def test_promtool_takes_the_rules_of_the_cluster(rendered, tmp_path):
    (rule,) = of_kind(rendered["keda-values"], "PrometheusRule")
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump(rule["spec"]))
    must("promtool", "check", "rules", file)


def test_golden_renderings_are_up_to_date():
    found = golden()
    assert set(found) == {path.name for path in GOLDEN.glob("*.yaml")}
    for name, text in found.items():
        assert text == (GOLDEN / name).read_text(), (
            f"{name}: look at the difference; `make ops-files` writes it anew"
        )


@pytest.mark.parametrize("name", files())
def test_files_that_are_made_are_up_to_date(name):
    assert (CHART / name).read_text() == files()[name], f"{name} is stale: make ops-files"


def test_every_value_says_what_it_is_for_or_is_plain():
    readme = files()["README.md"]
    names = set(re.findall(r"^\| `([\w.]+)` ", readme, re.MULTILINE))

    def leaves(node, path=()):
        if isinstance(node, dict) and node:
            for key, value in node.items():
                yield from leaves(value, (*path, key))
        else:
            yield ".".join(path)

    assert names == set(leaves(yaml.safe_load((CHART / "values.yaml").read_text())))


BAD = [
    ("an unknown value", {"redis.ulr": "x"}, "Additional property ulr is not allowed"),
    ("an unknown setting", {"settings.batch_sise": "3"}, "Additional property batch_sise is not allowed"),
    (
        "an unknown setting of a project",
        {"projectSettings.demo.batch_sise": "3"},
        "Additional property batch_sise is not allowed",
    ),
    ("no project id", {"projects[0]": "no id"}, "projects"),
    ("a wrong type", {"replicas": "many"}, "replicas"),
    (
        "HPA with KEDA",
        {"autoscaling.hpa.enabled": "true", "autoscaling.keda.enabled": "true"},
        "autoscaling.keda.enabled and autoscaling.hpa.enabled are both true",
    ),
    (
        "KEDA without Prometheus",
        {"autoscaling.keda.enabled": "true"},
        "autoscaling.keda.serverAddress is empty",
    ),
    (
        "no credentials",
        {"credentials.existingSecret": ""},
        "credentials is empty: set one of credentials.existingSecret",
    ),
    ("two credentials", {"credentials.workloadIdentity": "true"}, "credentials has more than one source"),
    (
        "an identity without projects",
        {"credentials.existingSecret": "", "credentials.workloadIdentity": "true"},
        "projects is empty",
    ),
    ("no Redis", {"redis.url": ""}, "redis.url is empty"),
    ("a password in the URL", {"redis.url": "redis://user:secret@redis"}, "redis.url holds a password"),
    (
        "a password in a proxy",
        {"settings.proxy": "http://user:secret@proxy:3128"},
        "the proxy in settings.proxy holds a password",
    ),
    (
        "a password in a project's proxy",
        {"projectSettings.demo.proxy": "http://user:secret@proxy:3128"},
        "the proxy in projectSettings.demo.proxy holds a password",
    ),
    ("half a Secret", {"redis.existingSecret.name": "redis"}, "redis.existingSecret.passwordKey"),
    (
        "a grace period under the drain limit",
        {"terminationGracePeriodSeconds": "30"},
        "terminationGracePeriodSeconds (30) must be more than settings.drain_s + settings.request_timeout_s (40)",
    ),
    (
        "a drain limit over the grace period",
        {"terminationGracePeriodSeconds": "60", "settings.drain_s": "50"},
        "terminationGracePeriodSeconds (60) must be more than settings.drain_s + settings.request_timeout_s (65)",
    ),
    (
        "fewest over most",
        {"autoscaling.minReplicas": "9", "autoscaling.maxReplicas": "3"},
        "autoscaling.maxReplicas (3) is less than autoscaling.minReplicas (9)",
    ),
]


@pytest.mark.parametrize(("why", "wrong", "sentence"), BAD, ids=[bad[0] for bad in BAD])
def test_what_could_not_work_is_refused_with_a_sentence_that_names_the_value(why, wrong, sentence):
    sets = [part for name, value in wrong.items() for part in ("--set", f"{name}={value}")]
    refused = run("helm", "template", RELEASE, CHART, "--values", MINIMAL, *sets)
    assert refused.returncode != 0
    assert sentence in refused.stderr
    assert "secret@" not in refused.stderr


def test_nothing_given_is_refused_too():
    refused = run("helm", "template", RELEASE, CHART)
    assert refused.returncode != 0
    assert "redis.url is empty" in refused.stderr

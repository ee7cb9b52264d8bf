"""Image and compose file, read as a reviewer would; test_build.py carries them out."""

from __future__ import annotations

import re
import shlex
import tomllib
from fnmatch import fnmatch

import pytest
import yaml
from image import instructions, stages
from packaging.requirements import Requirement
from paths import DEPLOY, PROMETHEUS, ROOT, must

from dispatcher.emulator.server import load_scenario
from dispatcher.settings.model import Settings

LOCKS = ("requirements.lock", "requirements-emulator.lock", "requirements-build.lock")


STAGES = stages()
FINAL = list(STAGES)[-1]
RUNTIME = ("base", "emulator", "worker")


def test_the_base_is_pinned_to_a_patch_version():
    images = {rest.split()[0] for word, rest in instructions() if word == "FROM"} - set(STAGES)
    assert images
    for image in images:
        assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", image)


def test_it_is_built_in_stages_and_the_worker_comes_last():
    assert FINAL == "worker"
    assert len(STAGES) >= 3


@pytest.mark.parametrize("stage", ["worker", "emulator"])
def test_it_runs_as_nobody_and_starts_without_a_shell(stage):
    own = dict(STAGES[stage])
    assert own["USER"] == "10001"
    assert own["STOPSIGNAL"] == "SIGTERM"
    for word in ("ENTRYPOINT", "CMD"):
        assert re.fullmatch(r'\[("[^"]+"(, )?)+\]', own[word]), "exec form: signals must reach the process"


def test_the_runtime_stages_hold_no_build_tools_and_install_nothing():
    for stage in RUNTIME:
        runs = [rest for word, rest in STAGES[stage] if word == "RUN"]
        assert not [run for run in runs if re.search(r"apt|gcc|\"install\", \"(?!-d)|pip install", run)]
        for word, rest in STAGES[stage]:
            assert word != "ADD"
            if word == "COPY":
                assert rest.startswith("--from="), "only what was built"
    (removal,) = [rest for word, rest in STAGES["base"] if word == "RUN" and "uninstall" in rest]
    for tool in ("pip", "setuptools", "wheel"):
        assert f'"{tool}"' in removal


def test_everything_is_installed_by_hash():
    for stage, lines in STAGES.items():
        for word, rest in lines:
            if word == "RUN" and '"install"' in rest and "pip" in rest:
                assert '"--require-hashes"' in rest, stage
                assert '"--no-deps"' in rest, stage


@pytest.mark.parametrize("name", LOCKS)
def test_locks_hold_versions_and_hashes_and_no_address(name):
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "index-url" not in text
    entries = re.split(r"\n(?=[a-z0-9])", text.strip())
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry


def locked(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", (ROOT / name).read_text(), re.MULTILINE))


@pytest.mark.parametrize(
    ("name", "extras"),
    [("requirements.lock", ["otel"]), ("requirements-emulator.lock", ["otel", "emulator"])],
)
def test_locks_satisfy_what_the_project_asks_for(name, extras):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [
        r for extra in extras for r in project["optional-dependencies"][extra]
    ]
    versions = locked(name)
    for text in wanted:
        requirement = Requirement(text)
        assert requirement.specifier.contains(versions[requirement.name.lower()]), f"{text}: make lock"


def test_the_locks_agree():
    worker, emulator = locked("requirements.lock"), locked("requirements-emulator.lock")
    assert worker.items() <= emulator.items()


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path out; its later lines win."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        names = (pattern, pattern.removeprefix("**/"))
        if any(
            fnmatch(path, n)
            or fnmatch(path.rsplit("/", maxsplit=1)[-1], n.split("/")[-1])
            or path.startswith(f"{n}/")
            for n in names
        ):
            out = not line.startswith("!")
    return out


def test_the_context_holds_what_is_copied_and_nothing_that_is_secret_or_large():
    for stage in STAGES.values():
        for word, rest in stage:
            if word == "COPY" and not rest.startswith("--from="):
                for source in shlex.split(rest)[:-1]:
                    assert (ROOT / source).exists()
                    assert not ignored(source), source
    for path in (
        ".git/config",
        ".venv/bin/python",
        "keys/demo.json",
        "tests/unit/x.py",
        "dispatcher/__pycache__/a.pyc",
        ".env",
    ):
        assert ignored(path), path


COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]


def test_compose_starts_the_whole_thing():
    assert set(SERVICES) == {"redis", "emulator", "worker", "producer", "prometheus", "grafana"}
    assert SERVICES["worker"]["deploy"]["replicas"] == 2
    assert SERVICES["redis"]["image"].startswith("redis:7.")
    command = SERVICES["redis"]["command"]
    for option, value in (("--appendonly", "yes"), ("--maxmemory-policy", "noeviction")):
        assert command[command.index(option) + 1] == value


def test_images_in_compose_are_pinned():
    for name, service in SERVICES.items():
        if "build" not in service and not service["image"].startswith("fcm-dispatcher:"):
            assert re.search(r":v?\d+\.\d+(\.\d+)?", service["image"]), name
        if "build" in service:
            assert service["build"]["target"] in STAGES


def test_our_containers_write_nothing_but_tmp():
    for name in ("worker", "emulator", "producer"):
        assert SERVICES[name]["read_only"] is True
        assert SERVICES[name]["cap_drop"] == ["ALL"]
        assert SERVICES[name]["tmpfs"] == ["/tmp"]


def test_a_worker_in_compose_may_drain():
    grace = int(SERVICES["worker"]["stop_grace_period"].removesuffix("s"))
    fields = Settings.model_fields
    assert grace > fields["drain_s"].default + fields["request_timeout_s"].default


def test_compose_gives_the_worker_settings_it_knows(tmp_path):
    environment = dict(SERVICES["worker"]["environment"])
    environment["DISPATCHER_CREDENTIALS"] = str(tmp_path)
    Settings.load(None, environment)


def test_what_compose_mounts_is_there():
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), f"{name}: {source}"
            else:
                assert source in COMPOSE["volumes"], f"{name}: {source}"


def test_the_emulator_understands_the_demo():
    assert load_scenario(DEPLOY / "demo" / "scenario.json").rules
    projects = SERVICES["emulator"]["command"][SERVICES["emulator"]["command"].index("--projects") + 1].split(
        ","
    )
    command = SERVICES["producer"]["command"]
    assert {command[n + 1] for n, word in enumerate(command) if word == "--project"} == set(projects)


def test_promtool_takes_the_configuration():
    must("promtool", "check", "config", PROMETHEUS / "prometheus.yml")

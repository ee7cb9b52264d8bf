"""The README's section on Kubernetes: its commands work, its values exist."""

from __future__ import annotations

import re
import shlex

import yaml
from paths import CHART, ROOT, must
from rendering import objects, of_kind

SECTION = re.search(
    r"^## Run it on Kubernetes\n(.*?)^## ", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
)[1]


def test_its_helm_command_renders_workers():
    (commands,) = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)
    secret, install = commands.strip().splitlines()
    assert secret.startswith("kubectl create secret generic fcm-keys ")
    words = shlex.split(install)
    assert words[:2] == ["helm", "install"]
    found = objects(must("helm", "template", *words[2:], cwd=ROOT))
    assert of_kind(found, "Deployment")


def test_the_values_in_its_table_are_values_of_the_chart():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    rows = re.findall(r"^\| (`.*?) \|", SECTION, re.MULTILINE)
    assert len(rows) >= 10
    for name in re.findall(r"`([\w.]+)`", " ".join(rows)):
        node = values
        for part in name.split("."):
            assert part in node, name
            node = node[part]

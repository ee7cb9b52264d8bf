"""Rendering the chart: every file in ci/, as objects and as golden text."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import yaml
from paths import CHART, must

GOLDEN = Path(__file__).parent / "golden"
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
NAMESPACE, RELEASE = "push", "fcm"

Object = dict[str, Any]


def template(values: Path, *more: str) -> str:
    return must("helm", "template", RELEASE, CHART, "--namespace", NAMESPACE, "--values", values, *more)


def objects(text: str) -> list[Object]:
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(found: list[Object], kind: str) -> list[Object]:
    return [thing for thing in found if thing["kind"] == kind]


def golden() -> dict[str, str]:
    """The renderings as they are kept: long copies of files, which have checks of their own, as their hash."""
    return {f"{values.stem.removesuffix('-values')}.yaml": _shorten(template(values)) for values in VALUES}


def _shorten(text: str) -> str:
    documents = []
    for document in re.split(r"^---\n", text, flags=re.MULTILINE)[1:]:
        if re.search(r"^kind: PrometheusRule$|^  dispatcher\.json:", document, re.MULTILINE):
            digest = hashlib.sha256(document.encode()).hexdigest()[:16]
            documents.append(f"{document.splitlines()[0]}\n# {digest}\n")
        else:
            documents.append(document)
    return "---\n" + "---\n".join(documents)

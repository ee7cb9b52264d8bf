"""The table of settings as data and as Markdown: the README's is printed from here, so it cannot be wrong.

python -m dispatcher.settings.table
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

from pydantic.fields import FieldInfo

from dispatcher.settings.model import TABLE_ONLY, ProjectSettings, ProjectValues, Settings
from dispatcher.settings.sources import PREFIX, kind_of


class Row(NamedTuple):
    """One setting, as people read it."""

    variable: str
    kind: str
    default: str
    meaning: str
    per_project: bool


def rows() -> list[Row]:
    """Every setting: those of the worker, those that can be set for one project, those only for one project."""
    worker = [name for name in Settings.model_fields if name not in ProjectValues.model_fields]
    found = [_row(name, Settings.model_fields[name]) for name in (*worker, *ProjectValues.model_fields)]
    # In a project's table only: no variable, the name as TOML has it.
    alone = [(name, _row(name, ProjectSettings.model_fields[name])) for name in sorted(TABLE_ONLY)]
    return found + [row._replace(variable=name, per_project=True) for name, row in alone]


def _row(name: str, field: FieldInfo) -> Row:
    kind = kind_of(field)
    extra: Any = field.json_schema_extra or {}
    default = extra.get("shown")
    if default is None:
        shown = kind.show(field.default) if field.default is not None else ""
        default = f"`{shown}`" if shown else "-"
    allowed = f"{kind.kind}: {kind.allowed}" if kind.kind == "word" else kind.kind
    return Row(
        PREFIX + name.upper(), allowed, default, field.description or "", name in ProjectValues.model_fields
    )


def markdown() -> str:
    """The table in Markdown; `*` marks what can also be set for one project."""
    lines = ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
    for row in rows():
        mark = " *" if row.per_project else ""
        lines.append(f"| `{row.variable}`{mark} | {row.kind} | {row.default} | {row.meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())

"""Where settings come from, and how an error about one is worded.

Names are checked before values, so that a misspelt name is not silently a default. An empty variable counts
as not set: templates of deployments leave such behind.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from typing_extensions import override

from dispatcher.errors import SettingsError
from dispatcher.settings.kinds import PROJECT_ID, Kind

PREFIX = "DISPATCHER_"

# Kubernetes gives every pod variables for each Service of its namespace. For one named `dispatcher` they
# begin like ours: DISPATCHER_SERVICE_HOST, DISPATCHER_PORT_8080_TCP_ADDR, DISPATCHER_PORT=tcp://10.0.0.7:80.
_SERVICE_LINK = re.compile(
    r"DISPATCHER_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_URL = re.compile(r"DISPATCHER_(\w+_)?PORT")

_LOGIN = re.compile(r"://[^\s/]*@")

_S = TypeVar("_S", bound=BaseSettings)
_M = TypeVar("_M", bound=BaseModel)


class Environment(PydanticBaseSettingsSource):
    """The `DISPATCHER_*` variables of an environment."""

    def __init__(
        self, settings_cls: type[BaseSettings], environ: Mapping[str, str], names: frozenset[str]
    ) -> None:
        super().__init__(settings_cls)
        self._values: dict[str, str] = {}
        for variable, value in environ.items():
            if not variable.startswith(PREFIX):
                continue
            name = variable.removeprefix(PREFIX).lower()
            if name in names and variable == PREFIX + name.upper():
                if value.strip():
                    self._values[name] = value
            elif not _is_service_link(variable, value):
                raise SettingsError(
                    _unknown(f"environment variable {variable}", name, names, lambda n: PREFIX + n.upper())
                )

    @override
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._values.get(field_name), field_name, False

    @override
    def __call__(self) -> dict[str, Any]:
        return dict(self._values)

    def place(self, name: str) -> str | None:
        """What to call the setting in an error, if it came from here."""
        return PREFIX + name.upper() if name in self._values else None


class TomlFile(PydanticBaseSettingsSource):
    """A TOML file: settings on top, `[projects."id"]` tables below.

    Attributes:
        tables: raw values for each project with a table of its own.
    """

    def __init__(
        self,
        settings_cls: type[BaseSettings],
        path: Path | None,
        names: frozenset[str],
        project_names: frozenset[str],
    ) -> None:
        super().__init__(settings_cls)
        self._path = path
        self._values = _read_toml(path) if path is not None else {}
        self.tables: dict[str, dict[str, Any]] = {}
        if isinstance(self._values.get("projects"), dict):
            self.tables = self._values.pop("projects")
        for name in self._values:
            if name not in names:
                raise SettingsError(_unknown(f"{name} in {path}", name, names, str))
        for project, table in self.tables.items():
            self._check_table(project, table, names, project_names)

    def _check_table(
        self, project: str, table: object, names: frozenset[str], project_names: frozenset[str]
    ) -> None:
        where = f'[projects."{project}"] in {self._path}'
        try:
            PROJECT_ID.read(project)
        except ValueError:
            raise SettingsError(f"{where}: no project id; allowed: {PROJECT_ID.allowed}") from None
        if not isinstance(table, dict):
            raise SettingsError(f"{where}: found {table!r}, allowed: a table of settings")
        for name in table:
            if name in project_names:
                continue
            if name in names:
                raise SettingsError(
                    f"{where}: {name} holds for the whole worker; move it above the tables of projects"
                )
            raise SettingsError(_unknown(f"{name} under {where}", name, project_names, str))

    @override
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return self._values.get(field_name), field_name, False

    @override
    def __call__(self) -> dict[str, Any]:
        return dict(self._values)

    def place(self, name: str, project: str = "") -> str:
        """What to call the setting in an error."""
        if project and name in self.tables[project]:
            return f'{name} under [projects."{project}"] in {self._path}'
        return f"{name} in {self._path}"


def build(cls: type[_S], file: TomlFile, environment: Environment) -> _S:
    """Merge file and environment into settings; SettingsError for the first value that is not allowed."""
    values = {**file(), **environment()}
    try:
        return cls(**values)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        place = environment.place(name) or file.place(name)
        raise SettingsError(_not_allowed(cls, error, place)) from None


def build_table(cls: type[_M], values: dict[str, Any], file: TomlFile, project: str) -> _M:
    """The merged settings of one project; SettingsError for the first value that is not allowed."""
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise SettingsError(_not_allowed(cls, error, file.place(name, project))) from None


def kind_of(field: FieldInfo) -> Kind:
    """The kind of a setting, which every one has among its annotations."""
    return next(m for m in field.metadata if isinstance(m, Kind))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"--config {path}: cannot be read ({error.strerror}); name a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"--config {path}: no TOML ({error})") from None


def _is_service_link(variable: str, value: str) -> bool:
    if _SERVICE_LINK.fullmatch(variable):
        return True
    return _SERVICE_URL.fullmatch(variable) is not None and value.startswith(("tcp://", "udp://", "sctp://"))


def _unknown(what: str, name: str, names: frozenset[str], spell: Any) -> str:
    close = get_close_matches(name.lower().replace("-", "_"), sorted(names), n=1, cutoff=0.6)
    mend = f"did you mean {spell(close[0])}?" if close else "see the table of settings in the README"
    return f"unknown setting: {what}; {mend}"


def _not_allowed(cls: type[BaseModel], error: ValidationError, place: str) -> str:
    first = error.errors()[0]
    field = cls.model_fields[str(first["loc"][0])]
    kind = kind_of(field)
    # A secret does not go into an error line, not even a misspelt one.
    secret = field.annotation is SecretStr
    found = "a value that is not shown" if secret else _quoted(first["input"])
    cause = first.get("ctx", {}).get("error")
    why = f", {cause}" if cause is not None and str(cause).startswith("which ") else ""
    return f"{place}: found {found}{why}; allowed: {kind.allowed}"


def _quoted(value: object) -> str:
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    text = "".join(c if c.isprintable() else " " for c in text)
    text = _LOGIN.sub("://[hidden]@", text)
    return text if len(text) <= 80 else text[:77] + "..."  # one line stays one line

"""What a value of each type of setting may look like, in the environment and in TOML.

A kind reads a raw value (text from the environment; text, number or list from TOML) into the value the
program uses, or raises ValueError. It also carries the two texts that people see: `kind`, its name in the
table of settings, and `allowed`, the end of the error line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema
from typing_extensions import override

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)")
_SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


@dataclass(frozen=True)
class Kind:
    """A type of setting."""

    kind: ClassVar[str] = "text"

    @property
    def allowed(self) -> str:
        """What a value may be, as the end of "allowed: ..."."""
        raise NotImplementedError

    def read(self, raw: object) -> object:
        """Turn a raw value into the one the program uses; ValueError if it is not allowed."""
        raise NotImplementedError

    def show(self, value: object) -> str:
        """The value as a person would write it."""
        return str(value)

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)


def text_of(raw: object) -> str:
    """A raw value as text without white space around it; ValueError if it is none."""
    if not isinstance(raw, str):
        raise ValueError  # noqa: TRY004 - pydantic collects ValueError; the sentence is made from `allowed`
    return raw.strip()


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number within bounds."""

    low: int
    high: int
    kind: ClassVar[str] = "number"

    @property
    @override
    def allowed(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    @override
    def read(self, raw: object) -> int:
        if isinstance(raw, bool):
            raise ValueError  # noqa: TRY004 - see text_of
        value = raw if isinstance(raw, int) else int(text_of(raw).replace("_", ""))
        if not self.low <= value <= self.high:
            raise ValueError
        return value


@dataclass(frozen=True)
class Decimal(Kind):
    """A number within bounds, decimals allowed."""

    low: float
    high: float
    kind: ClassVar[str] = "decimal"

    @property
    @override
    def allowed(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"

    @override
    def read(self, raw: object) -> float:
        if isinstance(raw, bool):
            raise ValueError  # noqa: TRY004 - see text_of
        value = float(raw) if isinstance(raw, int | float) else float(text_of(raw))
        if not self.low <= value <= self.high:  # also false for nan
            raise ValueError
        return value


@dataclass(frozen=True)
class Size(Kind):
    """A number of bytes, or a quantity as `64 MiB`."""

    low: int
    high: int = 2**40
    kind: ClassVar[str] = "size"

    @property
    @override
    def allowed(self) -> str:
        return f"bytes or a size such as 512 KiB, 64 MiB or 2 GiB, from {self.show(self.low)} to {self.show(self.high)}"

    @override
    def read(self, raw: object) -> int:
        value = raw if isinstance(raw, int) and not isinstance(raw, bool) else self._parse(text_of(raw))
        if not self.low <= value <= self.high:
            raise ValueError
        return value

    def _parse(self, text: str) -> int:
        quantity = _QUANTITY.fullmatch(text)
        if quantity is None or quantity[2].lower() not in _SIZES:
            raise ValueError
        return int(float(quantity[1]) * _SIZES[quantity[2].lower()])

    @override
    def show(self, value: object) -> str:
        number = int(str(value))
        for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
            if number and number % size == 0:
                return f"{number // size} {unit}"
        return str(number)


@dataclass(frozen=True)
class Duration(Kind):
    """A plain number in the unit of the setting's name, or a quantity as `30 d`.

    Attributes:
        low: least value, in `unit`.
        high: greatest value, in `unit`.
        unit: seconds in one unit of the setting: 1.0 for names in `_S`, 0.001 for names in `_MS`.
    """

    low: float
    high: float
    unit: float = 1.0
    kind: ClassVar[str] = "duration"

    @property
    @override
    def allowed(self) -> str:
        name = "seconds" if self.unit == 1.0 else "milliseconds"
        bounds = f"from {self.show(self.low)} {name} to {self.show(self.high)}"
        return f"{name} or a duration such as 500 ms, 15 s, 10 min, 6 h or 30 d, {bounds}"

    @override
    def read(self, raw: object) -> float:
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            value = float(raw)
        else:
            value = self._parse(text_of(raw))
        if not self.low <= value <= self.high:
            raise ValueError
        return value

    def _parse(self, text: str) -> float:
        quantity = _QUANTITY.fullmatch(text)
        if quantity is None:
            raise ValueError
        number, unit = float(quantity[1]), quantity[2].lower()
        if not unit:
            return number
        if unit not in _SECONDS:
            raise ValueError
        return number * _SECONDS[unit] / self.unit

    @override
    def show(self, value: object) -> str:
        number = float(str(value))
        if self.unit == 1.0 and number % 86400 == 0 and number > 86400:
            return f"{number / 86400:g} d"
        return f"{number:g}"


@dataclass(frozen=True)
class OneOf(Kind):
    """One of a few words.

    Attributes:
        words: the words that are allowed.
        planned: words of the contract that this version cannot do yet; refused with a sentence that says so.
    """

    words: tuple[str, ...]
    planned: tuple[str, ...] = ()
    kind: ClassVar[str] = "word"

    @property
    @override
    def allowed(self) -> str:
        return ", ".join(self.words)

    @override
    def read(self, raw: object) -> str:
        # Some words are numbers, which TOML lets one write without quotes.
        word = (str(raw) if type(raw) in {int, float} else text_of(raw)).lower()
        if word in self.planned:
            raise ValueError("which is not available in this version")
        if word not in self.words:
            raise ValueError
        return word


@dataclass(frozen=True)
class Pattern(Kind):
    """Text of a certain shape."""

    shape: str
    what: str

    @property
    @override
    def allowed(self) -> str:
        return self.what

    @override
    def read(self, raw: object) -> str:
        text = text_of(raw)
        if re.fullmatch(self.shape, text) is None:
            raise ValueError
        return text


PROJECT_ID = Pattern(
    # Also domain-scoped ids (example.com:shop). Braces would break the hash tag of the Redis keys.
    r"[A-Za-z0-9][A-Za-z0-9._:-]{0,126}",
    "a Firebase project id (letters, digits and hyphens, as demo-orchard-41)",
)


@dataclass(frozen=True)
class ProjectIds(Kind):
    """Project ids, comma-separated or as a TOML list."""

    kind: ClassVar[str] = "list"

    @property
    @override
    def allowed(self) -> str:
        return "Firebase project ids, comma-separated"

    @override
    def read(self, raw: object) -> tuple[str, ...]:
        items = raw if isinstance(raw, list | tuple) else text_of(raw).split(",")
        return tuple(dict.fromkeys(PROJECT_ID.read(item) for item in items if text_of(item)))

    @override
    def show(self, value: object) -> str:
        return ",".join(value) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True)
class Flag(Kind):
    """Yes or no."""

    kind: ClassVar[str] = "word"

    @property
    @override
    def allowed(self) -> str:
        return "true, false"

    @override
    def read(self, raw: object) -> bool:
        if isinstance(raw, bool):
            return raw
        word = text_of(raw).lower()
        if word not in {"true", "false", "1", "0", "yes", "no", "on", "off"}:
            raise ValueError
        return word in {"true", "1", "yes", "on"}

    @override
    def show(self, value: object) -> str:
        return str(value).lower()

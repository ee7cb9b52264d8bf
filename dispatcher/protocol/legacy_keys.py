"""The keys of a legacy message while it is translated, and the refusals of what has none."""

from __future__ import annotations

from typing import Any

from dispatcher.model import ErrorCode, Refusal
from dispatcher.protocol.rules import refuse

_OPTION_PATHS = (
    "message.apns.headers.",
    "message.webpush.headers.",
    "message.android.ttl",
    "message.android.priority",
)
_NO_KEY = "legacy messages have no key for it: take it out, or send it over v1"


class UntranslatableError(Exception):
    """Ends a translation.

    Attributes:
        refusal: why.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


class Keys:
    """The keys found so far, each with the path that said it."""

    def __init__(self) -> None:
        self._blocks: dict[str, dict[str, Any]] = {"": {}, "notification": {}}
        self._said: dict[tuple[str, str], str] = {}
        self._data: dict[str, str] | None = None
        self._data_said = ""
        self._custom: dict[str, str] = {}

    def put(self, block: str, name: str, value: Any, path: str) -> None:
        """One key, which must be what other paths have said of it."""
        held = self._blocks[block]
        if name not in held:
            held[name] = value
            self._said[block, name] = path
        elif held[name] != value:
            other = self._said[block, name]
            mend = f"{other} says otherwise, and a legacy message has one {name} for all platforms: make them equal, or send it over v1"
            raise UntranslatableError(refuse(ErrorCode.INVALID_PAYLOAD, path, repr(value), mend))

    def data(self, data: dict[str, str] | None, path: str) -> None:
        """A platform's data, which replaces the common data: for all, so it must be the same."""
        if data is None:
            return
        if self._data is None:
            self._data, self._data_said = data, path
        elif self._data != data:
            mend = f"{self._data_said} says otherwise, and a legacy message has one data for all platforms: make them equal, or send it over v1"
            raise UntranslatableError(refuse(ErrorCode.INVALID_PAYLOAD, path, "other data", mend))

    def custom(self, name: str, value: Any, path: str) -> None:
        """A key of the APNs payload beside `aps`: legacy data is what an iOS app finds there."""
        if not isinstance(value, str):
            mend = "legacy data holds strings only: write it as one, or send it over v1"
            raise UntranslatableError(refuse(ErrorCode.INVALID_PAYLOAD, path, _shown(value), mend))
        self._custom[name] = value

    def document(self) -> dict[str, Any]:
        """All keys; raises `UntranslatableError` if Apple's custom keys contradict the data."""
        found = {**self._blocks[""]}
        if self._blocks["notification"]:
            found["notification"] = self._blocks["notification"]
        data = dict(self._data or {})
        for name, value in self._custom.items():
            if data.setdefault(name, value) != value:
                mend = f"{self._data_said} says otherwise, and a legacy message has one data for all platforms: make them equal, or send it over v1"
                raise UntranslatableError(
                    refuse(ErrorCode.INVALID_PAYLOAD, f"message.apns.payload.{name}", repr(value), mend)
                )
        if data:
            found["data"] = data
        return found


def no_key(path: str, value: Any) -> UntranslatableError:
    """The refusal of what has no legacy key."""
    return wrong(path, value, _NO_KEY)


def wrong(path: str, value: Any, mend: str) -> UntranslatableError:
    """The refusal of a value that cannot be translated."""
    code = ErrorCode.INVALID_OPTIONS if path.startswith(_OPTION_PATHS) else ErrorCode.INVALID_PAYLOAD
    return UntranslatableError(refuse(code, path, _shown(value), mend))


def _shown(value: Any) -> str:
    return "an object" if isinstance(value, dict) else "an array" if isinstance(value, list) else repr(value)

"""OpenTelemetry traces, if wanted: a span for each batch, linked to the traces of the producers.

On if the environment says where to export to (`OTEL_EXPORTER_OTLP_ENDPOINT` or `..._TRACES_ENDPOINT`) and does
not switch it off (`OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER=none`); the SDK reads the rest of its standard
variables itself. Off, nothing of OpenTelemetry is imported and a batch costs one comparison with None.

Many producers' jobs travel in one batch, so a batch has links and no parent (OpenTelemetry's conventions for
batched messages).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import Any, Protocol

from dispatcher.errors import SettingsError

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

MOST_LINKS = 128
"""Links of a span: the SDK's own default limit; more would be cut off there."""

_PARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")


class BatchSpan(Protocol):
    """The span of one batch on its way."""

    def end(self, transport: str, accepted: int, failed: int) -> None:
        """The batch has been answered.

        Args:
            transport: the wire it was sent over.
            accepted: messages that FCM took.
            failed: the others.
        """


class Tracing(Protocol):
    """Makes spans."""

    def batch(self, project: str, stream: str, size: int, parents: Iterable[str]) -> BatchSpan:
        """Begin the span of a batch.

        Args:
            project: Firebase project id.
            stream: where its jobs were read.
            size: messages in it.
            parents: `traceparent` of each job, empty ones too.
        """

    def close(self) -> None:
        """Export what is left."""


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return False
    return any(environ.get(name) for name in ENDPOINTS)


def open_tracing(environ: Mapping[str, str], version: str) -> Tracing | None:
    """Tracing as the environment asks for it; None: it does not.

    Raises:
        SettingsError: it does, and the extra is not installed.
    """
    if not wanted(environ):
        return None
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        name = next(name for name in ENDPOINTS if environ.get(name))
        raise SettingsError(f"{name} is set, and traces need an extra: pip install 'fcm-dispatcher[otel]'")
    from dispatcher.telemetry.otel import OtelTracing  # noqa: PLC0415 - its extra may not be installed

    return OtelTracing.exporting(version)


def parse_parents(
    parents: Iterable[str], make: Callable[[int, int, int], Any], most: int = MOST_LINKS
) -> list[Any]:
    """The producers' spans, each once.

    Args:
        parents: W3C `traceparent` values; those that are none are passed over.
        make: called with trace id, span id and flags.
        most: no more than these.
    """
    found: list[Any] = []
    for text in dict.fromkeys(parents):
        match = _PARENT.fullmatch(text)
        if match is None or text.startswith("ff"):
            continue
        trace, span = int(match[1], 16), int(match[2], 16)
        if trace and span:
            found.append(make(trace, span, int(match[3], 16)))
            if len(found) == most:
                break
    return found

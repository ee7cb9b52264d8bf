"""Log lines: for people on a terminal, as JSON otherwise, and never with a secret in them.

Tokens are addresses of people's devices, and whoever holds one with a credential can reach them; they show as
their first 8 characters and a short hash, which is enough to follow one through the log. Credentials do not
show at all.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from dispatcher.telemetry.sampling import Sampler

HIDDEN = "[hidden]"

_SECRET_NAMES = frozenset(
    {
        "access_token",
        "assertion",
        "authorization",
        "credentials_json",
        "password",
        "private_key",
        "redis_url",
        "server_key",
    }
)
_TOKEN_NAMES = frozenset(
    {
        "fid",
        "group",
        "notification_key",
        "registration_token",
        "replacement_token",
        "target",
        "token",
        "tokens",
    }
)

_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
        HIDDEN,
    ),
    (re.compile(r"\bya29\.[\w.~+/-]+=*"), HIDDEN),  # Google's access tokens
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]+"), HIDDEN),  # signed assertions (JWT)
    (re.compile(r"\b(Bearer|key=)(\s*)[\w.~+/:-]{8,}=*"), rf"\1\2{HIDDEN}"),
    (re.compile(r"\bAAAA[\w-]{7}:[\w-]{100,}"), HIDDEN),  # server keys of the legacy service
    (re.compile(r"(\b[a-z][a-z0-9+.]*://)[^\s/@]*:[^\s/@]+@"), rf"\1{HIDDEN}@"),  # passwords in URLs
)
# Registration tokens: an instance id, a colon, `APA91` and some 130 more; APNs tokens and keys are as long.
_TOKENS = re.compile(r"(?<![\w:-])(?:[\w-]{8,}:APA91[\w-]{20,}|[\w:-]{100,})")


# Secrets of this process by what they are, for those that do not look like any.
_known: dict[str, str] = {}
_SHORTEST_KNOWN = 8


def keep_out(what: str, secret: str) -> None:
    """From now on this value shows in no line, whatever it looks like; it takes the place of an earlier `what`.

    Args:
        what: as `token of demo-orchard-41`.
        secret: shorter ones than 8 characters are only kept out where they stand as secrets do.
    """
    if len(secret) >= _SHORTEST_KNOWN:
        _known[what] = secret
    else:
        _known.pop(what, None)


def short(token: str) -> str:
    """A token as it may show: its first 8 characters and a short hash."""
    return f"{token[:8]}~{blake2b(token.encode('utf-8', 'replace'), digest_size=4).hexdigest()}"


def redact(_logger: WrappedLogger | None, _method: str, event: EventDict) -> EventDict:
    """The processor that keeps secrets out: by the name of the value, and by the look of it wherever it stands."""
    for name, value in event.items():
        event[name] = _clean(name, value)
    return event


def _clean(name: str, value: object) -> object:
    lower = name.lower()
    if lower in _SECRET_NAMES:
        return HIDDEN
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return short(value) if lower in _TOKEN_NAMES and value else clean_text(value)
    if isinstance(value, Mapping):
        return {str(k): _clean(str(k), v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(name, item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return clean_text(str(value))


def clean_text(text: str) -> str:
    """A text without what looks like a secret, wherever it stands in it."""
    for secret in _known.values():
        if secret in text:
            text = text.replace(secret, HIDDEN)
    if len(text) < 12:  # no other secret is that short, most values are
        return text
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return _TOKENS.sub(lambda match: short(match[0]), text)


def configure(
    log_format: Literal["auto", "console", "json"],
    level: Literal["debug", "info", "warning", "error"],
    stream: TextIO | None = None,
) -> None:
    """Set up logging for this process, also for libraries that use the standard module.

    Args:
        log_format: `auto` is `console` if the stream is a terminal, else `json`.
        level: least serious line to write. Libraries speak from `warning` on.
        stream: where to; standard error by default, so that a command's own output stays clean.
    """
    stream = stream or sys.stderr
    console = log_format == "console" or (log_format == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # To text before it is cleaned: a traceback drawn later, with local variables, would show all.
        structlog.processors.format_exc_info,
        redact,
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(console, stream),
            ],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    number = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(number, logging.WARNING))
    logging.getLogger("dispatcher").setLevel(number)
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            Sampler(),  # first: a line that is dropped costs nothing more
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=False,
    )


def _renderer(console: bool, stream: TextIO) -> Callable[[Any, str, EventDict], str | bytes]:
    if console:
        return structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    return structlog.processors.JSONRenderer(sort_keys=False)


def logger(name: str) -> FilteringBoundLogger:
    """The logger of a part of this service; `name` is the module's `__name__`."""
    bound: FilteringBoundLogger = structlog.get_logger(name)
    return bound

"""`dispatcher check`: whether this installation will work, before a worker relies on it (sending: check_sending.py)."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import msgspec
import typer

from dispatcher.cli.finding import Finding, as_lines
from dispatcher.cli.options import AsJson, Config, load, open_queue
from dispatcher.errors import QueueError
from dispatcher.settings import Settings

EXAMPLE = "Example: dispatcher check --config dispatcher.toml"

CLOCK_S = 2.0
"""Clocks farther apart than this are told: Redis's decides when jobs are due and expire, this machine's signs keys."""


def check(
    *,
    config: Config = None,
    send: Annotated[
        bool, typer.Option("--send/--no-send", help="Send a message for each project that FCM only checks.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Say whether this installation will work; exit code 1 if not, and each finding names its mend.

    Redis: version, eviction, persistence, rights, clock. Each project: its credential by fetching an access token, its
    endpoint by its clock and by a message to a topic that FCM checks and delivers to nobody (validate_only).
    """
    settings = load(config)
    settings.require_redis_url()
    settings.require_credentials()
    findings = asyncio.run(_look(settings, send=send))
    ok = all(finding.ok for finding in findings)
    if as_json:
        print(msgspec.json.encode({"ok": ok, "findings": findings}).decode())
    else:
        print(*as_lines(findings), sep="\n")
    raise typer.Exit(0 if ok else 1)


async def _look(settings: Settings, *, send: bool) -> list[Finding]:
    from dispatcher.cli.check_sending import (  # noqa: PLC0415 - google-auth is slow to import
        check_sending,
        load_keys,
    )

    keyring, problems = await load_keys(settings)
    redis = await _redis(settings, sorted(keyring.credentials))
    return [*redis, *problems, *await check_sending(settings, keyring, send=send)]


async def _redis(settings: Settings, projects: list[str]) -> list[Finding]:
    queue = open_queue(settings)
    try:
        report = await queue.check_server(projects)
        began = time.time()
        offset = await queue.ping() - (began + time.time()) / 2
    except QueueError as error:
        return [Finding("redis", str(error), ok=False)]
    finally:
        await queue.aclose()
    limit = f"{report.maxmemory / 2**20:.0f} MiB" if report.maxmemory else "no limit"
    seen = (
        f"version {report.version}, {report.mode}, maxmemory {limit}, policy {report.policy}, "
        f"append-only file {'on' if report.aof else 'off'}"
    )
    findings = [Finding("redis", seen), *(Finding("redis", text, ok=False) for text in report.findings)]
    findings += [Finding("redis", text, caution=True) for text in report.cautions]
    if abs(offset) > CLOCK_S:
        side = "ahead of" if offset > 0 else "behind"
        text = f"Redis's clock is {abs(offset):.1f} s {side} this machine's: let NTP set both"
        return [*findings, Finding("clock", text, ok=False)]
    return [*findings, Finding("clock", f"Redis's and this machine's are {abs(offset):.3f} s apart")]

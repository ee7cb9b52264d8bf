"""`dispatcher check`: whether Redis and the credentials are fit for work, before a worker relies on them."""

from __future__ import annotations

import asyncio

import msgspec
import typer

from dispatcher.cli.options import AsJson, Config, load, open_queue
from dispatcher.errors import CredentialsError, QueueError, SettingsError
from dispatcher.settings import Settings

EXAMPLE = "Example: dispatcher check --config dispatcher.toml"


class Finding(msgspec.Struct):
    """One thing that was looked at.

    Attributes:
        part: `redis` or `credentials`.
        text: what was found; if not ok, with its mend.
        ok: whether it is as it should be.
    """

    part: str
    text: str
    ok: bool = True


def check(*, config: Config = None, as_json: AsJson = False) -> None:
    """Look at Redis (version, eviction, persistence, rights) and fetch an access token with every credential."""
    settings = load(config)
    settings.require_redis_url()
    settings.require_credentials()
    findings = asyncio.run(_look(settings))
    ok = all(finding.ok for finding in findings)
    if as_json:
        print(msgspec.json.encode({"ok": ok, "findings": findings}).decode())
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'FAIL'} {finding.part}: {finding.text}")
    raise typer.Exit(0 if ok else 1)


async def _look(settings: Settings) -> list[Finding]:
    return [*await _redis(settings), *await _credentials(settings)]


async def _redis(settings: Settings) -> list[Finding]:
    queue = open_queue(settings)
    try:
        report = await queue.check_server()
    except QueueError as error:
        return [Finding("redis", str(error), ok=False)]
    finally:
        await queue.aclose()
    limit = f"{report.maxmemory / 2**20:.0f} MiB" if report.maxmemory else "no limit"
    seen = (
        f"version {report.version}, {report.mode}, maxmemory {limit}, policy {report.policy}, "
        f"append-only file {'on' if report.aof else 'off'}"
    )
    return [Finding("redis", seen), *(Finding("redis", text, ok=False) for text in report.findings)]


async def _credentials(settings: Settings) -> list[Finding]:
    from dispatcher.pipeline.equipment import make_keyring, route_of  # noqa: PLC0415 - google-auth is slow to import

    keyring = make_keyring(settings)
    try:
        problems = await asyncio.to_thread(keyring.load)
    except CredentialsError as error:
        return [Finding("credentials", str(error), ok=False)]
    findings = [Finding("credentials", problem, ok=False) for problem in problems]
    for project in sorted({*keyring.credentials, *settings.tabled_projects}):
        route = route_of(settings.project(project))
        try:
            route.tls()
        except SettingsError as error:
            findings.append(Finding("credentials", f"{project}: {error}", ok=False))
        if not route.verify:
            text = f"{project}: certificates are not looked at; set tls_verify back to true, and ca_file for a private CA"
            findings.append(Finding("credentials", text, ok=False))
    for project, credential in sorted(keyring.credentials.items()):
        try:
            token = await credential.token()
        except CredentialsError as error:
            findings.append(Finding("credentials", f"{project}: {error}", ok=False))
            continue
        left = credential.expires_in_s
        life = f", good for {left:.0f} s" if token and left != float("inf") else ""
        if not token:
            fetched = f"{project}: none needed (CREDENTIALS=none)"
        elif left == float("inf"):
            fetched = f"{project}: access token read from its file"
        else:
            fetched = f"{project}: access token fetched{life}"
        findings.append(Finding("credentials", fetched))
    return findings

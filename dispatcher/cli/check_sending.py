"""The part of `dispatcher check` that goes out: every credential fetches a token, every endpoint is sent a message."""

from __future__ import annotations

import asyncio
import time

from dispatcher import __version__
from dispatcher.cli.check_clock import check_clock
from dispatcher.cli.finding import Finding
from dispatcher.errors import CredentialsError, SettingsError
from dispatcher.model import Action, Batch, Fate, SendError
from dispatcher.pipeline.equipment import Outfitter, make_keyring, route_of
from dispatcher.policy.classify import classify
from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.settings import Settings
from dispatcher.telemetry.metrics import Metrics
from dispatcher.transport.auth import Credential
from dispatcher.transport.keyring import Keyring
from dispatcher.transport.route import Route
from dispatcher.transport.sessions import Sessions

TOPIC = "dispatcher-check"
"""Nobody has to be subscribed: the message is checked and not delivered."""

_MENDS: dict[Action, str] = {
    Action.PAUSE_PROJECT: "see that the Firebase Cloud Messaging API (V1) is enabled in this project, that the account may "
    "send (role Firebase Cloud Messaging API Admin), and that its quota is not used up",
    Action.REFRESH_CREDS: "the token is not taken: see that the key is of this project and has not been revoked",
    Action.WRONG_PROJECT: "the key belongs to another project",
    Action.SWITCH_ROUTE: "this is no FCM endpoint: see DISPATCHER_FCM_ENDPOINT and DISPATCHER_TRANSPORT",
    Action.RETRY: "the service has trouble: try again, and see its status page",
    Action.PAUSE_TARGET: "the topic is sent to too often: try again in a minute",
}


async def load_keys(settings: Settings) -> tuple[Keyring, list[Finding]]:
    """Read the credentials; what is wrong with them is a finding each."""
    keyring = make_keyring(settings)
    try:
        problems = await asyncio.to_thread(keyring.load)
    except CredentialsError as error:
        problems = [str(error)]
    return keyring, [Finding("credentials", problem, ok=False) for problem in problems]


async def check_sending(settings: Settings, keyring: Keyring, *, send: bool) -> list[Finding]:
    """Look at every project that has a credential, one after the other.

    Args:
        settings: all of them.
        keyring: loaded.
        send: go to the endpoints, too: compare clocks, send a `validate_only` message.
    """
    findings: list[Finding] = []
    unreachable: set[str] = set()
    for project in sorted({*keyring.credentials, *settings.tabled_projects}):
        route = route_of(settings.project(project))
        try:
            route.tls()
        except SettingsError as error:
            findings.append(Finding("endpoint", f"{project}: {error}", ok=False))
            unreachable.add(project)
        if not route.verify:
            text = f"{project}: certificates are not looked at; set tls_verify back to true, and ca_file for a private CA"
            findings.append(Finding("endpoint", text, ok=False))
    async with Sessions() as sessions:
        outfitter = Outfitter(settings, keyring, sessions, Metrics(__version__))
        asked: set[tuple[str, Route]] = set()
        for project, credential in sorted(keyring.credentials.items()):
            where = settings.project(project).fcm_endpoint, route_of(settings.project(project))
            # XMPP has no Date to compare with, and its project may reach nothing else.
            timed = settings.project(project).transport != "xmpp"
            if send and timed and project not in unreachable and where not in asked:
                asked.add(where)
                clock = await check_clock(await sessions.over(where[1]), where[0])
                findings += [clock] if clock is not None else []
            fetched = await _fetch(project, credential)
            findings.append(fetched)
            if send and fetched.ok and project not in unreachable:
                findings.append(await _send(settings, outfitter, project))
    return findings


async def _fetch(project: str, credential: Credential) -> Finding:
    try:
        token = await credential.token()
    except CredentialsError as error:
        return Finding("credentials", f"{project}: {error}", ok=False)
    left = credential.expires_in_s
    if not token:
        return Finding("credentials", f"{project}: none needed (DISPATCHER_CREDENTIALS=none)")
    if left == float("inf"):
        return Finding("credentials", f"{project}: access token read from its file")
    return Finding("credentials", f"{project}: access token fetched, good for {left:.0f} s")


async def _send(settings: Settings, outfitter: Outfitter, project: str) -> Finding:
    """One message that FCM checks and delivers to nobody."""
    try:
        made = await outfitter.make(project)
        token = await made.signer.token()
    except (SettingsError, CredentialsError) as error:
        return Finding("endpoint", f"{project}: {error}", ok=False)
    fields = [b"message", b'{"topic":"%s","data":{"check":"1"}}' % TOPIC.encode(), b"validate_only", b"1"]
    now = time.time()
    job = decode_entry(project, "normal", f"{int(now * 1000)}-0", fields, DecodeLimits())
    batch = Batch(project, "normal", [job], 1, job.nbytes, epoch=0, broadcast=True)
    (response,) = await made.transport.send(batch, token, now=now, at_once=1)
    values = settings.project(project)
    wire = made.transport.name
    endpoint = {"legacy": values.legacy_base, "xmpp": values.xmpp_endpoint}.get(wire, values.fcm_endpoint)
    if response.error is None:
        text = f"{project}: {endpoint} took a validate_only message over {made.transport.name}"
        return Finding("endpoint", text)
    told = _told(response.error)
    if wire in ("legacy", "xmpp"):
        told = told.replace("DISPATCHER_FCM_ENDPOINT", f"DISPATCHER_{wire.upper()}_ENDPOINT")
    return Finding("endpoint", f"{project}: {endpoint}: {told}", ok=False)


def _told(error: SendError) -> str:
    what = error.reason or error.rpc_status or f"HTTP {error.http_status}"
    if error.fate is not Fate.ANSWERED and not error.http_status:
        return f"no answer ({what}): check DISPATCHER_FCM_ENDPOINT, DISPATCHER_PROXY, DNS and the firewall"
    verdict = classify(error, "topic")
    mend = _MENDS.get(verdict.action, "see the error table in the README of this version")
    status = f"HTTP {error.http_status} " if error.http_status else ""
    return f"{status}{verdict.code} ({what}): {mend}"

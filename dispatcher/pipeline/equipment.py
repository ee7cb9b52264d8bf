"""What a project needs to be served, made as its settings say: keys, a way out, a wire."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from importlib.util import find_spec
from urllib.parse import urlsplit

from dispatcher.errors import SettingsError
from dispatcher.pipeline.errands import Errands
from dispatcher.pipeline.project import Project
from dispatcher.pipeline.store import login_of
from dispatcher.policy.concurrency import Ceiling
from dispatcher.queue.address import parse_url
from dispatcher.settings import ProjectSettings, Settings
from dispatcher.telemetry.metrics import Metrics, status_class
from dispatcher.transport.auth import Credential, FileToken, StaticToken
from dispatcher.transport.auto import AutoTransport
from dispatcher.transport.batch import BatchTransport
from dispatcher.transport.http2 import Http2Transport
from dispatcher.transport.keyring import Keyring
from dispatcher.transport.legacy import LegacyTransport
from dispatcher.transport.management import ManagementTransport, Services
from dispatcher.transport.route import Route
from dispatcher.transport.secret_file import SecretFile
from dispatcher.transport.session import Session
from dispatcher.transport.sessions import Sessions
from dispatcher.transport.v1 import V1Transport
from dispatcher.transport.wire import Observe, Timeouts, Transport
from dispatcher.transport.xmpp import DOMAIN, XmppTransport
from dispatcher.transport.xmpp_pool import Dial, Pool

GOOGLE_HOSTS = frozenset({"fcm.googleapis.com", "fcm.mtls.googleapis.com"})
"""Hosts known to have no batch endpoint any more."""


def make_keyring(settings: Settings) -> Keyring:
    """The credentials that the settings name; nothing is read yet.

    Raises:
        SettingsError: they name none.
    """
    return Keyring(
        settings.require_credentials(),
        settings.projects,
        own=settings.own_credentials,
        legacy_key=lambda project: settings.project(project).legacy_key_file,
        route=lambda project: route_of(settings.project(project)),
    )


def route_of(settings: ProjectSettings) -> Route:
    """The way out for a project's requests."""
    return Route(
        settings.proxy.get_secret_value(),
        str(settings.ca_file) if settings.ca_file else "",
        settings.tls_verify,
    )


def secrets_of(settings: Settings) -> dict[str, str]:
    """The secrets that stand in the settings themselves, by what they are.

    Raises:
        SettingsError: the file with the password of Redis cannot be read.
    """
    address = parse_url(settings.require_redis_url(), **login_of(settings))
    found = {"password of Redis": address.password or ""}
    for project in ("", *settings.tabled_projects):
        values = settings.project(project) if project else settings
        login = Route(values.proxy.get_secret_value()).proxy_login
        if login is not None:
            found[f"password of the proxy of {project or 'all'}"] = login[1]
    return found


def make_http2(settings: ProjectSettings, sessions: Sessions, observe: Observe) -> Http2Transport | None:
    """The HTTP/2 side of a project's `v1`; None: it speaks HTTP/1.1.

    Raises:
        SettingsError: its CA file will not do, or it insists on HTTP/2 through a proxy that is itself reached by TLS.
    """
    route = route_of(settings)
    if settings.http_version == "1.1" or settings.transport in ("batch", "legacy", "xmpp"):
        return None
    only = settings.http_version == "2"
    plain = urlsplit(settings.fcm_endpoint).scheme == "http"
    tls_proxy = urlsplit(route.proxy).scheme == "https"
    if only and tls_proxy:
        raise SettingsError(
            f"DISPATCHER_PROXY is {route.proxy_address} for {settings.id}, and DISPATCHER_HTTP_VERSION=2 goes through http:// "
            "proxies only: name one of those, or set DISPATCHER_HTTP_VERSION=auto, which speaks HTTP/1.1 through it"
        )
    if not only and (plain or tls_proxy):
        # Without TLS nothing says that a server has HTTP/2; and through a TLS proxy only aiohttp goes.
        return None
    endpoint = settings.fcm_endpoint
    pool = sessions.http2(endpoint, route, only=only)
    return Http2Transport(
        pool, endpoint, Timeouts(settings.request_timeout_s, settings.topic_timeout_s), observe
    )


def make_xmpp(settings: ProjectSettings, observe: Observe) -> XmppTransport:
    """The XMPP connections of a project; none is opened yet.

    Raises:
        SettingsError: slixmpp is not installed, there is no sender id, a proxy is set, or the CA file will not do.
    """
    if find_spec("slixmpp") is None:
        raise SettingsError("DISPATCHER_TRANSPORT=xmpp needs its extra: pip install 'fcm-dispatcher[xmpp]'")
    if not settings.sender_id:
        raise SettingsError(
            f"DISPATCHER_SENDER_ID is not set for {settings.id}, and DISPATCHER_TRANSPORT=xmpp logs in with it: give the "
            "project number; in the project's own table it is sender_id"
        )
    if settings.proxy.get_secret_value():
        raise SettingsError(
            f"DISPATCHER_PROXY is set for {settings.id}, and DISPATCHER_TRANSPORT=xmpp goes through none: set it only in the "
            "tables of other projects"
        )
    from dispatcher.transport.xmpp_client import Account  # noqa: PLC0415 - its extra may not be installed

    host, _, port = settings.xmpp_endpoint.rpartition(":")
    account = Account(host, int(port), DOMAIN, settings.sender_id, f"{settings.sender_id}@{DOMAIN}")
    dial = Dial(account, route_of(settings).tls(), settings.request_timeout_s)
    timeouts = Timeouts(settings.request_timeout_s, settings.topic_timeout_s)
    return XmppTransport(Pool(dial, settings.xmpp_connections), timeouts, observe)


def make_transport(
    settings: ProjectSettings, session: Session, observe: Observe, http2: Http2Transport | None = None
) -> Transport:
    """The wire that a project's settings ask for."""
    timeouts = Timeouts(settings.request_timeout_s, settings.topic_timeout_s)
    if settings.transport == "legacy":
        return LegacyTransport(session, settings.legacy_base, timeouts, observe)
    v1 = V1Transport(session, settings.fcm_endpoint, timeouts, observe, http2)
    if settings.transport == "v1":
        return v1
    if settings.transport == "auto" and urlsplit(settings.fcm_endpoint).hostname in GOOGLE_HOSTS:
        return v1
    boundary = f"batch_{secrets.token_hex(8)}_"
    batch = BatchTransport(session, settings.fcm_endpoint, boundary, timeouts, observe)
    return batch if settings.transport == "batch" else AutoTransport(batch, v1)


def make_errands(
    settings: ProjectSettings,
    session: Session,
    observe: Observe,
    credential: Credential,
    key: SecretFile | None,
) -> Errands:
    """What carries out a project's management jobs: with its access token, else with its server key."""
    server_key = key is not None and isinstance(credential, StaticToken) and not credential.current
    services = Services(
        iid=settings.iid_base,
        fcm=settings.fcm_endpoint,
        groups=settings.legacy_base,
        sender_id=settings.sender_id,
        server_key=server_key,
    )
    transport = ManagementTransport(session, services, settings.request_timeout_s, observe)
    signer = FileToken(key) if server_key and key is not None else credential
    return Errands(transport, signer, settings.subscriptions_per_s)


class Outfitter:
    """Makes projects out of what the settings and the keyring have for them.

    Args:
        settings: all of them.
        keyring: loaded.
        sessions: connections by route.
        metrics: the worker's.
    """

    def __init__(self, settings: Settings, keyring: Keyring, sessions: Sessions, metrics: Metrics) -> None:
        self._settings = settings
        self._keyring = keyring
        self._sessions = sessions
        self._observe = _observer(metrics)

    async def check_routes(self) -> None:
        """See whether every project with a table of its own could be reached as it says.

        Raises:
            SettingsError: a CA file will not do.
        """
        for project in self._settings.tabled_projects:
            await self._sessions.over(route_of(self._settings.project(project)))

    def _ceilings(self, settings: ProjectSettings) -> dict[str, Ceiling]:
        if settings.transport not in ("v1", "auto"):
            return {}
        found = {"v1": self._sessions.requests, "v1-h2": self._sessions.streams}
        for carrier, ceiling in found.items():
            ceiling.fit(settings.concurrency(carrier))
        return found

    async def make(self, project: str) -> Project:
        """A project that has a credential.

        Raises:
            SettingsError: its CA file will not do, or it lacks the server key that its wire asks for.
        """
        settings = self._settings.project(project)
        key = self._keyring.legacy.get(project)
        signer = None
        if settings.transport in ("legacy", "xmpp"):
            if key is None:
                raise SettingsError(
                    f"DISPATCHER_LEGACY_KEY_FILE is not set for {project}, and DISPATCHER_TRANSPORT={settings.transport} needs it: "
                    "name a file that holds the server key and nothing else; in the project's own table it is legacy_key_file"
                )
            signer = FileToken(key)
        session = await self._sessions.over(route_of(settings))
        http2 = make_http2(settings, self._sessions, self._observe)
        transport: Transport
        if settings.transport == "xmpp":
            transport = xmpp = make_xmpp(settings, self._observe)
            self._sessions.adopt(xmpp.pool)
        else:
            transport = make_transport(settings, session, self._observe, http2)
        credential = self._keyring.credentials[project]
        errands = make_errands(settings, session, self._observe, credential, key)
        return Project(
            settings, transport, credential, errands, key, signer=signer, ceilings=self._ceilings(settings)
        )


def _observer(metrics: Metrics) -> Callable[[str, int, list[float]], None]:
    def observe(transport: str, http_status: int, durations: list[float]) -> None:
        metrics.request_duration.of(transport, status_class(http_status)).observe_many(durations)

    return observe

"""Access tokens: from google-auth, ahead of their expiry, one refresh at a time for each credential.

google-auth has no public async service account, so a refresh runs in a thread. Only `refresh()` is used: it talks
to the key's `token_uri` (or the metadata server) and nobody else, where `before_request()` would look up another
Google host.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import ssl
import time
from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any, Protocol

import google.auth.exceptions
import google.auth.transport.requests
import requests
import requests.adapters
import urllib3
import urllib3.exceptions

from dispatcher.errors import CredentialsError
from dispatcher.transport.route import DIRECT, Route
from dispatcher.transport.secret_file import SecretFile

AHEAD_S = 300.0
"""A token is renewed this long before it expires, and up to a fifth earlier, so that replicas do not do it at once."""

FAILED_REST_S = 5.0
FAILED_MOST_S = 60.0
"""Between two tries of a refresh that fails; doubles from the first to the second. A batch that needs the token does
not wait for it."""

REFRESH_TIMEOUT_S = 10.0
"""For connecting to the token endpoint, and again for its answer. A drain may have to wait for it: Python joins the
thread at the end."""


class Credential(Protocol):
    """What signs the requests of one project.

    Attributes:
        refreshes: refreshes carried out, for the metrics.
        failures: refreshes that failed.
    """

    refreshes: int
    failures: int

    @property
    def ready(self) -> bool:
        """Whether there is a token that has not expired."""
        ...

    @property
    def current(self) -> str:
        """The token there is, expired or not; "" before the first."""
        ...

    @property
    def expires_in_s(self) -> float:
        """Seconds until the token expires; infinite if it never does."""
        ...

    @property
    def refresh_in_s(self) -> float:
        """Seconds until it should be renewed; infinite if never."""
        ...

    async def token(self) -> str:
        """The access token, fetched if there is none that holds.

        Raises:
            CredentialsError: it cannot be had.
        """
        ...

    async def renew(self, refused: str) -> str:
        """A token other than `refused`; a storm of refusals of the same token causes one refresh.

        Raises:
            CredentialsError: it cannot be had.
        """
        ...


class Flight:
    """Something of which at most one is under way, and everybody who wants it waits for that one.

    Args:
        work: what is done; its failure is that of all who wait.
    """

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None

    async def join(self) -> None:
        """Wait for the one that is under way, or start one."""
        if self._task is None:
            self._task = asyncio.create_task(self._work())
            self._task.add_done_callback(self._landed)
        # Shielded: who stops waiting must not take it from the others. Its failure is everybody's, too: a hundred
        # batches must not ask a broken endpoint one after the other.
        await asyncio.shield(self._task)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled():
            task.exception()  # seen, even if nobody waits for it any more


class StaticToken:
    """A token that never changes; "" for servers that ask for none."""

    ready = True
    expires_in_s = float("inf")
    refresh_in_s = float("inf")

    def __init__(self, value: str = "") -> None:
        self.refreshes = 0
        self.failures = 0
        self._value = value

    @property
    def current(self) -> str:
        """The token."""
        return self._value

    async def token(self) -> str:
        """The token."""
        return self.current

    async def renew(self, refused: str) -> str:  # noqa: ARG002 - there is no other
        """The same token: nothing else can be had."""
        return self.current


class FileToken(StaticToken):
    """A token out of a file, which somebody else renews there; a refusal has it read again at once.

    Args:
        file: where it stands.
    """

    def __init__(self, file: SecretFile) -> None:
        super().__init__()
        self._file = file
        self._flight = Flight(self._reread)

    @property
    def current(self) -> str:
        """The token as it was last read."""
        return self._file.value

    async def renew(self, refused: str) -> str:
        """What the file holds by now (see `Credential.renew`)."""
        if self.current == refused:
            await self._flight.join()
        return self.current

    async def _reread(self) -> None:
        self.refreshes += 1
        try:
            await asyncio.to_thread(self._file.reread)
        except CredentialsError:
            self.failures += 1
            raise


class GoogleCredential:
    """A google-auth credential with its own expiry, refreshed in a thread.

    Args:
        credentials: any google-auth credentials that are already scoped.
        label: what to call it in errors: the file name or `application default credentials`.
        route: how its token endpoint is reached.
    """

    def __init__(self, credentials: Any, label: str, route: Route = DIRECT) -> None:
        self.refreshes = 0
        self.failures = 0
        self._credentials = credentials
        self._label = label
        self._route = route
        self._token = ""
        self._flight = Flight(self._refresh)
        # Monotonic clock: a machine whose clock is set right must not lose its tokens by it.
        self._expires_at = 0.0
        self._refresh_at = 0.0
        # After a failure, not before this; and how long the next rest is.
        self._retry_at = 0.0
        self._rest = FAILED_REST_S

    def replace(self, credentials: Any, label: str) -> bool:
        """Go on with another key; returns whether it is another one.

        The token there is stays in use until the next one has come, which is fetched soon: a new key that does not
        work shows at once, not when the old token expires.
        """
        if credentials is self._credentials:
            return False
        self._credentials = credentials
        self._label = label
        self._refresh_at = self._retry_at = 0.0
        self._rest = FAILED_REST_S
        return True

    @property
    def current(self) -> str:
        """The token there is, expired or not; "" before the first."""
        return self._token

    @property
    def ready(self) -> bool:
        """Whether there is a token that has not expired."""
        return bool(self._token) and time.monotonic() < self._expires_at

    @property
    def expires_in_s(self) -> float:
        """Seconds until the token expires; 0 if there is none."""
        return max(0.0, self._expires_at - time.monotonic())

    @property
    def refresh_in_s(self) -> float:
        """Seconds until it should be renewed; after a failure until it should be tried again."""
        return max(0.0, self._refresh_at - time.monotonic(), self._retry_at - time.monotonic())

    async def token(self) -> str:
        """The access token (see `Credential.token`)."""
        if not self.ready:
            return await self.renew(self._token)
        return self._token

    async def renew(self, refused: str) -> str:
        """A token other than `refused` (see `Credential.renew`)."""
        if self._token != refused and self.ready:
            return self._token  # somebody else's refusal has already renewed it
        await self._flight.join()
        return self._token

    async def _refresh(self) -> None:
        self.refreshes += 1
        asked: list[int] = []  # HTTP statuses of the token endpoint
        credentials, label = self._credentials, self._label
        try:
            token, lifetime = await asyncio.to_thread(self._fetch, credentials, asked)
        except Exception as error:  # noqa: BLE001 - google-auth lets parsers' errors through; none may end the worker
            self.failures += 1
            if credentials is self._credentials:
                self._retry_at = time.monotonic() + self._rest
                self._rest = min(self._rest * 2, FAILED_MOST_S)
            raise _refusal(label, error, asked) from None
        now = time.monotonic()
        self._rest = FAILED_REST_S
        self._token = token
        self._expires_at = now + lifetime
        # A short-lived token (an emulator's, a test's) is renewed at half its life.
        ahead = min(AHEAD_S, lifetime / 2) * random.uniform(1.0, 1.2)  # noqa: S311 - spreading, not secrecy
        # A key that was replaced meanwhile is tried soon.
        self._refresh_at = self._expires_at - ahead if credentials is self._credentials else 0.0

    def _fetch(self, credentials: Any, asked: list[int]) -> tuple[str, float]:
        """In a thread: one refresh; returns the token and the seconds it lives."""
        with requests.Session() as session:
            self._prepare(session)
            request = google.auth.transport.requests.Request(session=session)

            def bounded(*args: Any, **kwargs: Any) -> Any:
                kwargs["timeout"] = REFRESH_TIMEOUT_S
                response = request(*args, **kwargs)
                asked.append(response.status)
                return response

            credentials.refresh(bounded)
        expiry: dt.datetime | None = credentials.expiry  # naive UTC
        lifetime = expiry.replace(tzinfo=dt.UTC).timestamp() - time.time() if expiry is not None else 3600.0
        if not credentials.token:
            raise ValueError("no token")
        return str(credentials.token), lifetime

    def _prepare(self, session: requests.Session) -> None:
        # Not the environment's proxies and .netrc: a token takes the way its messages take.
        session.trust_env = False
        route = self._route
        if not route.verify:
            session.verify = False
            # The worker says it once, in its own words.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        elif route.ca_file:
            session.mount("https://", _Adapter(_private_tls(route)))
        if route.proxy:
            session.proxies = {"http": route.proxy, "https": route.proxy}


@lru_cache(maxsize=64)
def _private_tls(route: Route) -> ssl.SSLContext:
    return route.tls()


class _Adapter(requests.adapters.HTTPAdapter):
    """Trusts a private CA beside the public ones; `requests` by itself knows one or the other."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._tls, **kwargs)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        return super().proxy_manager_for(proxy, ssl_context=self._tls, **kwargs)


def _refusal(label: str, error: Exception, asked: list[int]) -> CredentialsError:
    """What to tell of a refresh that failed.

    google-auth puts the whole answer into its errors, and a proxy's error page may quote the signed request: only
    the two fields of an OAuth error are repeated, else the HTTP status.
    """
    answer = error.args[1] if len(error.args) > 1 else None
    if isinstance(error, google.auth.exceptions.RefreshError) and isinstance(answer, dict):
        name = answer.get("error")
        if isinstance(name, str):
            text = f"{name}: {answer.get('error_description')}".replace("\n", " ")[:200]
            # google-auth marks what a later try may mend (5xx of the endpoint).
            return CredentialsError(
                f"{label}: the token endpoint refused it ({text}); check that the key is not revoked and that "
                "this machine's clock is right",
                permanent=not error.retryable and asked[-1:] < [500],
            )
    if asked and asked[-1] != 200:
        what = f"the token endpoint answered HTTP {asked[-1]}; see whether it is the right one and up"
    elif asked:
        what = "the token endpoint's answer holds no access token; see whether it is the right one"
    else:
        cause = error.__cause__ or error
        what = f"no answer from the token endpoint ({type(cause).__name__}); check the network"
    return CredentialsError(f"{label}: {what}")

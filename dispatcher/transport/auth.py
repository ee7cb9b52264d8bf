"""Access tokens: from google-auth, ahead of their expiry, one refresh at a time for each credential.

google-auth has no public async service account, so a refresh runs in a thread. Only `refresh()` is used: it talks
to the key's `token_uri` (or the metadata server) and nobody else, where `before_request()` would look up another
Google host.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import google.auth
import google.auth.exceptions
import google.auth.transport.requests
import requests
from google.oauth2 import service_account

from dispatcher.errors import CredentialsError

SCOPES = ("https://www.googleapis.com/auth/firebase.messaging",)
"""The narrow one; it suffices for sending."""

AHEAD_S = 300.0
"""A token is renewed this long before it expires, and up to a fifth earlier, so that replicas do not do it at once."""

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


class StaticToken:
    """A token that never changes; "" for servers that ask for none."""

    refreshes = 0
    failures = 0
    ready = True
    expires_in_s = float("inf")
    refresh_in_s = float("inf")

    def __init__(self, value: str = "") -> None:
        self.current = value

    async def token(self) -> str:
        """The token."""
        return self.current

    async def renew(self, refused: str) -> str:  # noqa: ARG002 - there is no other
        """The same token: nothing else can be had."""
        return self.current


class GoogleCredential:
    """A google-auth credential with its own expiry, refreshed in a thread.

    Args:
        credentials: any google-auth credentials that are already scoped.
        label: what to call it in errors: the file name or `application default credentials`.
    """

    def __init__(self, credentials: Any, label: str) -> None:
        self.refreshes = 0
        self.failures = 0
        self._credentials = credentials
        self._label = label
        self._token = ""
        # The refresh under way, which everybody who needs one waits for.
        self._flight: asyncio.Task[None] | None = None
        # Monotonic clock: a machine whose clock is set right must not lose its tokens by it.
        self._expires_at = 0.0
        self._refresh_at = 0.0

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
        """Seconds until it should be renewed."""
        return max(0.0, self._refresh_at - time.monotonic())

    async def token(self) -> str:
        """The access token (see `Credential.token`)."""
        if not self.ready:
            return await self.renew(self._token)
        return self._token

    async def renew(self, refused: str) -> str:
        """A token other than `refused` (see `Credential.renew`)."""
        if self._token != refused and self.ready:
            return self._token  # somebody else's refusal has already renewed it
        if self._flight is None:
            self._flight = asyncio.create_task(self._refresh())
            self._flight.add_done_callback(self._landed)
        # Shielded: who stops waiting must not take the refresh from the others. Its failure is everybody's, too:
        # a hundred batches must not ask a broken endpoint one after the other.
        await asyncio.shield(self._flight)
        return self._token

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flight = None
        if not flight.cancelled():
            flight.exception()  # seen, even if nobody waits for it any more

    async def _refresh(self) -> None:
        self.refreshes += 1
        asked: list[int] = []  # HTTP statuses of the token endpoint
        try:
            token, lifetime = await asyncio.to_thread(self._fetch, asked)
        except Exception as error:  # noqa: BLE001 - google-auth lets parsers' errors through; none may end the worker
            self.failures += 1
            raise _refusal(self._label, error, asked) from None
        now = time.monotonic()
        self._token = token
        self._expires_at = now + lifetime
        # A short-lived token (an emulator's, a test's) is renewed at half its life.
        ahead = min(AHEAD_S, lifetime / 2) * random.uniform(1.0, 1.2)  # noqa: S311 - spreading, not secrecy
        self._refresh_at = self._expires_at - ahead

    def _fetch(self, asked: list[int]) -> tuple[str, float]:
        """In a thread: one refresh; returns the token and the seconds it lives."""
        with requests.Session() as session:
            request = google.auth.transport.requests.Request(session=session)

            def bounded(*args: Any, **kwargs: Any) -> Any:
                kwargs["timeout"] = REFRESH_TIMEOUT_S
                response = request(*args, **kwargs)
                asked.append(response.status)
                return response

            self._credentials.refresh(bounded)
        expiry: dt.datetime | None = self._credentials.expiry  # naive UTC
        lifetime = expiry.replace(tzinfo=dt.UTC).timestamp() - time.time() if expiry is not None else 3600.0
        if not self._credentials.token:
            raise ValueError("no token")
        return str(self._credentials.token), lifetime


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


def load_credentials(source: str, projects: Iterable[str] = ()) -> dict[str, Credential]:
    """The credentials that the CREDENTIALS setting names.

    Args:
        source: a service-account file, a folder of them (one project each), `adc` or `none`.
        projects: the PROJECTS setting; empty: every project that has a credential. `adc` and `none` need it
            where the environment does not name the project.

    Returns:
        Project id -> credential. Nothing is fetched yet.

    Raises:
        CredentialsError: a file cannot be read, or a project of `projects` has none.
    """
    wanted = list(projects)
    if source == "none":
        if not wanted:
            raise CredentialsError("CREDENTIALS=none needs PROJECTS: name the project ids to serve")
        return {project: StaticToken() for project in wanted}
    if source == "adc":
        return _default_credentials(wanted)
    path = Path(source)
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
    except OSError as error:
        raise CredentialsError(f"CREDENTIALS: {source} cannot be read ({error.strerror})") from None
    found = _folder(path, files) if files != [path] else dict([_service_account(path)])
    missing = [project for project in wanted if project not in found]
    if missing:
        raise CredentialsError(
            f"PROJECTS names {missing[0]}, but {source} holds no key for it; add its service-account file"
        )
    return {project: found[project] for project in wanted} if wanted else found


def _folder(path: Path, files: list[Path]) -> dict[str, Credential]:
    """Every key in a folder.

    Names that begin with a dot are passed over: a Kubernetes mount's `..data` and `..2026_...` are the same keys
    again, others are what editors and archives leave behind.
    """
    found: dict[str, Credential] = {}
    for file in files:
        if file.suffix != ".json" or file.name.startswith("."):
            continue
        project, credential = _service_account(file)
        if project in found:
            raise CredentialsError(
                f"{file}: a second key for project {project}; keep one file for each project"
            )
        found[project] = credential
    if not found:
        raise CredentialsError(
            f"CREDENTIALS: no *.json file in {path}; put one service-account file there a project"
        )
    return found


def _service_account(file: Path) -> tuple[str, Credential]:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise CredentialsError(
            f"CREDENTIALS: {file} is neither a file nor a folder, nor `adc` or `none`"
        ) from None
    except OSError as error:
        raise CredentialsError(f"{file}: cannot be read ({error.strerror})") from None
    try:
        info = json.loads(content)
        project = info["project_id"]
        credentials = service_account.Credentials.from_service_account_info(info, scopes=SCOPES)  # type: ignore[no-untyped-call]
    except Exception:  # noqa: BLE001 - whatever a parser of JSON or of keys raises
        project = credentials = None
    if not isinstance(project, str) or not project:
        # Said here, where the parser's own text is gone: it may quote the key.
        raise CredentialsError(
            f"{file}: not a service-account key; download one under Project settings, Service accounts"
        )
    return project, GoogleCredential(credentials, str(file))


def _default_credentials(wanted: list[str]) -> dict[str, Credential]:
    try:
        credentials, project = google.auth.default(scopes=SCOPES)
    except google.auth.exceptions.GoogleAuthError as error:
        text = str(error.args[0] if error.args else error).replace("\n", " ")[:200]
        raise CredentialsError(
            f"CREDENTIALS=adc: {text} Set GOOGLE_APPLICATION_CREDENTIALS, or run where a service account is attached"
        ) from None
    names = wanted or ([project] if project else [])
    if not names:
        raise CredentialsError("CREDENTIALS=adc does not tell the project here: set PROJECTS")
    shared = GoogleCredential(credentials, "application default credentials")
    return dict.fromkeys(names, shared)

"""The token endpoint: assertions signed by a service account in, access tokens out; and what those may do."""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64decode
from typing import Any
from urllib.parse import parse_qs

import msgspec
import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from dispatcher.emulator.credentials import Account
from dispatcher.emulator.wire import Reply, Request, json_reply
from dispatcher.protocol.call import ACCESS_TOKEN_AUTH

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SENDING_SCOPES = frozenset({
    "https://www.googleapis.com/auth/firebase.messaging",
    "https://www.googleapis.com/auth/cloud-platform",
})  # fmt: skip
"""A token sends if it was granted one of them (v1 wire rules, section 1)."""
SCOPE_PREFIX = "https://www.googleapis.com/auth/"
"""Any scope of Google's can be had; a token without one for sending is good and does not send."""
LIFETIME = 3599.0
"""Seconds an access token lives: what Google answers (v1 wire rules, section 1.1)."""
LONGEST_ASSERTION = 3600.0
SKEW = 300.0
"""Seconds by which a client's clock may be wrong; Google's tolerance is of that order."""


class InvalidGrantError(Exception):
    """The assertion is not believed; `str()` is the `error_description`."""


class Grant(msgspec.Struct):
    """An access token that was given out.

    Attributes:
        project: the project its account belongs to.
        expires_at: Unix seconds.
        sends: whether one of its scopes is for sending.
    """

    project: str
    expires_at: float
    sends: bool = True


class Caller(msgspec.Struct, frozen=True):
    """Who asks a management service.

    Attributes:
        project: for whom it may ask; "": nobody that is known by name.
        refusal: HTTP status it is refused with; 0: none.
        text: what is said then.
    """

    project: str
    refusal: int = 0
    text: str = ""


class Authority:
    """Believes the accounts it was told of, and nobody else.

    Attributes:
        expires_in: lifetime in seconds of tokens given out from now on.
        refuse: an OAuth error name: every assertion is refused with it; "": normal.
        issued: how many access tokens were given out.
    """

    def __init__(self, *, believe_any: bool = False) -> None:
        self.believe_any = believe_any
        self.expires_in = LIFETIME
        self.refuse = ""
        self.issued = 0
        self._accounts: dict[str, Account] = {}
        self._grants: dict[str, Grant] = {}
        self._by_number: dict[str, str] = {}
        self._server_keys: dict[str, str] = {}

    def trust(self, account: Account) -> None:
        """Believes assertions of this account from now on."""
        self._accounts[account.email] = account
        if account.number:
            self._by_number[account.number] = account.project
        if account.server_key:
            self.admit_key(account.server_key, account.project)

    @property
    def numbers(self) -> dict[str, str]:
        """The numbers of the projects that credentials were written for, by id."""
        return {project: number for number, project in self._by_number.items()}

    def named(self, project: str) -> str:
        """The id of the project that a path names by its id or by its number (v1 wire rules, section 1)."""
        return self._by_number.get(project, project)

    def admit(self, token: str, grant: Grant) -> None:
        """Takes a token that something else gave out: a metadata server, an operator."""
        self._grants[token] = grant

    def admit_key(self, server_key: str, project: str) -> None:
        """Takes a server key of this project from now on."""
        self._server_keys[server_key] = project

    @property
    def server_keys(self) -> dict[str, str]:
        """The server keys taken, and whose they are."""
        return dict(self._server_keys)

    def reset(self) -> None:
        """Normal lifetime and no refusal; tokens and accounts stay."""
        self.expires_in = LIFETIME
        self.refuse = ""

    def revoke_all(self) -> int:
        """Makes every access token invalid; returns how many there were."""
        count = len(self._grants)
        for grant in self._grants.values():
            grant.expires_at = 0.0
        return count

    def token_endpoint(self, request: Request, now: float) -> Reply:
        """Answers `POST /token` (v1 wire rules, section 1.1)."""
        form = parse_qs(request.body.decode("utf-8", "replace"))
        grant_type = form.get("grant_type", [""])[0]
        if grant_type != GRANT:
            return _refusal("unsupported_grant_type", f"Invalid grant_type: {grant_type}")
        if self.refuse:
            return _refusal(self.refuse, "The emulator was told to refuse.")
        try:
            project, scopes = self._believed(form.get("assertion", [""])[0], now)
        except InvalidGrantError as error:
            return _refusal("invalid_grant", str(error))
        if not scopes or not all(scope.startswith(SCOPE_PREFIX) for scope in scopes):
            return _refusal("invalid_scope", "Invalid OAuth scope or ID token audience provided.")
        token = f"ya29.c.emulator-{secrets.token_urlsafe(48)}"
        self._grants[token] = Grant(project, now + self.expires_in, not SENDING_SCOPES.isdisjoint(scopes))
        self.issued += 1
        return json_reply({"access_token": token, "expires_in": int(self.expires_in), "token_type": "Bearer"})

    def refusal_of(self, authorization: str | None, project: str, now: float) -> str:
        """Which refusal a request with this Authorization header meets; "": none, it may send for `project`."""
        if not authorization:
            return "CREDENTIALS_MISSING"
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            return "CREDENTIALS_MISSING"
        if self.believe_any:
            return ""
        grant = self._grants.get(token.strip())
        if grant is None or grant.expires_at <= now:
            return "ACCESS_TOKEN_EXPIRED"
        if not grant.sends:
            return "ACCESS_TOKEN_SCOPE_INSUFFICIENT"
        return "" if grant.project == self.named(project) else "IAM_PERMISSION_DENIED"

    def caller(self, request: Request, now: float) -> Caller:
        """Who asks: by `key=` and a server key, or by a Bearer token beside `access_token_auth: true`.

        Without that header a Bearer token is taken for a key, and is none (Instance ID rules, section 1). Where any
        token is believed, it stands for the project it was given out for, else for the first one with credentials.
        """
        authorization = request.header("authorization") or ""
        if authorization.startswith("key="):
            project = self._server_keys.get(authorization.removeprefix("key="))
        else:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer" or (request.header(ACCESS_TOKEN_AUTH) or "").lower() != "true":
                return Caller("", 401, "Unauthorized")
            grant = self._grants.get(token.strip())
            project = grant.project if grant is not None and grant.expires_at > now else None
            if grant is not None and project is not None and not grant.sends:
                return Caller("", 403, "insufficient_scope")
        if project is not None:
            return Caller(project)
        if self.believe_any:
            return Caller(next(iter(self._by_number.values()), ""))
        return Caller("", 401, "Unauthorized")

    def _believed(self, assertion: str, now: float) -> tuple[str, list[str]]:
        """The project of the account that signed this assertion, and the scopes it asks for."""
        parts = assertion.split(".")
        if len(parts) != 3:
            raise InvalidGrantError("Invalid JWT: must be three parts")
        try:
            header, claims = _json(parts[0]), _json(parts[1])
            signature = _decoded(parts[2])
        except ValueError:
            raise InvalidGrantError("Invalid JWT: not base64url JSON") from None
        if header.get("alg") != "RS256":
            raise InvalidGrantError("Invalid JWT: alg must be RS256")
        account = self._accounts.get(str(claims.get("iss")))
        if account is None:
            raise InvalidGrantError("Invalid grant: account not found")
        if header.get("kid", account.key_id) != account.key_id:
            raise InvalidGrantError("Invalid JWT Signature: unknown key id")
        try:
            account.public_key.verify(
                signature, f"{parts[0]}.{parts[1]}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            raise InvalidGrantError("Invalid JWT Signature.") from None
        _check_claims(claims, now)
        return account.project, str(claims.get("scope", "")).split()


def _check_claims(claims: dict[str, Any], now: float) -> None:
    issued, expires = claims.get("iat"), claims.get("exp")
    if not isinstance(issued, int | float) or not isinstance(expires, int | float):
        raise InvalidGrantError("Invalid JWT: iat and exp must be numbers")
    if issued > now + SKEW or expires < now - SKEW or expires - issued > LONGEST_ASSERTION:
        raise InvalidGrantError(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
            "Check your iat and exp values in the JWT claim."
        )
    # The audience's host may be a name this process does not know itself by (a container's, a proxy's).
    if not str(claims.get("aud", "")).endswith("/token"):
        raise InvalidGrantError("Invalid JWT: aud must be the token endpoint")


def _refusal(error: str, description: str) -> Reply:
    return json_reply({"error": error, "error_description": description}, 400)


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _json(part: str) -> dict[str, Any]:
    value = orjson.loads(_decoded(part))
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004 - one kind of failure for every unreadable part
    return value

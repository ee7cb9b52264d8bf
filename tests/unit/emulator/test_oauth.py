from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import orjson
import pytest
from google.auth import crypt, jwt

from dispatcher.emulator.credentials import file_of, write_credentials
from dispatcher.emulator.oauth import GRANT, Authority, Grant
from dispatcher.emulator.wire import Reply, Request

NOW = 1_731_000_000.0
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
def authority(folder: Path) -> Authority:
    believing = Authority()
    believing.trust(write_credentials(folder, "http://127.0.0.1:1", "demo"))
    return believing


@pytest.fixture
def sign(authority: Authority, folder: Path) -> Callable[..., str]:
    key = orjson.loads(file_of(folder, "demo").read_bytes())

    def signed(**changes: object) -> str:
        claims = {
            "iss": key["client_email"],
            "scope": SCOPE,
            "aud": key["token_uri"],
            "iat": NOW,
            "exp": NOW + 3600,
        }
        signer = crypt.RSASigner.from_string(key["private_key"], key["private_key_id"])
        return jwt.encode(signer, {**claims, **changes}).decode()

    return signed


def asked(authority: Authority, assertion: str, now: float = NOW, grant: str = GRANT) -> Reply:
    body = urlencode({"grant_type": grant, "assertion": assertion}).encode()
    return authority.token_endpoint(Request("POST", "/token", "", lambda _: None, body), now)


def test_a_signed_assertion_is_worth_an_access_token(authority: Authority, sign: Callable[..., str]) -> None:
    reply = asked(authority, sign())
    answer = orjson.loads(reply.body)
    assert reply.status == 200
    assert (answer["expires_in"], answer["token_type"]) == (3599, "Bearer")
    assert authority.refusal_of(f"Bearer {answer['access_token']}", "demo", NOW) == ""
    assert authority.refusal_of(f"bearer {answer['access_token']}", "other", NOW) == "IAM_PERMISSION_DENIED"
    assert (
        authority.refusal_of(f"Bearer {answer['access_token']}", "demo", NOW + 3600) == "ACCESS_TOKEN_EXPIRED"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "somebody@else"},
        {"aud": "https://elsewhere/"},
        {"iat": NOW + 1000, "exp": NOW + 2000},
        {"iat": NOW - 4000, "exp": NOW - 1000},
        {"exp": NOW + 7200},
        {"exp": "soon"},
    ],
)
def test_an_assertion_that_claims_wrongly_is_an_invalid_grant(
    authority: Authority, sign: Callable[..., str], changes: dict[str, object]
) -> None:
    reply = asked(authority, sign(**changes))
    assert reply.status == 400
    assert orjson.loads(reply.body)["error"] == "invalid_grant"


@pytest.mark.parametrize("scope", ["", "made-up", f"{SCOPE} made-up"])
def test_what_is_no_scope_is_refused(authority: Authority, sign: Callable[..., str], scope: str) -> None:
    reply = asked(authority, sign(scope=scope))
    assert (reply.status, orjson.loads(reply.body)["error"]) == (400, "invalid_scope")


@pytest.mark.parametrize(
    ("scope", "refusal"),
    [
        (SCOPE, ""),
        ("https://www.googleapis.com/auth/cloud-platform", ""),
        (f"https://www.googleapis.com/auth/drive {SCOPE}", ""),
        ("https://www.googleapis.com/auth/drive", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
    ],
)
def test_only_a_token_for_sending_sends(
    authority: Authority, sign: Callable[..., str], scope: str, refusal: str
) -> None:
    token = orjson.loads(asked(authority, sign(scope=scope)).body)["access_token"]
    assert authority.refusal_of(f"Bearer {token}", "demo", NOW) == refusal
    assert authority.refusal_of(f"Bearer {token}", "demo", NOW + 3600) == "ACCESS_TOKEN_EXPIRED"


def test_a_project_may_be_named_by_its_number(authority: Authority, sign: Callable[..., str]) -> None:
    token = orjson.loads(asked(authority, sign()).body)["access_token"]
    number = authority.numbers["demo"]
    assert number.isdigit()
    assert authority.named(number) == authority.named("demo") == "demo"
    assert authority.refusal_of(f"Bearer {token}", number, NOW) == ""
    assert authority.refusal_of(f"Bearer {token}", str(int(number) + 1), NOW) == "IAM_PERMISSION_DENIED"


def test_a_token_from_elsewhere_may_be_admitted(authority: Authority) -> None:
    authority.admit("t", Grant("demo", NOW + 1))
    assert authority.refusal_of("Bearer t", "demo", NOW) == ""
    assert authority.refusal_of("Bearer t", "demo", NOW + 1) == "ACCESS_TOKEN_EXPIRED"


@pytest.mark.parametrize("assertion", ["", "a.b", "a.b.c", "e30.e30.e30", "W10.e30.e30", "é.e30.e30"])
def test_rubbish_is_an_invalid_grant(authority: Authority, assertion: str) -> None:
    assert orjson.loads(asked(authority, assertion).body)["error"] == "invalid_grant"


def test_a_changed_assertion_does_not_verify(authority: Authority, sign: Callable[..., str]) -> None:
    head, _, signature = sign().split(".")
    other_claims = sign(scope=SCOPE + " more").split(".")[1]
    assert (
        orjson.loads(asked(authority, f"{head}.{other_claims}.{signature}").body)["error"] == "invalid_grant"
    )


def test_another_grant_type_is_not_supported(authority: Authority, sign: Callable[..., str]) -> None:
    reply = asked(authority, sign(), grant="password")
    assert orjson.loads(reply.body)["error"] == "unsupported_grant_type"


def test_it_can_be_told_to_refuse_and_to_revoke(authority: Authority, sign: Callable[..., str]) -> None:
    token = orjson.loads(asked(authority, sign()).body)["access_token"]
    assert authority.revoke_all() == 1
    assert authority.refusal_of(f"Bearer {token}", "demo", NOW) == "ACCESS_TOKEN_EXPIRED"
    authority.refuse = "invalid_client"
    assert orjson.loads(asked(authority, sign()).body)["error"] == "invalid_client"
    authority.reset()
    assert asked(authority, sign()).status == 200


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc"])
def test_no_token_at_all_is_missing_credentials(authority: Authority, header: str | None) -> None:
    assert authority.refusal_of(header, "demo", NOW) == "CREDENTIALS_MISSING"


def test_any_bearer_will_do_when_asked_to_believe_any() -> None:
    assert Authority(believe_any=True).refusal_of("Bearer made-up", "demo", NOW) == ""

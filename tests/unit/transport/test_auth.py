"""Credentials: which files are keys, one refresh at a time, what an error may say."""

import asyncio
import datetime as dt
import json
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth.exceptions import RefreshError, TransportError

from dispatcher.errors import CredentialsError
from dispatcher.transport.auth import GoogleCredential, StaticToken, load_credentials

PEM = (
    rsa.generate_private_key(public_exponent=65537, key_size=2048)
    .private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    .decode()
)


def write_key(file: Path, project: str, **changes: object) -> Path:
    key = {
        "type": "service_account",
        "project_id": project,
        "private_key_id": "k",
        "private_key": PEM,
        "client_email": f"worker@{project}.iam.gserviceaccount.com",
        "token_uri": "http://127.0.0.1:1/token",
    }
    file.write_text(json.dumps({k: v for k, v in (key | changes).items() if v is not None}))
    return file


class Scripted:
    """Credentials whose refresh does what the script says next, and says when it is being asked."""

    def __init__(self, *script: object) -> None:
        self.script = list(script)
        self.token: str | None = None
        self.expiry: dt.datetime | None = None
        self.go = threading.Event()
        self.go.set()

    def refresh(self, request: object) -> None:
        self.go.wait(10)
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        self.token, lifetime = step
        self.expiry = (
            None
            if lifetime is None
            else dt.datetime.now(dt.UTC).replace(tzinfo=None) + dt.timedelta(seconds=lifetime)
        )


async def test_a_token_is_fetched_once_and_kept() -> None:
    credential = GoogleCredential(Scripted(("one", 3600)), "key.json")
    assert not credential.ready
    assert credential.current == ""
    assert credential.refresh_in_s == 0
    assert [await credential.token() for _ in range(3)] == ["one"] * 3
    assert credential.ready
    assert (credential.refreshes, credential.failures) == (1, 0)
    assert 3500 < credential.expires_in_s <= 3600
    assert 3600 - 361 < credential.refresh_in_s <= 3600 - 300


async def test_a_token_without_expiry_is_taken_for_an_hour() -> None:
    credential = GoogleCredential(Scripted(("one", None)), "key.json")
    await credential.token()
    assert 3500 < credential.expires_in_s <= 3600


async def test_a_short_lived_token_is_renewed_at_half_its_life() -> None:
    credential = GoogleCredential(Scripted(("one", 100)), "key.json")
    await credential.token()
    assert 38 < credential.refresh_in_s <= 50


async def test_an_expired_token_is_replaced() -> None:
    credential = GoogleCredential(Scripted(("one", -1), ("two", 3600)), "key.json")
    assert await credential.renew("") == "one"
    assert not credential.ready
    assert credential.expires_in_s == 0
    assert await credential.token() == "two"


async def test_a_storm_of_refusals_causes_one_refresh() -> None:
    source = Scripted(("one", 3600), ("two", 3600))
    credential = GoogleCredential(source, "key.json")
    await credential.token()
    source.go.clear()
    storm = [asyncio.create_task(credential.renew("one")) for _ in range(100)]
    await asyncio.sleep(0)
    source.go.set()
    assert set(await asyncio.gather(*storm)) == {"two"}
    assert await credential.renew("one") == "two"
    assert credential.refreshes == 2


async def test_a_storm_causes_one_refresh_even_if_the_token_stays_the_same() -> None:
    # A metadata server gives the same token out until shortly before it expires.
    source = Scripted(("one", 3600), ("one", 3600))
    credential = GoogleCredential(source, "key.json")
    await credential.token()
    source.go.clear()
    storm = [asyncio.create_task(credential.renew("one")) for _ in range(100)]
    await asyncio.sleep(0)
    source.go.set()
    assert set(await asyncio.gather(*storm)) == {"one"}
    assert credential.refreshes == 2


async def test_a_storm_shares_one_failure() -> None:
    source = Scripted(TransportError("down"), ("two", 3600))
    credential = GoogleCredential(source, "key.json")
    source.go.clear()
    storm = [asyncio.create_task(credential.token()) for _ in range(100)]
    await asyncio.sleep(0)
    source.go.set()
    failures = await asyncio.gather(*storm, return_exceptions=True)
    assert {type(failure) for failure in failures} == {CredentialsError}
    assert (credential.refreshes, credential.failures) == (1, 1)
    assert await credential.token() == "two"


async def test_who_stops_waiting_leaves_the_refresh_to_the_others() -> None:
    source = Scripted(("one", 3600))
    credential = GoogleCredential(source, "key.json")
    source.go.clear()
    impatient = asyncio.create_task(credential.token())
    patient = asyncio.create_task(credential.token())
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait([impatient])
    source.go.set()
    assert impatient.cancelled()
    assert await patient == "one"
    assert credential.refreshes == 1


async def test_the_old_token_serves_while_the_next_is_fetched() -> None:
    source = Scripted(("one", 3600), ("two", 3600))
    credential = GoogleCredential(source, "key.json")
    await credential.token()
    source.go.clear()
    renewal = asyncio.create_task(credential.renew("one"))
    await asyncio.sleep(0)
    assert await credential.token() == "one"
    source.go.set()
    assert await renewal == "two"


SECRET = "-----BEGIN PRIVATE KEY----- MIIEv"


@pytest.mark.parametrize(
    ("error", "permanent", "says"),
    [
        (
            RefreshError(
                "x" + SECRET, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
            ),
            True,
            "invalid_grant: Invalid JWT Signature.",
        ),
        (RefreshError("x", {"error": "server_error"}, retryable=True), False, "server_error"),
        (RefreshError(f"<html>You sent assertion={SECRET}</html>"), False, "no answer"),
        (RefreshError(SECRET, {"hint": SECRET}), False, "no answer"),
        (TransportError(SECRET), False, "TransportError"),
        (ValueError(SECRET), False, "ValueError"),
        (UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, SECRET), False, "UnicodeDecodeError"),
    ],
)
async def test_a_failure_names_the_key_file_and_never_quotes_what_was_sent(
    error: Exception, permanent: bool, says: str
) -> None:
    credential = GoogleCredential(Scripted(error), "keys/a.json")
    with pytest.raises(CredentialsError) as caught:
        await credential.token()
    assert caught.value.permanent is permanent
    assert says in str(caught.value)
    assert str(caught.value).startswith("keys/a.json: ")
    assert SECRET[5:20] not in str(caught.value)
    assert caught.value.__suppress_context__
    assert "\n" not in str(caught.value)
    assert credential.failures == 1


async def test_a_static_token_never_changes() -> None:
    token = StaticToken("t")
    assert token.ready
    assert await token.token() == await token.renew("t") == "t"
    assert token.refresh_in_s == float("inf")


def test_none_serves_the_projects_named(tmp_path: Path) -> None:
    assert list(load_credentials("none", ["a", "b"])) == ["a", "b"]
    with pytest.raises(CredentialsError, match="CREDENTIALS=none needs PROJECTS"):
        load_credentials("none")


def test_a_file_serves_its_project(tmp_path: Path) -> None:
    file = write_key(tmp_path / "key.json", "one")
    assert list(load_credentials(str(file))) == ["one"]


def test_a_folder_serves_the_project_of_each_key(tmp_path: Path) -> None:
    for project in ("one", "two", "three"):
        write_key(tmp_path / f"{project}.json", project)
    (tmp_path / "README.txt").write_text("not a key")
    assert set(load_credentials(str(tmp_path))) == {"one", "two", "three"}
    assert list(load_credentials(str(tmp_path), ["two"])) == ["two"]


def test_a_kubernetes_mount_is_read_once_through_its_links(tmp_path: Path) -> None:
    version = tmp_path / "..2026_01_02_03_04_05.000000001"
    version.mkdir()
    write_key(version / "one.json", "one")
    (tmp_path / "..data").symlink_to(version.name)
    (tmp_path / "one.json").symlink_to("..data/one.json")
    (tmp_path / "..one.json").symlink_to("..data/one.json")
    (tmp_path / "._one.json").write_text("an archive's leftover")
    assert list(load_credentials(str(tmp_path))) == ["one"]


def test_two_keys_for_one_project_are_refused(tmp_path: Path) -> None:
    write_key(tmp_path / "a.json", "one")
    write_key(tmp_path / "b.json", "one")
    with pytest.raises(CredentialsError, match=r"b\.json: a second key for project one"):
        load_credentials(str(tmp_path))


def test_a_folder_without_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r"no \*\.json file"):
        load_credentials(str(tmp_path))


def test_a_project_without_a_key_is_named(tmp_path: Path) -> None:
    write_key(tmp_path / "a.json", "one")
    with pytest.raises(CredentialsError, match="PROJECTS names other, but"):
        load_credentials(str(tmp_path), ["one", "other"])


def test_a_path_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="neither a file nor a folder"):
        load_credentials(str(tmp_path / "missing"))


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(CredentialsError, match=r"a\.json: cannot be read \(Is a directory\)"):
        load_credentials(str(tmp_path))


@pytest.mark.parametrize(
    "changes",
    [
        {"project_id": None},
        {"project_id": ""},
        {"project_id": 7},
        {"private_key": None},
        {"private_key": SECRET},
        {"private_key": 7},
        {"client_email": None},
        {"token_uri": None},
    ],
    ids=str,
)
def test_what_is_no_key_is_refused_without_quoting_it(tmp_path: Path, changes: dict[str, object]) -> None:
    file = write_key(tmp_path / "a.json", "one", **changes)
    with pytest.raises(CredentialsError, match=r"a\.json: not a service-account key") as caught:
        load_credentials(str(file))
    assert "PRIVATE" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(content)
    with pytest.raises(CredentialsError, match="not a service-account key"):
        load_credentials(str(file))


def test_default_credentials_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(write_key(tmp_path / "a.json", "one")))
    assert list(load_credentials("adc")) == ["one"]
    named = load_credentials("adc", ["x", "y"])
    assert list(named) == ["x", "y"]
    assert named["x"] is named["y"]


def test_default_credentials_that_are_not_there_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(CredentialsError, match=r"CREDENTIALS=adc: File .*missing\.json") as caught:
        load_credentials("adc")
    assert "\n" not in str(caught.value)

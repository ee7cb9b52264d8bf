"""Credentials: which files are keys, and what becomes of the projects when they change."""

import json
import os
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from dispatcher.errors import CredentialsError
from dispatcher.transport.keyring import Keyring

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


SECRET = "-----BEGIN PRIVATE KEY----- MIIEv"


def loaded(source: str, projects: list[str] | None = None, **more: object) -> dict[str, object]:
    keyring = Keyring(source, projects or [], **more)
    keyring.load()
    return keyring.credentials


def test_none_serves_the_projects_named(tmp_path: Path) -> None:
    assert list(loaded("none", ["a", "b"])) == ["a", "b"]
    with pytest.raises(CredentialsError, match=r"^DISPATCHER_CREDENTIALS=none needs DISPATCHER_PROJECTS"):
        loaded("none")


def test_a_file_serves_its_project(tmp_path: Path) -> None:
    file = write_key(tmp_path / "key.json", "one")
    assert list(loaded(str(file))) == ["one"]


def test_a_folder_serves_the_project_of_each_key(tmp_path: Path) -> None:
    for project in ("one", "two", "three"):
        write_key(tmp_path / f"{project}.json", project)
    (tmp_path / "README.txt").write_text("not a key")
    assert set(loaded(str(tmp_path))) == {"one", "two", "three"}
    assert list(loaded(str(tmp_path), ["two"])) == ["two"]


def test_a_kubernetes_mount_is_read_once_through_its_links(tmp_path: Path) -> None:
    version = tmp_path / "..2026_01_02_03_04_05.000000001"
    version.mkdir()
    write_key(version / "one.json", "one")
    (tmp_path / "..data").symlink_to(version.name)
    (tmp_path / "one.json").symlink_to("..data/one.json")
    (tmp_path / "..one.json").symlink_to("..data/one.json")
    (tmp_path / "._one.json").write_text("an archive's leftover")
    assert list(loaded(str(tmp_path))) == ["one"]


def test_a_folder_without_keys_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r"no \*\.json file"):
        loaded(str(tmp_path))


def test_a_project_without_a_key_is_named(tmp_path: Path) -> None:
    write_key(tmp_path / "a.json", "one")
    with pytest.raises(CredentialsError, match=r"^DISPATCHER_PROJECTS names other, but"):
        loaded(str(tmp_path), ["one", "other"])


def test_a_path_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="neither a file nor a folder"):
        loaded(str(tmp_path / "missing"))


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(CredentialsError, match=r"a\.json: cannot be read \(Is a directory\)"):
        loaded(str(tmp_path))


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
        loaded(str(file))
    assert "PRIVATE" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(content)
    with pytest.raises(CredentialsError, match="not a service-account key"):
        loaded(str(file))


def test_default_credentials_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(write_key(tmp_path / "a.json", "one")))
    assert list(loaded("adc")) == ["one"]
    named = loaded("adc", ["x", "y"])
    assert list(named) == ["x", "y"]
    assert named["x"] is named["y"]


def test_default_credentials_that_are_not_there_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(
        CredentialsError, match=r"^DISPATCHER_CREDENTIALS=adc: File .*missing\.json"
    ) as caught:
        loaded("adc")
    assert "\n" not in str(caught.value)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keys = tmp_path / "keys"
    keys.mkdir()
    for project in ("one", "two"):
        write_key(keys / f"{project}.json", project)
    return keys


@pytest.fixture
def keyring(folder: Path) -> Keyring:
    keyring = Keyring(str(folder))
    assert keyring.load() == []
    return keyring


async def test_nothing_new_changes_nothing(keyring: Keyring) -> None:
    before = dict(keyring.credentials)
    changes = await keyring.rescan()
    assert (changes.added, changes.changed, changes.removed, changes.problems) == ([], [], [], [])
    assert keyring.credentials == before


async def test_a_new_key_brings_its_project(keyring: Keyring, folder: Path) -> None:
    write_key(folder / "three.json", "three")
    assert (await keyring.rescan()).added == ["three"]
    assert set(keyring.credentials) == {"one", "two", "three"}


async def test_a_key_that_is_gone_takes_its_project_along(keyring: Keyring, folder: Path) -> None:
    (folder / "one.json").unlink()
    changes = await keyring.rescan()
    assert (changes.added, changes.removed) == ([], ["one"])
    assert set(keyring.credentials) == {"two"}
    write_key(folder / "one.json", "one")
    assert (await keyring.rescan()).added == ["one"]


async def test_a_changed_key_is_used_in_the_same_credential(keyring: Keyring, folder: Path) -> None:
    credential = keyring.credentials["one"]
    key = credential._credentials
    write_key(folder / "one.json", "one", private_key_id="next")
    changes = await keyring.rescan()
    assert (changes.changed, changes.removed) == (["one"], [])
    assert keyring.credentials["one"] is credential
    assert credential._credentials is not key


async def test_a_file_touched_without_change_is_no_change(keyring: Keyring, folder: Path) -> None:
    content = (folder / "one.json").read_bytes()
    (folder / "one.json").write_bytes(content)
    os.utime(folder / "one.json", (1, 1))
    assert (await keyring.rescan()).changed == []


@pytest.mark.parametrize("content", ["", "{", '{"project_id": "one"}'])
async def test_a_key_that_breaks_goes_on_as_it_was(keyring: Keyring, folder: Path, content: str) -> None:
    good = (folder / "one.json").read_text()
    (folder / "one.json").write_text(content)
    changes = await keyring.rescan()
    assert (changes.changed, changes.removed) == ([], [])
    assert len(changes.problems) == 1
    assert "one.json: not a service-account key" in changes.problems[0]
    assert set(keyring.credentials) == {"one", "two"}
    (folder / "one.json").write_text(good)
    assert (await keyring.rescan()).problems == []


async def test_a_kubernetes_update_swaps_all_links_at_once(tmp_path: Path) -> None:
    def version(number: int, **ids: str) -> None:
        """What kubelet does: a new folder, then `..data` renamed over, then links of what is new or gone."""
        new = tmp_path / f"..2026_{number}"
        new.mkdir()
        for project, key_id in ids.items():
            write_key(new / f"{project}.json", project, private_key_id=key_id)
        (tmp_path / "..data_tmp").symlink_to(new.name)
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        for project in ids:
            link = tmp_path / f"{project}.json"
            if not link.is_symlink():
                link.symlink_to(f"..data/{project}.json")

    version(1, one="a", two="a")
    keyring = Keyring(str(tmp_path))
    assert keyring.load() == []
    version(2, one="b", three="a")
    # The link of what is gone dangles for a moment.
    changes = await keyring.rescan()
    assert (changes.added, changes.changed, changes.removed) == (["three"], ["one"], [])
    assert "two.json: cannot be read" in changes.problems[0]
    (tmp_path / "two.json").unlink()
    changes = await keyring.rescan()
    assert (changes.removed, changes.problems) == (["two"], [])


async def test_a_second_key_waits_until_the_first_is_taken_away(keyring: Keyring, folder: Path) -> None:
    write_key(folder / "a-next.json", "one", private_key_id="next")
    changes = await keyring.rescan()
    assert changes.changed == []
    assert "a-next.json: a second key for project one; one.json is used" in changes.problems[0]
    (folder / "one.json").unlink()
    changes = await keyring.rescan()
    assert (changes.changed, changes.removed, changes.problems) == (["one"], [], [])


async def test_a_file_that_becomes_another_projects_is_one_gone_and_one_new(
    keyring: Keyring, folder: Path
) -> None:
    write_key(folder / "one.json", "three")
    changes = await keyring.rescan()
    assert (changes.added, changes.removed) == (["three"], ["one"])


async def test_a_folder_that_cannot_be_read_takes_nothing_away(keyring: Keyring, folder: Path) -> None:
    shutil.move(folder, folder.parent / "elsewhere")
    changes = await keyring.rescan()
    assert changes.removed == []
    assert changes.problems
    assert set(keyring.credentials) == {"one", "two"}


def test_one_broken_key_does_not_keep_the_others_from_starting(folder: Path) -> None:
    (folder / "broken.json").write_text("{")
    keyring = Keyring(str(folder))
    assert "broken.json: not a service-account key" in keyring.load()[0]
    assert set(keyring.credentials) == {"one", "two"}


async def test_of_a_folder_only_the_projects_named_are_served(folder: Path) -> None:
    keyring = Keyring(str(folder), ["two"])
    keyring.load()
    write_key(folder / "three.json", "three")
    assert (await keyring.rescan()).added == []
    (folder / "two.json").unlink()
    changes = await keyring.rescan()
    assert changes.removed == ["two"]
    assert "PROJECTS names two" in changes.problems[0]


async def test_a_single_file_is_read_again_and_its_loss_changes_nothing(tmp_path: Path) -> None:
    file = write_key(tmp_path / "key.json", "one")
    keyring = Keyring(str(file))
    keyring.load()
    write_key(file, "one", private_key_id="next")
    assert (await keyring.rescan()).changed == ["one"]
    file.unlink()
    changes = await keyring.rescan()
    assert (changes.removed, len(changes.problems)) == ([], 1)


async def test_a_token_file_serves_the_projects_named(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("secret-1\n")
    keyring = Keyring(f"token-file:{file}", ["a", "b"])
    keyring.load()
    assert await keyring.credentials["a"].token() == "secret-1"
    file.write_text("secret-2")
    assert (await keyring.rescan()).changed == ["a", "b"]
    assert await keyring.credentials["b"].token() == "secret-2"
    file.write_text("not one word")
    changes = await keyring.rescan()
    assert changes.removed == []
    assert "must hold one token or key" in changes.problems[0]
    assert await keyring.credentials["b"].token() == "secret-2"
    with pytest.raises(CredentialsError, match="needs DISPATCHER_PROJECTS"):
        Keyring(f"token-file:{file}").load()


async def test_a_project_may_have_a_credential_of_its_own(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    own = {"two": f"token-file:{tmp_path / 'token'}", "four": "none"}
    keyring = Keyring(str(folder), own=own)
    assert keyring.load() == []
    assert set(keyring.credentials) == {"one", "two", "four"}
    assert await keyring.credentials["two"].token() == "t"
    assert await keyring.credentials["four"].token() == ""
    (folder / "two.json").unlink()
    assert (await keyring.rescan()).removed == []


def test_credentials_of_their_own_are_enough(tmp_path: Path) -> None:
    own = {"one": str(write_key(tmp_path / "a.json", "one"))}
    assert set(loaded("", own=own)) == {"one"}


@pytest.mark.parametrize(
    ("source", "says"), [("missing.json", "neither a file"), ("other.json", "is the key of project other")]
)
def test_a_credential_of_its_own_that_will_not_do_stops_the_start(
    folder: Path, tmp_path: Path, source: str, says: str
) -> None:
    write_key(tmp_path / "other.json", "other")
    with pytest.raises(CredentialsError, match=rf'projects."one".*{says}'):
        loaded(str(folder), own={"one": str(tmp_path / source)})


async def test_legacy_keys_are_kept_by_project_and_read_again(folder: Path, tmp_path: Path) -> None:
    key = tmp_path / "server-key"
    key.write_text("AAAA0000001:secret\n")
    keyring = Keyring(str(folder), legacy_key=lambda project: key if project == "one" else None)
    keyring.load()
    assert set(keyring.legacy) == {"one"}
    assert keyring.legacy["one"].value == "AAAA0000001:secret"
    assert "secret" not in repr(keyring.legacy)
    key.write_text("AAAA0000001:next")
    assert (await keyring.rescan()).changed == ["one"]
    assert keyring.legacy["one"].value == "AAAA0000001:next"
    key.unlink()
    with pytest.raises(CredentialsError, match=r"^DISPATCHER_LEGACY_KEY_FILE of one: .*cannot be read"):
        loaded(str(folder), legacy_key=lambda _: key)


async def test_the_file_behind_default_credentials_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_key(tmp_path / "a.json", "one")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    keyring = Keyring("adc", ["x", "y"])
    keyring.load()
    credential = keyring.credentials["x"]
    write_key(file, "one", private_key_id="next")
    assert (await keyring.rescan()).changed == ["x", "y"]
    assert keyring.credentials["x"] is credential
    file.unlink()
    assert (await keyring.rescan()).changed == []

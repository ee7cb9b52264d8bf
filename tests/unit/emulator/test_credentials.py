import json
from pathlib import Path

import pytest
from google.oauth2 import service_account

from dispatcher.emulator.credentials import file_of, write_credentials


def test_the_real_client_library_reads_the_file(tmp_path: Path) -> None:
    account = write_credentials(tmp_path / "new" / "folder", "http://127.0.0.1:99", "demo-orchard-41")
    credentials = service_account.Credentials.from_service_account_file(
        str(file_of(tmp_path / "new" / "folder", "demo-orchard-41"))
    )
    assert credentials.service_account_email == account.email
    assert credentials.project_id == "demo-orchard-41"


def test_a_second_run_keeps_the_key_and_moves_the_address(tmp_path: Path) -> None:
    first = write_credentials(tmp_path, "http://127.0.0.1:1", "demo")
    second = write_credentials(tmp_path, "http://127.0.0.1:2", "demo")
    assert second.key_id == first.key_id
    assert json.loads(file_of(tmp_path, "demo").read_text())["token_uri"] == "http://127.0.0.1:2/token"


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"private_key": 5}', '{"private_key": "no key"}'])
def test_a_file_that_holds_no_key_is_written_anew(tmp_path: Path, content: str) -> None:
    file_of(tmp_path, "demo").write_text(content)
    write_credentials(tmp_path, "http://127.0.0.1:1", "demo")
    assert "BEGIN PRIVATE KEY" in file_of(tmp_path, "demo").read_text()


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    write_credentials(tmp_path, "http://127.0.0.1:1", "demo")
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == ["demo.json", "demo.server-key"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)


def test_the_server_key_of_a_project_is_written_too_and_is_always_the_same(tmp_path: Path) -> None:
    account = write_credentials(tmp_path, "http://127.0.0.1:1", "demo")
    assert (tmp_path / "demo.server-key").read_text() == account.server_key + "\n"
    assert account.server_key == write_credentials(tmp_path, "http://127.0.0.1:2", "demo").server_key
    assert account.server_key != write_credentials(tmp_path, "http://127.0.0.1:1", "other").server_key

"""`dispatcher emulator` serves what the other commands talk to."""

import json
import signal
import subprocess
import sys

import pytest


@pytest.fixture
def emulator(tmp_path):
    command = [sys.executable, "-m", "dispatcher", "emulator", "--port", "0"]
    command += ["--write-credentials", str(tmp_path / "keys"), "--projects", "demo-orchard-41,demo-b"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def test_its_first_line_tells_machines_where_it_is(emulator):
    assert emulator["url"].startswith("http://127.0.0.1:")
    assert set(emulator["credentials"]) == {"demo-orchard-41", "demo-b"}


def test_check_fetches_real_tokens_with_the_credentials_it_wrote(emulator, shell, monkeypatch, tmp_path):
    monkeypatch.setenv("DISPATCHER_CREDENTIALS", str(tmp_path / "keys"))
    monkeypatch.delenv("DISPATCHER_PROJECTS")
    monkeypatch.setenv("DISPATCHER_FCM_ENDPOINT", emulator["url"])
    shell("check", "--json")
    findings = [f for f in json.loads(shell.out)["findings"] if f["part"] == "credentials"]
    assert all(f["ok"] for f in findings)
    assert [f["text"].partition(":")[0] for f in findings] == ["demo-b", "demo-orchard-41"]
    assert "access token fetched, good for" in findings[0]["text"]


@pytest.mark.parametrize("transport", ["batch", "v1"])
def test_check_sends_a_message_that_nobody_gets(emulator, shell, monkeypatch, tmp_path, transport):
    monkeypatch.setenv("DISPATCHER_CREDENTIALS", str(tmp_path / "keys"))
    monkeypatch.setenv("DISPATCHER_FCM_ENDPOINT", emulator["url"])
    monkeypatch.setenv("DISPATCHER_TRANSPORT", transport)
    shell("check")
    (line,) = (line for line in shell.out.splitlines() if "endpoint: demo-orchard-41" in line)
    assert line.startswith("ok   endpoint: ")
    assert line.endswith(f"{emulator['url']} took a validate_only message over {transport}")


def test_check_names_the_mend_of_an_endpoint_that_refuses(emulator, shell, monkeypatch, tmp_path):
    monkeypatch.setenv("DISPATCHER_CREDENTIALS", str(tmp_path / "keys"))
    monkeypatch.setenv("DISPATCHER_FCM_ENDPOINT", f"{emulator['url']}/elsewhere")
    assert shell("check") == 1
    assert "this is no FCM endpoint: see DISPATCHER_FCM_ENDPOINT and DISPATCHER_TRANSPORT" in shell.out


def test_a_key_that_the_endpoint_refuses_fails_with_its_mend(emulator, shell, monkeypatch, tmp_path):
    monkeypatch.setenv("DISPATCHER_CREDENTIALS", str(tmp_path / "other"))
    # A key for the same account that the emulator has never seen.
    (tmp_path / "other").mkdir()
    key = json.loads((tmp_path / "keys" / "demo-b.json").read_text())
    mine = json.loads((tmp_path / "keys" / "demo-orchard-41.json").read_text())
    (tmp_path / "other" / "x.json").write_text(json.dumps({**mine, "private_key": key["private_key"]}))
    assert shell("check") == 1
    assert "FAIL credentials: demo-orchard-41: " in shell.out
    assert "the token endpoint refused it" in shell.out


def test_a_port_that_is_taken_is_wrong_use(emulator, shell):
    assert shell("emulator", "--port", emulator["url"].rpartition(":")[2]) == 2
    assert "is in use" in shell.err

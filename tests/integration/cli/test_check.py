"""`dispatcher check` finds what would stop a worker, and names the mend."""

import json
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from dispatcher.cli.finding import Finding, as_lines
from dispatcher.emulator.credentials import write_credentials


@pytest.fixture(autouse=True)
def _safe(shell):
    shell.redis.config_set("maxmemory-policy", "noeviction")
    shell.redis.config_set("appendonly", "yes")
    shell.redis.config_set("maxmemory", "1gb")
    yield
    shell.redis.config_set("maxmemory", "0")
    shell.redis.config_set("appendonly", "no")
    shell.redis.config_set("maxmemory-policy", "noeviction")


def test_all_well_without_a_send(shell):
    assert shell("check", "--no-send") == 0
    redis_line, clock_line, credentials_line = shell.out.splitlines()
    assert redis_line.startswith("ok   redis: version ")
    assert clock_line.startswith("ok   clock: Redis's and this machine's are ")
    assert credentials_line == "ok   credentials: demo-orchard-41: none needed (DISPATCHER_CREDENTIALS=none)"


@pytest.fixture
def endpoint(monkeypatch):
    """A server whose clock is off by `ahead` seconds."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response_only(404)
            if server.ahead is not None:
                self.send_header("Date", formatdate(time.time() + server.ahead, usegmt=True))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        server.ahead = 0
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        server.url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("DISPATCHER_FCM_ENDPOINT", server.url)
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("ahead", "side"), [(3600, "behind"), (-3600, "ahead of")])
def test_a_clock_that_the_endpoint_does_not_share_is_told(shell, endpoint, ahead, side):
    endpoint.ahead = ahead
    assert shell("check") == 1
    (line,) = (line for line in shell.out.splitlines() if line.startswith("FAIL clock: "))
    assert f" s {side} {endpoint.url}'s: let NTP set it, or signed keys are refused" in line
    assert abs(int(line.split(" s ")[0].rpartition(" ")[2]) - 3600) < 60


def test_a_clock_that_the_endpoint_shares(shell, endpoint):
    shell("check")
    assert f"ok   clock: {endpoint.url}'s and this machine's agree within 5 s" in shell.out.splitlines()


def test_an_endpoint_that_tells_no_time_is_no_finding(shell, endpoint):
    endpoint.ahead = None
    shell("check")
    assert endpoint.url in shell.out
    assert f"clock: {endpoint.url}" not in shell.out


def test_of_many_good_findings_the_number_is_told_and_every_bad_one():
    good = [Finding("credentials", f"p{n}: fetched") for n in range(30)]
    lines = as_lines([Finding("redis", "version 7"), *good, Finding("credentials", "q: refused", ok=False)])
    assert lines == [
        "ok   redis: version 7",
        "ok   credentials: 30 times well; --json lists them",
        "FAIL credentials: q: refused",
    ]


def test_an_endpoint_that_is_away(shell, monkeypatch):
    monkeypatch.setenv("DISPATCHER_FCM_ENDPOINT", "http://127.0.0.1:1")
    assert shell("check") == 1
    (line,) = (line for line in shell.out.splitlines() if line.startswith("FAIL"))
    assert line.startswith("FAIL endpoint: demo-orchard-41: http://127.0.0.1:1: no answer (")
    assert line.endswith("check DISPATCHER_FCM_ENDPOINT, DISPATCHER_PROXY, DNS and the firewall")


def test_a_server_that_evicts_is_not_fit(shell):
    shell.redis.config_set("maxmemory-policy", "allkeys-lru")
    assert shell("check", "--no-send", "--json") == 1
    report = json.loads(shell.out)
    assert report["ok"] is False
    assert any("noeviction" in f["text"] for f in report["findings"] if not f["ok"])


def test_a_server_that_drops_only_what_runs_out_is_a_warning(shell):
    shell.redis.config_set("maxmemory-policy", "volatile-lru")
    assert shell("check", "--no-send") == 0
    (line,) = (line for line in shell.out.splitlines() if line.startswith("warn"))
    assert line.startswith("warn redis: maxmemory-policy is volatile-lru: ")
    assert line.endswith("set it to noeviction")


def test_a_server_that_is_away(shell, monkeypatch):
    monkeypatch.setenv("DISPATCHER_REDIS_URL", "redis://127.0.0.1:1")
    assert shell("check", "--no-send") == 1
    assert shell.out.startswith("FAIL redis: ")


def test_a_folder_without_keys(shell, monkeypatch, tmp_path):
    monkeypatch.setenv("DISPATCHER_CREDENTIALS", str(tmp_path))
    assert shell("check") == 1
    assert "FAIL credentials: DISPATCHER_CREDENTIALS: no *.json file" in shell.out


def test_a_key_whose_token_endpoint_is_away(shell, monkeypatch, tmp_path):
    write_credentials(tmp_path, "http://127.0.0.1:1", "demo-orchard-41")
    monkeypatch.setenv("DISPATCHER_CREDENTIALS", str(tmp_path))
    assert shell("check") == 1
    (line,) = (line for line in shell.out.splitlines() if line.startswith("FAIL"))
    assert "demo-orchard-41: " in line
    assert "check the network" in line
    assert "PRIVATE KEY" not in shell.out


def test_one_broken_key_among_good_ones_is_named(shell, monkeypatch, tmp_path):
    write_credentials(tmp_path, "http://127.0.0.1:1", "demo-orchard-41")
    (tmp_path / "broken.json").write_text('{"private_key": "-----BEGIN PRIVATE KEY-----')
    monkeypatch.setenv("DISPATCHER_CREDENTIALS", str(tmp_path))
    assert shell("check") == 1
    assert "broken.json: not a service-account key" in shell.out
    assert "demo-orchard-41: " in shell.out
    assert "PRIVATE KEY" not in shell.out


def test_a_projects_own_credential_and_way_out_are_looked_at(shell, tmp_path):
    (tmp_path / "token").write_text("opaque-static-token")
    config = tmp_path / "dispatcher.toml"
    config.write_text(
        f"""
        [projects."demo-orchard-41"]
        credential = "token-file:{tmp_path}/token"
        ca_file = "{tmp_path}/missing.pem"
        [projects."demo-b"]
        tls_verify = false
        """
    )
    assert shell("check", "--config", str(config)) == 1
    assert "ok   credentials: demo-orchard-41: access token read from its file" in shell.out
    assert "missing.pem: cannot be read" in shell.out
    assert "demo-b: certificates are not looked at" in shell.out
    assert "opaque" not in shell.out


def test_a_legacy_service_that_is_away(shell, monkeypatch, tmp_path):
    key = tmp_path / "key"
    key.write_text("AAAAtest:key")
    monkeypatch.setenv("DISPATCHER_TRANSPORT", "legacy")
    monkeypatch.setenv("DISPATCHER_LEGACY_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("DISPATCHER_LEGACY_KEY_FILE", str(key))
    assert shell("check") == 1
    (line,) = (line for line in shell.out.splitlines() if line.startswith("FAIL"))
    assert line.startswith("FAIL endpoint: demo-orchard-41: http://127.0.0.1:1: no answer (")
    assert line.endswith("check DISPATCHER_LEGACY_ENDPOINT, DISPATCHER_PROXY, DNS and the firewall")


def test_a_legacy_service_without_a_key(shell, monkeypatch):
    monkeypatch.setenv("DISPATCHER_TRANSPORT", "legacy")
    assert shell("check") == 1
    (line,) = (line for line in shell.out.splitlines() if line.startswith("FAIL"))
    assert "DISPATCHER_LEGACY_KEY_FILE is not set for demo-orchard-41" in line

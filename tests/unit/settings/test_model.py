"""Settings as a whole: names, defaults, precedence, projects, secrets."""

import ast
import re
from pathlib import Path

import pytest

import dispatcher
from dispatcher.errors import SettingsError
from dispatcher.settings import Settings
from dispatcher.settings.model import ProjectValues

# The published defaults. A change here is a breaking change.
DEFAULTS = {
    "redis_password_file": None,
    "redis_ca_file": None,
    "redis_cert_file": None,
    "redis_key_file": None,
    "namespace": "fcm",
    "credentials": "",
    "projects": (),
    "fcm_endpoint": "https://fcm.googleapis.com",
    "iid_endpoint": "",
    "legacy_endpoint": "",
    "xmpp_endpoint": "fcm-xmpp.googleapis.com:5235",
    "ca_file": None,
    "tls_verify": True,
    "sender_id": "",
    "legacy_key_file": None,
    "transport": "auto",
    "http_version": "auto",
    "batch_size": 500,
    "linger_ms": 20,
    "max_in_flight": 20000,
    "max_in_flight_bytes": 32 * 1024 * 1024,
    "max_concurrent_requests": None,
    "request_timeout_s": 15,
    "topic_timeout_s": 60,
    "topic_concurrency": 10,
    "quota_per_minute": 600000,
    "quota_use": 0.9,
    "subscriptions_per_s": 2000,
    "max_attempts": 5,
    "default_expiry_s": 86400,
    "dedup_window_s": 86400,
    "lease_s": 15,
    "drain_s": 25,
    "max_job_bytes": 262144,
    "outcomes": "all",
    "outcomes_retention_s": 86400,
    "outcomes_max_entries": 20000,
    "xmpp_connections": 10,
    "upstream_retention_s": 7 * 86400,
    "upstream_max_entries": 100000,
    "dead_retention_s": 30 * 86400,
    "dead_max_entries": 100000,
    "validation": "strict",
    "topic_payload_limit": 4096,
    "reserved_keys": "wide",
    "http_port": 8080,
    "log_format": "auto",
    "log_level": "info",
}


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "dispatcher.toml"
    path.write_text(text)
    return path


def test_an_empty_environment_gives_the_published_defaults():
    settings = Settings.load(None, {})
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS
    assert set(Settings.model_fields) == {*DEFAULTS, "redis_url", "proxy"}
    assert settings.proxy.get_secret_value() == ""


def test_every_default_is_a_value_that_an_operator_could_have_written():
    for name, default in DEFAULTS.items():
        if default in (None, "", ()):
            continue
        settings = Settings.load(None, {f"DISPATCHER_{name.upper()}": str(default)})
        assert getattr(settings, name) == default


def test_without_a_number_the_concurrency_follows_the_transport():
    assert Settings.load(None, {}).concurrency("batch") == 64
    assert Settings.load(None, {}).concurrency("v1") == 320
    assert Settings.load(None, {}).concurrency("v1-h2") == 1000
    assert Settings.load(None, {"DISPATCHER_MAX_CONCURRENT_REQUESTS": "7"}).concurrency("v1") == 7


def test_the_process_environment_plays_no_part(monkeypatch):
    monkeypatch.setenv("DISPATCHER_NAMESPACE", "other")
    monkeypatch.setenv("NAMESPACE", "other")
    assert Settings.load(None, {}).namespace == "fcm"


def test_the_environment_wins_over_the_file(tmp_path):
    config = write(tmp_path, 'namespace = "file"\nbatch_size = 100\n')
    settings = Settings.load(config, {"DISPATCHER_NAMESPACE": "env"})
    assert (settings.namespace, settings.batch_size) == ("env", 100)


def test_a_file_takes_numbers_and_quantities(tmp_path):
    config = write(
        tmp_path, 'max_in_flight_bytes = "32 MiB"\ndead_retention_s = "7 d"\nquota_use = 0.5\ndrain_s = 5\n'
    )
    settings = Settings.load(config, {})
    assert settings.max_in_flight_bytes == 32 * 2**20
    assert settings.dead_retention_s == 7 * 86400
    assert (settings.quota_use, settings.drain_s) == (0.5, 5.0)


def test_lists_are_comma_separated_or_toml_lists(tmp_path):
    assert Settings.load(None, {"DISPATCHER_PROJECTS": "demo-a, demo-b,"}).projects == ("demo-a", "demo-b")
    assert Settings.load(write(tmp_path, 'projects = ["demo-a", "demo-b"]'), {}).projects == (
        "demo-a",
        "demo-b",
    )


def test_a_project_has_its_own_values_over_those_for_all(tmp_path):
    config = write(
        tmp_path,
        'max_attempts = 3\n[projects."demo-a"]\ntransport = "v1"\nquota_per_minute = 1200\n'
        'fcm_endpoint = "http://127.0.0.1:9099/"\n[projects."demo-b"]\nlinger_ms = 0\n',
    )
    settings = Settings.load(config, {"DISPATCHER_BATCH_SIZE": "50"})
    a, b, c = (settings.project(f"demo-{x}") for x in "abc")
    assert (a.id, a.transport, a.quota_per_minute) == ("demo-a", "v1", 1200)
    assert a.fcm_endpoint == "http://127.0.0.1:9099"
    assert (b.transport, b.linger_ms, b.quota_per_minute) == ("auto", 0, 600000)
    assert {p.max_attempts for p in (a, b, c)} == {3}
    assert {p.batch_size for p in (a, b, c)} == {50}
    assert settings.tabled_projects == ("demo-a", "demo-b")


def test_a_projects_table_wins_over_the_environment_because_it_is_the_more_specific(tmp_path):
    config = write(tmp_path, '[projects."demo-a"]\nquota_per_minute = 600\n')
    settings = Settings.load(config, {"DISPATCHER_QUOTA_PER_MINUTE": "9000"})
    assert settings.project("demo-a").quota_per_minute == 600
    assert settings.project("demo-b").quota_per_minute == 9000


def test_secrets_are_not_in_the_representation():
    settings = Settings.load(None, {"DISPATCHER_REDIS_URL": "redis://user:s3cret@redis.local:6379/0"})
    assert "s3cret" not in repr(settings) + str(settings) + str(settings.model_dump())
    assert settings.require_redis_url() == "redis://user:s3cret@redis.local:6379/0"


def test_what_a_worker_cannot_do_without_is_asked_for_by_name():
    with pytest.raises(SettingsError, match=r"^DISPATCHER_REDIS_URL is not set; allowed: redis://"):
        Settings.load(None, {}).require_redis_url()
    with pytest.raises(
        SettingsError, match=r"^DISPATCHER_CREDENTIALS is not set; allowed: a service-account file"
    ):
        Settings.load(None, {}).require_credentials()


def test_a_project_may_have_its_own_way_out_and_credential(tmp_path):
    path = write(
        tmp_path,
        """
        credentials = "/keys"
        proxy = "http://me:secret@proxy:3128"
        [projects."demo-a"]
        credential = "token-file:/run/token"
        sender_id = "884400112233"
        legacy_key_file = "/run/key"
        proxy = "http://other:3128"
        ca_file = "/run/ca.pem"
        tls_verify = false
        """,
    )
    settings = Settings.load(path, {})
    own, other = settings.project("demo-a"), settings.project("demo-b")
    assert (own.credential, own.sender_id, own.tls_verify) == ("token-file:/run/token", "884400112233", False)
    assert (str(own.legacy_key_file), str(own.ca_file)) == ("/run/key", "/run/ca.pem")
    assert own.proxy.get_secret_value() == "http://other:3128"
    assert other.proxy.get_secret_value() == "http://me:secret@proxy:3128"
    assert (other.credential, other.tls_verify, other.ca_file) == ("", True, None)
    assert settings.own_credentials == {"demo-a": "token-file:/run/token"}
    assert "secret" not in repr(settings) + repr(other)


def test_credentials_of_their_own_are_enough(tmp_path):
    path = write(tmp_path, '[projects."demo-a"]\ncredential = "adc"')
    assert Settings.load(path, {}).require_credentials() == ""


def test_the_credential_of_one_project_is_no_setting_of_the_worker(tmp_path):
    with pytest.raises(SettingsError, match="unknown setting"):
        Settings.load(None, {"DISPATCHER_CREDENTIAL": "adc"})
    with pytest.raises(SettingsError, match="unknown setting"):
        Settings.load(write(tmp_path, 'credential = "adc"'), {})


def test_a_proxy_that_is_none_is_refused_without_its_password(tmp_path):
    with pytest.raises(SettingsError, match="a value that is not shown") as caught:
        Settings.load(None, {"DISPATCHER_PROXY": "socks5://me:secret@proxy"})
    assert "secret" not in str(caught.value)


def test_every_sentence_names_a_setting_as_it_is_set():
    """What a reader copies out of an error must work: DISPATCHER_REDIS_URL, not REDIS_URL."""
    names = {name.upper() for name in (*Settings.model_fields, *ProjectValues.model_fields)}
    bare = re.compile(rf"(?<![\w.])({'|'.join(sorted(names, key=len, reverse=True))})(?!\w)")
    found = []
    for file in sorted(Path(dispatcher.__file__).parent.rglob("*.py")):
        tree = ast.parse(file.read_text())
        remarks = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        found += [
            f"{file.name}:{node.lineno}: {node.value}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in remarks
            if bare.search(node.value)
        ]
    assert found == []


def test_a_path_under_the_home_of_nobody_is_refused():
    with pytest.raises(SettingsError, match="DISPATCHER_CA_FILE"):
        Settings.load(None, {"DISPATCHER_CA_FILE": "~nobody-of-this-name/ca.pem"})

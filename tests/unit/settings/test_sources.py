"""Wrong settings stop the start with one line that names the mend."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.errors import SettingsError
from dispatcher.settings import Settings


def refusal(environ: dict[str, str] | None = None, config: Path | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.load(config, environ or {})
    line = str(caught.value)
    assert "\n" not in line
    return line


def refusal_of(tmp_path: Path, toml: str) -> str:
    path = tmp_path / "dispatcher.toml"
    path.write_text(toml)
    return refusal(config=path).replace(str(path), "FILE")


def test_a_value_out_of_bounds_is_named_with_what_is_allowed():
    line = refusal({"DISPATCHER_BATCH_SIZE": "501"})
    assert line == 'DISPATCHER_BATCH_SIZE: found "501"; allowed: a whole number from 1 to 500'


def test_a_value_of_the_file_is_named_with_its_file(tmp_path):
    line = refusal_of(tmp_path, "batch_size = 0")
    assert line == "batch_size in FILE: found 0; allowed: a whole number from 1 to 500"


def test_a_value_of_a_project_is_named_with_its_table(tmp_path):
    line = refusal_of(tmp_path, '[projects."demo-a"]\nquota_use = 2')
    assert line == 'quota_use under [projects."demo-a"] in FILE: found 2; allowed: a number from 0.01 to 1'


def test_an_unknown_transport_is_answered_with_those_there_are():
    line = refusal({"DISPATCHER_TRANSPORT": "smtp"})
    assert line == 'DISPATCHER_TRANSPORT: found "smtp"; allowed: auto, batch, v1, legacy, xmpp'


def test_a_misspelt_variable_is_answered_with_the_nearest_name():
    line = refusal({"DISPATCHER_QUOTA_PER_MINUT": "5"})
    assert line == (
        "unknown setting: environment variable DISPATCHER_QUOTA_PER_MINUT; "
        "did you mean DISPATCHER_QUOTA_PER_MINUTE?"
    )


def test_a_variable_like_no_setting_is_answered_with_where_to_look():
    assert refusal({"DISPATCHER_ZZZ": ""}).endswith("see the table of settings in the README")


def test_a_variable_in_lower_case_is_a_misspelling():
    assert refusal({"DISPATCHER_batch_size": "5"}).endswith("did you mean DISPATCHER_BATCH_SIZE?")


def test_a_misspelt_name_in_the_file(tmp_path):
    assert (
        refusal_of(tmp_path, 'name-space = "a"')
        == "unknown setting: name-space in FILE; did you mean namespace?"
    )


def test_a_misspelt_name_in_a_projects_table(tmp_path):
    line = refusal_of(tmp_path, '[projects."demo-a"]\nquota = 5')
    assert line.startswith('unknown setting: quota under [projects."demo-a"] in FILE;')


def test_a_setting_of_the_worker_does_not_belong_in_a_projects_table(tmp_path):
    line = refusal_of(tmp_path, '[projects."demo-a"]\nlease_s = 5')
    assert (
        line
        == '[projects."demo-a"] in FILE: lease_s holds for the whole worker; move it above the tables of projects'
    )


def test_a_project_id_that_would_break_the_redis_keys(tmp_path):
    assert "no project id" in refusal_of(tmp_path, '[projects."demo{a}"]\nquota_use = 0.5')
    assert "a Firebase project id" not in refusal({"DISPATCHER_PROJECTS": "demo}"})
    assert "comma-separated" in refusal({"DISPATCHER_PROJECTS": "demo}"})


def test_a_file_that_is_missing_or_no_toml(tmp_path):
    missing = tmp_path / "missing.toml"
    assert (
        refusal(config=missing)
        == f"--config {missing}: cannot be read (No such file or directory); name a TOML file"
    )
    assert refusal_of(tmp_path, "a = [").startswith("--config FILE: no TOML (")


def test_a_misspelt_redis_url_is_not_repeated():
    line = refusal({"DISPATCHER_REDIS_URL": "reddis://:s3cret@host"})
    assert "s3cret" not in line
    assert line.startswith("DISPATCHER_REDIS_URL: found a value that is not shown; allowed: redis://")


def test_an_empty_variable_counts_as_not_set():
    assert Settings.load(None, {"DISPATCHER_PROJECTS": "", "DISPATCHER_BATCH_SIZE": " "}).batch_size == 500


def test_variables_that_kubernetes_adds_for_a_service_named_dispatcher_are_no_settings():
    Settings.load(
        None,
        {
            "DISPATCHER_SERVICE_HOST": "10.0.0.7",
            "DISPATCHER_SERVICE_PORT": "8080",
            "DISPATCHER_SERVICE_PORT_METRICS": "8080",
            "DISPATCHER_PORT": "tcp://10.0.0.7:8080",
            "DISPATCHER_PORT_8080_TCP": "tcp://10.0.0.7:8080",
            "DISPATCHER_PORT_8080_TCP_ADDR": "10.0.0.7",
            "DISPATCHER_EMULATOR_SERVICE_HOST": "10.0.0.8",
        },
    )
    assert refusal({"DISPATCHER_PORT": "8080"}).startswith("unknown setting: ")


def test_a_long_value_does_not_make_a_long_line():
    assert len(refusal({"DISPATCHER_NAMESPACE": "x" * 5000})) < 200


@given(name=st.sampled_from(sorted(set(Settings.model_fields))), value=st.text(max_size=30))
def test_no_value_of_any_setting_ends_otherwise_than_read_or_refused(name, value):
    try:
        Settings.load(None, {f"DISPATCHER_{name.upper()}": value})
        line = ""
    except SettingsError as error:
        line = str(error)
    assert line.isprintable()
    assert not line or line.startswith(f"DISPATCHER_{name.upper()}: found ")


def test_a_password_in_an_address_is_not_repeated():
    line = refusal({"DISPATCHER_FCM_ENDPOINT": "https://me:s3cret@host"})
    assert "s3cret" not in line
    assert "https://[hidden]@host" in line
    assert "which has a password in it" in line

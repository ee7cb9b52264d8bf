"""The table of settings that the README shows."""

from dispatcher.settings import Settings
from dispatcher.settings.table import markdown, rows


def test_every_setting_has_a_row_with_a_meaning():
    variables = {f"DISPATCHER_{name.upper()}" for name in Settings.model_fields}
    assert {row.variable for row in rows()} == variables | {"credential"}
    assert all(row.meaning and row.kind and row.default for row in rows())


def test_defaults_are_shown_as_a_person_would_write_them():
    shown = {row.variable.removeprefix("DISPATCHER_"): row.default for row in rows()}
    assert shown["MAX_IN_FLIGHT_BYTES"] == "`32 MiB`"
    assert shown["DEAD_RETENTION_S"] == "`30 d`"
    assert shown["MAX_JOB_BYTES"] == "`262144`"
    assert shown["REDIS_URL"] == shown["CREDENTIALS"] == "-"


def test_settings_of_a_project_are_marked():
    assert "| `DISPATCHER_TRANSPORT` * |" in markdown()
    assert "| `DISPATCHER_LEASE_S` |" in markdown()

"""The README says what the code says."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

from dispatcher.cli.app import app
from dispatcher.cli.readme import TABLES, renewed
from dispatcher.protocol.web_push import VAPID_PUBLIC_KEY
from dispatcher.telemetry.instruments import Counter, Gauge, Histogram
from dispatcher.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_tables_are_those_of_the_code():
    assert renewed(README) == README, "the README's tables are stale: make docs"


def test_it_has_every_table_once():
    assert re.findall(r"<!-- table: (\w+) -->", README) == list(TABLES)


def test_a_stale_table_is_replaced_and_the_text_around_it_kept():
    stale = "before\n<!-- table: status -->\nold\n<!-- end -->\nafter\n"
    fresh = renewed(stale)
    assert fresh == f"before\n<!-- table: status -->\n{TABLES['status']()}<!-- end -->\nafter\n"
    assert renewed(fresh) == fresh


def test_a_table_that_there_is_not_is_an_error():
    with pytest.raises(KeyError, match="nothing"):
        renewed("<!-- table: nothing -->\n<!-- end -->\n")


def test_no_cell_breaks_its_table():
    for name, table in TABLES.items():
        if name != "rights":  # paragraphs
            assert len({line.count("|") for line in table().splitlines()}) == 1


def test_the_files_it_names_exist():
    paths = set(re.findall(r"`([\w/.-]+(?:\.py|\.lua|\.md|\.toml|/))`", README)) - {"messaging/"}
    assert len(paths) > 30
    missing = [
        path for path in paths if not ((ROOT / path).exists() or (ROOT / "dispatcher" / path).exists())
    ]
    assert not missing


def test_the_commands_it_names_exist():
    commands = set(re.findall(r"dispatcher (\w+)", "\n".join(re.findall(r"`[^`\n]+`|```sh\n.*?```", README))))
    assert commands
    assert commands <= set(get_command(app).commands)


def test_each_test_that_shows_something_exists_in_the_file_that_is_named_before_it():
    rows = [line for line in README.splitlines() if line.startswith("|") and "`test_" in line]
    assert len(rows) > 10
    for row in rows:
        code = ""
        for name in re.findall(r"`(tests/[\w/]+\.py|test_\w+)`", row):
            if name.endswith(".py"):
                code = (ROOT / name).read_text(encoding="utf-8")
            else:
                assert f"def {name}(" in code, name


def test_it_shows_fcms_public_key_where_web_push_is_explained():
    section = README[README.index("## Topics, tokens and groups") :].partition("\n## ")[0]
    assert f'applicationServerKey: "{VAPID_PUBLIC_KEY}"' in section


def test_it_says_which_metrics_nothing_fills_yet():
    table = ROOT / "dispatcher/telemetry/metrics.py"
    code = "\n".join(file.read_text() for file in (ROOT / "dispatcher").rglob("*.py") if file != table)
    families = {k: v for k, v in vars(Metrics("1")).items() if isinstance(v, Counter | Gauge | Histogram)}
    unused = {family.name for name, family in families.items() if not re.search(rf"metrics\.{name}\b", code)}
    sentence = re.search(r"Not filled yet: ([^.]*)\.", README)
    assert set(re.findall(r"`(\w+)`", sentence[1]) if sentence else ()) == unused

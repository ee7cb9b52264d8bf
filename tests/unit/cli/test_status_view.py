"""The table of `dispatcher status` stays readable, whatever the numbers and however narrow the terminal."""

import io

import pytest
from rich.console import Console

from dispatcher.cli.standing import Overall, ProjectStatus
from dispatcher.cli.status_view import picture

BUSY = ProjectStatus(
    project="customer-prod-firebase-12ab",
    served=True,
    backlog={"high": 12, "due": 1_200, "normal": 120_400, "bulk": 10_000_000},
    in_flight=20_000,
    delayed=999_999,
    dead=1_200,
    per_second=9_876.5,
    latency_s={"median": 0.12, "95%": 1.2},
)


def drawn(width, *projects):
    console = Console(file=io.StringIO(), width=width)
    console.print(picture(Overall(1.0, list(projects)), width))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 240])
def test_no_number_is_cut(width):
    text = drawn(width, BUSY)
    assert "…" not in text
    assert all(len(line) <= width for line in text.splitlines())
    row = text.splitlines()[1].split()
    assert row[1:] == [
        "12", "1,200", "120k", "10.0M", "20,000", "1.0M", "1,200", "9,876", "120", "ms", "1.2", "s",
    ]  # fmt: skip


def test_where_there_is_room_a_project_stands_on_one_line():
    assert drawn(120, BUSY).splitlines()[1].startswith("customer-prod-firebase-12ab ")


def test_a_long_name_goes_on_below_where_there_is_none():
    lines = drawn(80, BUSY).splitlines()
    rows = [line[:14].split(" ")[0] for line in lines[1:]]
    assert len(rows) > 1
    assert "".join(rows) == BUSY.project

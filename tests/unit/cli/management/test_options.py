"""What the options that management commands share come to."""

import inspect

import pytest

from dispatcher.cli.management.follow import Order
from dispatcher.cli.management.options import order_of, order_without_dry_run, place_of, tokens_of
from dispatcher.errors import SettingsError


@pytest.fixture(autouse=True)
def _no_project(monkeypatch):
    monkeypatch.delenv("DISPATCHER_PROJECTS", raising=False)


def test_the_place_is_the_project_that_is_named_or_the_only_one(monkeypatch):
    assert place_of(project="demo-orchard-41").project == "demo-orchard-41"
    monkeypatch.setenv("DISPATCHER_PROJECTS", "demo-orchard-42")
    assert place_of().project == "demo-orchard-42"


def test_without_a_project_there_is_no_place():
    with pytest.raises(SettingsError, match="name the project"):
        place_of()


def test_a_group_for_tokens_has_the_options_of_their_file():
    assert [*inspect.signature(tokens_of).parameters] == [
        *("token", "tokens_file", "form", "column", "bad_rows", "from_line")
    ]
    assert list(tokens_of(token=["a", "b"]).pieces(10)) == [(["a", "b"], 0)]


def test_who_does_not_wait_waits_no_time():
    assert order_of(timeout=5.0) == Order(wait_s=5.0)
    assert order_of(timeout=5.0, no_wait=True) == Order(wait_s=0.0)


def test_an_order_without_dry_run_is_the_same_otherwise():
    assert order_without_dry_run(lane="bulk", as_json=True) == order_of(lane="bulk", as_json=True)
    left = inspect.signature(order_of).parameters.keys() - inspect.signature(order_without_dry_run).parameters
    assert left == {"dry_run"}

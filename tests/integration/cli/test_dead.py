"""`dispatcher dead` lists, shows, puts back and removes, and counts before it acts."""

import json

import pytest

from dispatcher.model import ErrorCode, Status
from dispatcher.protocol.job import DecodeLimits, decode_entry
from dispatcher.protocol.letter import encode_letter

P = "demo-orchard-41"
NORMAL, DEAD = f"fcm:{{{P}}}:jobs:normal", f"fcm:{{{P}}}:dead"


def die(shell, at, code=ErrorCode.SERVER_UNAVAILABLE, *, project=P, **fields):
    given = {"message": '{"topic":"news","data":{"a":"1"}}', **fields}
    flat = [part.encode() for pair in given.items() for part in pair]
    job = decode_entry(project, "normal", "1-0", flat, DecodeLimits())
    letter = encode_letter(
        job,
        list(range(len(job.values))),
        status=Status.FAILED,
        code=code,
        reason="it did not answer",
        history=[],
        died_at=1700000000.0,
        duplicate=False,
    )
    shell.redis.xadd(f"fcm:{{{project}}}:dead", dict(zip(letter[::2], letter[1::2], strict=True)), id=at)


@pytest.fixture(autouse=True)
def _letters(shell):
    die(shell, "5-1", id="one", campaign="spring")
    die(shell, "6-1", ErrorCode.POISON, id="two")
    die(shell, "7-1", id="many", message="{}", tokens='["ta","tb"]')


def test_a_list_has_a_line_for_each_and_a_count_by_code(shell):
    assert shell("dead", "list") == 0
    first, _, third, counts = shell.out.splitlines()
    assert first == (
        f"5-1 2023-11-14 22:13:20 {P} failed one topic news: server-unavailable it did not answer"
    )
    assert "and 1 more" in third
    assert counts == f"{P}: 3 dead letters with 4 messages: 3 failed server-unavailable, 1 failed poison"


@pytest.mark.parametrize(
    ("options", "jobs"),
    [
        (["--code", "poison"], ["two"]),
        (["--status", "rejected"], []),
        (["--target", "tb"], ["many"]),
        (["--campaign", "spring"], ["one"]),
        (["--job", "two"], ["two"]),
        (["--older-than", "1h"], ["one", "two", "many"]),
        (["--younger-than", "1h"], []),
        (["--limit", "1"], ["one"]),
    ],
)
def test_filters(shell, options, jobs):
    assert shell("dead", "list", "--json", *options) == 0
    assert [json.loads(line)["job"] for line in shell.out.splitlines()] == jobs


def test_all_projects_are_looked_at_where_none_is_named(shell, monkeypatch):
    monkeypatch.delenv("DISPATCHER_PROJECTS")
    die(shell, "5-1", project="other", id="theirs")
    assert shell("dead", "list", "--json", "--code", "server-unavailable") == 0
    assert {json.loads(line)["job"] for line in shell.out.splitlines()} == {"one", "many", "theirs"}


def test_a_letter_is_shown_whole(shell):
    assert shell("dead", "show", "7-1") == 0
    assert '  tokens       ["ta","tb"]' in shell.out.splitlines()
    assert shell("dead", "show", "7-1", "--json") == 0
    assert json.loads(shell.out)["targets"] == [{"token": "ta"}, {"token": "tb"}]
    assert shell("dead", "show", "8-1") == 1
    assert shell.err == "dispatcher: there is no dead letter 8-1: dispatcher dead list\n"
    assert shell("dead", "show", "what") == 2


def test_a_dry_run_counts_and_does_nothing(shell):
    for command in ("replay", "purge"):
        assert shell("dead", command, "--code", "poison", "--dry-run") == 0
        assert shell.out == f"{P}: 1 dead letter with 1 message: 1 failed poison\n"
    assert shell.redis.xlen(DEAD) == 3


def test_without_a_terminal_nothing_happens_unless_told(shell):
    assert shell("dead", "replay") == 2
    assert "Replay 3 dead letters? There is no terminal to ask on: say --yes" in shell.err
    assert shell.redis.xlen(NORMAL) == 0


def test_a_replay_puts_them_back_into_their_lane(shell):
    assert shell("dead", "replay", "--code", "server-unavailable", "--yes") == 0
    assert shell.out.splitlines()[-1] == f"{P}: 2 jobs with 3 messages are in their lanes again"
    assert (shell.redis.xlen(NORMAL), shell.redis.xlen(DEAD)) == (2, 1)
    assert shell("dead", "replay", "6-1", "--yes", "--json") == 0
    assert json.loads(shell.out)["replayed"]["jobs"] == 1
    assert shell("dead", "replay", "--yes") == 0
    assert shell.out == "no dead letters like these\n"


def test_those_whose_time_is_over_stay_unless_they_get_a_new_one(shell):
    die(shell, "8-1", id="late", expires_at="1700000000")
    assert shell("dead", "replay", "8-1", "--yes") == 1
    assert "1 stays dead: its time is over; give a new one with --expires-in" in shell.out
    assert shell("dead", "replay", "8-1", "--yes", "--expires-in", "2h") == 0
    assert shell.redis.xlen(NORMAL) == 1


def test_a_purge_removes_for_good(shell):
    assert shell("dead", "purge", "5-1", "--yes", "--json") == 0
    assert json.loads(shell.out) == {"project": P, "removed": 1}
    assert shell("dead", "purge", "--yes") == 0
    assert shell.redis.xlen(DEAD) == 0


def test_redis_away_is_a_failure_in_one_line(shell, monkeypatch):
    monkeypatch.setenv("DISPATCHER_REDIS_URL", "redis://127.0.0.1:1")
    for command in (["list"], ["show", "1-0"], ["replay", "--yes"], ["purge", "--yes"]):
        assert shell("dead", *command) == 1
        assert shell.err.count("\n") == 1

"""dispatcher.policy.table"""

import subprocess
import sys
from typing import get_args

from dispatcher.model import Action, Wire
from dispatcher.policy.error_table import TABLE
from dispatcher.policy.table import MEANING, lines, markdown


def test_every_row_of_the_error_table_is_a_line_in_its_order():
    assert [(line.code, line.action) for line in lines()] == [
        (row.verdict.code, row.verdict.action) for row in TABLE
    ]


def test_every_action_of_the_table_has_a_meaning():
    assert {row.verdict.action for row in TABLE} == set(MEANING)


def test_no_two_lines_show_the_same_answer():
    for wire in get_args(Wire):
        answers = [line.answers[wire] for line in lines() if line.answers[wire]]
        assert len(set(answers)) == len(answers) > 10


def test_no_cell_breaks_the_table():
    assert {line.count("|") for line in markdown().splitlines()} == {8}


def test_the_lines_that_matter_most_say_what_happens():
    shown = {(line.code, line.action): line for line in lines()}
    held = shown["third-party-auth-error", Action.HOLD_MESSAGE]
    assert held.answers["v1"] == "`THIRD_PARTY_AUTH_ERROR`, `APNS_AUTH_ERROR`"
    assert held.meaning == (
        "this message alone waits 60 s, doubling, until it expires; neither token nor credentials are touched"
    )
    gone = shown["registration-token-not-registered", Action.DROP_TOKEN]
    assert (gone.answers["v1"], gone.meaning) == (
        "`UNREGISTERED` (to one message)",
        "outcome `invalid_token`",
    )
    unknown = shown["unknown-error", Action.RETRY]
    assert unknown.meaning == "sent again after 1 s, doubling; at most 3 times"
    assert any("HTTP 502, 503, 504" in line.answers["v1"] for line in shown.values())


def test_it_prints_itself():
    done = subprocess.run(
        [sys.executable, "-m", "dispatcher.policy.table"], capture_output=True, text=True, check=True
    )
    assert done.stdout == markdown()

"""What is said of a run of management jobs at its end."""

import msgspec
import pytest

from dispatcher.cli.management.report import ResultFile, Summary, as_text
from dispatcher.errors import SettingsError
from dispatcher.model import Outcome

OUTCOME = msgspec.json.decode(
    b'{"job":"token-info-1#1","index":0,"status":"done","attempts":1,"enqueued_at":1,"settled_at":2,'
    b'"target":{"token":"a"},"replacement_token":"kM1n","result":{"platform":"IOS"}}',
    type=Outcome,
)


def summary(items, jobs, **more):
    return Summary(operation="topic.subscribe", job="topic-subscribe-7f", items=items, jobs=jobs, **more)


@pytest.mark.parametrize(
    ("items", "jobs", "said"),
    [
        (1, 1, "1 would make 1 job; nothing was enqueued"),
        (1001, 2, "1,001 would make 2 jobs; nothing was enqueued"),
        (2_000_000, 2000, "2,000,000 would make 2,000 jobs; nothing was enqueued"),
    ],
)
def test_a_dry_run_counts(items, jobs, said):
    assert as_text(summary(items, jobs), dry_run=True, waited=True) == said


def test_nobody_waited_so_the_ids_are_told():
    one, two = (as_text(summary(jobs, jobs), dry_run=False, waited=False) for jobs in (1, 2))
    assert one == "topic.subscribe: 1 enqueued as 1 job, topic-subscribe-7f#1"
    assert two == "topic.subscribe: 2 enqueued as 2 jobs, topic-subscribe-7f#1 to #2"


def test_a_few_outcomes_are_shown_with_what_they_brought():
    first, *rest = as_text(summary(1, 1, outcomes=[OUTCOME]), dry_run=False, waited=True).splitlines()
    assert " done " in first
    assert rest == ["  token: kM1n", '  {"platform":"IOS"}']


def test_many_are_counted_and_so_are_rows_that_were_skipped():
    found = summary(
        1500, 2, seconds=0.5, settled={"done": 1499, "failed": 1}, skipped={"blank": 1200, "repeated": 1}
    )
    assert as_text(found, dry_run=False, waited=True).splitlines() == [
        "topic.subscribe: 1,500 in 0.5 s (3,000/s) as 2 jobs",
        "         1,499 done",
        "             1 failed",
        "rows skipped: 1,200 blank, 1 repeated",
    ]


@pytest.mark.parametrize(
    ("settled", "failure", "ok"),
    [
        ({}, "", True),
        ({"done": 2}, "", True),
        ({"done": 1, "failed": 1}, "", False),
        ({"done": 2}, "silence", False),
    ],
)
def test_it_went_well_if_all_that_was_waited_for_is_done(settled, failure, ok):
    assert summary(2, 1, settled=settled, failure=failure).ok is ok


def test_a_result_file_has_an_outcome_a_line(tmp_path):
    results = ResultFile(tmp_path / "results.jsonl")
    results.write([OUTCOME])
    results.write([])
    results.write([OUTCOME])
    results.close()
    lines = (tmp_path / "results.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=Outcome) for line in lines] == [OUTCOME] * 2


def test_a_result_file_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(SettingsError, match=r"--results .*: cannot be written"):
        ResultFile(tmp_path / "nowhere" / "results.jsonl")

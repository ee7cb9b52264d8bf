"""The contract in words names exactly what the code reads and writes."""

import re
from inspect import signature

from dispatcher.client import JobOptions
from dispatcher.model import STREAMS, Outcome, Status
from dispatcher.protocol import contract
from dispatcher.protocol.operation import OPERATIONS
from dispatcher.protocol.submission import encode_options
from dispatcher.queue.keys import Keys


def test_every_status_has_one_meaning():
    assert [row.status for row in contract.STATUSES] == list(Status)
    assert all(row.meaning and row.mend for row in contract.STATUSES)


def test_every_operation_is_told_with_all_that_it_can_be_asked():
    assert [row.name for row in contract.OPERATIONS] == list(OPERATIONS)
    for row in contract.OPERATIONS:
        told = set(re.findall(r"`(\w+)`", row.request)) - {"auto", "batch", "relation", "v1"}
        assert told == set(OPERATIONS[row.name].__struct_fields__)


def test_the_fields_of_an_outcome_are_those_that_are_written():
    names = [field.name for field in contract.OUTCOME_FIELDS]
    assert len(set(names)) == len(names)
    assert set(names) == set(Outcome.__struct_fields__)


def test_the_fields_of_a_job_are_those_that_producers_can_write():
    names = [field.name for field in contract.JOB_FIELDS]
    assert len(set(names)) == len(names)
    options = set(signature(encode_options).parameters)
    assert set(names) == options | {"message", "tokens", "operation", "request"}
    assert set(JobOptions.__annotations__) == options


def test_the_keys_are_those_in_use():
    keys = Keys()
    used = {keys.stream("P", stream) for stream in STREAMS}
    used |= {
        keys.delayed("P"), keys.delayed_jobs("P"), keys.outcomes("P"), keys.dead("P"), keys.control("P"),
        keys.pauses("P"), keys.quota("P"), keys.dedup("P", "<key>"), keys.lease("P", "<consumer>"),
        keys.campaign("P", "<id>"), keys.upstream("P"), keys.upstream_seen("P"),
    }  # fmt: skip
    assert {key.pattern for key in contract.KEYS} == used


def test_what_leaves_a_dead_letter_is_marked():
    marked = [line.split("`")[1] for line in contract.status_table().splitlines() if line.endswith("| yes |")]
    assert marked == ["rejected", "failed"]

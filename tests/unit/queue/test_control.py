from __future__ import annotations

from dispatcher.queue.control import Control, _control


def flat(**fields):
    return [part.encode() for name, value in fields.items() for part in (name.replace("__", ":"), value)]


def test_an_empty_hash_means_all_is_well():
    control = _control([], 100.0)
    assert control == Control(now=100.0)
    assert not control.paused


def test_a_pause_ends_on_the_redis_clock():
    fields = flat(pause__until="100500", pause__reason="quota")
    assert _control(fields, 100.0).paused
    assert _control(fields, 100.0).pause_reason == "quota"
    assert not _control(fields, 100.5).paused


def test_it_ramps_for_a_minute_after_a_pause():
    fields = flat(pause__ramp="100000")
    assert _control(fields, 159.9).ramping
    assert not _control(fields, 160.0).ramping
    assert not _control([*fields, *flat(pause__until="1")], 100.0).ramping


def test_verdicts_that_ran_out_are_not_told():
    fields = flat(verdict__transport="200000:v1", verdict__old="100000:batch")
    assert _control(fields, 100.0).verdicts == {"transport": "v1"}

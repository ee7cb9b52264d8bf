from __future__ import annotations

from time import monotonic

import pytest

from dispatcher.queue.clock import RedisClock


def test_it_is_unknown_before_the_first_reply():
    clock = RedisClock()
    assert not clock.known
    clock.note(monotonic(), 1000.0)
    assert clock.known


def test_it_goes_on_from_the_last_reply():
    clock = RedisClock()
    assert clock.note(monotonic(), 5e9) == 5e9
    assert clock.now() == pytest.approx(5e9, abs=5)


def test_a_slow_reply_does_not_spoil_a_quick_one():
    clock = RedisClock()
    clock.note(monotonic(), 5e9)
    clock.note(monotonic() - 20, 7e9)
    assert clock.now() == pytest.approx(5e9, abs=5)


def test_after_a_while_any_reply_is_better_than_an_old_one(monkeypatch):
    clock = RedisClock()
    time = [100.0]
    monkeypatch.setattr("dispatcher.queue.clock.monotonic", lambda: time[0])
    clock.note(100.0, 1000.0)
    time[0] = 140.0
    clock.note(130.0, 2000.0)
    assert clock.now() == 2000.0 + 5

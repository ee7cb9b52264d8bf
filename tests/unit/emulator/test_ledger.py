from dispatcher.emulator.ledger import Arrival, Ledger


def arrival(target: str, id_: str = "", code: str = "OK", status: int = 200, kind: str = "token") -> Arrival:
    return Arrival("p", kind, target, id_, 1, status, code)


def filled() -> Ledger:
    ledger = Ledger()
    ledger.record("batch", [arrival("a", "1"), arrival("b", "2", "UNREGISTERED", 404)], 10.0)
    ledger.record("v1", [arrival("a", "1")], 12.5)
    return ledger


def test_a_summary_counts_from_every_side() -> None:
    ledger = filled()
    ledger.refuse("batch", 503)
    assert ledger.summary() == {
        "messages": 3,
        "accepted": 2,
        "by_status": {"200": 2, "404": 1},
        "by_code": {"OK": 2, "UNREGISTERED": 1},
        "by_project": {"p": 3},
        "by_kind": {"token": 3},
        "requests": {"batch": 1, "v1": 1},
        "messages_by_wire": {"batch": 2, "v1": 1},
        "largest_request": {"batch": 2, "v1": 1},
        "refused_requests": {"batch:503": 1},
        "http_versions": {},
        "first": 10.0,
        "last": 12.5,
    }


def test_counts_find_what_was_accepted_twice() -> None:
    ledger = filled()
    assert ledger.counts("id", accepted_only=True, at_least=2) == {"1": 2}
    assert ledger.counts("target", accepted_only=False) == {"token:a": 2, "token:b": 1}
    assert ledger.counts("status", accepted_only=False) == {"200": 2, "404": 1}
    assert ledger.counts("code", accepted_only=False, project="q") == {}


def test_pages_follow_each_other_without_gap() -> None:
    ledger = filled()
    rows, next_ = ledger.page(0, 2)
    assert rows == [
        [0, 10.0, 0, "p", "token", "a", "1", 1, 200, "OK"],
        [1, 10.0, 0, "p", "token", "b", "2", 1, 404, "UNREGISTERED"],
    ]
    assert next_ == 2
    rows, next_ = ledger.page(next_, 2)
    assert [row[:3] for row in rows] == [[2, 12.5, 1]]
    assert next_ is None


def test_a_filtered_page_keeps_the_numbers_of_the_whole() -> None:
    ledger = filled()
    rows, next_ = ledger.page(0, 1, target="a")
    assert ([row[0] for row in rows], next_) == ([0], 2)
    rows, next_ = ledger.page(next_, 1, target="a")
    assert ([row[0] for row in rows], next_) == ([2], None)


def test_cleared_it_starts_again_at_zero() -> None:
    ledger = filled()
    ledger.clear()
    assert len(ledger) == 0
    assert ledger.page(0, 10) == ([], None)
    assert ledger.summary()["requests"] == {}

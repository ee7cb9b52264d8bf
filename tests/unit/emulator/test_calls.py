from dispatcher.emulator.calls import COLUMNS, Calls, Deed
from dispatcher.protocol.instance_id import bulk_request, relation_request


def test_what_was_asked_is_kept_token_by_token(service):
    at_work = service()
    at_work.registry.set_tokens("demo", {"gone": "unregistered"}, {})
    at_work.ask(bulk_request("news", ["a", "gone"]))
    at_work.ask(relation_request("b", "frost"))
    rows, next_ = at_work.state.calls.page(0, 2)
    assert [row[3:] for row in rows] == [
        ["topic.subscribe", "batch", "demo", "news", "token", "a", 200, "", ""],
        ["topic.subscribe", "batch", "demo", "news", "token", "gone", 200, "NOT_FOUND", ""],
    ]
    assert [row[0] for row in at_work.state.calls.page(next_, 2)[0]] == [2]
    assert [row[8] for row in at_work.state.calls.page(0, 9, subject="frost")[0]] == ["b"]
    assert at_work.state.calls.summary() == {
        "calls": {"topic.subscribe": 2},
        "tokens": {"topic.subscribe": 3},
        "largest_call": {"topic.subscribe": 2},
        "errors": {"NOT_FOUND": 1},
    }


def test_a_row_has_a_value_for_each_column():
    calls = Calls()
    calls.record([Deed("token.info", "", "p", "", "token", "a")], 1.0)
    calls.record([], 2.0)
    (row,), _ = calls.page(0, 1)
    assert dict(zip(COLUMNS, row, strict=True))["operation"] == "token.info"
    assert calls.summary()["calls"] == {"token.info": 1}

"""Topic management of firebase-admin, for Python and Node, unmodified, against the emulator."""

import pytest

from tests.interop.conftest import PROJECT, Client, Emulator

EMULATORS = {
    "admin_6": "plain",
    "admin_7": "secure",
    "node_11": "plain",
    "node_13": "secure",
    "node_14": "secure",
}
WAYS = [
    # client, to subscribe, to unsubscribe, which wire it speaks
    ("admin_6", "subscribe_to_topic", "unsubscribe_from_topic", "batch"),
    ("admin_7", "subscribe_to_topic_legacy", "unsubscribe_from_topic_legacy", "batch"),
    ("admin_7", "subscribe_to_topic", "unsubscribe_from_topic", "v1"),
    ("admin_7", "subscribe_to_topic_async", "unsubscribe_from_topic_async", "v1"),
    ("node_11", "subscribeToTopic", "unsubscribeFromTopic", "batch"),
    ("node_13", "subscribeToTopic", "unsubscribeFromTopic", "batch"),
    ("node_14", "subscribeToTopicLegacy", "unsubscribeFromTopicLegacy", "batch"),
    ("node_14", "subscribeToTopic", "unsubscribeFromTopic", "v1"),
]
TOPIC = "50%-off_~.x"


class Way:
    """Two calls of one client."""

    def __init__(self, client: Client, calls: tuple[str, str], wire: str, emulator: Emulator) -> None:
        self._client = client
        self._calls = calls
        self.wire = wire
        self.emulator = emulator

    def subscribe(self, *tokens: str, topic: str = TOPIC) -> dict[str, object]:
        return self._client("topic", name=self._calls[0], tokens=tokens, topic=topic)

    def unsubscribe(self, *tokens: str, topic: str = TOPIC) -> dict[str, object]:
        return self._client("topic", name=self._calls[1], tokens=tokens, topic=topic)

    def members(self) -> list[str]:
        return self.emulator.get("topics", project=PROJECT, topic=TOPIC)["subscribers"]


@pytest.fixture(params=WAYS, ids=lambda way: "-".join(way[:2]))
def way(request: pytest.FixtureRequest) -> Way:
    name, subscribe, unsubscribe, wire = request.param
    emulator: Emulator = request.getfixturevalue(EMULATORS[name])
    client: Client = request.getfixturevalue(name)
    emulator.reset()
    return Way(client, (subscribe, unsubscribe), wire, emulator)


def done(count: int) -> dict[str, object]:
    return {"succeeded": count, "failed": 0, "errors": {}}


def test_tokens_follow_a_topic_and_leave_it(way: Way) -> None:
    assert way.subscribe("a:b", "c", topic=f"/topics/{TOPIC}") == done(2)
    assert way.members() == ["a:b", "c"]
    assert way.unsubscribe("a:b") == done(1)
    assert way.members() == ["c"]
    calls = way.emulator.get("calls")["rows"]
    assert {row[4] for row in calls} == {way.wire}
    assert len({row[2] for row in calls}) == (2 if way.wire == "batch" else 3)


def test_what_is_so_already_is_done(way: Way) -> None:
    assert [way.subscribe("a"), way.subscribe("a")] == [done(1)] * 2
    assert [way.unsubscribe("a"), way.unsubscribe("a")] == [done(1)] * 2


def test_each_refusal_is_reported_in_its_place(way: Way) -> None:
    way.emulator.tokens(dead="unregistered", broken="invalid", foreign="wrong-sender")
    answer = way.subscribe("alive", "dead", "broken", "well", "foreign")
    assert (answer["succeeded"], answer["failed"], sorted(answer["errors"])) == (2, 3, ["1", "2", "4"])
    assert way.members() == ["alive", "well"]


def test_over_the_rate_the_rest_is_refused(way: Way) -> None:
    way.emulator.put("faults", {"subscriptions_per_s": 2})
    answer = way.subscribe("a", "b", "c")
    assert answer["succeeded"] == 2 or way.wire == "v1"  # single calls may come in two seconds
    assert answer["succeeded"] == len(way.members())


def test_a_refused_call_is_an_error_of_the_whole_or_of_each(way: Way) -> None:
    way.emulator.rules({"per": "request", "wire": "iid", "error": "PERMISSION_DENIED"})
    answer = way.subscribe("a", "b")
    assert "raised" in answer if way.wire == "batch" else answer["failed"] == 2
    assert way.members() == []

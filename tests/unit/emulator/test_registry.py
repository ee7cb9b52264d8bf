import pytest

from dispatcher.emulator.registry import REFUSAL_OF, Registry


def test_a_token_nobody_told_of_is_registered_on_first_sight() -> None:
    registry = Registry()
    assert registry.token_state("p", "fQ7x:APA91b") == "registered"
    assert registry.project("p").tokens == {"fQ7x:APA91b": "registered"}


@pytest.mark.parametrize("policy", ["unregistered", "invalid"])
def test_unknown_tokens_can_be_refused_instead(policy: str) -> None:
    assert Registry(policy).token_state("p", "anything") == policy


@pytest.mark.parametrize("token", ["", "with space", "line\nend", "ünicode", "x" * 4097])
def test_a_malformed_token_is_invalid(token: str) -> None:
    assert Registry().token_state("p", token) == "invalid"


def test_tokens_are_set_by_name_and_by_prefix_and_names_win() -> None:
    registry = Registry()
    registry.token_state("p", "ios-old")
    registry.set_tokens("p", {"ios-good": "registered", "gone": "unregistered"}, {"ios-": "apns-auth-error"})
    assert registry.token_state("p", "ios-old") == "apns-auth-error"
    assert registry.token_state("p", "ios-new") == "apns-auth-error"
    assert registry.token_state("p", "ios-good") == "registered"
    assert registry.token_state("p", "gone") == "unregistered"


def test_projects_know_nothing_of_each_other() -> None:
    registry = Registry()
    registry.set_tokens("p", {"t": "wrong-sender"}, {})
    assert registry.token_state("q", "t") == "registered"


def test_every_bad_state_has_its_refusal() -> None:
    assert set(REFUSAL_OF) == {"unregistered", "invalid", "wrong-sender", "apns-auth-error"}


def test_a_follower_that_was_never_sent_to_is_reached_if_it_is_registered() -> None:
    registry = Registry()
    registry.set_tokens("p", {"gone": "unregistered"}, {"old-": "unregistered"})
    registry.subscribe("p", "news", ["b", "a", "gone", "old-1"])
    assert registry.reached("p", "topic", "news") == ("a", "b")
    assert registry.reached("p", "condition", "'news' in topics") == ("a", "b")
    assert registry.reached("p", "fid", "x") == ()


def test_topics_come_into_being_by_use_and_keep_subscribers() -> None:
    registry = Registry()
    registry.saw_topic("p", "news")
    registry.subscribe("p", "harvest", ["a", "b"])
    registry.unsubscribe("p", "harvest", ["b", "never"])
    assert registry.project("p").topics == {"news": set(), "harvest": {"a"}}

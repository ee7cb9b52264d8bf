"""What the emulator knows of tokens, topics and device groups, project by project."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from dispatcher.protocol import condition

TokenState = Literal["registered", "unregistered", "invalid", "wrong-sender", "apns-auth-error"]
UnknownTokens = Literal["accept", "unregistered", "invalid"]
KnownAs = TokenState | Literal["group"]
"""What a token is known as; `group`: it is no token, but a device group's notification key, which is sent to like one."""

REFUSAL_OF: dict[str, str] = {
    "unregistered": "UNREGISTERED",
    "invalid": "INVALID_REGISTRATION",
    "wrong-sender": "SENDER_ID_MISMATCH",
    "apns-auth-error": "THIRD_PARTY_AUTH_ERROR",
}
"""What a send to a token in this state is answered with."""

# Tokens are opaque; nothing but printable ASCII without spaces was ever seen in one.
_WELL_FORMED = re.compile(r"[\x21-\x7e]{1,4096}").fullmatch


class App(msgspec.Struct, frozen=True):
    """What the service knows of the app instance behind a token."""

    application: str
    platform: Literal["ANDROID", "IOS", "CHROME"]


SOME_APP = App("com.example.app", "ANDROID")
"""Behind a token that nobody imported."""


class Group(msgspec.Struct):
    """A device group: its name, its notification key, and its members in the order in which they came."""

    name: str
    key: str
    members: dict[str, None] = {}


class ProjectState(msgspec.Struct):
    """One project's tokens, topics and groups.

    Attributes:
        tokens: every token that was ever named, and its state.
        prefixes: states of tokens that begin so; looked at when a token is seen for the first time.
        topics: subscribers of each topic; a topic exists once it was subscribed to or sent to.
        follows: the topics of each token, with the day on which it was subscribed.
        apps: what is known of imported tokens.
        groups, keys: device groups by name and by notification key.
        ended: notification keys whose last member has gone.
        canonical: tokens that have a newer one, and which that is; legacy sends tell it.
    """

    tokens: dict[str, KnownAs] = {}
    prefixes: dict[str, TokenState] = {}
    topics: dict[str, set[str]] = {}
    follows: dict[str, dict[str, str]] = {}
    apps: dict[str, App] = {}
    groups: dict[str, Group] = {}
    keys: dict[str, Group] = {}
    ended: set[str] = set()
    canonical: dict[str, str] = {}


class _Followed:
    """The topics that a token follows, as a condition asks for them."""

    __slots__ = ("_token", "_topics")

    def __init__(self, topics: dict[str, set[str]], token: str) -> None:
        self._topics = topics
        self._token = token

    def __contains__(self, topic: object) -> bool:
        return self._token in self._topics.get(topic, ())  # type: ignore[call-overload]  # conditions ask for text


class Registry:
    """Tokens and topics of all projects.

    A token nobody has told of is registered on first sight, unless `unknown` says otherwise: a team's
    tests need not enrol every made-up token first.
    """

    def __init__(self, unknown: UnknownTokens = "accept") -> None:
        self.unknown: UnknownTokens = unknown
        self._projects: dict[str, ProjectState] = {}

    def project(self, project: str) -> ProjectState:
        """The state of a project; empty at first."""
        state = self._projects.get(project)
        if state is None:
            state = self._projects[project] = ProjectState()
        return state

    def projects(self) -> list[str]:
        """Projects that anything is known of."""
        return sorted(self._projects)

    def token_state(self, project: str, token: str) -> KnownAs:
        """The state of a token; remembered from now on."""
        known = self.project(project)
        state = known.tokens.get(token)
        if state is None:
            state = known.tokens[token] = self._first_sight(known, token)
        return state

    def _first_sight(self, known: ProjectState, token: str) -> TokenState:
        if not _WELL_FORMED(token):
            return "invalid"
        for prefix, state in known.prefixes.items():
            if token.startswith(prefix):
                return state
        return "registered" if self.unknown == "accept" else self.unknown

    def set_tokens(
        self, project: str, states: dict[str, TokenState], prefixes: dict[str, TokenState]
    ) -> None:
        """Sets tokens by name and by prefix; a prefix also changes tokens seen before, unless named here."""
        known = self.project(project)
        known.prefixes.update(prefixes)
        for prefix, state in prefixes.items():
            for token in known.tokens:
                if token.startswith(prefix):
                    known.tokens[token] = state
        known.tokens.update(states)

    def saw_topic(self, project: str, topic: str) -> None:
        """A message to this topic was taken."""
        self.project(project).topics.setdefault(topic, set())

    def subscribe(self, project: str, topic: str, tokens: Iterable[str], day: str = "") -> None:
        """Subscribes tokens to a topic; `day` as 2026-03-02."""
        known = self.project(project)
        members = known.topics.setdefault(topic, set())
        for token in tokens:
            if token not in members:
                members.add(token)
                known.follows.setdefault(token, {})[topic] = day

    def unsubscribe(self, project: str, topic: str, tokens: Iterable[str]) -> None:
        """Takes tokens off a topic; unknown ones are passed over."""
        known = self.project(project)
        members = known.topics.setdefault(topic, set())
        for token in tokens:
            if token in members:
                members.discard(token)
                known.follows[token].pop(topic, None)

    def end(self, project: str, token: str) -> None:
        """A token is no more; what it followed, it follows no longer."""
        known = self.project(project)
        known.tokens[token] = "unregistered"
        for topic in known.follows.pop(token, {}):
            known.topics[topic].discard(token)

    def reached(self, project: str, kind: str, value: str) -> tuple[str, ...]:
        """The registered tokens that a message to a topic, a condition or a group reaches, sorted."""
        known = self.project(project)
        found: Iterable[str]
        if kind == "topic":
            found = known.topics.get(value, ())
        elif kind == "condition":
            found = self._fulfilling(known, value)
        elif kind == "group":
            found = known.keys[value].members
        else:
            return ()
        return tuple(sorted(token for token in found if self.token_state(project, token) == "registered"))

    def _fulfilling(self, known: ProjectState, text: str) -> Iterable[str]:
        """The tokens for which a condition holds."""
        rule = condition.parse(text)
        if isinstance(rule, condition.Misread):
            return ()
        followers: Iterable[str] = known.tokens
        if not rule.evaluate(()):  # then nobody is meant who follows none of its topics
            followers = set().union(*(known.topics.get(topic, ()) for topic in rule.topics))
        return [token for token in followers if rule.evaluate(_Followed(known.topics, token))]

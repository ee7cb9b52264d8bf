"""What the emulator knows of tokens and topics, project by project."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

TokenState = Literal["registered", "unregistered", "invalid", "wrong-sender", "apns-auth-error"]
UnknownTokens = Literal["accept", "unregistered", "invalid"]

REFUSAL_OF: dict[str, str] = {
    "unregistered": "UNREGISTERED",
    "invalid": "INVALID_REGISTRATION",
    "wrong-sender": "SENDER_ID_MISMATCH",
    "apns-auth-error": "THIRD_PARTY_AUTH_ERROR",
}
"""What a send to a token in this state is answered with."""

# Tokens are opaque; nothing but printable ASCII without spaces was ever seen in one.
_WELL_FORMED = re.compile(r"[\x21-\x7e]{1,4096}").fullmatch


class ProjectState(msgspec.Struct):
    """One project's tokens and topics.

    Attributes:
        tokens: every token that was ever named, and its state.
        prefixes: states of tokens that begin so; looked at when a token is seen for the first time.
        topics: subscribers of each topic; a topic exists once it was subscribed to or sent to.
    """

    tokens: dict[str, TokenState] = {}
    prefixes: dict[str, TokenState] = {}
    topics: dict[str, set[str]] = {}


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

    def token_state(self, project: str, token: str) -> TokenState:
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

    def subscribe(self, project: str, topic: str, tokens: list[str]) -> None:
        """Subscribes tokens to a topic."""
        self.project(project).topics.setdefault(topic, set()).update(tokens)

    def unsubscribe(self, project: str, topic: str, tokens: list[str]) -> None:
        """Takes tokens off a topic; unknown ones are passed over."""
        self.project(project).topics.setdefault(topic, set()).difference_update(tokens)

"""What the management services say of a token: by its state, by a limit, or by a rule that was scripted."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from dispatcher.emulator.calls import Deed
from dispatcher.emulator.faults import Faults, Rule
from dispatcher.emulator.limits import Limits
from dispatcher.emulator.messages import Trouble
from dispatcher.emulator.registry import KnownAs, Registry
from dispatcher.emulator.wire import JSON_TYPE, VARY, Reply
from dispatcher.protocol.answer import rpc_error
from dispatcher.protocol.call import text_error

WORD_OF_STATE: dict[KnownAs, str] = {
    "registered": "",
    "apns-auth-error": "",  # Apple is asked at a send, not here
    "unregistered": "NOT_FOUND",
    "invalid": "INVALID_ARGUMENT",
    "wrong-sender": "PERMISSION_DENIED",
    "group": "INVALID_ARGUMENT",
}
"""What a bulk call says of a token in this state (Instance ID rules, section 4)."""

_WORD_OF_REFUSAL = {
    "UNREGISTERED": "NOT_FOUND",
    "SENDER_ID_MISMATCH": "PERMISSION_DENIED",
    "INVALID_REGISTRATION": "INVALID_ARGUMENT",
    "INVALID_REGISTRATION_BARE": "INVALID_ARGUMENT",
    "QUOTA_EXCEEDED": "RESOURCE_EXHAUSTED",
    "QUOTA_EXCEEDED_PROJECT": "RESOURCE_EXHAUSTED",
    "QUOTA_EXCEEDED_DEVICE": "RESOURCE_EXHAUSTED",
    "QUOTA_EXCEEDED_TOPIC": "RESOURCE_EXHAUSTED",
    "RATE_LIMIT_EXCEEDED": "RESOURCE_EXHAUSTED",
    "UNSPECIFIED_ERROR": "UNKNOWN",
}
"""A rule without `wire` names FCM's refusals; here they are told in the words of the services."""

_SAID: dict[str, tuple[int, str, str]] = {
    "NOT_FOUND": (404, "NOT_FOUND", "No information found about this instance id."),
    "INVALID_ARGUMENT": (400, "INVALID_ARGUMENT", "InvalidToken"),
    "TOO_MANY_TOPICS": (400, "FAILED_PRECONDITION", "TOO_MANY_TOPICS"),
    "PERMISSION_DENIED": (403, "PERMISSION_DENIED", "SenderId mismatch"),
    "RESOURCE_EXHAUSTED": (429, "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED"),
    "INTERNAL": (500, "INTERNAL", "InternalServerError"),
    "UNKNOWN": (500, "UNKNOWN", "UNKNOWN"),
    "UNAVAILABLE": (503, "UNAVAILABLE", "Unavailable"),
    "DEADLINE_EXCEEDED": (504, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
}
"""How a call about one token says what a bulk call has a word for: HTTP status, google.rpc status, text."""

_WORD_OF_STATUS = {404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}


class Asking(msgspec.Struct):
    """One call while it is answered.

    Attributes:
        project: for whom.
        now: Unix seconds.
        trouble: effects of rules on the whole answer are added here.
        deeds: what the call asks for, to be recorded.
        retry_after: seconds that a rule tells those it refuses.
    """

    project: str
    now: float
    trouble: Trouble
    deeds: list[Deed] = []
    retry_after: float | None = None


class Judge:
    """Says of each token of a call what is wrong with it: what a rule has scripted, else the token's state."""

    def __init__(
        self, registry: Callable[[], Registry], faults: Callable[[], Faults], limits: Callable[[], Limits]
    ) -> None:
        """Each is asked anew for every call: the admin API replaces them."""
        self._registry = registry
        self._faults = faults
        self._limits = limits

    @property
    def registry(self) -> Registry:
        """Tokens, topics and groups as they are now."""
        return self._registry()

    @property
    def faults(self) -> Faults:
        """The rules in force."""
        return self._faults()

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self._limits()

    def scripted(self, asking: Asking, kind: str, value: str) -> str:
        """The word of the rule that this token meets; "": none, or one that only concerns the whole answer."""
        rule = self.faults.for_message("iid", asking.project, kind, value)
        if rule is None:
            return ""
        asking.trouble.add(rule)
        if rule.retry_after is not None:
            asking.retry_after = rule.retry_after
        return word_of(rule)

    def token(self, asking: Asking, token: str) -> str:
        """What is wrong with a registration token; "": nothing."""
        return (
            self.scripted(asking, "token", token)
            or WORD_OF_STATE[self.registry.token_state(asking.project, token)]
        )


def word_of(rule: Rule) -> str:
    """What a rule for single messages says of a token."""
    if rule.error:
        return _WORD_OF_REFUSAL.get(rule.error, rule.error)
    if rule.status is not None and rule.status >= 400:
        return _WORD_OF_STATUS.get(rule.status, "UNKNOWN")
    return ""


def said(word: str) -> Reply:
    """The answer of Instance ID to a call about one token."""
    status, _, text = _SAID.get(word, (400, "", word))
    return reply(status, text_error(text))


def said_by_google(word: str) -> Reply:
    """The answer of a v1 resource about one token."""
    status, rpc_status, text = _SAID.get(word, (400, "INVALID_ARGUMENT", word))
    if word == "INVALID_ARGUMENT":
        text = "The registration is not valid."
    return reply(*rpc_error(status, rpc_status, text))


def reply(status: int, body: bytes) -> Reply:
    """A reply that carries JSON, or nothing."""
    return Reply(status, [("content-type", JSON_TYPE), *VARY] if body else [*VARY], body)


def denied(status: int, text: str) -> Reply:
    """A reply that says no in the services' own way."""
    return reply(status, text_error(text))

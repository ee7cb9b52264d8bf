"""What becomes of a legacy message at one recipient: the rules of sending in the words of the legacy protocols."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import msgspec

from dispatcher.emulator.faults import Rule, Wire
from dispatcher.emulator.ledger import Arrival
from dispatcher.emulator.messages import Messages, Trouble
from dispatcher.emulator.registry import KnownAs

WORD_OF_STATE: dict[KnownAs, str] = {
    "unregistered": "NotRegistered",
    "invalid": "InvalidRegistration",
    "wrong-sender": "MismatchSenderId",
    "apns-auth-error": "InvalidApnsCredential",
}
"""What a send to a token in this state is answered with (legacy rules, section 4)."""

_WORD_OF_REFUSAL = {
    "UNREGISTERED": "NotRegistered",
    "INVALID_REGISTRATION": "InvalidRegistration",
    "INVALID_REGISTRATION_BARE": "InvalidRegistration",
    "SENDER_ID_MISMATCH": "MismatchSenderId",
    "THIRD_PARTY_AUTH_ERROR": "InvalidApnsCredential",
    "QUOTA_EXCEEDED": "DeviceMessageRateExceeded",
    "QUOTA_EXCEEDED_DEVICE": "DeviceMessageRateExceeded",
    "QUOTA_EXCEEDED_TOPIC": "TopicsMessageRateExceeded",
    "QUOTA_EXCEEDED_PROJECT": "Unavailable",
    "RATE_LIMIT_EXCEEDED": "Unavailable",
    "UNAVAILABLE": "Unavailable",
    "INTERNAL": "InternalServerError",
    "INVALID_ARGUMENT": "InvalidParameters",
}
"""A rule without `wire` names FCM's refusals of today."""

_WORD_OF_EXCESS = {
    "project": "Unavailable",
    "token": "DeviceMessageRateExceeded",
    "topic": "TopicsMessageRateExceeded",
    "condition": "TopicsMessageRateExceeded",
}
CHECKED = "fake_message_id"
"""The name of every message that was only checked."""


class Content(msgspec.Struct, gc=False):
    """What must be known of a message, for all of its recipients.

    Attributes:
        id: `id` of its data; "": none.
        digest: of all but the recipients.
        dry_run: it is to be checked, not sent.
    """

    id: str
    digest: int
    dry_run: bool


class Delivery(msgspec.Struct):
    """One message at one recipient.

    Attributes:
        arrival: its row in the ledger; `code` is OK, VALIDATED, or the error's name.
        message_id: its name; "": it was not taken, or a group took it.
        replacement: the token to use from now on.
        failed: members of a device group that did not get it; None: it is no group.
        retry_after: seconds that those who have to wait are told.
        form: how they are told.
        status: HTTP status that a rule asks for in place of an answer; 0: none.
        rule: which rule that was.
    """

    arrival: Arrival
    message_id: str = ""
    replacement: str = ""
    failed: list[str] | None = None
    retry_after: float | None = None
    form: str = "seconds"
    status: int = 0
    rule: Rule | None = None

    @property
    def error(self) -> str:
        """The error's name; "": none."""
        return "" if self.arrival.code in ("OK", "VALIDATED") else self.arrival.code


def word_of(rule: Rule) -> str:
    """What a rule says of a recipient, in a word of the legacy protocols."""
    return _WORD_OF_REFUSAL.get(rule.error, rule.error)


class Recipients:
    """Decides for recipients of legacy messages.

    Args:
        messages: holds registry, limits and faults, which are replaced when they are reset.
    """

    def __init__(self, messages: Messages) -> None:
        self._messages = messages

    def deliver(
        self,
        wire: Wire,
        project: str,
        kind: str,
        value: str,
        content: Content,
        now: float,
        trouble: Trouble,
        *,
        alone: bool = True,
    ) -> Delivery:
        """Delivers one message that is right in itself.

        Args:
            wire: how it came.
            project: for whom.
            kind: token, topic or condition; a device group's key comes as a token.
            value: the recipient.
            content: of the message.
            now: Unix seconds.
            trouble: effects of rules on the whole answer are added here.
            alone: the only recipient of its message; a device group can be no other.
        """
        messages, registry = self._messages, self._messages.registry
        delivery = Delivery(arrival_of(project, kind, value, content))
        arrival = delivery.arrival
        if self._scripted(wire, delivery, trouble):
            return delivery
        if kind == "token":
            state = registry.token_state(project, value)
            known = registry.project(project)
            if alone and (state == "group" or value in known.ended):
                arrival.kind = "group"
            elif state != "registered":
                messages.limits.charge(project, now)
                arrival.code = WORD_OF_STATE.get(state, "InvalidRegistration")
                return delivery
            delivery.replacement = known.canonical.get(value, "")
        elif kind == "topic":
            registry.saw_topic(project, value)
        excess = messages.limits.admit(project, kind, value, now)
        if excess is not None:
            arrival.code = _WORD_OF_EXCESS.get(excess.of, "Unavailable")
            delivery.retry_after, delivery.form = excess.retry_after, excess.form
            return delivery
        if content.dry_run:
            arrival.code = "VALIDATED"
            delivery.message_id = CHECKED
        elif arrival.kind == "group":
            self._to_group(wire, delivery, content, trouble)
        else:
            arrival.recipients = registry.reached(project, kind, value)
            delivery.message_id = messages.name(project, kind, now).rpartition("/")[2]
        return delivery

    def _to_group(self, wire: Wire, delivery: Delivery, content: Content, trouble: Trouble) -> None:
        """Each member by itself, by its state and by the rules that it meets."""
        arrival, registry = delivery.arrival, self._messages.registry
        group = registry.project(arrival.project).keys.get(arrival.target)
        reached, delivery.failed = [], []
        for member in group.members if group is not None else ():
            part = Delivery(arrival_of(arrival.project, "token", member, content))
            well = registry.token_state(arrival.project, member) == "registered"
            if self._scripted(wire, part, trouble) or not well:
                delivery.failed.append(member)
                delivery.retry_after = delivery.retry_after or part.retry_after
            else:
                reached.append(member)
        arrival.recipients = tuple(sorted(reached))

    def _scripted(self, wire: Wire, delivery: Delivery, trouble: Trouble) -> bool:
        """Whether a rule has decided."""
        arrival = delivery.arrival
        rule = self._messages.faults.for_message(wire, arrival.project, arrival.kind, arrival.target)
        if rule is None:
            return False
        trouble.add(rule)
        delivery.retry_after, delivery.form = rule.retry_after, rule.retry_after_form
        if rule.cut == "before":
            arrival.status, arrival.code = 0, "CUT"
            return True
        if rule.error:
            arrival.code = word_of(rule)
            return True
        if rule.status is not None:
            delivery.status, delivery.rule = rule.status, rule
            arrival.status, arrival.code = rule.status, f"HTTP_{rule.status}"
            return True
        return False


def content_of(document: dict[str, Any]) -> Content:
    """What a message says, its recipients apart."""
    data = document.get("data")
    name = data.get("id", "") if isinstance(data, dict) else ""
    said = {key: part for key, part in document.items() if key not in ("registration_ids", "to")}
    return Content(str(name), crc32(msgspec.json.encode(said)), bool(document.get("dry_run")))


def arrival_of(project: str, kind: str, value: str, content: Content) -> Arrival:
    """The row for the ledger of a message at one recipient, taken so far."""
    return Arrival(project, kind, value, content.id, content.digest, 200, "OK")

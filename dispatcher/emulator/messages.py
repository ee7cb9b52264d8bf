"""The rules of `messages:send`: what becomes of one message, alone or as a part of a batch."""

from __future__ import annotations

import re
from zlib import crc32

import msgspec

from dispatcher.emulator.faults import Faults, Rule, Wire
from dispatcher.emulator.ledger import Arrival
from dispatcher.emulator.limits import Excess, Limits
from dispatcher.emulator.reading import Unreadable, read
from dispatcher.emulator.refusals import extra_headers, refusal
from dispatcher.emulator.registry import REFUSAL_OF, Registry
from dispatcher.emulator.wire import HTML_TYPE, JSON_TYPE, html_reply
from dispatcher.protocol.answer import success_body

_SEND_PATH = re.compile(r"/v1/projects/([^/:?#\s]+)/messages:send").fullmatch

_EXCESS = {
    "project": "QUOTA_EXCEEDED_PROJECT",
    "token": "QUOTA_EXCEEDED_DEVICE",
    "topic": "QUOTA_EXCEEDED_TOPIC",
}


def project_of(path: str) -> str | None:
    """The project that a `messages:send` path names; None for any other path."""
    match = _SEND_PATH(path)
    return match[1] if match else None


class Answered(msgspec.Struct, gc=False):
    """The answer to one message, and what the ledger keeps of it.

    Attributes:
        status: HTTP status.
        body: JSON, unless a rule has something else.
        arrival: the row for the ledger.
        headers: beside Content-Type and Vary, as {"Retry-After": "60"}.
        content_type: of the body.
    """

    status: int
    body: bytes
    arrival: Arrival
    headers: dict[str, str] = {}
    content_type: str = JSON_TYPE


class Trouble:
    """What message rules ask to happen to the HTTP answer as a whole; several of them add up."""

    __slots__ = ("cut", "delay", "keep", "parts")

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.cut = False
        self.keep: int | None = None
        self.parts: list[str] = []

    def add(self, rule: Rule) -> None:
        """Takes over the effects of a rule that concern the whole answer."""
        self.delay = max(self.delay, rule.delay)
        self.cut = self.cut or rule.cut != ""
        if rule.truncate is not None:
            self.keep = rule.truncate if self.keep is None else min(self.keep, rule.truncate)
        if rule.parts:
            self.parts.append(rule.parts)


class Messages:
    """Decides about messages.

    Attributes:
        registry, limits, faults: replaced as a whole when the admin API resets them.
    """

    def __init__(self, registry: Registry, limits: Limits, faults: Faults, suffix: str) -> None:
        """`suffix`: 16 hexadecimal digits that end the names of device messages; differs between processes."""
        self.registry = registry
        self.limits = limits
        self.faults = faults
        self._suffix = suffix
        self._micros = 0

    def answer(self, wire: Wire, project: str, body: bytes, now: float, trouble: Trouble) -> Answered:
        """Answers one message.

        Args:
            wire: how it came.
            project: to whom; the caller may send for it.
            body: the request body.
            now: Unix seconds.
            trouble: effects on the whole answer are added here.
        """
        content = read(body)
        digest = crc32(body)
        if isinstance(content, Unreadable):
            self.limits.charge(project, now)
            arrival = Arrival(project, "", "", "", digest, content.status, content.code)
            return Answered(content.status, content.body, arrival)
        kind, value = content.kind, content.value
        arrival = Arrival(project, kind, value, content.id, digest, 200, "OK")
        rule = self.faults.for_message(wire, project, kind, value)
        if rule is not None:
            trouble.add(rule)
            spoilt = self._spoilt(rule, arrival, now)
            if spoilt is not None:
                return spoilt
        shared = kind != "token"
        if not shared:
            state = self.registry.token_state(project, value)
            if state == "group":
                shared = True
                arrival.kind = "group"
            elif state != "registered":
                self.limits.charge(project, now)
                return _refused(REFUSAL_OF[state], arrival, now)
        elif kind == "topic":
            self.registry.saw_topic(project, value)
        excess = self.limits.admit(project, kind, value, now)
        if excess is not None:
            return _throttled(excess, arrival, now)
        if content.validate_only:
            arrival.code = "VALIDATED"
            # A message that was only checked has a constant for a name (v1 wire rules, section 1).
            return Answered(200, success_body(f"projects/{project}/messages/fake_message_id"), arrival)
        if shared:
            arrival.recipients = self.registry.reached(project, arrival.kind, value)
        return Answered(200, success_body(self.name(project, kind, now)), arrival)

    def name(self, project: str, kind: str, now: float) -> str:
        """A name that no other message has; topics get bare digits (v1 wire rules, section 6)."""
        micros = self._micros = max(self._micros + 1, int(now * 1e6))
        if kind in ("token", "fid"):
            return f"projects/{project}/messages/0:{micros}%{self._suffix}"
        return f"projects/{project}/messages/{micros}{int(self._suffix[:2], 16):03d}"

    def _spoilt(self, rule: Rule, arrival: Arrival, now: float) -> Answered | None:
        """The answer a rule gives in place of the usual one; None: it changes only the way of the answer."""
        if rule.cut == "before":
            arrival.status, arrival.code = 0, "CUT"
            return Answered(503, b"", arrival)
        if rule.error:
            return _refused(rule.error, arrival, now, rule.retry_after, rule.retry_after_form)
        if rule.status is not None:
            content_type, body = bare(rule, rule.status)
            arrival.status, arrival.code = rule.status, f"HTTP_{rule.status}"
            headers = extra_headers("", rule.retry_after, rule.retry_after_form, now)
            return Answered(rule.status, body, arrival, headers, content_type)
        return None


def bare(rule: Rule, status: int) -> tuple[str, bytes]:
    """Content type and body of a rule's bare HTTP answer: its own body, else a front end's page."""
    if rule.body is None:
        sentence = "The server encountered an error and could not complete your request."
        return HTML_TYPE, html_reply(status, "Error", sentence).body
    is_json = rule.body.lstrip()[:1] in ("{", "[")
    return rule.content_type or (JSON_TYPE if is_json else HTML_TYPE), rule.body.encode()


def _refused(
    name: str, arrival: Arrival, now: float, retry_after: float | None = None, form: str = "seconds"
) -> Answered:
    status, body = refusal(name, arrival.project)
    arrival.status, arrival.code = status, name
    return Answered(status, body, arrival, extra_headers(name, retry_after, form, now))


def _throttled(excess: Excess, arrival: Arrival, now: float) -> Answered:
    return _refused(_EXCESS.get(excess.of, "QUOTA_EXCEEDED"), arrival, now, excess.retry_after, excess.form)

"""The emulator as a whole: which part of it answers which request. Knows no socket."""

from __future__ import annotations

import time
from collections.abc import Callable

from dispatcher.emulator import legacy
from dispatcher.emulator.admin import Admin
from dispatcher.emulator.batch import answer_batch, named_project, whole_refusal
from dispatcher.emulator.faults import Rule, Scenario, Wire
from dispatcher.emulator.judge import said, word_of
from dispatcher.emulator.ledger import Arrival
from dispatcher.emulator.management import Management
from dispatcher.emulator.messages import Trouble, bare, project_of
from dispatcher.emulator.recipients import Recipients
from dispatcher.emulator.refusals import extra_headers, refusal
from dispatcher.emulator.state import State
from dispatcher.emulator.wire import JSON_TYPE, VARY, Headers, Reply, Request, html_reply, not_found
from dispatcher.emulator.xmpp import Xmpp

TOKEN_PATHS = frozenset({"/token", "/o/oauth2/token"})
"""Where access tokens are had: today's endpoint, and that of accounts.google.com, which older SDKs still ask."""


class Emulator:
    """A local FCM: one request in, one reply out.

    Attributes:
        state: all it remembers.
        xmpp: its XMPP side.
    """

    def __init__(self, scenario: Scenario | None = None, *, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives Unix seconds."""
        self.state = State(scenario)
        self._clock = clock
        self.xmpp = Xmpp(self.state, clock)
        self._admin = Admin(self.state, self.xmpp)
        self._management = Management(self.state)
        self._legacy = legacy.LegacySends(Recipients(self.state.messages), self.state.authority)

    def handle(self, request: Request) -> Reply:
        """Answers one HTTP request."""
        path = request.path
        if path.startswith("/_emulator/"):
            return self._admin.handle(request)
        project = None
        call = None
        wire: Wire
        if path == "/batch":
            wire = "batch"
        elif path in legacy.PATHS:
            wire = "legacy"
        elif path in TOKEN_PATHS:
            wire = "oauth"
        else:
            project = project_of(path)
            wire = "v1"
            if project is None:
                call = self._management.call(request)
                if call is None:
                    return not_found(path)
                wire = "iid"
        if request.method != "POST" and call is None:
            return html_reply(
                405, "Method Not Allowed", f"The request method {request.method} is not allowed here."
            )
        self.state.ledger.versions[request.version] += 1
        now = self._clock()
        faults = self.state.messages.faults
        trouble = Trouble(0.0 if wire == "oauth" else faults.scenario.latency)
        rule = faults.for_request(wire, path)
        reply = (
            self._spoilt(rule, wire, project, request, trouble=trouble, now=now) if rule is not None else None
        )
        if reply is None and call is not None:
            reply = self._management.answer(call, request, now, trouble)
        elif reply is None:
            reply = self._served(wire, project, request, now, trouble)
        reply.delay = trouble.delay
        reply.cut = reply.cut or trouble.cut
        reply.keep = trouble.keep
        return reply

    def _served(
        self, wire: Wire, project: str | None, request: Request, now: float, trouble: Trouble
    ) -> Reply:
        if wire == "oauth":
            return self.state.authority.token_endpoint(request, now)
        arrivals: list[Arrival]
        if wire == "batch":
            reply, arrivals = answer_batch(request, self.state.messages, self.state.authority, now, trouble)
        elif wire == "legacy":
            reply, arrivals = self._legacy.answer(request, now, trouble)
        else:
            reply, arrivals = self._single(project or "", request, now, trouble)
        if arrivals:
            self.state.ledger.record(wire, arrivals, now)
        else:
            self.state.ledger.refuse(wire, reply.status)
        return reply

    def _single(
        self, project: str, request: Request, now: float, trouble: Trouble
    ) -> tuple[Reply, list[Arrival]]:
        name = self.state.authority.refusal_of(request.header("authorization"), project, now)
        if name:
            status, body = refusal(name, project)
            return _reply(status, body, extra_headers(name, None, "", now), JSON_TYPE), []
        project = self.state.authority.named(project)
        answered = self.state.messages.answer("v1", project, request.body, now, trouble)
        reply = _reply(answered.status, answered.body, answered.headers, answered.content_type)
        return reply, [answered.arrival]

    def _spoilt(
        self, rule: Rule, wire: Wire, project: str | None, request: Request, *, trouble: Trouble, now: float
    ) -> Reply | None:
        """The answer that a rule for whole requests gives; None: the request is served, with trouble on the way."""
        trouble.add(rule)
        if rule.cut == "before":
            self.state.ledger.refuse(wire, 0)
            return Reply(503, [], b"", cut=True)
        if rule.error and wire == "iid":
            reply = said(word_of(rule))
            listed = extra_headers("", rule.retry_after, rule.retry_after_form, now).items()
            reply.headers += [(name.lower(), value) for name, value in listed]
            self.state.ledger.refuse(wire, reply.status)
            return reply
        if wire == "legacy" and (rule.error or rule.status is not None):
            reply = legacy.whole_answer(rule, now)
            self.state.ledger.refuse(wire, reply.status)
            return reply
        if rule.error:
            project = project or named_project(request.body)
            status, body = refusal(rule.error, project)
            headers = extra_headers(rule.error, rule.retry_after, rule.retry_after_form, now)
            self.state.ledger.refuse(wire, status)
            return (
                whole_refusal(status, body, headers)
                if wire == "batch"
                else _reply(status, body, headers, JSON_TYPE)
            )
        if rule.status is not None:
            content_type, body = bare(rule, rule.status)
            self.state.ledger.refuse(wire, rule.status)
            headers = extra_headers("", rule.retry_after, rule.retry_after_form, now)
            return _reply(rule.status, body, headers, content_type)
        return None


def _reply(status: int, body: bytes, headers: dict[str, str], content_type: str) -> Reply:
    listed: Headers = [(name.lower(), value) for name, value in headers.items()] if headers else []
    return Reply(status, [("content-type", content_type), *VARY, *listed], body)

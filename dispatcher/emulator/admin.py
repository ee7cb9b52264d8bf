"""The admin API under `/_emulator/`: what arrived, and what shall happen from now on.

For tests and demos: it asks for no credentials, like the rest of a process that serves loopback only.

    GET    health                   ready; projects with credentials
    GET    summary                  totals by status, code, project, kind and wire
    GET    counts?by=               messages by `target`, `id`, `status` or `code`; also accepted=1, min=N, project=, kind=
    GET    ledger?after=&limit=     rows in order of arrival; also project=, kind=, target=, id=
    GET    deliveries?after=&limit= whom messages to topics, conditions and groups reached; also project=, kind=,
                                    target=, id=, token=
    GET    calls?after=&limit=      what management services were asked, token by token; also project=, operation=, via=,
                                    subject=, value=
    DELETE ledger                   forgets what arrived, calls too
    GET    faults                   the scenario in force, and how often each rule fired
    PUT    faults                   a new scenario; rules and limits begin afresh
    GET    tokens?project=          states of tokens, counted, and those not registered by name; also token=
    PUT    tokens                   states of tokens by name and by prefix; newer tokens (`canonical`)
    GET    topics?project=          topics and their subscribers, counted; also topic=
    PUT    topics                   subscribes and unsubscribes
    GET    groups?project=          device groups: key and members, by name
    GET    oauth                    access tokens given out; numbers and server keys of the projects
    PUT    oauth                    lifetime of access tokens; refusal of every assertion; revocation; tokens and server
                                    keys to take
    GET    xmpp                     connections, violations, upstream messages
    PUT    xmpp                     drains, cuts or disturbs connections; devices send messages
    POST   reset                    begins afresh; body `{"ledger": false, ...}` keeps a part
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import parse_qs

import msgspec

from dispatcher.emulator.calls import COLUMNS
from dispatcher.emulator.faults import Scenario
from dispatcher.emulator.oauth import Grant
from dispatcher.emulator.registry import TokenState
from dispatcher.emulator.state import State
from dispatcher.emulator.wire import Reply, Request, json_reply
from dispatcher.emulator.xmpp import UpstreamOrder, Xmpp

PREFIX = "/_emulator/"
PAGE = 10_000
"""Ledger rows a page holds unless asked otherwise; about a megabyte."""

_DIGITS = 15
"""Of a number in a query."""


class TokensChange(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `PUT tokens`."""

    project: str
    tokens: dict[str, TokenState] = {}
    prefixes: dict[str, TokenState] = {}
    canonical: dict[str, str] = {}


class TopicsChange(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `PUT topics`."""

    project: str
    topic: str
    subscribe: list[str] = []
    unsubscribe: list[str] = []


class OAuthChange(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `PUT oauth`; absent: unchanged.

    Attributes:
        refuse: an OAuth error name; "" ends it.
        revoke: every access token is invalid from now on.
        tokens: access tokens to take that something else gave out, and what they may do.
        server_keys: server keys to take, and their projects.
    """

    expires_in: Annotated[float, msgspec.Meta(gt=0.0)] | None = None
    refuse: str | None = None
    revoke: bool = False
    tokens: dict[str, Grant] = {}
    server_keys: dict[str, str] = {}


class XmppChange(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `PUT xmpp`; absent: nothing.

    Attributes:
        project: whose connections; "": everybody's.
        drain: so many of them drain.
        cut: so many of them are cut.
        say: text that is sent on each, as it is.
        silent: nothing is answered from now on, or (false) again.
        upstream: messages that devices send.
    """

    project: str = ""
    drain: int = 0
    cut: int = 0
    say: str = ""
    silent: bool | None = None
    upstream: list[UpstreamOrder] = []


class Reset(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST reset`: what is set back."""

    ledger: bool = True
    faults: bool = True
    registry: bool = True


class WrongUseError(Exception):
    """The caller's mistake; `str()` says which."""


class Admin:
    """Answers requests to the admin API."""

    def __init__(self, state: State, xmpp: Xmpp) -> None:
        self._state = state
        self._xmpp = xmpp
        self._routes: dict[tuple[str, str], Callable[[Request, dict[str, str]], Any]] = {
            ("GET", "health"): self._health,
            ("GET", "summary"): self._summary,
            ("GET", "counts"): self._counts,
            ("GET", "ledger"): self._ledger,
            ("GET", "deliveries"): self._deliveries,
            ("GET", "calls"): self._calls,
            ("DELETE", "ledger"): self._clear,
            ("GET", "faults"): self._faults,
            ("PUT", "faults"): self._set_faults,
            ("GET", "tokens"): self._tokens,
            ("PUT", "tokens"): self._set_tokens,
            ("GET", "topics"): self._topics,
            ("PUT", "topics"): self._set_topics,
            ("GET", "groups"): self._groups,
            ("GET", "oauth"): self._oauth,
            ("PUT", "oauth"): self._set_oauth,
            ("GET", "xmpp"): self._xmpp_state,
            ("PUT", "xmpp"): self._disturb,
            ("POST", "reset"): self._reset,
        }

    def handle(self, request: Request) -> Reply:
        """Answers one request: 200 with JSON; 400, 404 or 405 with `{"error": sentence}`."""
        name = request.path.removeprefix(PREFIX).rstrip("/")
        route = self._routes.get((request.method, name))
        if route is None:
            known = sorted(f"{method} {route}" for method, route in self._routes)
            status = 405 if any(route == name for _, route in self._routes) else 404
            return json_reply(
                {"error": f"no {request.method} {name} here; there are: {', '.join(known)}"}, status
            )
        query = {key: values[-1] for key, values in parse_qs(request.query, keep_blank_values=True).items()}
        try:
            return json_reply(route(request, query))
        except (WrongUseError, msgspec.DecodeError, ValueError) as error:
            return json_reply({"error": str(error)}, 400)

    def _health(self, _: Request, __: dict[str, str]) -> Any:
        return {"ok": True, "projects": self._state.accounts}

    def _summary(self, _: Request, __: dict[str, str]) -> Any:
        return {**self._state.ledger.summary(), "management": self._state.calls.summary()}

    def _counts(self, _: Request, query: dict[str, str]) -> Any:
        by = query.get("by", "target")
        if by not in ("target", "id", "status", "code"):
            raise WrongUseError(f"by={by}: must be target, id, status or code")
        return self._state.ledger.counts(
            by,
            accepted_only=query.get("accepted", "") in ("1", "true"),
            at_least=_number(query, "min", 1),
            project=query.get("project", ""),
            kind=query.get("kind", ""),
        )

    def _ledger(self, _: Request, query: dict[str, str]) -> Any:
        rows, next_ = self._state.ledger.page(
            _number(query, "after", 0),
            _number(query, "limit", PAGE),
            project=query.get("project", ""),
            kind=query.get("kind", ""),
            target=query.get("target", ""),
            id_=query.get("id", ""),
        )
        columns = ["number", "time", "request", "project", "kind", "target", "id", "digest", "status", "code"]
        return {"total": len(self._state.ledger), "columns": columns, "rows": rows, "next": next_}

    def _deliveries(self, _: Request, query: dict[str, str]) -> Any:
        rows, next_ = self._state.ledger.deliveries(
            _number(query, "after", 0),
            _number(query, "limit", PAGE),
            query.get("token", ""),
            project=query.get("project", ""),
            kind=query.get("kind", ""),
            target=query.get("target", ""),
            id_=query.get("id", ""),
        )
        columns = ["number", "time", "project", "kind", "target", "id", "recipients"]
        return {"columns": columns, "rows": rows, "next": next_}

    def _calls(self, _: Request, query: dict[str, str]) -> Any:
        names = ("project", "operation", "via", "subject", "value")
        rows, next_ = self._state.calls.page(
            _number(query, "after", 0),
            _number(query, "limit", PAGE),
            **{name: query.get(name, "") for name in names},
        )
        return {"columns": COLUMNS, "rows": rows, "next": next_}

    def _clear(self, _: Request, __: dict[str, str]) -> Any:
        self._state.ledger.clear()
        self._state.calls.clear()
        return {"ok": True}

    def _faults(self, _: Request, __: dict[str, str]) -> Any:
        faults = self._state.messages.faults
        return {"scenario": msgspec.to_builtins(faults.scenario), "rules": faults.counts()}

    def _set_faults(self, request: Request, _: dict[str, str]) -> Any:
        self._state.install(msgspec.json.decode(request.body or b"{}", type=Scenario))
        return {"ok": True}

    def _tokens(self, _: Request, query: dict[str, str]) -> Any:
        known = self._state.messages.registry.project(_project(query))
        if "token" in query:
            return {"token": query["token"], "state": known.tokens.get(query["token"])}
        return {
            "counts": Counter(known.tokens.values()),
            "prefixes": known.prefixes,
            "marked": {token: state for token, state in known.tokens.items() if state != "registered"},
        }

    def _set_tokens(self, request: Request, _: dict[str, str]) -> Any:
        change = msgspec.json.decode(request.body, type=TokensChange)
        self._state.messages.registry.set_tokens(change.project, change.tokens, change.prefixes)
        self._state.messages.registry.project(change.project).canonical.update(change.canonical)
        return {"ok": True}

    def _topics(self, _: Request, query: dict[str, str]) -> Any:
        topics = self._state.messages.registry.project(_project(query)).topics
        if "topic" in query:
            return {"topic": query["topic"], "subscribers": sorted(topics.get(query["topic"], ()))}
        return {"topics": {topic: len(subscribers) for topic, subscribers in topics.items()}}

    def _set_topics(self, request: Request, _: dict[str, str]) -> Any:
        change = msgspec.json.decode(request.body, type=TopicsChange)
        registry = self._state.messages.registry
        registry.subscribe(change.project, change.topic, change.subscribe)
        registry.unsubscribe(change.project, change.topic, change.unsubscribe)
        return {"ok": True}

    def _groups(self, _: Request, query: dict[str, str]) -> Any:
        groups = self._state.messages.registry.project(_project(query)).groups
        return {
            "groups": {
                name: {"key": group.key, "members": list(group.members)} for name, group in groups.items()
            }
        }

    def _oauth(self, _: Request, __: dict[str, str]) -> Any:
        authority = self._state.authority
        return {
            "issued": authority.issued,
            "expires_in": authority.expires_in,
            "refuse": authority.refuse,
            "numbers": authority.numbers,
            "server_keys": authority.server_keys,
        }

    def _set_oauth(self, request: Request, _: dict[str, str]) -> Any:
        change = msgspec.json.decode(request.body, type=OAuthChange)
        authority = self._state.authority
        if change.expires_in is not None:
            authority.expires_in = change.expires_in
        if change.refuse is not None:
            authority.refuse = change.refuse
        revoked = authority.revoke_all() if change.revoke else 0
        for token, grant in change.tokens.items():
            authority.admit(token, grant)
        for server_key, project in change.server_keys.items():
            authority.admit_key(server_key, project)
        return {"ok": True, "revoked": revoked}

    def _xmpp_state(self, _: Request, __: dict[str, str]) -> Any:
        xmpp = self._xmpp
        return {
            "connections": Counter(connection.project for connection in xmpp.connections),
            "draining": sum(connection.draining for connection in xmpp.connections),
            "unacked": sum(len(connection.owed) for connection in xmpp.connections),
            "waiting": xmpp.waiting,
            "silent": xmpp.silent,
            "counts": xmpp.counts,
        }

    def _disturb(self, request: Request, _: dict[str, str]) -> Any:
        change = msgspec.json.decode(request.body, type=XmppChange)
        if change.silent is not None:
            self._xmpp.silent = change.silent
        if change.upstream:
            if not change.project:
                raise WrongUseError("upstream needs `project`")
            self._xmpp.order(change.project, change.upstream)
        theirs = self._xmpp.of(change.project)
        for connection in theirs if change.say else ():
            connection.say(change.say.encode())
        for connection in theirs[: change.drain]:
            connection.drain()
        for connection in theirs[len(theirs) - min(len(theirs), change.cut) :]:
            connection.cut()
        return {"ok": True, "connections": len(theirs)}

    def _reset(self, request: Request, _: dict[str, str]) -> Any:
        what = msgspec.json.decode(request.body or b"{}", type=Reset)
        self._state.reset(ledger=what.ledger, faults=what.faults, registry=what.registry)
        if what.ledger:
            self._xmpp.reset()
        return {"ok": True}


def _number(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > _DIGITS:
        raise WrongUseError(f"{name}={text[:80]}: must be a whole number")
    return int(text)


def _project(query: dict[str, str]) -> str:
    if not query.get("project"):
        raise WrongUseError("project= is missing")
    return query["project"]

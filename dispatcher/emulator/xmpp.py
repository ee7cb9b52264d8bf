"""XMPP's server side: what becomes of each message, and what is sent to senders by itself. Knows no socket.

xmpp_session.py   one connection: login, binding, stanzas
xmpp_listener.py  its socket
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import orjson

from dispatcher.emulator.ledger import Arrival
from dispatcher.emulator.messages import Trouble
from dispatcher.emulator.recipients import Recipients, content_of
from dispatcher.emulator.state import State
from dispatcher.protocol.legacy_check import fault_of
from dispatcher.protocol.rules import DISPUTED_TOPIC_LIMIT, PAYLOAD_LIMIT
from dispatcher.protocol.xmpp import DRAINING, word_in
from dispatcher.protocol.xmpp_server import Sent, ack, nack, receipt, stanza_error_of, upstream

DOMAIN = "fcm.googleapis.com"
MOST_PENDING = 100
"""Messages of one connection without an answer, each way; more from a sender are a violation."""

CATEGORY = "com.example.orchard"
"""The app that every device of the emulator has."""

_FOREIGN_KEYS = ("registration_ids", "restricted_package_name")


class Said(msgspec.Struct):
    """An answer.

    Attributes:
        data: what is written.
        delay: seconds before.
        cut: the connection is closed instead of it.
        drains: the connection drains from now on.
    """

    data: bytes
    delay: float = 0.0
    cut: bool = False
    drains: bool = False


class Unacked(msgspec.Struct):
    """What a sender has to acknowledge: a device's message, or a receipt."""

    sender: str
    message_id: str
    stanza: bytes


class UpstreamOrder(msgspec.Struct, forbid_unknown_fields=True, rename={"sender": "from"}):
    """A device's message, as the admin API is told of it."""

    sender: str
    message_id: str
    category: str = CATEGORY
    data: dict[str, str] = {}


class Connection(Protocol):
    """A sender's connection that has logged in.

    Attributes:
        project: whose it is.
        owed: what it has to acknowledge, by sender and message id.
        draining: it takes no new messages.
    """

    project: str
    owed: dict[tuple[str, str], Unacked]
    draining: bool

    def say(self, data: bytes) -> None:
        """Write now."""

    def drain(self) -> None:
        """Say that it drains, and close it soon."""

    def cut(self) -> None:
        """Close it without a word."""


class Xmpp:
    """All connections, and what they have in common.

    Args:
        state: the emulator's.
        clock: Unix seconds.

    Attributes:
        connections: those that have logged in.
        counts: `opened`, `refused` (logins), `violations`, `most_pending`, `malformed` (streams), `stray_acks`,
            `acked` (upstream), `sent_again`.
        silent: nothing is answered any more.
    """

    def __init__(self, state: State, clock: Callable[[], float]) -> None:
        self._state = state
        self._clock = clock
        self._recipients = Recipients(state.messages)
        self._waiting: dict[str, deque[Unacked]] = {}
        self.connections: list[Connection] = []
        self.counts: Counter[str] = Counter()
        self.silent = False

    @property
    def waiting(self) -> int:
        """Upstream messages and receipts for which no connection has room."""
        return sum(map(len, self._waiting.values()))

    def of(self, project: str) -> list[Connection]:
        """The connections of a project that take messages; "": of all."""
        return [
            connection
            for connection in self.connections
            if project in ("", connection.project) and not connection.draining
        ]

    def reset(self) -> None:
        """Begins afresh; connections stay."""
        self.counts.clear()
        self.silent = False
        self._waiting.clear()
        for connection in self.connections:
            connection.owed.clear()

    def login(self, authcid: str, password: str) -> str | None:
        """The project of a sender id and a server key; None: they do not belong together."""
        number = authcid.partition("@")[0]
        authority = self._state.authority
        project = authority.server_keys.get(password)
        if project is None:
            return authority.named(number) if authority.believe_any and password else None
        known = authority.numbers.get(project)
        return project if known in (None, number) else None

    def fault_at_login(self) -> tuple[str, bool] | None:
        """What a rule for whole requests does to a login: the SASL condition, and whether to cut without a word."""
        rule = self._state.messages.faults.for_request("xmpp", "")
        if rule is None or not (rule.status or rule.cut or rule.error):
            return None
        temporary = rule.status is not None and rule.status >= 500
        return "temporary-auth-failure" if temporary else "not-authorized", rule.cut != ""

    def bound(self, connection: Connection) -> None:
        """A connection is ready."""
        self.connections.append(connection)
        self.counts["opened"] += 1
        self._pump(connection.project)

    def gone(self, connection: Connection) -> None:
        """A connection has ended: what it has not acknowledged comes again on another."""
        if connection not in self.connections:
            return
        self.connections.remove(connection)
        waiting = self._waiting.setdefault(connection.project, deque())
        waiting.extendleft(reversed(connection.owed.values()))
        self.counts["sent_again"] += len(connection.owed)
        connection.owed.clear()
        self._pump(connection.project)

    def acked(self, connection: Connection, sender: str, message_id: str) -> None:
        """A sender has kept what came."""
        if connection.owed.pop((sender, message_id), None) is None:
            self.counts["stray_acks"] += 1
        else:
            self.counts["acked"] += 1
        self._pump(connection.project)

    def send_upstream(self, project: str, one: Unacked) -> None:
        """To whichever connection has room, now or later."""
        self._waiting.setdefault(project, deque()).append(one)
        self._pump(project)

    def order(self, project: str, orders: list[UpstreamOrder]) -> None:
        """Devices send these."""
        for one in orders:
            data = upstream(one.sender, one.message_id, one.category, one.data)
            self.send_upstream(project, Unacked(one.sender, one.message_id, data))

    def _pump(self, project: str) -> None:
        waiting = self._waiting.get(project)
        while waiting:
            open_ones = [
                connection
                for connection in self.connections
                if connection.project == project and len(connection.owed) < MOST_PENDING
            ]
            if not open_ones:
                return
            connection = min(open_ones, key=lambda each: len(each.owed))
            one = waiting.popleft()
            connection.owed[one.sender, one.message_id] = one
            connection.say(one.stanza)

    # Messages.

    def answer(self, project: str, sent: Sent, *, draining: bool) -> Said:
        """What becomes of one message.

        Args:
            project: whose connection it came on.
            sent: the message.
            draining: that connection takes no new ones.
        """
        now = self._clock()
        if draining:
            return Said(nack(sent, DRAINING, "the connection is draining"))
        document: dict[str, Any] = orjson.loads(sent.body)
        topic = sent.target.startswith("/topics/")
        kind = "condition" if "condition" in document else "topic" if topic else "token"
        value = sent.target.removeprefix("/topics/") if topic else sent.target
        content = content_of({key: part for key, part in document.items() if key != "message_id"})
        reason = self._fault(document, kind)
        if reason:
            arrival = Arrival(project, kind, value, content.id, content.digest, 400, "INVALID_JSON")
            self._state.ledger.record("xmpp", [arrival], now)
            return Said(nack(sent, "INVALID_JSON", reason))
        trouble = Trouble(self._state.messages.faults.scenario.latency)
        delivery = self._recipients.deliver("xmpp", project, kind, value, content, now, trouble)
        arrival = delivery.arrival
        self._state.ledger.record("xmpp", [arrival], now)
        if arrival.code == "CUT" or trouble.cut:
            return Said(b"", trouble.delay, cut=True)
        if delivery.rule is not None:
            return Said(stanza_error_of(sent, delivery.status), trouble.delay)
        if delivery.error:
            code = word_in(delivery.error)
            said = Said(nack(sent, code, f"{delivery.error} for {kind}"), trouble.delay)
            said.drains = code == DRAINING
            return said
        members: dict[str, Any] | None = None
        if delivery.failed is not None:
            members = {"success": len(arrival.recipients), "failure": len(delivery.failed)}
            if not arrival.recipients:
                return Said(nack(sent, "DEVICE_UNREGISTERED", "no member of the group"), trouble.delay)
            if delivery.failed:
                members["failed_registration_ids"] = delivery.failed
        if document.get("delivery_receipt_requested") and kind == "token" and arrival.code == "OK":
            data = receipt(sent.message_id, value, CATEGORY, round(now * 1000), DOMAIN)
            self.send_upstream(project, Unacked(DOMAIN, f"dr2:{sent.message_id}", data))
        return Said(ack(sent, delivery.replacement, members), trouble.delay)

    def _fault(self, document: dict[str, Any], kind: str) -> str:
        """Why a message is refused before anybody looks at its target."""
        if ("to" in document) == ("condition" in document):
            return "InvalidJson : MISSING_TARGET : give one of to and condition"
        if not isinstance(document.get("to") or document.get("condition"), str):
            return "InvalidJson : JSON_TYPE_ERROR : the target is a string"
        foreign = next((key for key in _FOREIGN_KEYS if key in document), None)
        if foreign:
            return f"InvalidJson : JSON_TYPE_ERROR : {foreign} is not for XMPP"
        limit = PAYLOAD_LIMIT if kind == "token" else DISPUTED_TOPIC_LIMIT
        fault = fault_of(document, payload_limit=limit)
        return f"InvalidJson : {fault.word} : {fault.reason}" if fault is not None else ""

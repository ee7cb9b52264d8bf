"""`POST /fcm/send`: the legacy HTTP service, in JSON and in plain text."""

from __future__ import annotations

from math import ceil

from dispatcher.emulator.faults import Rule
from dispatcher.emulator.ledger import Arrival
from dispatcher.emulator.messages import Trouble, bare
from dispatcher.emulator.oauth import Authority
from dispatcher.emulator.recipients import Content, Delivery, Recipients, arrival_of, content_of, word_of
from dispatcher.emulator.refusals import extra_headers
from dispatcher.emulator.wire import HTML_TYPE, JSON_TYPE, Headers, Reply, Request, html_reply
from dispatcher.protocol.legacy_check import Fault, fault_of
from dispatcher.protocol.legacy_server import (
    Call,
    Result,
    Unreadable,
    broadcast_body,
    group_body,
    multicast_body,
    plain_body,
    read_call,
)
from dispatcher.protocol.rules import DISPUTED_TOPIC_LIMIT, PAYLOAD_LIMIT

PATHS = frozenset({"/fcm/send", "/gcm/send"})
"""Today's and that of the older hosts."""

PLAIN_TYPE = "text/plain; charset=UTF-8"

_FIRST_MULTICAST = 6_254_812_345_678_901_234  # above 2^53: a reader that makes a float of it loses digits
_STATUS_OF_WORD = {"InvalidParameters": 400, "InternalServerError": 500, "Unavailable": 503}
_STATUS_OF_REFUSAL = {
    "CREDENTIALS_MISSING": 401,
    "ACCESS_TOKEN_EXPIRED": 401,
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": 403,
    "IAM_PERMISSION_DENIED": 403,
    "SERVICE_DISABLED": 403,
}
_MULTICAST = ("token", "multicast")


class LegacySends:
    """Answers calls.

    Args:
        recipients: decides for each recipient.
        authority: knows the server keys.
    """

    def __init__(self, recipients: Recipients, authority: Authority) -> None:
        self._recipients = recipients
        self._authority = authority
        self._calls = 0

    def answer(self, request: Request, now: float, trouble: Trouble) -> tuple[Reply, list[Arrival]]:
        """Answers a call; the arrivals are one for each recipient, none if the call was refused as a whole.

        Args:
            request: the call.
            now: Unix seconds.
            trouble: effects of rules on the whole answer are added here.
        """
        # An access token is no server key, whoever else would take it.
        keyed = (request.header("authorization") or "").startswith("key=")
        caller = self._authority.caller(request, now) if keyed else None
        if caller is None or caller.refusal:
            return html_reply(401, "Unauthorized", "The server key is not known."), []
        call = read_call(request.header("content-type"), request.body)
        if isinstance(call, Unreadable):
            return self._unreadable(call), []
        broadcast = call.recipients not in _MULTICAST
        limit = DISPUTED_TOPIC_LIMIT if broadcast else PAYLOAD_LIMIT
        fault = fault_of(call.document, payload_limit=limit)
        if fault is not None and fault.of_request:
            return self._unreadable(Unreadable(400, fault.word, fault.reason, plain=call.plain)), []
        content = content_of(call.document)
        deliveries = [
            self._delivered(call, content, caller.project, value, fault, now, trouble)
            for value in call.values
        ]
        arrivals = [delivery.arrival for delivery in deliveries]
        spoilt = next((delivery for delivery in deliveries if delivery.rule is not None), None)
        if spoilt is not None and spoilt.rule is not None:
            for arrival in arrivals:
                arrival.status, arrival.code = spoilt.status, f"HTTP_{spoilt.status}"
            return whole_answer(spoilt.rule, now), arrivals
        return self._said(call, deliveries, now), arrivals

    def _delivered(
        self,
        call: Call,
        content: Content,
        project: str,
        value: str,
        fault: Fault | None,
        now: float,
        trouble: Trouble,
    ) -> Delivery:
        kind = "token" if call.recipients in _MULTICAST else call.recipients
        if fault is not None:
            arrival = arrival_of(project, kind, value, content)
            arrival.code = fault.word
            return Delivery(arrival)
        return self._recipients.deliver(
            "legacy",
            project,
            kind,
            value,
            content,
            now,
            trouble,
            alone=call.recipients != "multicast",
        )

    def _said(self, call: Call, deliveries: list[Delivery], now: float) -> Reply:
        first = deliveries[0]
        waits = [delivery for delivery in deliveries if delivery.retry_after is not None]
        headers = _retry_after(waits[0], now) if waits else []
        results = [Result(d.message_id, d.replacement, d.error) for d in deliveries]
        for result in results:
            if result.error:
                result.message_id = result.registration_id = ""
        if first.failed is not None and not first.error:
            body = group_body(len(first.arrival.recipients), first.failed)
        elif call.plain:
            return Reply(200, [("content-type", PLAIN_TYPE), *headers], plain_body(results[0]))
        elif call.recipients in _MULTICAST:
            body = multicast_body(self._number(), results)
        elif first.error:
            body = broadcast_body(error=first.error)
        else:
            digits = first.message_id
            body = broadcast_body(int(digits) if digits.isdecimal() else self._number())
        return Reply(200, [("content-type", JSON_TYPE), *headers], body)

    def _unreadable(self, call: Unreadable) -> Reply:
        result = Result(error=call.word)
        if call.plain and call.status == 200:
            return Reply(200, [("content-type", PLAIN_TYPE)], plain_body(result))
        if call.status == 200:
            return Reply(200, [("content-type", JSON_TYPE)], multicast_body(self._number(), [result]))
        return Reply(call.status, [("content-type", PLAIN_TYPE)], f"{call.word}: {call.reason}\n".encode())

    def _number(self) -> int:
        self._calls += 1
        return _FIRST_MULTICAST + self._calls


def whole_answer(rule: Rule, now: float) -> Reply:
    """What a rule says in place of an answer to the whole call.

    Args:
        rule: with `error` or `status`.
        now: Unix seconds.
    """
    headers = extra_headers("", rule.retry_after, rule.retry_after_form, now)
    listed = [(name.lower(), value) for name, value in headers.items()]
    if rule.status is not None:
        content_type, body = bare(rule, rule.status)
        return Reply(rule.status, [("content-type", content_type), *listed], body)
    if rule.error in _STATUS_OF_REFUSAL:
        status = _STATUS_OF_REFUSAL[rule.error]
        return Reply(
            status, [("content-type", HTML_TYPE), *listed], html_reply(status, "Error", rule.error).body
        )
    word = word_of(rule)
    status = _STATUS_OF_WORD.get(word, 200)
    result = Result(error=word)
    body = multicast_body(1, [result]) if status == 200 else broadcast_body(error=word)
    return Reply(status, [("content-type", JSON_TYPE), *listed], body)


def _retry_after(delivery: Delivery, now: float) -> Headers:
    headers = extra_headers("", ceil(delivery.retry_after or 0.0), delivery.form, now)
    return [(name.lower(), value) for name, value in headers.items()]

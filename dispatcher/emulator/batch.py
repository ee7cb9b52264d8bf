"""`POST /batch`: many messages in one request, each answered for itself (batch wire rules)."""

from __future__ import annotations

import re
import secrets
from random import Random
from typing import Any

from dispatcher.emulator.ledger import Arrival
from dispatcher.emulator.messages import Answered, Messages, Trouble, project_of
from dispatcher.emulator.oauth import Authority
from dispatcher.emulator.refusals import CHALLENGED, extra_headers, refusal
from dispatcher.emulator.wire import JSON_TYPE, VARY, Headers, Reply, Request
from dispatcher.errors import MultipartError
from dispatcher.protocol.answer import rpc_error
from dispatcher.protocol.batch import MAX_PARTS
from dispatcher.protocol.batch_server import SubAnswer, SubRequest, decode_request, encode_response

_ANY_PROJECT = re.compile(rb"/v1/projects/([^/\s]+)/messages:send")


def named_project(body: bytes) -> str:
    """The project of the first part, for the text of a refusal of the whole."""
    match = _ANY_PROJECT.search(body)
    return match[1].decode("utf-8", "replace") if match else "-"


def whole_refusal(status: int, body: bytes, headers: dict[str, str]) -> Reply:
    """A refusal of the whole batch, wrapped in an array as the batch front end does (batch wire rules, section 6)."""
    listed: Headers = [(name.lower(), value) for name, value in headers.items()]
    return Reply(status, [("content-type", JSON_TYPE), *listed], b"[" + body.rstrip() + b"]\n")


def answer_batch(
    request: Request, messages: Messages, authority: Authority, now: float, trouble: Trouble
) -> tuple[Reply, list[Arrival]]:
    """Answers a batch request, and says what arrived by it."""
    try:
        parts = decode_request(request.header("content-type"), request.body)
    except MultipartError as error:
        return _malformed(f"Failed to parse batch request, error: 0 items. {error}"), []
    if not parts:
        return _malformed("Failed to parse batch request, error: 0 items. The body holds no part."), []
    if len(parts) > MAX_PARTS:
        return _malformed(
            f"Inner request count exceeds the limit. Received: {len(parts)}, Limit: {MAX_PARTS}"
        ), []
    outer = request.header("authorization")
    if not any("authorization" in part.headers for part in parts):
        # Nobody speaks for himself: a bad outer token refuses the whole, and nothing is sent.
        name = authority.refusal_of(outer, named_project(request.body), now)
        if name in CHALLENGED:
            status, body = refusal(name, "-")
            return whole_refusal(status, body, extra_headers(name, None, "", now)), []
    return _answer_parts(parts, outer, messages, authority, now=now, trouble=trouble)


def _answer_parts(
    parts: list[SubRequest],
    outer: str | None,
    messages: Messages,
    authority: Authority,
    *,
    now: float,
    trouble: Trouble,
) -> tuple[Reply, list[Arrival]]:
    # Parts of one batch mostly share path and token: each pair is looked at once.
    judged: dict[tuple[str, str | None], tuple[str, str]] = {}
    answers: list[SubAnswer] = []
    arrivals: list[Arrival] = []
    for part in parts:
        key = (part.path, part.headers.get("authorization", outer))
        known = judged.get(key)
        if known is None:
            known = judged[key] = _judge(*key, authority, now)
        project, name = known
        if name:
            answered = _not_let_in(name, project, now)
        elif part.method != "POST":
            answered = _nothing_there(project)
        else:
            answered = messages.answer("batch", project, part.body, now, trouble)
        arrivals.append(answered.arrival)
        answers.append(SubAnswer(part.content_id, answered.status, answered.body, answered.headers))
    for what in trouble.parts:
        spoil(answers, what, messages.faults.dice)
    boundary = f"batch_{secrets.token_urlsafe(15)}"
    content_type = f"multipart/mixed; boundary={boundary}"
    return Reply(200, [("content-type", content_type), *VARY], encode_response(answers, boundary)), arrivals


def _judge(path: str, authorization: str | None, authority: Authority, now: float) -> tuple[str, str]:
    """The project a part is for, and the refusal it meets at the door ("": none)."""
    project = project_of(path.partition("?")[0])
    if project is None:
        return "", "NOT_FOUND"
    return authority.named(project), authority.refusal_of(authorization, project, now)


def _not_let_in(name: str, project: str, now: float) -> Answered:
    if name == "NOT_FOUND":
        return _nothing_there(project)
    status, body = refusal(name, project)
    arrival = Arrival(project, "", "", "", 0, status, name)
    return Answered(status, body, arrival, extra_headers(name, None, "", now))


def _nothing_there(project: str) -> Answered:
    status, body = rpc_error(404, "NOT_FOUND", "Method not found.")
    return Answered(status, body, Arrival(project, "", "", "", 0, status, "NOT_FOUND"))


def _malformed(message: str) -> Reply:
    status, body = rpc_error(400, "INVALID_ARGUMENT", message, in_array=True)
    return Reply(status, [("content-type", JSON_TYPE)], body)


def spoil(answers: list[Any], what: str, dice: Random) -> None:
    """Does to the answers of one request what a rule's `parts` says: shuffle, drop or duplicate."""
    if what == "shuffle":
        dice.shuffle(answers)
    elif answers:
        place = dice.randrange(len(answers))
        if what == "drop":
            del answers[place]
        else:
            answers.insert(dice.randrange(len(answers) + 1), answers[place])

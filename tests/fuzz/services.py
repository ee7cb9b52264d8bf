"""Wrong inputs for the codecs of the management services, both directions."""

from __future__ import annotations

import random
from collections.abc import Callable

from corpus import ANSWERS, DATE, RETRY_AFTER, wrong

from dispatcher.model import Fate, SendError, SendResponse
from dispatcher.policy.classify import classify
from dispatcher.protocol import apns_import, device_group, instance_id, topic_subscription, web_push
from dispatcher.protocol.call import Denied, text_error

TOKENS = ["a", "b:APA91b", "3f2a"]
_BULK = instance_id.encode_results(["", "NOT_FOUND", "INTERNAL"])
_IMPORTED = apns_import.encode_results(
    [
        apns_import.Imported("3F2A", "OK", "k:APA91b"),
        apns_import.Imported("a", "Internal Server Error"),
        apns_import.Imported("b:APA91b", "no"),
    ]
)
_SAID = [
    *ANSWERS,
    _BULK,
    _IMPORTED,
    web_push.token_body("k:APA91b"),
    device_group.key_body("APA91bKey"),
    text_error("notification_key already exists"),
    text_error("InvalidToken"),
    b'{"application":"a","rel":{"topics":{"news":{"addDate":"2026-03-02"}}}}',
    b"{}",
]
_PUSH = {"endpoint": "https://push.example.com/x", "keys": {"auth": "A" * 22, "p256dh": "B" * 87}}
_ASKED = [
    instance_id.bulk_request("news", TOKENS).body,
    apns_import.import_request("app", TOKENS, sandbox=True).body,
    web_push.import_request(_PUSH).body,
    device_group.add_request("name", "key", TOKENS).body,
]
_SINGLE = (
    instance_id.read_info,
    instance_id.read_relation,
    web_push.read_import,
    web_push.read_refresh,
    web_push.read_delete,
    device_group.read_group,
    topic_subscription.read_create,
    topic_subscription.read_delete,
)
_DECODERS: tuple[Callable[[bytes], object], ...] = (
    instance_id.decode_bulk,
    apns_import.decode_import,
    web_push.decode_subscription,
    device_group.decode_change,
)
_STATUSES = (200, 200, 201, 204, 400, 401, 403, 404, 409, 429, 500, 503)


def fuzz_management_answer(rng: random.Random) -> tuple[object, Callable[[], str]]:
    """Every reader of an answer: as many responses as tokens, and each error has a meaning."""
    body = wrong(_SAID, rng)
    status, retry_after = rng.choice(_STATUSES), rng.choice(RETRY_AFTER)
    read = rng.choice((instance_id.read_bulk, apns_import.read_import, *_SINGLE))

    def run() -> str:
        told = (status, retry_after, DATE, body)
        found: list[SendResponse]
        if read is instance_id.read_bulk:
            found = instance_id.read_bulk(*told, len(TOKENS))
        elif read is apns_import.read_import:
            found = apns_import.read_import(*told, TOKENS)
            assert all(response.error or response.replacement_token for response in found)
        else:
            found = [read(*told)]  # type: ignore[operator]  # all of _SINGLE take the same
        assert len(found) in (1, len(TOKENS))
        for response in found:
            if response.error is not None:
                _judge(response.error)
        return "errors" if any(response.error for response in found) else "done"

    return (read, status, retry_after, body), run


def _judge(error: SendError) -> None:
    """What follows from it is within bounds; only an answer can condemn a token."""
    assert error.wire == "iid"
    assert error.retry_after is None or 0 <= error.retry_after <= 1e9
    assert len(error.reason) <= 1000
    verdict = classify(error, "token")
    if error.fate is not Fate.ANSWERED or error.whole_request:
        assert verdict.action != "DROP_TOKEN"


def fuzz_management_request(rng: random.Random) -> tuple[object, Callable[[], str]]:
    """Every reader of a request body, as the emulator uses them."""
    body = wrong(_ASKED, rng)
    decode = rng.choice(_DECODERS)

    def run() -> str:
        return "denied" if isinstance(decode(body), Denied) else "read"

    return (decode, body), run

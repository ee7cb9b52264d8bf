"""What the official SDKs get wrong, from the bytes of an answer to what is written: no token table is ever wiped.

The answers are FCM's own JSON, read as a transport reads them.
"""

from __future__ import annotations

import json

import pytest

from dispatcher.model import Action, Batch, ErrorCode, Job, SendResponse
from dispatcher.pipeline.calling import _wants_new_token
from dispatcher.pipeline.concluding import conclude
from dispatcher.pipeline.effects import Context
from dispatcher.pipeline.surveying import survey
from dispatcher.policy.health import Health
from dispatcher.policy.settle import Rules
from dispatcher.protocol.answer import error_info, fcm_error, read_answer, rpc_error, success_body

NOW = 1_731_000_000.0
HTML = b"<html><title>Error</title></html>"

BARE = {
    "401": rpc_error(401, "UNAUTHENTICATED", "no"),
    "401 HTML": (401, HTML),
    "401 expired": error_info(
        401, "UNAUTHENTICATED", "x", reason="ACCESS_TOKEN_EXPIRED", domain="d", metadata={}
    ),
    "403": rpc_error(403, "PERMISSION_DENIED", "no"),
    "403 HTML": (403, HTML),
    "403 rights": error_info(
        403, "PERMISSION_DENIED", "x", reason="IAM_PERMISSION_DENIED", domain="d", metadata={}
    ),
    "404": rpc_error(404, "NOT_FOUND", "Requested entity was not found."),
    "404 HTML": (404, HTML),
}
INVALID = fcm_error("INVALID_ARGUMENT")
PLATFORM = fcm_error("THIRD_PARTY_AUTH_ERROR", apns=(403, "InvalidProviderToken"))
FOREIGN = fcm_error("SENDER_ID_MISMATCH")
ACCEPTED = (200, success_body("projects/demo/messages/1"))


def batch(*answers, multicast=False):
    """A batch of one message for each answer, and the answers as read."""
    tokens = [f"t{number}" for number in range(len(answers))]
    groups = [tokens] if multicast else [[token] for token in tokens]
    jobs = [
        Job(
            entry_id=f"1731000000000-{number}",
            stream="normal",
            project="demo",
            entry=[b"message", b"{}"],
            nbytes=10,
            id=f"job-{number}",
            lane="normal",
            message=b"{}",
            kind="token",
            values=values,
            multicast=multicast,
            enqueued_at=NOW,
            expires_at=NOW + 86400,
        )
        for number, values in enumerate(groups)
    ]
    responses = [read_answer(status, None, None, body) for status, body in answers]
    return Batch("demo", "normal", jobs, size=len(answers), nbytes=0, epoch=1), responses


def concluded(sent: Batch, responses: list[SendResponse], **more):
    return conclude(sent, responses, {}, Context(NOW, Rules(), chance=lambda: 0.0, pauses={}, **more))


def statuses(conclusion):
    return [
        outcome["status"] for item in conclusion.items for outcome in json.loads(b"[" + item.outcomes + b"]")
    ]


@pytest.mark.parametrize("what", BARE)
def test_a_bare_401_403_or_404_never_touches_a_token_and_stops_the_project(what):
    conclusion = concluded(*batch(BARE[what], ACCEPTED))
    assert statuses(conclusion) == ["accepted"]
    assert conclusion.pause is not None
    assert conclusion.pause.pause_project
    assert [item.dead for item in conclusion.items] == [[], []]


@pytest.mark.parametrize("what", [name for name in BARE if name.startswith("401")])
def test_our_own_401_asks_for_new_credentials(what):
    sent, responses = batch(BARE[what])
    assert _wants_new_token(responses[0], sent)


def test_the_401_of_a_platforms_key_does_not_and_stops_nobody_else():
    sent, responses = batch(PLATFORM, ACCEPTED, ACCEPTED)
    assert not any(_wants_new_token(response, sent) for response in responses)
    conclusion = concluded(sent, responses)
    assert statuses(conclusion) == ["accepted", "accepted"]
    assert conclusion.pause is None
    assert conclusion.waits == {(Action.HOLD_MESSAGE, ErrorCode.THIRD_PARTY_AUTH_ERROR): 1}
    [held] = conclusion.items[0].delayed
    assert (held.due, held.hold) == (NOW + 60, None)


def test_the_two_401s_differ_by_their_detail_and_not_by_their_text():
    ours = rpc_error(401, "UNAUTHENTICATED", json.loads(PLATFORM[1])["error"]["message"])
    sent, responses = batch(ours)
    assert _wants_new_token(responses[0], sent)


def test_an_invalid_argument_drops_a_token_only_when_the_token_is_proven_at_fault():
    named = fcm_error("INVALID_ARGUMENT", violations=[("message.token", "not valid")])
    payload = fcm_error("INVALID_ARGUMENT", violations=[("message.data[0].key", "reserved")])
    assert statuses(concluded(*batch(named, INVALID, payload, ACCEPTED))) == [
        "invalid_token",
        "rejected",
        "rejected",
        "accepted",
    ]
    # The same payload was accepted for another token.
    assert statuses(concluded(*batch(INVALID, payload, ACCEPTED, multicast=True))) == [
        "invalid_token",
        "rejected",
        "accepted",
    ]
    assert statuses(concluded(*batch(INVALID, INVALID, multicast=True))) == ["rejected", "rejected"]


def test_a_swapped_credential_pauses_the_project_before_it_condemns_one_token():
    sent, responses = batch(*[FOREIGN] * 400, *[ACCEPTED] * 100)
    findings = Health().feed(0.0, survey(sent, responses))
    conclusion = concluded(sent, responses, pausing=findings.pausing)
    assert statuses(conclusion) == ["accepted"] * 100
    assert conclusion.pause is not None
    assert conclusion.waits == {(Action.PAUSE_PROJECT, ErrorCode.MISMATCHED_CREDENTIAL): 400}


def test_a_few_foreign_tokens_are_told_one_by_one():
    sent, responses = batch(*[FOREIGN] * 100, *[ACCEPTED] * 400)
    findings = Health().feed(0.0, survey(sent, responses))
    conclusion = concluded(sent, responses, pausing=findings.pausing)
    assert statuses(conclusion).count("wrong_project") == 100
    assert conclusion.pause is None


@pytest.mark.parametrize(("platform", "paused"), [(451, True), (449, False)])
def test_a_platform_that_refuses_nearly_everybody_pauses_the_project(platform, paused):
    sent, responses = batch(*[PLATFORM] * platform, *[ACCEPTED] * (500 - platform))
    findings = Health().feed(0.0, survey(sent, responses))
    assert (concluded(sent, responses, pausing=findings.pausing).pause is not None) is paused

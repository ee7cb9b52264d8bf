"""Each row of the error table over both wires: which status, which pause and which delay follow."""

import json

import pytest

from dispatcher.model import Target

PAUSED = 60.0


def blamed(field: str) -> dict[str, object]:
    """A 400 whose BadRequest names a field."""
    violation = {"field": field, "description": "wrong"}
    details = [
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]},
        {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "INVALID_ARGUMENT"},
    ]
    error = {"code": 400, "status": "INVALID_ARGUMENT", "message": "wrong", "details": details}
    return {"status": 400, "body": json.dumps({"error": error})}


def ends(status: str, code: str) -> dict[str, object]:
    return {"status": status, "code": code}


def waits(code: str, floor: float, pauses: str = "nobody", **more: object) -> dict[str, object]:
    return {"code": code, "floor": floor, "pauses": pauses, **more}


# what FCM answers -> kind of the target, the rule, what follows
MESSAGES = {
    "UNREGISTERED": (
        "token",
        {"error": "UNREGISTERED"},
        ends("invalid_token", "registration-token-not-registered"),
    ),
    "UNREGISTERED fid": (
        "fid",
        {"error": "UNREGISTERED"},
        ends("invalid_token", "installation-id-not-registered"),
    ),
    "violation on message.token": (
        "token",
        {"error": "INVALID_REGISTRATION"},
        ends("invalid_token", "invalid-registration-token"),
    ),
    "INVALID_ARGUMENT": (
        "token",
        {"error": "INVALID_ARGUMENT"},
        ends("rejected", "invalid-argument"),
    ),
    "violation on the topic": (
        "topic",
        blamed("message.topic"),
        ends("rejected", "invalid-recipient"),
    ),
    "violation on the payload": (
        "token",
        blamed("message.data[0].value"),
        ends("rejected", "invalid-payload"),
    ),
    "violation on a data key": (
        "token",
        blamed("message.data[0].key"),
        ends("rejected", "invalid-data-payload-key"),
    ),
    "violation on the ttl": (
        "token",
        blamed("message.android.ttl"),
        ends("rejected", "invalid-options"),
    ),
    "violation on the package": (
        "token",
        blamed("message.android.restricted_package_name"),
        ends("rejected", "invalid-package-name"),
    ),
    "413": ("token", {"status": 413}, ends("rejected", "payload-size-limit-exceeded")),
    "400 without JSON": ("token", {"status": 400}, ends("rejected", "invalid-argument")),
    "SENDER_ID_MISMATCH": (
        "token",
        {"error": "SENDER_ID_MISMATCH"},
        ends("wrong_project", "mismatched-credential"),
    ),
    "THIRD_PARTY_AUTH_ERROR": (
        "token",
        {"error": "THIRD_PARTY_AUTH_ERROR"},
        waits("third-party-auth-error", 60, held=1),
    ),
    "QUOTA_EXCEEDED": (
        "token",
        {"error": "QUOTA_EXCEEDED"},
        waits("message-rate-exceeded", 60, "target"),
    ),
    "QUOTA_EXCEEDED of a device, Retry-After": (
        "token",
        {"error": "QUOTA_EXCEEDED_DEVICE", "retry_after": 7},
        waits("device-message-rate-exceeded", 7, "target"),
    ),
    "QUOTA_EXCEEDED of a topic, Retry-After as a date": (
        "topic",
        {"error": "QUOTA_EXCEEDED_TOPIC", "retry_after": 30, "retry_after_form": "date"},
        waits("topics-message-rate-exceeded", 29, "target", slack=3),
    ),
    "QUOTA_EXCEEDED of the project": (
        "token",
        {"error": "QUOTA_EXCEEDED_PROJECT"},
        waits("message-rate-exceeded", 60, "project"),
    ),
    "RATE_LIMIT_EXCEEDED, Retry-After": (
        "token",
        {"error": "RATE_LIMIT_EXCEEDED", "retry_after": 90},
        waits("message-rate-exceeded", 90, "project"),
    ),
    "429 without JSON": ("token", {"status": 429}, waits("message-rate-exceeded", 60, "target")),
    "SERVICE_DISABLED": (
        "token",
        {"error": "SERVICE_DISABLED"},
        waits("mismatched-credential", 60, "project"),
    ),
    "IAM_PERMISSION_DENIED": (
        "token",
        {"error": "IAM_PERMISSION_DENIED"},
        waits("mismatched-credential", 60, "project"),
    ),
    "403 without JSON": ("token", {"status": 403}, waits("authentication-error", 60, "project")),
    "ACCESS_TOKEN_EXPIRED again": (
        "token",
        {"error": "ACCESS_TOKEN_EXPIRED"},
        waits("authentication-error", 60, "project"),
    ),
    "404 without FcmError": ("token", {"status": 404}, waits("unknown-error", 60, "project")),
    "UNAVAILABLE": ("token", {"error": "UNAVAILABLE"}, waits("server-unavailable", 1, counted=1)),
    "UNAVAILABLE, Retry-After": (
        "token",
        {"error": "UNAVAILABLE", "retry_after": 9},
        waits("server-unavailable", 9, counted=1),
    ),
    "502": ("token", {"status": 502}, waits("server-unavailable", 1, counted=1)),
    "504": ("token", {"status": 504}, waits("server-unavailable", 1, counted=1)),
    "INTERNAL": ("token", {"error": "INTERNAL"}, waits("internal-error", 1, counted=1)),
    "500 without JSON": ("token", {"status": 500}, waits("internal-error", 1, counted=1)),
    "UNSPECIFIED_ERROR": ("token", {"error": "UNSPECIFIED_ERROR"}, waits("unknown-error", 1, counted=1)),
    "a status nobody knows": ("token", {"status": 418}, waits("unknown-error", 1, counted=1)),
    "a lost answer": ("token", {"cut": "after"}, waits("unknown-fate", 1, counted=1, duplicate=True)),
    "no connection left": ("token", {"cut": "before"}, waits("unknown-fate", 1, counted=1, duplicate=True)),
}

# The same for the outer answer of a batch.
BATCHES = {
    "429": ({"status": 429}, waits("message-rate-exceeded", 60, "project")),
    "429, Retry-After": (
        {"error": "RATE_LIMIT_EXCEEDED", "retry_after": 70},
        waits("message-rate-exceeded", 70, "project"),
    ),
    "401 again": ({"error": "CREDENTIALS_MISSING"}, waits("authentication-error", 60, "project")),
    "403": ({"error": "SERVICE_DISABLED"}, waits("mismatched-credential", 60, "project")),
    "500": ({"status": 500}, waits("internal-error", 1, counted=1, duplicate=True)),
    "502": ({"status": 502}, waits("server-unavailable", 1, counted=1, duplicate=True)),
    "503": ({"status": 503}, waits("server-unavailable", 1, counted=1)),
    "503, Retry-After": ({"status": 503, "retry_after": 5}, waits("server-unavailable", 5, counted=1)),
    "504": ({"status": 504}, waits("server-unavailable", 1, counted=1, duplicate=True)),
    "404": ({"status": 404}, waits("unknown-error", 60, "project")),
    "400 of one message": ({"status": 400}, ends("rejected", "invalid-argument")),
    "413 of one message": ({"status": 413}, ends("rejected", "payload-size-limit-exceeded")),
    "cut": ({"cut": "after"}, waits("unknown-fate", 1, counted=1, duplicate=True)),
    "HTML with 200": (
        {"status": 200, "body": "<html>hello</html>"},
        waits("unknown-fate", 1, counted=1, duplicate=True),
    ),
}


@pytest.mark.parametrize("wire", ["batch", "v1"])
@pytest.mark.parametrize("what", MESSAGES)
async def test_an_answer_to_a_message(what, wire, serve, desk, emulator):
    kind, rule, follows = MESSAGES[what]
    emulator.script({**rule, "target": "x"})
    await desk.add(message={kind: "x"}, id="job")
    await serve(transport=wire)
    await _see(desk, Target(kind, "x"), follows)


@pytest.mark.parametrize("what", BATCHES)
async def test_an_answer_to_a_whole_batch(what, serve, desk, emulator):
    rule, follows = BATCHES[what]
    emulator.script({**rule, "per": "request", "wire": "batch"})
    await desk.add(message={"token": "x"}, id="job")
    await serve(transport="batch")
    await _see(desk, Target("token", "x"), follows)


async def _see(desk, target, follows) -> None:
    if "status" in follows:
        [outcome] = await desk.outcomes()
        assert (outcome["status"], outcome["code"]) == (follows["status"], follows["code"])
        assert outcome["reason"]
        assert outcome["attempts"] == 1
        assert len(await desk.dead()) == (follows["status"] == "rejected")
        return
    [(due, fields)] = await desk.until(desk.delayed)
    state = json.loads(fields["_state"])
    [[at, _, code]] = state["history"]
    assert code == follows["code"]
    # At least the floor, at most twice that, and upwards to the next millisecond.
    assert follows["floor"] - 0.001 <= due - at <= 2 * follows["floor"] + 0.002 + follows.get("slack", 0)
    assert state["sends"] == 1
    for count in ("counted", "held"):
        assert state.get(count, 0) == follows.get(count, 0)
    assert state.get("duplicate", False) == follows.get("duplicate", False)
    pause = float((await desk.control()).get("pause:until", 0)) / 1000
    assert (pause > 0) == (follows["pauses"] == "project")
    if pause:
        assert pause - at >= max(PAUSED, follows["floor"]) - 0.1
    held = await desk.redis.zscore(desk.key("pauses"), target.key)
    assert (held is not None) == (follows["pauses"] == "target")
    if held is not None:
        assert held / 1000 > due
    assert await desk.recorded() == []
    assert await desk.dead() == []

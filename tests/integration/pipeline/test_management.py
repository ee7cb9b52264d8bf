"""Management jobs from a stream to their outcomes, against services that a test scripts, over real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from dispatcher.model import MANAGEMENT

PROJECT = "demo-orchard-41"
PUSH = {"endpoint": "https://push.example.com/s", "keys": {"auth": "YQ", "p256dh": "Yg"}}


class Services:
    """Answers management calls as `answer` says, and remembers them."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: list[tuple[str, dict[str, str], object]] = []
        self.answer: Callable[[str, object], object] = lambda path, body: web.json_response({})

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        asked = json.loads(body) if body else None
        self.calls.append((f"{request.method} {request.raw_path}", dict(request.headers), asked))
        return self.answer(request.raw_path, asked)

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _ in self.calls]


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    found = Services()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", found.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


@pytest.fixture
def manage(serve, services):
    """Starts a worker whose management services are the scripted ones."""

    async def start(**settings):
        places = {"iid_endpoint": services.url, "legacy_endpoint": services.url}
        return await serve(**{**places, **settings})

    return start


def results(*errors: str):
    return web.json_response({"results": [{"error": error} if error else {} for error in errors]})


def well(path, body):
    return results(*[""] * len(body["registration_tokens"]))


async def ask(desk, operation, request, lane="normal", **fields):
    return await desk.add(lane, operation=operation, request=json.dumps(request), **fields)


async def test_jobs_of_one_topic_share_a_call_and_each_token_has_an_outcome(desk, manage, services):
    services.answer = well
    for job in range(3):
        tokens = [f"token-{job}-{number}" for number in range(300)]
        await ask(desk, "topic.subscribe", {"topic": "/topics/news", "tokens": tokens}, id=f"job-{job}")
    await ask(desk, "topic.unsubscribe", {"topic": "news", "tokens": ["leaver"]})
    await manage(linger_ms=300)
    outcomes = await desk.outcomes(901)
    assert {outcome["status"] for outcome in outcomes} == {"done"}
    adds = [(path, body) for path, _, body in services.calls if path.endswith("batchAdd")]
    assert [len(body["registration_tokens"]) for _, body in adds] == [900]
    assert adds[0][1]["to"] == "/topics/news"
    assert services.paths.count("POST /iid/v1:batchRemove") == 1
    mine = [(o["index"], o["target"]) for o in outcomes if o["job"] == "job-2"]
    assert mine == [(n, {"token": f"token-2-{n}"}) for n in range(300)]
    headers = services.calls[0][1]
    assert headers["Authorization"].startswith("Bearer ")
    assert headers["access_token_auth"] == "true"
    assert await desk.backlog() == 0


async def test_each_token_meets_its_own_fate_and_only_what_can_be_mended_is_tried_again(
    desk, manage, services
):
    fates = {"fine": "", "gone": "NOT_FOUND", "bad": "INVALID_ARGUMENT", "full": "TOO_MANY_TOPICS"}
    fates |= {"foreign": "PERMISSION_DENIED", "moody": "INTERNAL", "slow": "DEADLINE_EXCEEDED"}

    def first_time(path, body):
        services.answer = well
        return results(*fates.values())

    services.answer = first_time
    await ask(desk, "topic.subscribe", {"topic": "news", "tokens": list(fates)}, id="mine")
    await manage()
    outcomes = await desk.outcomes(7)
    assert {
        o["target"]["token"]: (o["status"], o.get("code"), o["index"], o["attempts"]) for o in outcomes
    } == {
        "fine": ("done", None, 0, 1),
        "gone": ("invalid_token", "registration-token-not-registered", 1, 1),
        "bad": ("invalid_token", "invalid-registration-token", 2, 1),
        "full": ("rejected", "too-many-topics", 3, 1),
        "foreign": ("wrong_project", "mismatched-credential", 4, 1),
        "moody": ("done", None, 5, 2),
        "slow": ("done", None, 6, 2),
    }
    again = sorted(token for _, _, body in services.calls[1:] for token in body["registration_tokens"])
    assert again == ["moody", "slow"]
    [letter] = await desk.dead()
    assert json.loads(letter["request"])["tokens"] == ["full"]


async def test_a_service_that_asks_for_patience_is_left_alone_and_messages_go_on(
    desk, emulator, manage, services
):
    services.answer = lambda path, body: web.json_response({"error": "QUOTA"}, status=429)
    await ask(desk, "topic.subscribe", {"topic": "news", "tokens": ["a", "b"]})
    await manage()
    await desk.until(desk.delayed)
    await ask(desk, "topic.subscribe", {"topic": "old", "tokens": ["c"]}, lane="high")
    await ask(desk, "token.info", {"token": "d"})
    await desk.until(lambda: _waiting(desk, 3))
    await desk.add(message={"token": "t", "data": {"a": "b"}})
    [outcome] = await desk.outcomes(1)
    assert outcome["status"] == "accepted"
    assert len(services.calls) == 1
    assert await desk.redis.zscore(desk.key("pauses"), MANAGEMENT.key) is not None
    now = await desk.now()
    assert min(due for due, _ in await desk.delayed()) > now + 50
    assert not {"pause:until"} & set(await desk.control())


async def _waiting(desk, count):
    return len(await desk.delayed()) == count


async def test_a_token_that_is_refused_by_rate_holds_the_service_too(desk, manage, services):
    services.answer = lambda path, body: results("", "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED")
    await ask(desk, "topic.subscribe", {"topic": "news", "tokens": ["a", "b", "c"]})
    await manage()
    [outcome] = await desk.outcomes(1)
    assert outcome["target"] == {"token": "a"}
    [(_, fields)] = await desk.delayed()
    assert json.loads(fields["request"])["tokens"] == ["b", "c"]
    assert json.loads(fields["_state"])["places"] == [1, 2]


async def test_what_management_tries_again_takes_nothing_from_the_retries_of_messages(
    desk, emulator, manage, services
):
    services.answer = lambda path, body: results(*["INTERNAL"] * len(body["registration_tokens"]))
    await ask(desk, "topic.subscribe", {"topic": "news", "tokens": [f"t-{n}" for n in range(500)]})
    await manage()
    await desk.until(desk.delayed)
    emulator.script({"error": "UNAVAILABLE", "times": 1})
    await desk.add(message={"token": "t", "data": {"a": "b"}})
    # In a second or two; with five hundred retries before it in one budget it would be a minute.
    [outcome] = await desk.outcomes(1)
    assert (outcome["status"], outcome["attempts"]) == ("accepted", 2)


async def test_auto_goes_over_to_topic_subscriptions_when_the_bulk_calls_are_gone(
    desk, emulator, manage, services
):
    def answer(path, body):
        if path.startswith("/iid/"):
            return web.Response(status=404, text="<html>gone</html>", content_type="text/html")
        if path.startswith("/v1/") and "stranger" in path:
            return web.json_response({"error": {"code": 404, "status": "NOT_FOUND"}}, status=404)
        if "already" in path:
            return web.json_response({"error": {"code": 409, "status": "ALREADY_EXISTS"}}, status=409)
        return web.json_response({"name": "n", "topic_name": "news"})

    services.answer = answer
    tokens = ["fresh:1", "already", "stranger"]
    await ask(desk, "topic.subscribe", {"topic": "news%2", "tokens": tokens})
    await manage(fcm_endpoint=services.url, transport="v1", credentials="none", projects=PROJECT)
    outcomes = await desk.outcomes(3)
    assert [o["status"] for o in outcomes] == ["done", "done", "invalid_token"]
    await ask(desk, "topic.unsubscribe", {"topic": "news", "tokens": ["fresh:1"]})
    await desk.outcomes(4)
    collection = f"/v1/projects/{PROJECT}/registrations/fresh%3A1/topicSubscriptions"
    assert services.paths[0] == "POST /iid/v1:batchAdd"
    assert f"POST {collection}?topicName=news%252" in services.paths
    assert services.paths[-1] == f"DELETE {collection}/news?allowMissing=true"
    assert services.paths.count("POST /iid/v1:batchAdd") == 1


async def test_bulk_calls_that_are_gone_hold_the_service_where_batch_was_asked_for(desk, manage, services):
    services.answer = lambda path, body: web.Response(status=404, text="gone")
    await ask(desk, "topic.subscribe", {"topic": "news", "tokens": ["a"], "via": "batch"})
    await manage()
    await desk.until(desk.delayed)
    assert await desk.recorded() == []
    assert services.paths == ["POST /iid/v1:batchAdd"]


async def test_a_refused_access_token_is_renewed_once(desk, emulator, manage, services):
    seen: list[str] = []

    def answer(path, body):
        seen.append(services.calls[-1][1]["Authorization"])
        if len(set(seen)) == 1:
            return web.json_response({"error": "Unauthorized"}, status=401)
        return web.json_response({"application": "com.example"})

    services.answer = answer
    await ask(desk, "token.info", {"token": "t", "details": True})
    await manage()
    [outcome] = await desk.outcomes(1)
    assert (outcome["status"], outcome["result"]) == ("done", {"application": "com.example"})
    assert len(seen) == len(set(seen)) == 2
    assert services.paths[0] == "GET /iid/info/t?details=true"


async def test_without_an_access_token_the_server_key_signs_the_calls_and_is_read_again_when_refused(
    desk, manage, services, tmp_path
):
    file = tmp_path / "server.key"
    file.write_text("first-server-key")
    good = "key=second-server-key"

    def answer(path, body):
        file.write_text("second-server-key")
        known = services.calls[-1][1]["Authorization"] == good
        return web.json_response(
            {"application": "com.example"} if known else {"error": "no"}, status=200 if known else 401
        )

    services.answer = answer
    await ask(desk, "token.info", {"token": "t"})
    await manage(credentials="none", projects=PROJECT, legacy_key_file=str(file))
    [outcome] = await desk.outcomes(1)
    assert outcome["status"] == "done"
    assert [headers["Authorization"] for _, headers, _ in services.calls] == ["key=first-server-key", good]
    assert all("access_token_auth" not in headers for _, headers, _ in services.calls)


ANSWERS = {
    "/iid/info/t": ({"application": "com.example"}, 200),
    "/iid/v1/t/rel/topics/news": ({}, 200),
    "/iid/v1:batchImport": (
        {
            "results": [
                {"apns_token": "b" * 64, "status": "Internal Server Error"},
                {"apns_token": "a" * 64, "status": "OK", "registration_token": "new-a"},
            ]
        },
        200,
    ),
    "/v1/web/iid": ({"token": "new-web"}, 201),
    "/v1/web/iid/t:refresh": ({"token": "other-web"}, 200),
    "/v1/web/iid/t": (None, 204),
    "/fcm/notification": ({"notification_key": "key-1"}, 200),
    "/fcm/notification?notification_key_name=team": ({"notification_key": "key-1"}, 200),
}


def by_path(path, body):
    content, status = ANSWERS[path]
    return web.Response(status=status) if content is None else web.json_response(content, status=status)


@pytest.mark.parametrize(
    ("operation", "request_", "told"),
    [
        ("token.info", {"token": "t"}, {"target": {"token": "t"}, "result": {"application": "com.example"}}),
        (
            "topic.subscribe",
            {"topic": "news", "tokens": ["t"], "via": "relation"},
            {"target": {"token": "t"}},
        ),
        (
            "webpush.import",
            {"subscription": PUSH},
            {"target": {"subscription": PUSH["endpoint"]}, "replacement_token": "new-web"},
        ),
        ("webpush.refresh", {"token": "t", "subscription": PUSH}, {"replacement_token": "other-web"}),
        ("webpush.delete", {"token": "t"}, {"target": {"token": "t"}}),
        (
            "group.create",
            {"name": "team", "tokens": ["a"]},
            {"target": {"group_name": "team"}, "result": {"notification_key": "key-1"}},
        ),
        ("group.add", {"name": "team", "key": "key-1", "tokens": ["b"]}, {"target": {"group": "key-1"}}),
        ("group.remove", {"name": "team", "key": "key-1", "tokens": ["b"]}, {"target": {"group": "key-1"}}),
        ("group.get", {"name": "team"}, {"result": {"notification_key": "key-1"}}),
    ],
)
async def test_every_single_operation_is_carried_out(desk, manage, services, operation, request_, told):
    services.answer = by_path
    await ask(desk, operation, request_)
    await manage(sender_id="884400112233")
    [outcome] = await desk.outcomes(1)
    assert (outcome["status"], outcome["attempts"]) == ("done", 1)
    assert told.items() <= outcome.items()
    if operation.startswith("group."):
        assert services.calls[0][1]["project_id"] == "884400112233"


async def test_an_import_tells_the_new_tokens_and_tries_again_what_failed_inside(desk, manage, services):
    services.answer = by_path
    tokens = ["a" * 64, "b" * 64]
    await ask(desk, "apns.import", {"application": "com.example", "apns_tokens": tokens})
    await manage()
    [outcome] = await desk.outcomes(1)
    assert (outcome["target"], outcome["replacement_token"]) == ({"apns_token": "a" * 64}, "new-a")
    [(_, fields)] = await desk.until(desk.delayed)
    assert json.loads(fields["request"])["apns_tokens"] == ["b" * 64]


async def test_a_group_cannot_be_managed_without_a_sender_id_and_the_job_says_so(desk, manage, services):
    await ask(desk, "group.get", {"name": "team"})
    await manage()
    [outcome] = await desk.outcomes(1)
    assert (outcome["status"], outcome["code"]) == ("rejected", "unsupported-operation")
    assert "needs DISPATCHER_SENDER_ID" in outcome["reason"]
    assert services.calls == []


async def test_more_than_the_rate_can_carry_waits_in_redis_and_holds_up_no_message(
    desk, emulator, manage, services
):
    services.answer = well
    for number in range(60):
        await ask(desk, "topic.subscribe", {"topic": f"t{number}", "tokens": [f"token-{number}"] * 50})
    await desk.add(message={"token": "t", "data": {"a": "b"}})
    await manage(subscriptions_per_s=10, max_in_flight=1000)
    await desk.until(lambda: _accepted(desk))
    # 3,000 tokens at 10 a second are five minutes of work: it is not in this process's memory that they wait.
    await desk.until(lambda: _most_wait(desk))
    assert len(services.calls) <= 3


async def _accepted(desk):
    return any(outcome["status"] == "accepted" for outcome in await desk.recorded())


async def _most_wait(desk):
    return len(await desk.delayed()) >= 50


async def test_a_drain_hands_back_what_was_not_carried_out(desk, manage, services, serve):
    services.answer = well
    for number in range(5):
        await ask(desk, "topic.subscribe", {"topic": f"t{number}", "tokens": ["a"]}, id=f"job-{number}")
    worker = await manage(subscriptions_per_s=1)
    await desk.until(lambda: services.calls)
    worker.stop()
    await desk.until(lambda: _let_go(desk))
    await manage(subscriptions_per_s=1000)
    outcomes = await desk.outcomes(5)
    assert {o["job"] for o in outcomes} == {f"job-{n}" for n in range(5)}
    assert {o["status"] for o in outcomes} == {"done"}
    assert sorted(body["to"] for _, _, body in services.calls) == [f"/topics/t{n}" for n in range(5)]


async def _let_go(desk):
    leases = await desk.redis.keys(desk.key("lease:*"))
    return not leases

"""Health and metrics over a real socket."""

import aiohttp
import pytest

from dispatcher.errors import SettingsError
from dispatcher.http import Health


class Worker:
    """What a worker knows of itself."""

    silence = 0.1
    projects = ("demo-a",)
    draining = False


@pytest.fixture
async def worker():
    state = Worker()
    health = Health(
        redis_silence_s=lambda: state.silence,
        projects_with_token=lambda: list(state.projects),
        metrics=lambda: b"# HELP x Things\n",
        draining=lambda: state.draining,
    )
    port = await health.start(0, "127.0.0.1")
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as state.http:
        yield state
    await health.stop()


async def ask(worker, path):
    async with worker.http.get(path) as answer:
        return answer.status, await answer.json()


async def test_ready_with_redis_and_a_token(worker):
    assert await ask(worker, "/readyz") == (
        200,
        {
            "ready": True,
            "redis": {"ok": True, "silent_s": 0.1},
            "credentials": {"ok": True, "projects": ["demo-a"]},
            "draining": False,
            "tls": {"unverified": []},
        },
    )


async def test_not_ready_while_redis_is_silent_and_the_body_says_so(worker):
    worker.silence = 5.1
    status, body = await ask(worker, "/readyz")
    assert (status, body["redis"]["ok"], body["credentials"]["ok"]) == (503, False, True)


async def test_not_ready_before_redis_has_answered_at_all(worker):
    worker.silence = float("inf")
    status, body = await ask(worker, "/readyz")
    assert (status, body["redis"]) == (503, {"ok": False, "silent_s": None})


async def test_not_ready_without_any_access_token(worker):
    worker.projects = ()
    status, body = await ask(worker, "/readyz")
    assert (status, body["redis"]["ok"], body["credentials"]["ok"]) == (503, True, False)


async def test_not_ready_while_draining(worker):
    worker.draining = True
    assert (await ask(worker, "/readyz"))[0] == 503


async def test_alive_whatever_redis_and_credentials_do(worker):
    worker.silence, worker.projects, worker.draining = float("inf"), (), True
    assert await ask(worker, "/livez") == (200, {"alive": True})


async def test_metrics_come_in_the_text_format(worker):
    async with worker.http.get("/metrics") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert await answer.text() == "# HELP x Things\n"


async def test_a_port_in_use_is_a_wrong_setting():
    def health():
        return Health(redis_silence_s=lambda: 0, projects_with_token=list, metrics=lambda: b"")

    first, second = health(), health()
    port = await first.start(0, "127.0.0.1")
    with pytest.raises(SettingsError, match=f"^DISPATCHER_HTTP_PORT: cannot listen on port {port}"):
        await second.start(port, "127.0.0.1")
    await second.stop()
    await first.stop()


async def test_any_free_port_is_the_same_one_on_every_address():
    health = Health(redis_silence_s=lambda: 0.0, projects_with_token=lambda: ["demo-a"], metrics=lambda: b"")
    port = await health.start(0)
    try:
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/livez") as answer:
            assert answer.status == 200
    finally:
        await health.stop()

"""Many projects in one worker: they come and go with their keys, and none touches the others."""

import asyncio
import bisect
import gc
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dispatcher.transport import sessions

PROJECTS = ("demo-orchard-41", "second-42", "third-43")
FIRST, SECOND, THIRD = PROJECTS
SOON = 0.05
"""Between two looks at the files, in these tests."""
LATENCY_S = 0.1
MARK = "kept-nowhere"


class Keys:
    """A folder of key files, filled from those that the emulator believes."""

    def __init__(self, folder: Path, credentials: dict[str, str]) -> None:
        self.folder = folder
        self._credentials = credentials

    def file(self, project: str) -> Path:
        return self.folder / f"{project}.json"

    def put(self, project: str, **changes: object) -> None:
        """As an operator should: at once."""
        draft = self.folder / "draft"
        key = json.loads(Path(self._credentials[project]).read_text())
        draft.write_text(json.dumps(key | changes))
        draft.rename(self.file(project))

    def take(self, project: str) -> None:
        self.file(project).unlink()

    def secret_of(self, project: str) -> str:
        return json.loads(Path(self._credentials[project]).read_text())["private_key"]


@pytest.fixture
def keys(tmp_path: Path, emulator) -> Keys:
    (tmp_path / "keys").mkdir()
    return Keys(tmp_path / "keys", emulator.credentials)


@pytest.fixture
def desk_of(desk) -> Callable[[str], object]:
    return lambda project: type(desk)(desk.redis, project)


async def test_projects_come_and_go_with_their_keys(serve, desk, desk_of, emulator, keys):
    first, second = desk_of(FIRST), desk_of(SECOND)
    keys.put(FIRST)
    worker = await serve(credentials=keys.folder, rescan_s=SOON, lease_s=1)
    await first.add(message={"token": "a"})
    await first.outcomes(1)
    await second.add(message={"token": "b"})
    keys.put(SECOND)
    assert (await second.outcomes(1))[0]["status"] == "accepted"
    assert await worker.face.metric("concurrency_limit", project=SECOND) == 64

    keys.take(SECOND)
    await desk.until(lambda: _no_metrics(worker, SECOND))
    await desk.until(lambda: _left(second))
    await second.add(message={"token": "c"})
    await first.add(message={"token": "d"})
    await first.outcomes(2)
    assert await second.backlog() == 1
    assert len(await second.recorded()) == 1

    keys.put(SECOND)
    assert [o["status"] for o in await second.outcomes(2)] == ["accepted"] * 2
    assert [o["attempts"] for o in await second.recorded()] == [1, 1]
    assert await worker.face.metric("leases_lost_total") == 0


async def _all_there(desk, jobs: int) -> bool:
    """Whether each waits or has its outcome, and none both."""
    return await desk.backlog() + len(await desk.recorded()) == jobs


async def _left(desk) -> bool:
    """Whether nobody holds a lease of this project or is a consumer of its stream."""
    leases = [key async for key in desk.redis.scan_iter(desk.key("lease:*"))]
    return leases == await desk.redis.xinfo_consumers(desk.key("jobs:normal"), "dispatcher") == []


async def _no_metrics(worker, project: str) -> bool:
    text = (await worker.face.get("/metrics")).text
    return (
        f'concurrency_limit{{project="{project}"' not in text
        and f'backlog_jobs{{project="{project}"' not in text
    )


async def test_a_project_that_goes_is_drained_first(serve, desk, desk_of, emulator, keys):
    """What is on the wire is answered and recorded; what is not, waits unread or unsent for whoever serves it next."""
    second = desk_of(SECOND)
    keys.put(FIRST)
    keys.put(SECOND)
    worker = await serve(
        credentials=keys.folder, rescan_s=SOON, lease_s=1, max_concurrent_requests=1, linger_ms=1
    )
    await desk.until(lambda: _served(worker, SECOND))
    emulator.script({"delay": 1.0, "prefix": "slow"})
    for n in range(20):
        await second.add(message={"token": f"slow-{n}"})
        await second.add("high", message={"token": f"slow-high-{n}"})
    await desk.until(lambda: emulator.arrivals(project=SECOND) or _in_flight(worker, SECOND))
    keys.take(SECOND)
    await desk.until(lambda: _no_metrics(worker, SECOND))
    outcomes = await second.recorded()
    assert {o["status"] for o in outcomes} == {"accepted"}
    assert len(emulator.arrivals(project=SECOND)) == len(outcomes)
    assert await second.backlog() == 40 - len(outcomes)
    emulator.script()
    keys.put(SECOND)
    outcomes = await second.outcomes(40)
    assert {o["attempts"] for o in outcomes} == {1}
    assert set(emulator.counts(project=SECOND).values()) == {1}


async def _served(worker, project: str) -> bool:
    return project in (await worker.face.get("/readyz")).json()["credentials"]["projects"]


async def _in_flight(worker, project: str) -> bool:
    return await worker.face.metric("requests_in_flight", project=project) > 0


async def test_a_project_with_a_bad_key_pauses_alone_and_the_next_key_ends_it(
    serve, desk, desk_of, emulator, keys
):
    first, second, third = map(desk_of, PROJECTS)
    keys.put(FIRST)
    keys.put(SECOND, private_key=keys.secret_of(FIRST))
    keys.put(THIRD)
    keys.file("broken").write_text('{"private_key": "half a f')
    worker = await serve(credentials=keys.folder, rescan_s=SOON, lease_s=1)
    for desk_ in (first, second, third):
        for n in range(100):
            await desk_.add(message={"token": f"t-{n}"})
    for desk_ in (first, third):
        assert {o["status"] for o in await desk_.outcomes(100)} == {"accepted"}
    control = await desk.until(second.control)
    assert "invalid_grant" in control["pause:reason"]
    assert await first.control() == await third.control() == {}
    assert await second.recorded() == []
    assert await second.backlog() == 100
    assert await worker.face.metric("credential_problems") == 1
    assert await worker.face.metric("credential_refreshes_total", project=SECOND, result="failed") >= 1
    assert (await worker.face.get("/readyz")).json()["credentials"]["projects"] == [FIRST, THIRD]

    keys.put(SECOND)
    await second.add(message={"token": "after"})

    async def sent():
        return [o for o in await second.recorded() if o["target"] == {"token": "after"}]

    assert [o["status"] for o in await desk.until(sent)] == ["accepted"]
    assert "pause:until" not in await second.control()
    # Those that had met the bad key come back with the end of the pause they were told; none was lost or charged.
    await desk.until(lambda: _all_there(second, 101))
    assert {o["attempts"] for o in await second.recorded()} == {1}
    assert await worker.face.metric("project_pauses_total", project=FIRST) == 0


@pytest.mark.parametrize("wire", ["batch", "v1"])
async def test_a_storm_of_401s_causes_one_refresh(serve, desk, emulator, wire):
    worker = await serve(transport=wire)
    await desk.add(message={"token": "first"})
    await desk.outcomes(1)
    issued = emulator.get("oauth")["issued"]
    await desk.add_many("normal", [{"token": f"t-{n}"} for n in range(2000)])
    emulator.put("oauth", revoke=True)
    outcomes = await desk.outcomes(2001, within=30)
    assert {o["status"] for o in outcomes} == {"accepted"}
    assert emulator.get("oauth")["issued"] == issued + 1
    assert await worker.face.metric("credential_refreshes_total", result="ok") == 2
    assert await desk.control() == {}


async def test_a_token_without_the_right_to_send_pauses_its_project(
    serve, desk, desk_of, emulator, keys, tmp_path
):
    first, second = desk_of(FIRST), desk_of(SECOND)
    keys.put(FIRST)
    (tmp_path / "token").write_text("static-token-1\n")
    config = tmp_path / "dispatcher.toml"
    config.write_text(
        f'[projects."{SECOND}"]\ncredential = "token-file:{tmp_path}/token"\nsender_id = "1234"\n'
    )
    grant = {"project": SECOND, "expires_at": 1e10}
    emulator.put("oauth", tokens={"static-token-1": {**grant, "sends": False}, "static-token-2": grant})
    await serve(config=config, credentials=keys.folder, rescan_s=SOON, lease_s=1)
    await second.add(message={"token": "t"})
    await first.add(message={"token": "t"})
    await first.outcomes(1)
    control = await desk.until(second.control)
    assert "insufficient authentication scopes" in control["pause:reason"]
    assert await second.recorded() == []
    # The file is written anew: the pause is over, and the new token sends.
    (tmp_path / "token").write_text("static-token-2\n")
    await second.add(message={"token": "u"})
    assert (await second.outcomes(1))[0]["status"] == "accepted"
    assert "pause:until" not in await second.control()


async def test_a_refused_token_file_is_read_again_at_once(serve, desk, emulator, tmp_path):
    (tmp_path / "token").write_text("old")
    emulator.put("oauth", tokens={"new": {"project": FIRST, "expires_at": 1e10}})
    await serve(credentials=f"token-file:{tmp_path}/token", projects=FIRST, rescan_s=3600)
    (tmp_path / "token").write_text("new")
    await desk.add(message={"token": "t"})
    outcome = (await desk.outcomes(1))[0]
    assert (outcome["status"], outcome["attempts"]) == ("accepted", 1)
    assert await desk.control() == {}


class Metadata(BaseHTTPRequestHandler):
    """The metadata server of a GKE node, as far as google-auth asks it."""

    token = "ya29.metadata"

    def do_GET(self) -> None:
        path, _, _ = self.path.partition("?")
        self.server.asked.append(self.path)
        base = "/computeMetadata/v1"
        account = f"{base}/instance/service-accounts"
        email = "worker@demo.iam.gserviceaccount.com"
        answers = {
            "/": "computeMetadata/",
            base + "/project/project-id": FIRST,
            base + "/universe/universe-domain": "googleapis.com",
            account + "/default/": json.dumps({"email": email, "scopes": ["x"], "aliases": ["default"]}),
        }
        body = answers.get(path)
        if path.endswith("/token"):
            body = json.dumps({"access_token": self.token, "expires_in": 3600, "token_type": "Bearer"})
        content_type = "application/json" if body and body.startswith("{") else "text/plain"
        if self.headers.get("Metadata-Flavor") != "Google" or body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def metadata(monkeypatch, tmp_path) -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        monkeypatch.setenv("GCE_METADATA_HOST", address)
        monkeypatch.setenv("GCE_METADATA_IP", address)
        monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
        monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
        yield server
        server.shutdown()


async def test_workload_identity_asks_the_metadata_server(spawn, desk, emulator, metadata):
    emulator.put("oauth", tokens={Metadata.token: {"project": FIRST, "expires_at": 1e10}})
    # No proxy stands before the metadata server; this one is not even there.
    worker = spawn(credentials="adc", log_level="debug")
    await desk.add(message={"token": "t"})
    assert (await desk.outcomes(1, within=30))[0]["status"] == "accepted"
    assert any("firebase.messaging" in path for path in metadata.asked if "/token" in path)
    assert (await worker.get("/readyz")).json()["credentials"] == {"ok": True, "projects": [FIRST]}
    assert not worker.said("credentials_failed")


async def test_keys_behind_kubernetes_links_are_swapped_under_the_worker(
    serve, desk, desk_of, emulator, tmp_path
):
    mount = tmp_path / "mount"
    mount.mkdir()

    def update(version: int, *projects: str) -> None:
        folder = mount / f"..2026_{version}"
        folder.mkdir()
        for project in projects:
            shutil.copy(emulator.credentials[project], folder / f"{project}.json")
        (mount / "..data_tmp").symlink_to(folder.name)
        (mount / "..data_tmp").rename(mount / "..data")
        for project in projects:
            if not (mount / f"{project}.json").is_symlink():
                (mount / f"{project}.json").symlink_to(f"..data/{project}.json")
        for link in mount.glob("*.json"):
            if not link.exists():
                link.unlink()

    update(1, FIRST)
    worker = await serve(credentials=mount, rescan_s=SOON, lease_s=1)
    await desk.until(lambda: _served(worker, FIRST))
    update(2, SECOND)
    await desk.until(lambda: _served(worker, SECOND))
    await desk.until(lambda: _no_metrics(worker, FIRST))
    second = desk_of(SECOND)
    await second.add(message={"token": "t"})
    assert (await second.outcomes(1))[0]["status"] == "accepted"


async def test_many_quiet_lanes_that_wake_together_share_one_room(serve, desk, desk_of, emulator, keys):
    """The listener waits on all of them in one read, and each may bring as many as were asked for."""
    room, lanes = 20, ("high", "normal", "bulk", "due")
    desks = [desk_of(project) for project in PROJECTS]
    for project in PROJECTS:
        keys.put(project)
    emulator.script(latency=1.0)
    await serve(credentials=keys.folder, max_in_flight=room, batch_size=1, max_concurrent_requests=1)
    await desk.until(lambda: listening(desks, lanes))
    pipe = desk.redis.pipeline(transaction=True)
    for where in desks:
        for lane in lanes:
            for n in range(16):
                pipe.xadd(where.key(f"jobs:{lane}"), {"message": json.dumps({"token": f"{lane}-{n}"})})
    await pipe.execute()
    most = 0
    while len(emulator.arrivals()) < room:
        most = max(most, sum([await where.pending() for where in desks]))
    # One entry a lane may come beyond the room, from either of the two readers.
    assert room / 2 < most <= room + 2 * len(desks) * len(lanes)


async def listening(desks, lanes) -> bool:
    """Whether a blocking read has begun after every lane was found empty."""
    redis = desks[0].redis
    for where in desks:
        for lane in lanes:
            if not await redis.exists(where.key(f"jobs:{lane}")):
                return False
    before = (await redis.info("commandstats"))["cmdstat_xreadgroup"]["calls"]
    while (await redis.info("commandstats"))["cmdstat_xreadgroup"]["calls"] < before + 3:
        pass
    return True


@pytest.mark.parametrize(("most", "together"), [(9, 18), (1125, 24)])
async def test_projects_stay_under_one_ceiling(serve, desk_of, emulator, keys, monkeypatch, most, together):
    """Each may have 8 requests on the wire; all 9, or twice that where they begin at once."""
    monkeypatch.setattr(sessions, "MOST_REQUESTS", most)
    emulator.script(latency=LATENCY_S)
    for project in PROJECTS:
        keys.put(project)
        await desk_of(project).add_many("normal", [{"token": f"t{n}"} for n in range(60)])
    await serve(transport="v1", max_concurrent_requests=8, credentials=keys.folder)
    await asyncio.gather(*(desk_of(project).outcomes(60, within=30) for project in PROJECTS))
    times = sorted(arrival["time"] for arrival in emulator.arrivals())
    assert len(times) == 180
    # What arrived within the time that an answer takes was on the wire at once.
    assert max(end - bisect.bisect(times, at - LATENCY_S) for end, at in enumerate(times, 1)) <= together


async def test_nothing_that_is_settled_is_kept(serve, desk_of, emulator, keys):
    """Not even the last batch of each project, in a frame that waits for the next one."""
    desks = [desk_of(project) for project in PROJECTS]
    for project, desk_ in zip(PROJECTS, desks, strict=True):
        keys.put(project)
        # Of an entry that is nothing but its message, the job would keep no list.
        marked = [{"token": f"t{n}", "data": {"mark": MARK}} for n in range(50)]
        await desk_.add_many("normal", marked, on_unknown="resend")
    await serve(credentials=keys.folder)
    for desk_ in desks:
        await desk_.outcomes(50)
    # But a few that the observer has looked at: redis-py leaves a reply with an error in it to the collector.
    await desks[0].until(lambda: _entries_alive() < 20)


def _entries_alive() -> int:
    """Fields of entries, as read, that anything in this process still holds."""
    mark = MARK.encode()
    return sum(
        type(found) is list and len(found) == 4 and type(found[1]) is bytes and mark in found[1]
        for found in gc.get_objects()
    )

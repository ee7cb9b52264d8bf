"""`dispatcher topics`, `tokens` and `groups`: what they enqueue, what they make of outcomes, and of wrong use."""

import io
import json
import os
import pty
import subprocess
import sys
import threading

import pytest
import redis

P = "demo-orchard-41"
LANE = f"fcm:{{{P}}}:jobs:normal"
OUTCOMES = f"fcm:{{{P}}}:outcomes"
PUSH = {"endpoint": "https://push.example.com/s", "keys": {"auth": "YQ", "p256dh": "Yg"}}


def jobs(shell, lane=LANE):
    return [
        {name.decode(): value.decode() for name, value in fields.items()}
        for _, fields in shell.redis.xrange(lane)
    ]


def requests(shell):
    return [json.loads(job["request"]) for job in jobs(shell)]


def written(tmp_path, content, name="users.txt"):
    file = tmp_path / name
    file.write_bytes(content)
    return str(file)


def lines(count):
    return b"".join(b"token-%d\n" % number for number in range(count))


class Worker:
    """Settles each token of the jobs it finds, as `outcome` says, until it is stopped."""

    def __init__(self, shell, outcome):
        self._server = redis.Redis(connection_pool=shell.redis.connection_pool)
        self._outcome = outcome
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._thread.join()

    def _work(self):
        after = "0-0"
        while not self._stopped.is_set():
            read = self._server.xread({LANE: after}, count=100, block=50)
            for entry_id, fields in read[0][1] if read else ():
                after = entry_id
                request = json.loads(fields[b"request"])
                values = request.get("tokens") or request.get("apns_tokens") or [request.get("token", "")]
                found = [
                    {
                        "job": fields[b"id"].decode(), "index": index, "attempts": 1,
                        "enqueued_at": 1.0, "settled_at": 2.0, "target": {"token": value},
                        **self._outcome(value),
                    }
                    for index, value in enumerate(values)
                ]  # fmt: skip
                self._server.xadd(OUTCOMES, {"outcomes": json.dumps(found, separators=(",", ":"))})


def well(_):
    return {"status": "done"}


def test_a_thousand_tokens_make_a_job(shell, tmp_path):
    file = written(tmp_path, lines(2001))
    assert (
        shell("topics", "subscribe", "news", "--tokens", file, "--no-wait", "--json", "--lane", "normal") == 0
    )
    summary = json.loads(shell.out)
    assert (summary["items"], summary["jobs"], summary["last_line"]) == (2001, 3, 2001)
    found = requests(shell)
    assert [len(request["tokens"]) for request in found] == [1000, 1000, 1]
    assert {(request["topic"], request["via"]) for request in found} == {("news", "auto")}
    assert [token for request in found for token in request["tokens"]] == lines(2001).decode().split()
    assert [job["id"] for job in jobs(shell)] == [f"{summary['job']}#{n}" for n in (1, 2, 3)]


def test_a_hundred_apns_tokens_make_a_job(shell, tmp_path):
    file = written(tmp_path, b"".join(b"%064x\n" % n for n in range(101)))
    arguments = ("tokens", "import-apns", "--application", "app", "--sandbox", "--apns-tokens", file)
    assert shell(*arguments, "--no-wait") == 0
    assert shell.out.startswith("apns.import: 101 enqueued as 2 jobs, apns-import-")
    assert [(len(r["apns_tokens"]), r["sandbox"]) for r in requests(shell)] == [(100, True), (1, True)]


def test_every_token_that_is_asked_about_is_a_job(shell):
    assert shell("tokens", "info", "--token", "a", "--token", "b", "--token", "a", "--no-wait") == 0
    assert requests(shell) == [{"token": "a", "details": False}, {"token": "b", "details": False}]


def test_many_outcomes_are_counted_and_all_are_in_the_result_file(shell, tmp_path):
    file, results = written(tmp_path, lines(1500)), tmp_path / "results.jsonl"
    gone = {"status": "invalid_token", "code": "registration-token-not-registered"}
    with Worker(shell, lambda token: gone if token.endswith("7") else {"status": "done"}):
        assert shell("topics", "subscribe", "news", "--tokens", file, "--results", str(results)) == 1
    head, *counts = shell.out.splitlines()
    assert head.startswith("topic.subscribe: 1,500 in ")
    assert head.endswith(" as 2 jobs")
    assert [line.split() for line in counts] == [
        ["1,350", "done"],
        ["150", "invalid_token", "registration-token-not-registered"],
    ]
    found = [json.loads(line) for line in results.read_text().splitlines()]
    assert sorted(outcome["target"]["token"] for outcome in found) == sorted(lines(1500).decode().split())
    assert sum(outcome["status"] == "done" for outcome in found) == 1350


def test_no_more_is_under_way_than_there_is_room_for(shell, tmp_path, monkeypatch):
    monkeypatch.setattr("dispatcher.cli.management.follow.JOBS_UNDER_WAY", 3)
    monkeypatch.setattr("dispatcher.cli.management.follow.LOOK_S", 0.01)
    file = written(tmp_path, lines(50))
    with Worker(shell, well):
        assert shell("tokens", "delete-webpush", "--tokens", file, "--json") == 0
    assert json.loads(shell.out)["settled"] == {"done": 50}


def test_a_few_outcomes_are_shown_with_what_they_brought(shell):
    brought = {"status": "done", "replacement_token": "kM1n:APA91b", "result": {"platform": "IOS"}}
    with Worker(shell, lambda _: brought):
        assert shell("tokens", "info", "--token", "a") == 0
    first, *rest = shell.out.splitlines()
    assert " done " in first
    assert rest == ["  token: kM1n:APA91b", '  {"platform":"IOS"}']


def test_results_can_go_to_standard_output(shell):
    with Worker(shell, well):
        assert shell("tokens", "info", "--token", "a", "--results", "-", "--json") == 0
    outcome, summary = map(json.loads, shell.out.splitlines())
    assert (outcome["status"], summary["settled"]) == ("done", {"done": 1})


def test_when_nobody_answers_it_says_so_and_what_came_is_kept(shell):
    assert shell("topics", "subscribe", "news", "--token", "a", "--timeout", "0.2", "--json") == 1
    assert json.loads(shell.out)["items"] == 1
    assert "0 of 1 settled, and nothing new within 0.2 s" in shell.err


def test_bad_rows_are_named_and_skipped_or_end_the_run(shell, tmp_path):
    file = written(tmp_path, b"a\n\nno token\nb\na\n")
    assert shell("topics", "subscribe", "news", "--tokens", file, "--no-wait") == 0
    assert [request["tokens"] for request in requests(shell)] == [["a", "b"]]
    assert len(shell.err.splitlines()) == 3
    assert "rows skipped: 1 blank, 1 no token, 1 repeated" in shell.out
    assert shell("topics", "subscribe", "news", "--tokens", file, "--no-wait", "--bad-rows", "stop") == 1
    assert f"{file}: line 2: blank; enqueued up to line 0: go on with --from-line 1" in shell.err


def test_a_dry_run_checks_and_enqueues_nothing(shell, tmp_path):
    file = written(tmp_path, lines(1001))
    assert shell("topics", "subscribe", "news", "--tokens", file, "--dry-run") == 0
    assert shell.out == "1,001 would make 2 jobs; nothing was enqueued\n"
    assert shell("topics", "subscribe", "no topic", "--token", "a", "--dry-run") == 2
    assert "request.topic" in shell.err
    assert jobs(shell) == []


def test_subscriptions_come_one_or_several_in_a_file_or_from_standard_input(shell, tmp_path, monkeypatch):
    several = "\n".join(json.dumps(PUSH) for _ in range(2)).encode()
    for content in (json.dumps(PUSH, indent=1).encode(), several, json.dumps([PUSH]).encode()):
        file = written(tmp_path, content, "s.json")
        assert shell("tokens", "import-webpush", "--subscription", file, "--no-wait") == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(PUSH)))
    assert shell("tokens", "import-webpush", "--subscription", "-", "--no-wait") == 0
    assert requests(shell) == [{"subscription": PUSH}] * 5


def test_groups_take_their_members_from_a_file_as_well(shell, tmp_path):
    file = written(tmp_path, lines(20))
    assert shell("groups", "create", "user-771", "--tokens", file, "--no-wait") == 0
    assert shell("groups", "remove", "user-771", "--key", "k", "--token", "a", "--no-wait") == 0
    assert requests(shell) == [
        {"name": "user-771", "tokens": lines(20).decode().split()},
        {"name": "user-771", "key": "k", "tokens": ["a"]},
    ]


def test_a_key_that_is_not_named_is_asked_for(shell):
    with Worker(shell, lambda _: {"status": "done", "result": {"notification_key": "APA91bKey"}}):
        assert shell("groups", "add", "user-771", "--token", "a") == 0
    assert requests(shell) == [
        {"name": "user-771"},
        {"name": "user-771", "key": "APA91bKey", "tokens": ["a"]},
    ]


@pytest.mark.parametrize(
    ("arguments", "mend"),
    [
        (["topics", "subscribe", "news"], "give --token (several times for several) or a file with --tokens"),
        (["topics", "subscribe", "news", "--token", "a", "--tokens", "f"], "one of them"),
        (["topics", "subscribe", "news", "--token", "a b"], "--token: no token"),
        (["topics", "subscribe", "a b", "--token", "a"], "request.topic"),
        (["topics", "subscribe", "news", "--tokens", "/nowhere"], "--tokens /nowhere: cannot be read"),
        (["topics", "unsubscribe", "news", "--token", "a", "--via", "relation"], "See dispatcher topics"),
        (["tokens", "info", "--token", "a", "--results", "/nowhere/x"], "--results /nowhere/x: cannot be written"),
        (["tokens", "import-apns", "--application", "a"], "--apns-token (several times"),
        (["tokens", "import-webpush"], "--subscription subscription.json"),
        (["tokens", "import-webpush", "--subscription", "/nowhere"], "--subscription /nowhere: cannot be read"),
        (["tokens", "refresh-webpush", "--token", "a"], "give --token with --subscription"),
        (["groups", "create", "g"], "give --token"),
        (["groups", "add", "g", "--token", "a", "--no-wait"], "then name the group's --key"),
        (["groups", "create", "g", *(x for n in range(21) for x in ("--token", f"t{n}"))], "more than 20 tokens"),
    ],
)  # fmt: skip
def test_wrong_use_is_named_with_its_mend(shell, arguments, mend):
    assert shell(*arguments) == 2
    assert mend in shell.err
    assert shell.err.count("\n") == 1
    assert jobs(shell) == []


@pytest.mark.parametrize(
    ("content", "mend"),
    [
        (b"", "nothing in it"),
        (b"[]", "nothing in it"),
        (b"{", "neither one JSON object nor one a line"),
        (b"[7]", "line 1: no JSON object"),
        (b"{}\n{}", "request.subscription"),
        (b"\xff", "cannot be read"),
    ],
)
def test_what_is_no_subscription_is_named(shell, tmp_path, content, mend):
    assert shell("tokens", "import-webpush", "--subscription", written(tmp_path, content)) == 2
    assert mend in shell.err


def test_one_token_is_refreshed_with_one_subscription(shell, tmp_path):
    file = written(tmp_path, json.dumps([PUSH, PUSH]).encode())
    assert shell("tokens", "refresh-webpush", "--token", "a", "--subscription", file) == 2
    assert "2 of them for one token; use --file" in shell.err
    assert shell("tokens", "refresh-webpush", "--file", file) == 2
    assert 'line 1: write {"token": "...", "subscription": {...}}' in shell.err


def test_an_empty_file_is_a_failure(shell, tmp_path):
    file = written(tmp_path, b"")
    assert shell("topics", "subscribe", "news", "--tokens", file) == 1
    assert f"{file}: no token in it" in shell.err


def test_on_a_terminal_bars_show_how_far_it_is(shell, redis_server, tmp_path):
    file = written(tmp_path, lines(1500))
    ours, its = pty.openpty()
    command = ["topics", "subscribe", "news", "--project", P, "--tokens", file, "--timeout", "0.1"]
    ran = subprocess.run(
        [sys.executable, "-m", "dispatcher", *command],
        env={**os.environ, "DISPATCHER_REDIS_URL": redis_server.url, "TERM": "xterm", "COLUMNS": "100"},
        stdout=subprocess.PIPE, stderr=its, check=False, timeout=60,
    )  # fmt: skip
    os.close(its)
    seen = b""
    try:
        while block := os.read(ours, 65536):
            seen += block
    except OSError:  # how Linux says that nobody holds the other end any more
        pass
    os.close(ours)
    assert ran.returncode == 1
    assert b"enqueued" in seen
    assert b"settled" in seen
    assert b"1,500" in seen

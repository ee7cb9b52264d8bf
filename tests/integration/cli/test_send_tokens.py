"""`dispatcher send --tokens` makes jobs of a file, and tells of each bad row."""

import gzip
import io
import json
import re
import signal
import subprocess
import sys
import threading

import pytest
import redis

P = "demo-orchard-41"
LANE = f"fcm:{{{P}}}:jobs:normal"
OUTCOMES = f"fcm:{{{P}}}:outcomes"


def jobs(shell, lane=LANE):
    return [
        {name.decode(): value.decode() for name, value in fields.items()}
        for _, fields in shell.redis.xrange(lane)
    ]


def written(tmp_path, content, name="users.txt"):
    file = tmp_path / name
    file.write_bytes(content)
    return str(file)


def lines(count):
    return b"".join(b"token-%d\n" % number for number in range(count))


def test_five_hundred_tokens_make_a_job(shell, tmp_path):
    file = written(tmp_path, lines(1001))
    assert (
        shell("send", "--tokens", file, "--title", "Hi", "--campaign", "spring", "--id", "run", "--json") == 0
    )
    summary = json.loads(shell.out)
    assert (summary["tokens"], summary["jobs"], summary["job"], summary["last_line"]) == (
        1001, 3, "run", 1001
    )  # fmt: skip
    found = jobs(shell)
    assert [len(json.loads(job["tokens"])) for job in found] == [500, 500, 1]
    assert [token for job in found for token in json.loads(job["tokens"])] == lines(1001).decode().split()
    assert [job["id"] for job in found] == ["run#1", "run#2", "run#3"]
    assert {job["campaign"] for job in found} == {"spring"}
    assert {job["message"] for job in found} == {'{"notification":{"title":"Hi"}}'}


def test_the_summary_for_people(shell, tmp_path):
    assert shell("send", "--tokens", written(tmp_path, b"a\n\nb\na\n"), "--title", "Hi", "--id", "r") == 0
    first, second = shell.out.splitlines()
    assert first.startswith("2 tokens enqueued in ")
    assert first.endswith(" as 1 job, r#1")
    assert second == "rows skipped: 1 blank, 1 repeated"


def test_each_bad_row_is_named_with_its_line_and_skipped(shell, tmp_path):
    file = written(
        tmp_path, b"\xef\xbb\xbfid,token\r\n1,a\r\n2,\r\n3,a\r\n4,b b\r\n5,\xe4\r\n6,z\r\n", "u.csv"
    )
    assert shell("send", "--tokens", file, "--title", "Hi", "--json") == 0
    assert json.loads(shell.out)["skipped"] == {"blank": 1, "no token": 2, "repeated": 1}
    assert sorted(shell.err.splitlines()) == [
        f"{file}:3: blank; skipped",
        f"{file}:4: the same token as in an earlier line; skipped",
        f"{file}:5: no token: found ' ' in 'b b'; skipped",
        f"{file}:6: no token: byte 0xe4; the file may be in another encoding than UTF-8; skipped",
    ]
    assert json.loads(jobs(shell)[0]["tokens"]) == ["a", "z"]


def test_of_many_bad_rows_the_first_are_named(shell, tmp_path):
    assert shell("send", "--tokens", written(tmp_path, b"a\n" + b"\n" * 100), "--title", "Hi") == 0
    assert len(shell.err.splitlines()) == 21
    assert shell.err.splitlines()[-1] == "and 80 more rows like these"


def test_a_bad_row_stops_the_run_if_asked_and_it_can_go_on_behind_it(shell, tmp_path, monkeypatch):
    monkeypatch.setattr("dispatcher.client.token_file.BLOCK", 4096)
    rows = lines(2000).splitlines(keepends=True)
    file = written(tmp_path, b"".join([*rows[:1500], b"not good\n", *rows[1500:]]))
    assert shell("send", "--tokens", file, "--title", "Hi", "--bad-rows", "stop", "--json") == 1
    summary = json.loads(shell.out)
    assert f"{file}: line 1501: no token: found ' ' in 'not good'" in shell.err
    assert shell.err.endswith(f": go on with --from-line {summary['last_line'] + 1}\n")
    assert 0 < summary["tokens"] == summary["last_line"] <= 1500
    again = ("--from-line", str(summary["last_line"] + 1))
    assert shell("send", "--tokens", file, "--title", "Hi", *again) == 0
    sent = [token for job in jobs(shell) for token in json.loads(job["tokens"])]
    assert sent == lines(2000).decode().split()


def test_a_gzip_that_is_cut_off_enqueues_what_is_whole_and_fails(shell, tmp_path):
    packed = gzip.compress(lines(50_000))
    file = written(tmp_path, packed[: len(packed) // 2], "users.txt.gz")
    assert shell("send", "--tokens", file, "--title", "Hi", "--json") == 1
    summary = json.loads(shell.out)
    assert "the gzip file is cut off or damaged; fetch it again" in shell.err
    assert sum(len(json.loads(job["tokens"])) for job in jobs(shell)) == summary["tokens"] > 1000


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.jsonl.gz", gzip.compress(b'{"token":"a"}\n{"token":"b"}\n', mtime=0), ()),
        ("a.dat", b"x;push\n1;a\n2;b\n", ("--format", "csv", "--column", "push")),
        ("a.txt", b"a\r\nb", ()),
    ],
    ids=["gzipped JSON lines", "CSV under another name", "CRLF"],
)
def test_files_of_each_kind(shell, tmp_path, name, content, options):
    assert shell("send", "--tokens", written(tmp_path, content, name), "--title", "Hi", *options) == 0
    assert json.loads(jobs(shell)[0]["tokens"]) == ["a", "b"]


def test_tokens_from_standard_input(shell, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\nb\n")))
    assert shell("send", "--tokens", "-", "--title", "Hi", "--lane", "high") == 0
    assert json.loads(jobs(shell, LANE.replace("normal", "high"))[0]["tokens"]) == ["a", "b"]


def test_a_file_without_a_token_column_is_a_failure(shell, tmp_path):
    assert shell("send", "--tokens", written(tmp_path, b"a,b\n1,2\n", "u.csv"), "--title", "Hi") == 1
    assert "no column token among: a, b; name it with --column" in shell.err
    assert jobs(shell) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("a\nb\n".encode("utf-16"), "the file is in UTF-16; make it UTF-8: iconv -f utf-16 -t utf-8"),
        ("a\nb\n".encode("utf-32-le"), "the file is in UTF-16 or UTF-32; make it UTF-8"),
        (gzip.compress(b"a\n", mtime=0)[:-6], "the gzip file is cut off or damaged; fetch it again"),
        (b"", "no token in it"),
        (b"\xef\xbb\xbf\r\n\r\n", "no token in it"),
    ],
    ids=["UTF-16", "UTF-32", "cut off at its end", "empty", "blank lines only"],
)
def test_a_file_that_cannot_be_read_is_a_failure_with_its_mend(shell, tmp_path, content, reason):
    file = written(tmp_path, content)
    assert shell("send", "--tokens", file, "--title", "Hi") == 1
    last = shell.err.splitlines()[-1]
    assert last.startswith(f"dispatcher: {file}: ")
    assert reason in last


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"", "line 2: blank"),
        (b"a", "line 2: the same token as in an earlier line"),
        (b"b b", "line 2: no token: found ' ' in 'b b'"),
        (b"\xe4", "line 2: no token: byte 0xe4; the file may be in another encoding than UTF-8"),
    ],
    ids=["blank", "repeated", "invalid", "Latin-1"],
)
def test_each_kind_of_bad_row_stops_the_run_if_asked(shell, tmp_path, row, reason):
    file = written(tmp_path, b"a\n" + row + b"\nc\n")
    assert shell("send", "--tokens", file, "--title", "Hi", "--bad-rows", "stop") == 1
    assert shell.err.startswith(f"dispatcher: {file}: {reason}; enqueued up to line ")
    assert shell.err.count("\n") == 1


def test_a_time_is_every_jobs(shell, tmp_path):
    options = ("--deliver-at", "4102444800", "--expires-at", "4102448400")
    assert shell("send", "--tokens", written(tmp_path, lines(501)), "--title", "Hi", *options) == 0
    assert [(job["deliver_at"], job["expires_at"]) for job in jobs(shell)] == [
        ("4102444800", "4102448400")
    ] * 2


def test_a_dry_run_reads_and_enqueues_nothing(shell, tmp_path):
    assert shell("send", "--tokens", written(tmp_path, lines(700)), "--title", "Hi", "--dry-run") == 0
    assert shell.out == "700 tokens would make 2 jobs; nothing was enqueued\n"
    assert jobs(shell) == []


def test_a_dedup_key_is_each_jobs_own_and_the_same_when_a_run_goes_on(shell, tmp_path):
    file = written(tmp_path, lines(1001))
    assert shell("send", "--tokens", file, "--title", "Hi", "--dedup-key", "k") == 0
    assert shell("send", "--tokens", file, "--title", "Hi", "--dedup-key", "k", "--from-line", "501") == 0
    keys = [job["dedup_key"] for job in jobs(shell)]
    assert keys == ["k#1", "k#501", "k#1001", "k#501", "k#1001"]


def test_a_full_redis_says_where_to_go_on(shell, tmp_path):
    shell.redis.config_set("maxmemory", 1)
    try:
        assert shell("send", "--tokens", written(tmp_path, lines(10)), "--title", "Hi") == 1
    finally:
        shell.redis.config_set("maxmemory", 0)
    assert "Redis is full" in shell.err
    assert shell.err.endswith("enqueued up to line 0: go on with --from-line 1\n")


def test_redis_away_is_a_failure_in_one_line(shell, monkeypatch, tmp_path):
    monkeypatch.setenv("DISPATCHER_REDIS_URL", "redis://127.0.0.1:1")
    assert shell("send", "--tokens", written(tmp_path, lines(10)), "--title", "Hi") == 1
    assert shell.err.startswith("dispatcher: Redis cannot be reached")
    assert (shell.err.count("\n"), shell.out) == (1, "")


@pytest.fixture
def sending(shell):
    """A run in a process of its own, that reads tokens from us."""
    command = [sys.executable, "-m", "dispatcher", "send", "--tokens", "-", "--title", "Hi", "--wait"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:
        yield process
        process.kill()


def test_an_interrupted_run_says_where_to_go_on(shell, sending):
    sending.stdin.write(lines(100_000))
    sending.stdin.flush()
    assert shell.redis.xread({LANE: "0"}, count=1, block=30_000)
    sending.send_signal(signal.SIGINT)
    out, err = sending.communicate(lines(100_000))
    assert (sending.returncode, out) == (130, b"")
    (said,) = re.findall(
        r"interrupted: ([\d,]+) tokens enqueued, up to line (\d+): go on with --from-line (\d+)\n",
        err.decode(),
    )
    tokens, last, following = (int(number.replace(",", "")) for number in said)
    assert tokens == last == following - 1 < 200_000
    assert last == sum(len(json.loads(job["tokens"])) for job in jobs(shell))


def test_an_interrupted_wait_says_that_all_is_enqueued(shell, sending):
    sending.stdin.write(lines(700))
    sending.stdin.close()
    sending.stdin = None
    ids = set()
    while len(ids) < 2:
        ((_, entries),) = shell.redis.xread({LANE: "0"}, block=30_000)
        ids |= {entry for entry, _ in entries}
    sending.send_signal(signal.SIGINT)
    _, err = sending.communicate()
    assert sending.returncode == 130, err
    assert re.search(
        r"interrupted: (all 700 tokens are enqueued; 0 settled so far|700 tokens enqueued)", err.decode()
    )


@pytest.mark.parametrize(("bad", "code"), [(0, 0), (2, 1)])
def test_waiting_counts_what_became_of_them_by_code(shell, redis_server, tmp_path, bad, code):
    def settle():
        with redis.Redis.from_url(redis_server.url, protocol=2) as server:
            ((_, entries),) = server.xread({LANE: "0"}, block=10_000)
            for _, fields in entries:
                base = {"job": fields[b"id"].decode(), "attempts": 1, "enqueued_at": 1, "settled_at": 2}
                rows = []
                for index, _token in enumerate(json.loads(fields[b"tokens"])):
                    fate = (
                        {"status": "invalid_token", "code": "registration-token-not-registered"}
                        if index < bad
                        else {"status": "accepted"}
                    )
                    rows.append({**base, "index": index, **fate})
                server.xadd(OUTCOMES, {"outcomes": json.dumps([*rows, {**rows[0], "job": "other#1"}])})

    thread = threading.Thread(target=settle)
    thread.start()
    file = written(tmp_path, lines(10))
    assert shell("send", "--tokens", file, "--title", "Hi", "--wait", "--timeout", "20", "--json") == code
    thread.join()
    settled = json.loads(shell.out)["settled"]
    assert settled.pop("accepted") == 10 - bad
    assert settled == ({"invalid_token registration-token-not-registered": 2} if bad else {})


def test_waiting_in_vain_says_what_to_look_at(shell, tmp_path):
    file = written(tmp_path, lines(10))
    assert shell("send", "--tokens", file, "--title", "Hi", "--wait", "--timeout", "0.1") == 1
    assert "0 of 10 settled, and nothing new within 0.1 s" in shell.err
    assert shell.err.count("\n") == 1

"""`dispatcher topics`, `tokens` and `groups`: through Redis and a worker to the emulator, and back."""

import gzip
import io
import json
import urllib.request
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple

import pytest

from dispatcher.cli.app import run
from dispatcher.emulator.credentials import number_of
from dispatcher.protocol.web_push import VAPID_PUBLIC_KEY

PROJECT = "demo-orchard-41"
PUSH = {
    "endpoint": "https://push.example.com/s",
    "expirationTime": None,
    "keys": {"auth": "A" * 22, "p256dh": "B" * 87},
}
APNS = "3f2a" * 16


class Ran(NamedTuple):
    """What a command printed."""

    stdout: str
    stderr: str


class Desk:
    """A site that all these tests share, and its emulator's admin API."""

    def __init__(self, site):
        self.site = site

    def run(self, *arguments, code=0):
        """A command in this process, which is much sooner ready than one of its own."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            for name, value in self.site.env.items():
                patch.setenv(name, value)
            returned = run(arguments)
        assert returned == code, err.getvalue() + out.getvalue()
        return Ran(out.getvalue(), err.getvalue())

    def asked(self, *arguments, code=0):
        """The summary of a run."""
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def admin(self, path, body=None):
        request = urllib.request.Request(
            f"{self.site.env['DISPATCHER_FCM_ENDPOINT']}/_emulator/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method="GET" if body is None else "PUT",
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def members(self, topic):
        return self.admin(f"topics?project={PROJECT}&topic={topic}")["subscribers"]

    def subscribed(self, topic, *tokens):
        """Have these tokens follow a topic."""
        self.admin("topics", {"project": PROJECT, "topic": topic, "subscribe": tokens})

    def calls(self, operation):
        return self.admin("summary")["management"]["calls"].get(operation, 0)

    def reached(self, target):
        """Whom a message to this target, in JSON, reaches."""
        file = self.site.folder / "message.json"
        file.write_text(json.dumps({**target, "notification": {"title": "Hi"}, "data": {"id": "reach"}}))
        self.run("send", "--file", str(file), "--wait")
        return self.admin("deliveries?id=reach")["rows"][-1][-1]


@pytest.fixture(scope="module")
def desk(shared_site):
    shared_site.env |= {"DISPATCHER_PROJECTS": PROJECT, "DISPATCHER_SENDER_ID": number_of(PROJECT)}
    shared_site.start_redis()
    shared_site.start_emulator()
    shared_site.start_worker()
    return Desk(shared_site)


def test_the_tokens_of_a_file_follow_a_topic_in_calls_of_a_thousand(desk, tmp_path):
    desk.admin("tokens", {"project": PROJECT, "tokens": {"t-7": "unregistered", "t-9": "wrong-sender"}})
    file, results = tmp_path / "users.txt.gz", tmp_path / "results.jsonl"
    file.write_bytes(gzip.compress(b"".join(b"t-%d\n" % n for n in range(2500)) + b"t-1\n"))
    before = desk.calls("topic.subscribe")
    summary = desk.asked(
        "topics", "subscribe", "harvest", "--tokens", str(file), "--results", str(results), code=1
    )
    assert (summary["items"], summary["jobs"], summary["skipped"]) == (2500, 3, {"repeated": 1})
    assert summary["settled"] == {
        "done": 2498,
        "invalid_token registration-token-not-registered": 1,
        "wrong_project mismatched-credential": 1,
    }
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert {line["target"]["token"]: line["status"] for line in lines if line["status"] != "done"} == {
        "t-7": "invalid_token", "t-9": "wrong_project",
    }  # fmt: skip
    assert len(lines) == 2500
    assert len(desk.members("harvest")) == 2498
    assert desk.calls("topic.subscribe") - before == 3


def test_what_is_unsubscribed_is_reached_no_more(desk):
    assert desk.asked("topics", "subscribe", "frost", "--token", "a", "--token", "b")["settled"] == {
        "done": 2
    }
    assert desk.reached({"topic": "frost"}) == ["a", "b"]
    assert desk.asked("topics", "unsubscribe", "frost", "--token", "b")["settled"] == {"done": 1}
    assert desk.reached({"topic": "frost"}) == ["a"]


def test_a_condition_reaches_whom_it_selects_from_left_to_right(desk):
    for topic, tokens in {"x": ("1", "12"), "y": ("2", "12"), "z": ("12", "3")}.items():
        desk.subscribed(topic, *tokens)
    rule = "'x' in topics || 'y' in topics && 'z' in topics"
    assert desk.reached({"condition": rule}) == ["12"]


@pytest.mark.parametrize("via", ["batch", "relation", "v1"])
def test_a_topic_is_followed_by_every_way(desk, via):
    assert desk.asked("topics", "subscribe", f"by-{via}", "--token", "a:b", "--via", via)["settled"] == {
        "done": 1
    }
    assert desk.members(f"by-{via}") == ["a:b"]
    rows = desk.admin(f"calls?subject=by-{via}")["rows"]
    assert [row[4] for row in rows] == [via]


@pytest.mark.parametrize("via", ["batch", "v1"])
def test_a_topic_is_left_by_every_way(desk, via):
    desk.subscribed(f"left-{via}", "a:b", "c")
    unsubscribe = ("topics", "unsubscribe", f"left-{via}", "--token", "a:b", "--via", via)
    assert desk.asked(*unsubscribe)["settled"] == {"done": 1}
    assert desk.members(f"left-{via}") == ["c"]


def test_what_is_known_of_a_token_is_shown(desk):
    desk.subscribed("known", "me")
    (outcome,) = desk.asked("tokens", "info", "--token", "me", "--details")["outcomes"]
    assert outcome["result"]["authorizedEntity"] == number_of(PROJECT)
    assert list(outcome["result"]["rel"]["topics"]) == ["known"]
    assert '"platform":"ANDROID"' in desk.run("tokens", "info", "--token", "me").stdout


def test_an_imported_apns_token_can_be_sent_to(desk):
    summary = desk.asked(
        "tokens", "import-apns", "--application", "com.example.Orchard", "--apns-token", APNS,
        "--apns-token", "xyz", code=1,
    )  # fmt: skip
    good, bad = sorted(summary["outcomes"], key=lambda outcome: outcome["index"])
    assert (good["status"], good["target"]) == ("done", {"apns_token": APNS})
    assert (bad["status"], bad["code"]) == ("rejected", "invalid-argument")
    desk.run("send", "--token", good["replacement_token"], "--title", "Hi", "--wait")


def test_a_web_push_subscription_becomes_a_token_is_refreshed_and_deleted(desk, tmp_path):
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    one.write_text(json.dumps(PUSH, indent=2))
    other.write_text(json.dumps({**PUSH, "endpoint": "https://push.example.com/other"}))
    (imported,) = desk.asked("tokens", "import-webpush", "--subscription", str(one))["outcomes"]
    token = imported["replacement_token"]
    (same,) = desk.asked("tokens", "refresh-webpush", "--token", token, "--subscription", str(one))[
        "outcomes"
    ]
    assert same["replacement_token"] == token
    changed = tmp_path / "changed.jsonl"
    changed.write_text(json.dumps({"token": token, "subscription": json.loads(other.read_text())}))
    (moved,) = desk.asked("tokens", "refresh-webpush", "--file", str(changed))["outcomes"]
    desk.run("send", "--token", moved["replacement_token"], "--title", "Hi", "--wait")
    assert desk.asked("tokens", "delete-webpush", "--token", moved["replacement_token"])["settled"] == {
        "done": 1
    }
    assert desk.asked("tokens", "delete-webpush", "--token", moved["replacement_token"], code=1)[
        "settled"
    ] == {"invalid_token registration-token-not-registered": 1}


def test_a_group_is_made_grown_sent_to_and_ended(desk):
    (made,) = desk.asked("groups", "create", "user-771", "--token", "p", "--token", "q")["outcomes"]
    key = made["result"]["notification_key"]
    (known,) = desk.asked("groups", "get", "user-771")["outcomes"]
    assert known["result"] == {"notification_key": key}
    desk.asked("groups", "add", "user-771", "--token", "r")
    assert desk.reached({"token": key}) == ["p", "q", "r"]
    desk.asked("groups", "remove", "user-771", "--key", key, *(x for t in "pqr" for x in ("--token", t)))
    ended = desk.run("groups", "add", "user-771", "--token", "s", code=1)
    assert "notification_key not found; create it with group.create" in ended.stderr


def test_a_group_that_exists_says_how_to_get_its_key(desk):
    desk.asked("groups", "create", "twice", "--token", "p")
    (outcome,) = desk.asked("groups", "create", "twice", "--token", "p", code=1)["outcomes"]
    assert (outcome["status"], outcome["code"]) == ("rejected", "invalid-argument")
    assert "group.get" in outcome["reason"]


def test_jobs_can_be_left_to_themselves(desk):
    ran = desk.run("topics", "subscribe", "later", "--token", "a", "--no-wait")
    assert ran.stdout.startswith("topic.subscribe: 1 enqueued as 1 job, topic-subscribe-")


def test_where_web_push_is_explained_fcms_public_key_is_shown(desk):
    shown = "".join(desk.run("tokens", "import-webpush", "--help").stdout.split())
    assert VAPID_PUBLIC_KEY in shown

"""What commands show on a real terminal: pictures that change, bars, questions."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

P = "demo-orchard-41"
LANE = f"fcm:{{{P}}}:jobs:normal"
PATIENCE_S = 30
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
SCREEN_ON, SCREEN_OFF = "\x1b[?1049h", "\x1b[?1049l"


class Terminal:
    """A command whose standard streams are a terminal of 120 columns and 40 rows."""

    def __init__(self, *arguments):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        env = {
            name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dispatcher", *arguments],
            stdin=slave, stdout=slave, stderr=slave, env={**env, "TERM": "xterm"},
        )  # fmt: skip
        os.close(slave)
        self.shown = ""

    def _more(self):
        """Whether there was more to read."""
        try:
            read = os.read(self._master, 65536).decode(errors="replace")
            self.shown += _COLOURS.sub("", read)
        except OSError:  # the command has ended, and with it the other side
            return False
        return True

    def until(self, pattern):
        """What the first new match of this pattern says, as soon as it stands there."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := re.search(pattern, self.shown)):
            ready, _, _ = select.select([self._master], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no {pattern!r} in {self.shown[-500:]!r}"
            assert self._more(), f"no {pattern!r} in {self.shown[-500:]!r}"
        self.shown = self.shown[found.end() :]
        return found[0]

    def type(self, text):
        os.write(self._master, text.encode())

    def end(self):
        """Its exit code, when everything that it showed has been read."""
        while self._more():
            pass
        return self.process.wait(timeout=PATIENCE_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)


def test_status_is_drawn_again_and_again_until_interrupted_and_leaves_the_screen_as_it_was(shell):
    shell.redis.xadd(LANE, {"message": "{}"})
    with Terminal("status", "--watch", "--every", "0.2") as terminal:
        terminal.until(re.escape(SCREEN_ON))
        terminal.until(rf"{P}: 1 job that no worker serves")
        shell.redis.xadd(LANE, {"message": "{}"})
        terminal.until(rf"{P}: 2 jobs that no worker serves")
        terminal.process.send_signal(signal.SIGINT)
        terminal.until(re.escape(SCREEN_OFF))
        assert terminal.end() == 130


def test_a_watch_outlives_an_error_of_redis(shell):
    shell.redis.xadd(LANE, {"message": "{}"})
    with Terminal("status", "--watch", "--every", "0.2") as terminal:
        terminal.until("1 job that no worker serves")
        shell.redis.set(f"fcm:{{{P}}}:delayed", "no sorted set")
        terminal.until("WRONGTYPE|wrong kind")
        shell.redis.delete(f"fcm:{{{P}}}:delayed")
        terminal.until("1 job that no worker serves")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130


def test_a_status_for_a_terminal_is_one_table(shell):
    shell.redis.xadd(LANE, {"message": "{}"})
    with Terminal("status") as terminal:
        terminal.until(r"project +high +due +normal +bulk")
        terminal.until(rf"{P} +0 +0 +1 +0")
        assert terminal.end() == 0
        assert SCREEN_ON not in terminal.shown


def settle(server, number):
    """Settles each job in the lane, as a worker would."""
    entries = []
    while len(entries) < number:
        ((_, entries),) = server.xread({LANE: "0"}, block=PATIENCE_S * 1000)
    for _, fields in entries:
        base = {"job": fields[b"id"].decode(), "status": "accepted", "attempts": 1}
        times = {"enqueued_at": 1, "settled_at": 2}
        rows = [{**base, **times, "index": index} for index, _ in enumerate(json.loads(fields[b"tokens"]))]
        server.xadd(f"fcm:{{{P}}}:outcomes", {"outcomes": json.dumps(rows)})


def test_two_bars_show_what_is_enqueued_and_settled_and_go_away(shell, tmp_path):
    file = tmp_path / "users.txt"
    file.write_text("".join(f"token-{n}\n" for n in range(1200)) + "not good\n")
    with Terminal("send", "--project", P, "--tokens", str(file), "--title", "Hi", "--wait") as terminal:
        terminal.until(r"users\.txt:1201: no token: found ' ' in 'not good'; skipped")
        terminal.until(r"enqueued.*100%.*1,200")
        terminal.until(r"settled.* 0%")
        settle(shell.redis, 3)
        terminal.until(r"settled.*100%.*1,200")
        terminal.until(r"1,200 tokens enqueued in .* as 3 jobs, send-\w+#1 to #3")
        terminal.until(r"rows skipped: 1 no token")
        terminal.until(r"1,200 accepted")
        assert terminal.end() == 0


def test_what_cannot_be_undone_is_asked_for(shell):
    shell.redis.xadd(LANE, {"message": '{"topic":"a"}', "campaign": "spring"})
    for answer, code, said in (("n", 1, "nothing was done"), ("y", 0, "1 job with 1 message cancelled")):
        with Terminal("cancel", P, "--campaign", "spring") as terminal:
            terminal.until(r"Cancel 1 job with 1 message of demo-orchard-41, campaign spring\? \[y/N\]: ")
            assert shell.redis.hlen(f"fcm:{{{P}}}:control") == 0
            terminal.type(f"{answer}\n")
            terminal.until(said)
            assert terminal.end() == code


@pytest.mark.parametrize("keys", ["\x04"], ids=["end of input"])
def test_no_answer_is_no(shell, keys):
    with Terminal("cancel", P, "--campaign", "spring") as terminal:
        terminal.until(r"\[y/N\]: ")
        terminal.type(keys)
        assert terminal.end() != 0
    assert shell.redis.keys("*") == []

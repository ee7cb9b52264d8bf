"""All commands in one application, and its exit codes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import typer

from dispatcher.cli import check, dead, emulator, kill_switch, outcomes, send, status, worker
from dispatcher.cli.demo import command as demo
from dispatcher.cli.management import groups, tokens, topics
from dispatcher.errors import DispatcherError, SettingsError

DONE, FAILED, WRONG_USE = 0, 1, 2

app = typer.Typer(
    name="dispatcher",
    help="Push messages from Redis streams to Firebase Cloud Messaging, with one outcome for each.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(epilog=worker.EXAMPLE)(worker.worker)
app.command(epilog=emulator.EXAMPLE)(emulator.emulator)
app.command(epilog=demo.EXAMPLE)(demo.demo)
app.command(epilog=check.EXAMPLE)(check.check)
app.command(epilog=send.EXAMPLE)(send.send)
app.command(epilog=outcomes.EXAMPLE)(outcomes.outcomes)
app.command(epilog=status.EXAMPLE)(status.status)
app.command(epilog=kill_switch.PAUSE_EXAMPLE)(kill_switch.pause)
app.command(epilog=kill_switch.RESUME_EXAMPLE)(kill_switch.resume)
app.command(epilog=kill_switch.CANCEL_EXAMPLE)(kill_switch.cancel)
app.add_typer(dead.dead)
app.add_typer(topics.topics)
app.add_typer(tokens.tokens)
app.add_typer(groups.groups)


@runtime_checkable
class _WrongUse(Protocol):
    """What typer raises for a command line it cannot read, wherever this version of it keeps the class."""

    exit_code: int

    def format_message(self) -> str:
        """The sentence for people."""
        ...


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name.

    Returns:
        0 done, 1 ran and something failed, 2 wrong use or settings; 130 interrupted.
    """
    try:
        code = app(list(arguments), prog_name="dispatcher", standalone_mode=False)
    except SettingsError as error:
        return _fail(str(error), WRONG_USE)
    except DispatcherError as error:
        return _fail(str(error), FAILED)
    except (KeyboardInterrupt, typer.Abort):
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Nothing is left to flush to it at exit.
        sys.stdout = None
        return DONE
    except Exception as error:
        if not isinstance(error, _WrongUse):
            raise
        return _show_wrong_use(error)
    return code if isinstance(code, int) else DONE


def _show_wrong_use(error: _WrongUse) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":  # `dispatcher` alone: its message is the whole help
        sys.stderr.write(f"{error.format_message()}\n")
        return error.exit_code
    command = getattr(getattr(error, "ctx", None), "command_path", "dispatcher")
    sentence = error.format_message().rstrip(".")
    stop = "" if sentence.endswith("?") else "."
    return _fail(f"{sentence}{stop} See {command} --help.", error.exit_code)


def _fail(sentence: str, code: int) -> int:
    line = " ".join(sentence.split())
    sys.stderr.write(f"dispatcher: {line}\n")
    return code

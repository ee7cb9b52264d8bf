"""`dispatcher dead`: what was rejected or given up: list, look at one, put back, remove."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import msgspec
import typer

from dispatcher.cli.amount import amount, amounts
from dispatcher.cli.dead_filter import dead_filter
from dispatcher.cli.grouped_options import expands
from dispatcher.cli.moment import duration, when
from dispatcher.cli.options import AsJson, Config, DryRun, ProjectFilter, Yes, confirm, load, run
from dispatcher.cli.targets import named
from dispatcher.cli.waiting import jobs_and_messages
from dispatcher.client import DeadCount, DeadFilter, DeadLetter, DeadLetters, Replayed
from dispatcher.errors import DispatcherError, SettingsError
from dispatcher.queue.store import Queue
from dispatcher.settings import Settings

dead = typer.Typer(
    name="dead",
    help="Dead letters: messages that were rejected or given up. List them, look at one, put them back, remove them.",
    no_args_is_help=True,
)

T = TypeVar("T")

Entries = Annotated[
    list[str] | None, typer.Argument(metavar="[ENTRY]...", help="These letters only.", show_default=False)
]


@dead.command("list", epilog="Example: dispatcher dead list --code server-unavailable --younger-than 2h")
@expands(where=dead_filter)
def list_letters(
    *,
    config: Config = None,
    project: ProjectFilter = "",
    where: DeadFilter,
    limit: Annotated[int, typer.Option(min=0, help="Show at most so many of a project; 0: all.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List dead letters, oldest first, and count them by code. With --json one object a line."""
    settings = load(config)

    async def do(letters: DeadLetters, chosen: str, _: Queue) -> DeadCount:
        shown = 0
        async for letter in letters.letters(chosen, where, limit=limit):
            print(msgspec.json.encode(_facts(letter)).decode() if as_json else _line(letter))
            shown += 1
        return DeadCount() if as_json else await letters.count(chosen, where)

    counts = _each(settings, project, do)
    if not as_json:
        for chosen, counted in counts.items():
            print(f"{chosen}: {_counted(counted)}")
        if not counts:
            print("no dead letters")


@dead.command(
    epilog="Example: dispatcher dead show 1731000000000-0 --project demo-orchard-41",
)
def show(
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help="The letter's id.", show_default=False)],
    *,
    config: Config = None,
    project: ProjectFilter = "",
    as_json: AsJson = False,
) -> None:
    """Show one dead letter whole: the job as it was enqueued, and what became of each send."""

    async def do(letters: DeadLetters, chosen: str, _: Queue) -> DeadLetter | None:
        return await _letter(letters, chosen, entry)

    found = [letter for letter in _each(load(config), project, do).values() if letter is not None]
    if not found:
        raise DispatcherError(f"there is no dead letter {entry}: dispatcher dead list")
    for letter in found:
        if as_json:
            print(msgspec.json.encode(_facts(letter)).decode())
            continue
        print(_line(letter))
        for name, text in letter.texts().items():
            print(f"  {name:<12} {text}")
        for attempt in letter.history:
            print(f"  {'sent':<12} {when(attempt.at)} {attempt.http_status or '-'} {attempt.code}")


@dead.command(
    epilog="Example: dispatcher dead replay --project demo-orchard-41 --code server-unavailable --dry-run",
)
@expands(where=dead_filter)
def replay(
    entries: Entries = None,
    *,
    config: Config = None,
    project: ProjectFilter = "",
    where: DeadFilter,
    expires_in: Annotated[
        str,
        typer.Option(
            metavar="AGE", help="New life of jobs whose own time is over, as 2h.", show_default=False
        ),
    ] = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Put dead letters back into the lanes they came from, as a new run. None is sent twice by calling this twice."""
    life = duration("--expires-in", expires_in)
    settings = load(config)
    counts = _ask(settings, project, entries, where, "Replay", dry_run=dry_run, yes=yes, as_json=as_json)
    if counts is None:
        return

    async def do(letters: DeadLetters, chosen: str, queue: Queue) -> Replayed:
        if chosen not in counts:
            return Replayed()
        until = msgspec.structs.replace(where, until=counts[chosen].last)
        expires_at = await queue.ping() + life if life else 0.0
        return await letters.replay(chosen, entries or until, expires_at=expires_at)

    done = _each(settings, project, do)
    for chosen, result in done.items():
        if as_json:
            print(msgspec.json.encode({"project": chosen, "replayed": result}).decode())
            continue
        if chosen in counts:
            back = "is in its lane again" if result.jobs == 1 else "are in their lanes again"
            print(f"{chosen}: {jobs_and_messages(result.jobs, result.messages)} {back}")
        if result.expired:
            stay = "stays dead: its time is" if result.expired == 1 else "stay dead: their time is"
            print(f"{chosen}: {result.expired:,} {stay} over; give a new one with --expires-in")
        if result.gone:
            print(f"{chosen}: replayed or removed meanwhile: {result.gone:,}")
    if any(result.expired for result in done.values()):
        raise typer.Exit(1)


@dead.command(
    epilog="Example: dispatcher dead purge --project demo-orchard-41 --status rejected --older-than 7d --yes",
)
@expands(where=dead_filter)
def purge(
    entries: Entries = None,
    *,
    config: Config = None,
    project: ProjectFilter = "",
    where: DeadFilter,
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Remove dead letters for good."""
    settings = load(config)
    counts = _ask(settings, project, entries, where, "Remove", dry_run=dry_run, yes=yes, as_json=as_json)
    if counts is None:
        return

    async def do(letters: DeadLetters, chosen: str, _: Queue) -> int:
        if chosen not in counts:
            return 0
        until = msgspec.structs.replace(where, until=counts[chosen].last)
        return await letters.purge(chosen, entries or until)

    for chosen, removed in _each(settings, project, do).items():
        if as_json:
            print(msgspec.json.encode({"project": chosen, "removed": removed}).decode())
        elif chosen in counts:
            print(f"{chosen}: {amount(removed, 'dead letter')} removed")


def _ask(
    settings: Settings,
    project: str,
    entries: list[str] | None,
    where: DeadFilter,
    verb: str,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> dict[str, DeadCount] | None:
    """Count, show and ask; None: there is nothing to do, or it is not to be done."""

    async def count(letters: DeadLetters, chosen: str, _: Queue) -> DeadCount:
        if not entries:
            return await letters.count(chosen, where)
        counted = DeadCount()
        for entry in entries:
            letter = await _letter(letters, chosen, entry)
            if letter is not None:
                counted.letters += 1
                counted.messages += letter.messages
                counted.codes[letter.status, letter.code] += letter.messages
        return counted

    if entries and where != DeadFilter():
        raise SettingsError("name letters, or say which by options; not both")
    counts = {
        chosen: counted for chosen, counted in _each(settings, project, count).items() if counted.letters
    }
    if as_json and (dry_run or not counts):
        rows = [{"project": chosen, **_as_facts(counted)} for chosen, counted in counts.items()]
        print(msgspec.json.encode(rows).decode())
    elif not as_json:
        for chosen, counted in counts.items():
            print(f"{chosen}: {_counted(counted)}")
        if not counts:
            print("no dead letters like these")
    if dry_run or not counts:
        return None
    total = sum(counted.letters for counted in counts.values())
    confirm(f"{verb} {amount(total, 'dead letter')}?", yes=yes)
    return counts


async def _letter(letters: DeadLetters, project: str, entry: str) -> DeadLetter | None:
    """One letter, if it is there.

    Raises:
        SettingsError: that is no entry id.
    """
    try:
        return await letters.get(project, entry)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def _each(
    settings: Settings, project: str, do: Callable[[DeadLetters, str, Queue], Awaitable[T]]
) -> dict[str, T]:
    """Do something in each project that is meant, one after the other."""

    async def main(queue: Queue) -> dict[str, T]:
        letters = DeadLetters(queue)
        chosen = [project] if project else list(settings.projects) or await letters.projects()
        return {name: await do(letters, name, queue) for name in chosen}

    return run(settings, main)


def _line(letter: DeadLetter) -> str:
    first = named(letter.targets[0]) if letter.targets else "no readable target"
    more = f" and {len(letter.targets) - 1} more" if len(letter.targets) > 1 else ""
    why = " ".join(part for part in (letter.code, letter.reason) if part)
    return f"{letter.entry_id} {when(letter.died_at)} {letter.project} {letter.status} {letter.job} {first}{more}: {why}"


def _facts(letter: DeadLetter) -> dict[str, object]:
    """A letter for machines."""
    return {
        "entry": letter.entry_id,
        "project": letter.project,
        "job": letter.job,
        "status": letter.status,
        "code": letter.code,
        "reason": letter.reason,
        "lane": letter.lane,
        "died_at": letter.died_at,
        "replay": letter.replay,
        "targets": [{target.kind: target.value} for target in letter.targets],
        "campaign": letter.campaign,
        "history": [
            {"at": attempt.at, "http_status": attempt.http_status, "code": attempt.code}
            for attempt in letter.history
        ],
        "fields": letter.texts(),
    }


def _as_facts(counted: DeadCount) -> dict[str, object]:
    return {"letters": counted.letters, "messages": counted.messages, "codes": _codes(counted)}


def _counted(counted: DeadCount) -> str:
    found = f"{amount(counted.letters, 'dead letter')} with {amount(counted.messages, 'message')}"
    return f"{found}: {amounts(_codes(counted))}" if counted.codes else found


def _codes(counted: DeadCount) -> dict[str, int]:
    """How many of each status and code, the most frequent first."""
    return {f"{status} {code}".rstrip(): count for (status, code), count in counted.codes.most_common()}

"""`dispatcher send`: one message into the queue, or one for each token of a file, and on request what became of it."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
import typer

from dispatcher.cli.grouped_options import expands
from dispatcher.cli.moment import moment, when
from dispatcher.cli.options import AsJson, Config, Project, chosen_project, load, run
from dispatcher.cli.outcome_line import as_line
from dispatcher.cli.send_tokens import TokenRun, as_text, send_tokens
from dispatcher.cli.token_input import FileOptions, file_options
from dispatcher.client import JobOptions, OutcomeReader, Producer
from dispatcher.client.cancellation import raise_if_cancelled
from dispatcher.errors import DispatcherError, SettingsError
from dispatcher.model import Lane, Outcome, Status
from dispatcher.queue.store import Queue

EXAMPLE = (
    "Example: dispatcher send --project demo-orchard-41 --token fQ7x... --title Hi --body A --wait\n\n"
    "Example: dispatcher send --project demo-orchard-41 --tokens users.csv.gz --title Hi --lane bulk --campaign spring"
)


@expands(reading=file_options)
def send(
    *,
    config: Config = None,
    project: Project = "",
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="JSON",
            help="The message as the v1 resource, from a file or - for standard input.",
            show_default=False,
        ),
    ] = None,
    token: Annotated[
        list[str] | None,
        typer.Option(help="Registration token; several make one job for all.", show_default=False),
    ] = None,
    tokens_file: Annotated[
        Path | None,
        typer.Option(
            "--tokens",
            metavar="FILE",
            help="File of registration tokens, or - for standard input: one a line, .csv or .jsonl, also gzipped; "
            "500 make one job.",
            show_default=False,
        ),
    ] = None,
    reading: FileOptions,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read the file and enqueue nothing.")] = False,
    topic: Annotated[str, typer.Option(help="Topic.", show_default=False)] = "",
    condition: Annotated[str, typer.Option(help="Condition on topics.", show_default=False)] = "",
    group: Annotated[
        str, typer.Option(metavar="KEY", help="Device group, by its notification key.", show_default=False)
    ] = "",
    title: Annotated[str, typer.Option(help="Title of the notification.", show_default=False)] = "",
    body: Annotated[str, typer.Option(help="Its text.", show_default=False)] = "",
    data: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Data; may be repeated.", show_default=False)
    ] = None,
    lane: Annotated[Lane, typer.Option(help="Where to queue it.")] = "normal",
    job_id: Annotated[
        str, typer.Option("--id", help="Your own id for it, returned in the outcome.", show_default=False)
    ] = "",
    campaign: Annotated[
        str, typer.Option(help="Campaign that it counts into, and can be cancelled by.", show_default=False)
    ] = "",
    dedup_key: Annotated[
        str, typer.Option(help="A job with the same key is not sent again for a day.", show_default=False)
    ] = "",
    deliver_at: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="Not before: +2h, 2026-11-22T09:00Z or Unix seconds.", show_default=False
        ),
    ] = "",
    expires_at: Annotated[
        str, typer.Option(metavar="TIME", help="Not after, likewise.", show_default=False)
    ] = "",
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="FCM checks it and delivers nothing.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for its outcome; exit code 0 only if FCM took it.")
    ] = False,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="How long to wait, in seconds; with --tokens for the next outcome.")
    ] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Enqueue one message, from options or from a JSON file, to one target or all tokens of a file; a worker sends it."""
    settings = load(config)
    message = _from_file(file)
    message.update({name: value for name, value in (("topic", topic), ("condition", condition)) if value})
    _put_notification(message, title, body)
    _put_data(message, data or [])
    tokens = token or []
    if len(tokens) == 1:
        message["token"], tokens = tokens[0], []
    options = _options(
        id=job_id, campaign=campaign, dedup_key=dedup_key, group=group, validate_only=validate_only
    )
    for option, name, text in (
        ("--deliver-at", "deliver_at", deliver_at),
        ("--expires-at", "expires_at", expires_at),
    ):
        at = moment(option, text, lambda: run(settings, lambda queue: queue.ping()))
        if at:
            options |= _options(**{name: at})
    project = chosen_project(settings, project)
    wait_s = timeout if wait else 0.0
    if tokens_file is not None:
        if token or topic or condition or group:
            raise SettingsError(
                "--tokens: the message goes to the tokens of the file; leave --token, --topic, --condition and "
                "--group out"
            )
        asked = TokenRun(file=tokens_file, reading=reading, dry_run=dry_run, wait_s=wait_s)
        summary = send_tokens(settings, project, message, lane, options, asked)
        print(msgspec.json.encode(summary).decode() if as_json else as_text(summary, dry_run=dry_run))
        if summary.failure:
            raise DispatcherError(summary.failure)
        raise typer.Exit(0 if summary.ok else 1)
    if dry_run or reading.form or reading.column or reading.from_line > 1:
        raise SettingsError(
            "--dry-run, --format, --column and --from-line are about a file of tokens: name it with --tokens"
        )
    run(
        settings,
        lambda queue: _send(
            queue, project, message, tokens, lane=lane, options=options, wait_s=wait_s, as_json=as_json
        ),
    )


def _options(**given: Any) -> JobOptions:
    """What a job says beside its message, as far as it was given."""
    return cast("JobOptions", {name: value for name, value in given.items() if value})


async def _send(
    queue: Queue,
    project: str,
    message: dict[str, Any],
    tokens: list[str],
    *,
    lane: Lane,
    options: JobOptions,
    wait_s: float,
    as_json: bool,
) -> None:
    reader = OutcomeReader(queue, project)
    if wait_s:
        await reader.skip_to_end()
    try:
        entry_id = await Producer(queue).send(project, message, tokens=tokens, lane=lane, **options)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if not wait_s:
        print(
            json.dumps({"entry": entry_id})
            if as_json
            else f"{entry_id} enqueued in {project}, lane {lane}{_not_before(options)}"
        )
        return
    found = await _wait(reader, options.get("id") or entry_id, max(1, len(tokens)), wait_s)
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        for outcome in found:
            print(as_line(outcome))
    raise typer.Exit(0 if all(o.status == Status.ACCEPTED for o in found) else 1)


def _not_before(options: JobOptions) -> str:
    at = options.get("deliver_at", 0.0)
    return f", not before {when(at)} UTC" if at else ""


async def _wait(reader: OutcomeReader, job: str, messages: int, wait_s: float) -> list[Outcome]:
    """The outcomes of this job, all of its messages.

    Raises:
        DispatcherError: they did not come in time.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    found: list[Outcome] = []
    while len(found) < messages:
        raise_if_cancelled()
        left = deadline - loop.time()
        if left <= 0:
            raise DispatcherError(
                f"no outcome of {job} within {wait_s:g} s: it is still queued; see that a worker serves this project "
                "(with DISPATCHER_OUTCOMES=all), then look with: dispatcher outcomes"
            )
        for record in await reader.read(wait_s=left):
            found += [outcome for outcome in record.outcomes if outcome.job == job]
    return sorted(found, key=lambda outcome: outcome.index)


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        read = json.loads(sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"--file {file}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise SettingsError(f"--file {file}: no JSON ({error})") from None
    message = read.get("message", read) if isinstance(read, dict) else read
    if not isinstance(message, dict):
        raise SettingsError(f"--file {file}: not a JSON object; write the message as HTTP v1 has it")
    return message


def _put_notification(message: dict[str, Any], title: str, body: str) -> None:
    given = {name: value for name, value in (("title", title), ("body", body)) if value}
    if given:
        message["notification"] = {**message.get("notification", {}), **given}


def _put_data(message: dict[str, Any], pairs: list[str]) -> None:
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise SettingsError(f'--data: found "{pair}"; write it as key=value')
        message.setdefault("data", {})[key] = value

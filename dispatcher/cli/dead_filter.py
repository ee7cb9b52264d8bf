"""The options that say which dead letters are meant, once for all commands that have them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any

import typer

from dispatcher.cli.targets import target_of
from dispatcher.client import DeadFilter
from dispatcher.errors import SettingsError
from dispatcher.settings.kinds import Duration

_AGE = Duration(0.001, 366 * 86_400.0)


def chosen_by_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command that takes `where: DeadFilter` the options that make one, in its place."""

    @wraps(command)
    def with_options(**given: Any) -> None:
        names = inspect.signature(_filter).parameters
        where = _filter(**{name: given.pop(name) for name in names})
        command(where=where, **given)

    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "where"]
    options = [*inspect.signature(_filter, eval_str=True).parameters.values()]
    parameters = [
        *(p for p in own if p.kind is not p.KEYWORD_ONLY),
        *(p for p in own if p.name in ("config", "project")),
        *options,
        *(p for p in own if p.kind is p.KEYWORD_ONLY and p.name not in ("config", "project")),
    ]
    # What typer looks at.
    with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_options.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_options


def age(option: str, text: str) -> float:
    """What an option says of a time span, in seconds; 0: nothing.

    Raises:
        SettingsError: it is none.
    """
    if not text:
        return 0.0
    try:
        return _AGE.read(text)
    except ValueError:
        raise SettingsError(f'{option}: found "{text}"; allowed: {_AGE.allowed}') from None


def _filter(
    *,
    code: Annotated[
        str, typer.Option(help="Only this code, as server-unavailable.", show_default=False)
    ] = "",
    status: Annotated[str, typer.Option(help="Only rejected, or only failed.", show_default=False)] = "",
    target: Annotated[
        str,
        typer.Option(help="Only letters with this token, or topic:news, ....", show_default=False),
    ] = "",
    campaign: Annotated[str, typer.Option(help="Only this campaign.", show_default=False)] = "",
    job: Annotated[
        str,
        typer.Option(help="Only this job, by your own id or its entry id.", show_default=False),
    ] = "",
    older_than: Annotated[
        str, typer.Option(metavar="AGE", help="Dead for at least: 10m, 2h, 3 d.", show_default=False)
    ] = "",
    younger_than: Annotated[
        str, typer.Option(metavar="AGE", help="Dead for at most.", show_default=False)
    ] = "",
) -> DeadFilter:
    if status not in ("", "rejected", "failed"):
        raise SettingsError(f'--status: found "{status}"; dead letters are rejected or failed')
    return DeadFilter(
        code=code,
        status=status,
        target=target_of(target).value if target else "",
        campaign=campaign,
        job=job,
        older_than_s=age("--older-than", older_than),
        younger_than_s=age("--younger-than", younger_than),
    )

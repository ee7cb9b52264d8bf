"""The options that say which dead letters are meant, for all commands that have them."""

from __future__ import annotations

from typing import Annotated

import typer

from dispatcher.cli.targets import target_of
from dispatcher.client import DeadFilter
from dispatcher.errors import SettingsError
from dispatcher.settings.kinds import Duration

_AGE = Duration(0.001, 366 * 86_400.0)


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


def dead_filter(
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
    """The dead letters that these options mean.

    Raises:
        SettingsError: one of them cannot be read.
    """
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

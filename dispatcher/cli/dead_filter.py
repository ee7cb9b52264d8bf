"""The options that say which dead letters are meant, for all commands that have them."""

from __future__ import annotations

from typing import Annotated

import typer

from dispatcher.cli.moment import duration
from dispatcher.cli.targets import target_of
from dispatcher.client import DeadFilter
from dispatcher.errors import SettingsError


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
        older_than_s=duration("--older-than", older_than),
        younger_than_s=duration("--younger-than", younger_than),
    )

"""`dispatcher emulator`: a local FCM."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from dispatcher.errors import SettingsError

if TYPE_CHECKING:
    from dispatcher.emulator.server import Ready

EXAMPLE = "Example: dispatcher emulator --port 9099 --write-credentials keys --projects demo-orchard-41"


def emulator(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any that is free.")] = 9099,
    write_credentials: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write a service-account file for each project there.", show_default=False
        ),
    ] = None,
    projects: Annotated[
        str, typer.Option(help="Project ids to write them for, comma-separated.")
    ] = "demo-project",
    faults: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Scenario (JSON): rules, limits, quotas.", show_default=False),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Speak TLS with this certificate.", show_default=False)
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="PEM", help="Its key.", show_default=False)] = None,
    max_streams: Annotated[int, typer.Option(min=1, help="HTTP/2 streams of a connection.")] = 100,
    xmpp_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="XMPP too, at this port; 0: any that is free.", show_default=False
        ),
    ] = None,
    public_host: Annotated[
        str, typer.Option(help="Host name to write into the credentials.", show_default=False)
    ] = "",
) -> None:
    """Answer as FCM does, on this machine: /batch, v1 messages:send, OAuth tokens; /_emulator/ tells what arrived.

    The first line on standard output is JSON with its URL and the files written; then it serves until SIGTERM.
    """
    if (tls_cert is None) != (tls_key is None):
        raise SettingsError("--tls-cert and --tls-key go together: give both or neither")
    if find_spec("granian") is None:
        raise SettingsError("the emulator needs its extra: pip install 'fcm-dispatcher[emulator]'")
    from dispatcher.emulator.faults import Scenario  # noqa: PLC0415 - its extra may not be installed
    from dispatcher.emulator.server import Options, load_scenario, run  # noqa: PLC0415 - as above

    run(
        Options(
            host=host,
            port=port,
            credentials=write_credentials,
            projects=[name.strip() for name in projects.split(",") if name.strip()],
            scenario=load_scenario(faults) if faults else Scenario(),
            tls_cert=tls_cert,
            tls_key=tls_key,
            max_streams=max_streams,
            xmpp_port=xmpp_port,
            public_host=public_host,
        ),
        ready=_tell,
    )


def _tell(ready: Ready) -> None:
    sys.stdout.write(msgspec.json.encode(ready).decode() + "\n")
    sys.stdout.flush()

"""`python -m dispatcher.emulator`: the emulator by itself."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from dispatcher.emulator.faults import Scenario
from dispatcher.emulator.server import Options, Ready, load_scenario, run
from dispatcher.errors import SettingsError


def main(arguments: list[str] | None = None) -> int:
    """Runs the emulator; returns the exit code: 0 stopped, 2 wrong use."""
    parser = argparse.ArgumentParser(
        prog="python -m dispatcher.emulator",
        description="A local FCM: /batch, v1 messages:send, the management services, the OAuth token endpoint, and an "
        "admin API at /_emulator/.",
        epilog="example: python -m dispatcher.emulator --port 9099 --write-credentials keys --projects demo-orchard-41",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=0, help="port; 0: any that is free (default: %(default)s)"
    )
    parser.add_argument(
        "--write-credentials", type=Path, metavar="DIR", help="write service-account files there"
    )
    parser.add_argument("--projects", default="demo-project", help="their project ids, comma-separated")
    parser.add_argument(
        "--faults", type=Path, metavar="FILE", help="a scenario (JSON): rules, limits, quotas"
    )
    parser.add_argument("--tls-cert", type=Path, metavar="PEM", help="speak TLS with this certificate")
    parser.add_argument("--tls-key", type=Path, metavar="PEM", help="and this key")
    parser.add_argument("--max-streams", type=int, default=100, help="HTTP/2 streams of a connection")
    parser.add_argument("--xmpp-port", type=int, help="XMPP too, at this port; 0: any that is free")
    parser.add_argument("--public-host", default="", help="host name in the credentials' addresses")
    given = parser.parse_args(arguments)
    if (given.tls_cert is None) != (given.tls_key is None):
        parser.error("--tls-cert and --tls-key go together")
    try:
        run(
            Options(
                host=given.host,
                port=given.port,
                credentials=given.write_credentials,
                projects=[name.strip() for name in given.projects.split(",") if name.strip()],
                scenario=load_scenario(given.faults) if given.faults else Scenario(),
                tls_cert=given.tls_cert,
                tls_key=given.tls_key,
                max_streams=given.max_streams,
                xmpp_port=given.xmpp_port,
                public_host=given.public_host,
            ),
            ready=_tell,
        )
    except SettingsError as error:
        sys.stderr.write(f"emulator: {error}\n")
        return 2
    return 0


def _tell(ready: Ready) -> None:
    sys.stdout.write(msgspec.json.encode(ready).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

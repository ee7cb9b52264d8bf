"""An emulator whose management services are asked by our own codecs, without a socket."""

from urllib.parse import unquote

import pytest

from dispatcher.emulator.app import Emulator
from dispatcher.emulator.credentials import Account, number_of, server_key_of, write_credentials
from dispatcher.emulator.faults import Rule, Scenario
from dispatcher.emulator.oauth import Grant
from dispatcher.emulator.wire import Reply, Request
from dispatcher.protocol.call import Call, bearer_headers, key_headers

PROJECT = "demo"
NOW = 1_772_409_600.0  # 2026-03-02


class Service:
    """A strict emulator with one project, and a caller with a good access token."""

    def __init__(self, account: Account, *rules: Rule, **settings: object) -> None:
        self.now = NOW
        self.emulator = Emulator(Scenario(rules=list(rules), **settings), clock=lambda: self.now)
        self.state = self.emulator.state
        self.state.authority.trust(account)
        self.state.authority.admit("good", Grant(PROJECT, 1e10))
        self.registry = self.state.messages.registry
        self.project = self.registry.project(PROJECT)
        self.bearer = {**bearer_headers("good"), "project_id": number_of(PROJECT)}
        self.key = {**key_headers(server_key_of(PROJECT)), "project_id": number_of(PROJECT)}

    def ask(self, call: Call, headers: dict[str, str] | None = None) -> Reply:
        path, _, query = call.path.partition("?")
        given = {name.lower(): value for name, value in (self.bearer if headers is None else headers).items()}
        return self.emulator.handle(Request(call.method, unquote(path), query, given.get, call.body))

    def send(self, body: bytes) -> Reply:
        return self.ask(Call("POST", f"/v1/projects/{PROJECT}/messages:send", body))

    def recipients(self, **equal: str) -> list[list[str]]:
        rows, _ = self.state.ledger.deliveries(0, 1000, **equal)
        return [list(row[-1]) for row in rows]


@pytest.fixture(scope="session")
def account(tmp_path_factory: pytest.TempPathFactory) -> Account:
    """The project's account; one for all tests, for making a key takes a while."""
    return write_credentials(tmp_path_factory.mktemp("keys"), "http://127.0.0.1:1", PROJECT)


@pytest.fixture
def service(account: Account):
    return lambda *rules, **settings: Service(account, *rules, **settings)

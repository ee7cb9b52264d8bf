"""All that the emulator remembers, and how it is set back."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from dispatcher.emulator.calls import Calls
from dispatcher.emulator.credentials import file_of, write_credentials
from dispatcher.emulator.faults import Faults, Scenario
from dispatcher.emulator.groups import Groups
from dispatcher.emulator.ledger import Ledger
from dispatcher.emulator.limits import Limits
from dispatcher.emulator.messages import Messages
from dispatcher.emulator.oauth import Authority
from dispatcher.emulator.registry import Registry

PROJECT_ID = re.compile(r"[a-z0-9][a-z0-9.:-]{0,61}").fullmatch


class State:
    """One emulator's memory; a process has its own.

    Attributes:
        messages: the rules of sending, with registry, limits and faults.
        authority: the token endpoint.
        ledger: what arrived.
        calls: what was asked of the management services.
        accounts: projects that credentials were written for.
    """

    def __init__(self, scenario: Scenario | None = None) -> None:
        self._initial = scenario or Scenario()
        self.ledger = Ledger()
        self.calls = Calls()
        self.authority = Authority(believe_any=self._initial.auth == "any")
        self.accounts: list[str] = []
        self.messages = Messages(
            Registry(self._initial.unknown_tokens),
            Limits(self._initial),
            Faults(self._initial),
            secrets.token_hex(8),
        )

    def enrol(self, directory: Path, base_url: str, projects: list[str]) -> dict[str, str]:
        """Writes the credentials of these projects, believes them from now on, and returns the files by project.

        Raises:
            ValueError: a name that is no project id.
            OSError: a file cannot be written.
        """
        for project in projects:
            if not PROJECT_ID(project):
                raise ValueError(f"{project!r} is no project id: lower-case letters, digits and hyphens")
        for project in projects:
            self.authority.trust(write_credentials(directory, base_url, project))
            self.accounts.append(project)
        return {project: str(file_of(directory, project)) for project in projects}

    @property
    def groups(self) -> Groups:
        """The device groups; their keys are sent to like tokens."""
        return Groups(self.messages.registry)

    @property
    def scenario(self) -> Scenario:
        """What is in force."""
        return self.messages.faults.scenario

    def install(self, scenario: Scenario) -> None:
        """Puts a scenario into force: rules and limits begin afresh, tokens, topics and ledger stay."""
        self.messages.faults = Faults(scenario)
        self.messages.limits = Limits(scenario)
        self.messages.registry.unknown = scenario.unknown_tokens
        self.authority.believe_any = scenario.auth == "any"

    def reset(self, *, ledger: bool = True, faults: bool = True, registry: bool = True) -> None:
        """Begins afresh: forgets what arrived, takes up the scenario it was started with, forgets tokens and topics."""
        if registry:
            self.messages.registry = Registry(self._initial.unknown_tokens)
        if faults:
            self.install(self._initial)
            self.authority.reset()
        if ledger:
            self.ledger.clear()
            self.calls.clear()

"""The credentials of all projects, as the settings name them and the files say at the moment.

What settings name one by one (a file, `adc`, a token file, a legacy key) must be good at the start. Of a folder, one
good key is enough: a broken one must not keep the others from starting. Once it runs, nothing that happens to a file
takes a key away that still works, except that the file is gone from its folder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from dispatcher.errors import CredentialsError
from dispatcher.transport.auth import Credential, FileToken, GoogleCredential, StaticToken
from dispatcher.transport.key_file import KeyFile, MachineIdentity
from dispatcher.transport.route import DIRECT, Route
from dispatcher.transport.secret_file import SecretFile

TOKEN_FILE = "token-file:"  # noqa: S105 - the word before a path
"""Before the path of a file that holds an access token as it is."""


class Changes(msgspec.Struct):
    """What a look at the files has found.

    Attributes:
        added: projects that have a credential now.
        changed: projects whose key or token is another one.
        removed: projects that have none any more.
        problems: everything that cannot be used at the moment, in one line each.
    """

    added: list[str] = []
    changed: list[str] = []
    removed: list[str] = []
    problems: list[str] = []


class _Seen(msgspec.Struct):
    """A look at the files, before anything is changed by it."""

    offers: dict[str, KeyFile | Credential] = {}
    touched: set[str] = set()
    problems: list[str] = []


class Keyring:
    """All credentials of a worker.

    Args:
        source: the CREDENTIALS setting: a service-account file, a folder of them (one project each), `adc`, `none`,
            `token-file:` and a path; "": only the projects of `own` have any.
        projects: the PROJECTS setting; empty: every project that has a credential. `adc`, `none` and a token file
            need it where nothing else names the project.
        own: source of the credential of single projects, in place of the common one.
        legacy_key: where a project's legacy server key stands; None: it has none.
        route: how a project's token endpoint is reached.

    Attributes:
        credentials: by project; the same object for a project's life, whatever happens to its key.
        legacy: legacy server keys by project.
    """

    def __init__(
        self,
        source: str,
        projects: Iterable[str] = (),
        *,
        own: Mapping[str, str] | None = None,
        legacy_key: Callable[[str], Path | None] = lambda _: None,
        route: Callable[[str], Route] = lambda _: DIRECT,
    ) -> None:
        self.credentials: dict[str, Credential] = {}
        self.legacy: dict[str, SecretFile] = {}
        self._source = source
        self._wanted = list(projects)
        self._own = {
            project: named
            for project, named in (own or {}).items()
            if not self._wanted or project in self._wanted
        }
        self._legacy_key = legacy_key
        self._route = route
        # What was seen at earlier looks.
        self._files: dict[Path, KeyFile] = {}
        self._in_use: dict[str, KeyFile] = {}
        self._tokens: dict[Path, tuple[SecretFile, FileToken]] = {}
        self._machine: tuple[MachineIdentity, list[GoogleCredential]] = MachineIdentity(), []

    @property
    def secrets(self) -> dict[str, str]:
        """Everything that must show nowhere, by what it is."""
        found = {f"access token of {project}": held.current for project, held in self.credentials.items()}
        return found | {f"legacy key of {project}": key.value for project, key in self.legacy.items()}

    def load(self) -> list[str]:
        """Read everything for the first time; nothing is fetched yet. It may block for seconds (`adc`).

        Returns:
            What is wrong without keeping the others from working, in one line each.

        Raises:
            CredentialsError: no project would have a credential, or something that the settings name by itself
                cannot be used.
        """
        for project, named in self._own.items():
            try:
                offers = self._explicit(named, [project], _Seen())
            except CredentialsError as error:
                raise CredentialsError(f'credential of [projects."{project}"]: {error}') from None
            if project not in offers:
                raise CredentialsError(
                    f'credential of [projects."{project}"]: {named} is the key of project {", ".join(offers)}'
                )
        if self._source and not Path(self._source).is_dir():
            self._explicit(self._source, self._common(), _Seen())
        seen = self._look()
        for project in seen.offers:
            self._read_legacy_key(project)
        problems = self._apply(seen).problems
        if problems and not self.credentials:
            raise CredentialsError(problems[0])
        missing = self._missing(self.credentials)
        if missing and len(problems) == len(missing):
            raise CredentialsError(missing[0])
        return problems

    async def rescan(self) -> Changes:
        """Look again, and take over what has changed. Keys that cannot be used any more stay in use."""
        seen = await asyncio.to_thread(self._look)
        return self._apply(seen)

    def _look(self) -> _Seen:
        """In a thread: read all files."""
        seen = _Seen()
        for project, named in self._own.items():
            try:
                offers = self._explicit(named, [project], seen)
            except CredentialsError as error:
                seen.problems.append(str(error))
                self._keep([project], seen)
            else:
                seen.offers.update({project: offers[project]} if project in offers else {})
                self._keep([project], seen)
        common = self._common()
        if self._source and Path(self._source).is_dir():
            self._folder(Path(self._source), seen)
        elif self._source:
            try:
                offers = self._explicit(self._source, common, seen)
            except CredentialsError as error:
                seen.problems.append(str(error))
                self._keep([project for project in self.credentials if project not in self._own], seen)
            else:
                seen.offers = offers | seen.offers
        if self._wanted:
            seen.offers = {p: seen.offers[p] for p in self._wanted if p in seen.offers}
            seen.problems += self._missing(seen.offers)
        for project in seen.offers:
            try:
                if self._read_legacy_key(project):
                    seen.touched.add(project)
            except CredentialsError as error:
                seen.problems.append(str(error))
        return seen

    def _apply(self, seen: _Seen) -> Changes:
        changes = Changes(problems=seen.problems)
        for project, offer in seen.offers.items():
            held = self.credentials.get(project)
            if isinstance(offer, KeyFile):
                self._in_use[project] = offer
                if isinstance(held, GoogleCredential):
                    if held.replace(offer.credentials, str(offer.path)):
                        seen.touched.add(project)
                    continue
                offer = GoogleCredential(offer.credentials, str(offer.path), self._route(project))  # noqa: PLW2901 - the file has become a credential
            self.credentials[project] = offer
            if held is None:
                changes.added.append(project)
        changes.removed = [project for project in self.credentials if project not in seen.offers]
        for project in changes.removed:
            del self.credentials[project]
            self._in_use.pop(project, None)
        changes.changed = sorted(seen.touched.intersection(self.credentials).difference(changes.added))
        return changes

    def _read_legacy_key(self, project: str) -> bool:
        """Whether it is another one than before.

        Raises:
            CredentialsError: it cannot be used; an earlier one stays.
        """
        known = self.legacy.get(project)
        if known is not None:
            return known.reread()
        path = self._legacy_key(project)
        if path is not None:
            try:
                self.legacy[project] = SecretFile(path)
            except CredentialsError as error:
                raise CredentialsError(f"DISPATCHER_LEGACY_KEY_FILE of {project}: {error}") from None
        return False

    def _common(self) -> list[str]:
        """Projects named in the settings that the common source serves."""
        return [project for project in self._wanted if project not in self._own]

    def _missing(self, having: Iterable[str]) -> list[str]:
        return [
            f"DISPATCHER_PROJECTS names {project}, but {self._source or 'no setting'} holds no key for it; add its service-account file"
            for project in self._wanted
            if project not in set(having)
        ]

    def _keep(self, projects: Iterable[str], seen: _Seen) -> None:
        """What these projects have goes on."""
        for project in projects:
            if project in self.credentials:
                seen.offers.setdefault(project, self._in_use.get(project) or self.credentials[project])

    def _explicit(self, source: str, projects: list[str], seen: _Seen) -> dict[str, KeyFile | Credential]:
        """What a source offers that is no folder.

        Args:
            source: as in a setting.
            projects: those it is for, where it does not say itself.
            seen: told of tokens that have changed.

        Raises:
            CredentialsError: it cannot be used, or does not tell the project.
        """
        if source == "none":
            if not projects and not self._own:
                raise CredentialsError(
                    "DISPATCHER_CREDENTIALS=none needs DISPATCHER_PROJECTS: name the project ids to serve"
                )
            return {project: self.credentials.get(project) or StaticToken() for project in projects}
        if source == "adc":
            return self._default(projects, seen)
        if source.startswith(TOKEN_FILE):
            if not projects and not self._own:
                raise CredentialsError(
                    "DISPATCHER_CREDENTIALS=token-file:... needs DISPATCHER_PROJECTS: name the project ids to serve"
                )
            return dict.fromkeys(projects, self._token(Path(source.removeprefix(TOKEN_FILE)), projects, seen))
        file = self._files.setdefault(Path(source), KeyFile(Path(source)))
        file.look()
        if file.credentials is None:
            if not file.path.exists():
                raise CredentialsError(
                    f"DISPATCHER_CREDENTIALS: {source} is neither a file nor a folder, nor `adc`, `none` or `token-file:...`"
                )
            raise CredentialsError(file.problem)
        if file.problem:
            seen.problems.append(file.problem)
        return {file.project: file}

    def _token(self, path: Path, projects: list[str], seen: _Seen) -> FileToken:
        known = self._tokens.get(path)
        if known is None:
            file = SecretFile(path)
            known = self._tokens[path] = file, FileToken(file)
        elif known[0].reread():
            seen.touched.update(projects)
        return known[1]

    def _default(self, projects: list[str], seen: _Seen) -> dict[str, KeyFile | Credential]:
        identity, made = self._machine
        identity.look()
        if identity.credentials is None:
            identity.require()
        if identity.problem:
            seen.problems.append(identity.problem)
        names = projects or ([identity.project] if identity.project else [])
        if not names and not self._own:
            raise CredentialsError(
                "DISPATCHER_CREDENTIALS=adc does not tell the project here: set DISPATCHER_PROJECTS"
            )
        label = "application default credentials"
        if not made:
            route = DIRECT if identity.of_the_machine or not names else self._route(names[0])
            made.append(GoogleCredential(identity.credentials, label, route))
        elif made[0].replace(identity.credentials, label):
            seen.touched.update(names)
        return dict.fromkeys(names, made[0])

    def _folder(self, folder: Path, seen: _Seen) -> None:
        """Every key in a folder.

        Names that begin with a dot are passed over: a Kubernetes mount's `..data` and `..2026_...` are the same keys
        again, others are what editors and archives leave behind.
        """
        try:
            paths = sorted(p for p in folder.iterdir() if p.suffix == ".json" and not p.name.startswith("."))
        except OSError as error:
            seen.problems.append(f"DISPATCHER_CREDENTIALS: {folder} cannot be read ({error.strerror})")
            self._keep([project for project in self.credentials if project not in self._own], seen)
            return
        for gone in [path for path in self._files if path.parent == folder and path not in paths]:
            if str(gone) not in self._own.values():
                del self._files[gone]
        found: dict[str, list[KeyFile]] = {}
        for path in paths:
            file = self._files.setdefault(path, KeyFile(path))
            file.look()
            if file.problem:
                seen.problems.append(file.problem)
            if file.credentials is not None and file.project not in self._own:
                found.setdefault(file.project, []).append(file)
        for project, files in found.items():
            # The one in use stays: a key is rotated by adding the next and then taking the old one away.
            chosen = self._in_use.get(project)
            chosen = chosen if chosen in files else files[0]
            seen.offers[project] = chosen
            seen.problems += [
                f"{file.path}: a second key for project {project}; {chosen.path.name} is used, keep one file for each project"
                for file in files
                if file is not chosen
            ]
        if not paths:
            seen.problems.append(
                f"DISPATCHER_CREDENTIALS: no *.json file in {folder}; put one service-account file there a project"
            )

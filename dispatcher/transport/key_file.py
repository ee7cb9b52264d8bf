"""Where google-auth's credentials come from: service-account files, and what the machine itself offers."""

from __future__ import annotations

import json
import os
import re
from hashlib import blake2b
from pathlib import Path
from typing import Any

import google.auth
import google.auth.compute_engine
import google.auth.environment_vars
import google.auth.exceptions
from google.oauth2 import service_account

from dispatcher.errors import CredentialsError

SCOPES = ("https://www.googleapis.com/auth/firebase.messaging",)
"""The narrow one; it suffices for sending."""

_PROJECT = re.compile(r"[^\s{}/]{1,128}")
"""Braces would break the hash tag of the Redis keys, a slash the URL."""


class KeyFile:
    """A service-account file, parsed anew whenever its content has changed.

    By content, not by time: behind the links of a Kubernetes mount the times say nothing.

    Attributes:
        path: the file.
        project: whose key it is; "" until a good one was seen.
        credentials: google-auth's; those of the last good content. None until then.
        problem: why the present content cannot be used; "": it can.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.project = ""
        self.credentials: Any = None
        self.problem = ""
        self._digest = b""

    def look(self) -> None:
        """Read the file. What cannot be used is a `problem`, and the last good key goes on."""
        try:
            content = self.path.read_bytes()
        except OSError as error:
            self._digest = b""
            self.problem = f"{self.path}: cannot be read ({error.strerror})"
            return
        digest = blake2b(content, digest_size=16).digest()
        if digest == self._digest:
            return
        self._digest = digest
        try:
            info = json.loads(content)
            project = info["project_id"]
            credentials = service_account.Credentials.from_service_account_info(info, scopes=SCOPES)  # type: ignore[no-untyped-call]
        except Exception:  # noqa: BLE001 - whatever a parser of JSON or of keys raises
            project = credentials = None
        if not isinstance(project, str) or not _PROJECT.fullmatch(project):
            # Said here, where the parser's own text is gone: it may quote the key.
            self.problem = f"{self.path}: not a service-account key; download one under Project settings, Service accounts"
            return
        self.project, self.credentials, self.problem = project, credentials, ""


class MachineIdentity:
    """Application default credentials: what GOOGLE_APPLICATION_CREDENTIALS names, a login, or the metadata server.

    Attributes:
        project: the project that the environment names; "": none.
        credentials: google-auth's; None before the first `look`.
        problem: why they cannot be had at the moment; "": they can.
    """

    def __init__(self) -> None:
        self.project = ""
        self.credentials: Any = None
        self.problem = ""
        self._digest: bytes | None = None

    @property
    def of_the_machine(self) -> bool:
        """Whether tokens come from a metadata server, which no proxy may stand before."""
        return isinstance(self.credentials, google.auth.compute_engine.Credentials)

    def look(self) -> None:
        """Find them; again when the file that the environment names has another content."""
        digest = _digest_of_named_file()
        if self.credentials is not None and digest in (self._digest, b""):
            return
        try:
            credentials, project = google.auth.default(scopes=SCOPES)
        except google.auth.exceptions.GoogleAuthError as error:
            text = str(error.args[0] if error.args else error).replace("\n", " ")[:200]
            self.problem = f"DISPATCHER_CREDENTIALS=adc: {text} Set GOOGLE_APPLICATION_CREDENTIALS, or run where a service account is attached"
            return
        except Exception as error:  # noqa: BLE001 - parsers' errors come through; they may quote the key
            self.problem = f"DISPATCHER_CREDENTIALS=adc: what the environment names is no credential ({type(error).__name__})"
            return
        self.credentials, self.project, self.problem = credentials, project or "", ""
        self._digest = digest

    def require(self) -> None:
        """Raise `problem`.

        Raises:
            CredentialsError: there is one.
        """
        if self.problem:
            raise CredentialsError(self.problem)


def _digest_of_named_file() -> bytes:
    """Of GOOGLE_APPLICATION_CREDENTIALS; b"": none is named, or it cannot be read at the moment."""
    named = os.environ.get(google.auth.environment_vars.CREDENTIALS)
    if not named:
        return b""
    try:
        return blake2b(Path(named).read_bytes(), digest_size=16).digest()
    except OSError:
        return b""

"""Service-account files and server keys that the emulator writes and believes."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

KEY_BITS = 2048


class Account(msgspec.Struct):
    """What the token endpoint must know of a service account.

    Attributes:
        project: the project it belongs to and may send for.
        email: its name, `iss` of its assertions.
        key_id: `kid` of its assertions.
        public_key: what its assertions are checked with.
        number: the project's number, which FCM takes in place of its id.
        server_key: what legacy services take behind `key=`.
    """

    project: str
    email: str
    key_id: str
    public_key: rsa.RSAPublicKey
    number: str = ""
    server_key: str = ""


def number_of(project: str) -> str:
    """The number of a project: twelve digits, always the same ones."""
    return str(10**11 + int(sha256(b"number of " + project.encode()).hexdigest()[:15], 16) % (9 * 10**11))


def server_key_of(project: str) -> str:
    """The server key of a project, always the same one: it opens nothing but emulators."""
    digest = sha256(b"server key of " + project.encode()).hexdigest()
    return f"AAAA{digest[:7]}:APA91b-emulator-{digest[7:]}"


def server_key_file_of(directory: Path, project: str) -> Path:
    """Where the server key of a project is kept."""
    return directory / f"{project}.server-key"


def file_of(directory: Path, project: str) -> Path:
    """Where the credentials of a project are kept."""
    return directory / f"{project}.json"


def write_credentials(directory: Path, base_url: str, project: str) -> Account:
    """Writes a service-account file whose `token_uri` points at this emulator, and a file with a server key.

    The key of an earlier run is kept, so that a worker which has read the file goes on; only the address changes.

    Args:
        directory: created when missing; the files are `<project>.json` and `<project>.server-key`, readable by their
            owner only.
        base_url: scheme, host and port, no slash at the end.
        project: Firebase project id.

    Raises:
        OSError: it cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = file_of(directory, project)
    private_key = _earlier_key(path) or rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    pem = private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    public_der = private_key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    key_id = sha256(public_der).hexdigest()[:40]
    email = f"firebase-adminsdk-emulator@{project}.iam.gserviceaccount.com"
    content = {
        "type": "service_account",
        "project_id": project,
        "private_key_id": key_id,
        "private_key": pem,
        "client_email": email,
        "client_id": str(int(sha256(project.encode()).hexdigest()[:15], 16)).zfill(21),
        "auth_uri": f"{base_url}/o/oauth2/auth",
        "token_uri": f"{base_url}/token",
        "auth_provider_x509_cert_url": f"{base_url}/oauth2/v1/certs",
        "universe_domain": "googleapis.com",
    }
    _write(path, json.dumps(content, indent=2) + "\n")
    server_key = server_key_of(project)
    _write(server_key_file_of(directory, project), server_key + "\n")
    return Account(project, email, key_id, private_key.public_key(), number_of(project), server_key)


def _write(path: Path, text: str) -> None:
    """A reader that polls the folder never sees half a file."""
    draft = path.with_suffix(".tmp")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


def _earlier_key(path: Path) -> rsa.RSAPrivateKey | None:
    try:
        pem = json.loads(path.read_text())["private_key"]
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return key if isinstance(key, rsa.RSAPrivateKey) else None

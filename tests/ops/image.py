"""The image without a container engine: the Dockerfile's own instructions carried out in a folder, and its processes
started as an engine would start them, as far as this machine allows.

What is not shown by this: the base images, and that an engine reads the file as we do.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from paths import ROOT

USER = "10001"
INSIDE = Path("/mnt/image")
"""Where the image's folder stands for its processes."""

NAMESPACE = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir "$INSIDE" /mnt/base
mount --bind "$FOLDER" "$INSIDE"
case "$BASE" in /usr*) ;; *)
    # An interpreter in somebody's home, where nobody else may look.
    mount --bind "$BASE" /mnt/base
    mount -t tmpfs -o mode=755 tmpfs "/$(echo "$BASE" | cut -d/ -f2)"
    mkdir -p "$BASE"
    mount --bind /mnt/base "$BASE"
esac
mount -t tmpfs tmpfs /tmp
mount -o remount,bind,ro /
for writable in $WRITABLE; do mount --bind "$INSIDE$writable" "$INSIDE$writable"; done
mount -o remount,bind,ro "$INSIDE"
cd /
exec setpriv --reuid "$AS" --regid "$AS" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all "$@"
"""
"""As `docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges --user 10001`."""


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, rest)."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split(None, 1)[0], line.split(None, 1)[1].strip()) for line in lines if line.strip()]


def stages() -> dict[str, list[tuple[str, str]]]:
    """Stage name -> its instructions, the FROM first."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for word, rest in instructions():
        if word == "FROM":
            name = re.search(r" AS (\S+)$", rest)[1]
            found[name] = []
        found[name].append((word, rest))
    return found


class Build:
    """The stages `build` and `build-emulator`, carried out.

    Attributes:
        folder: stands for `/`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.chmod(0o755)
        (folder / "src").mkdir()
        # The base image's interpreter, with the pip that is told to install into another environment.
        self._python = folder / "python"
        subprocess.run([sys._base_executable, "-m", "venv", self._python], check=True)
        self._stage("build")
        worker = folder / "opt" / "dispatcher"
        shutil.copytree(worker, folder / "worker", symlinks=True)
        self._stage("build-emulator")
        worker.rename(folder / "emulator")
        # No later stage has these.
        shutil.rmtree(self._python)
        shutil.rmtree(folder / "src")

    def _stage(self, name: str) -> None:
        for word, rest in stages()[name]:
            if word == "COPY":
                *sources, _ = rest.split()
                for source in sources:
                    self._copy(ROOT / source)
            elif word == "RUN":
                command = json.loads(rest) if rest.startswith("[") else ["sh", "-c", rest]
                self._run([self._moved(part) for part in command])

    def _copy(self, source: Path) -> None:
        target = self.folder / "src" / source.name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copy(source, target)

    def _moved(self, text: str) -> str:
        return re.sub(r"(^|(?<=\s))/(opt/dispatcher|wheels)", rf"{self.folder}/\2", text)

    def _run(self, command: list[str]) -> None:
        env = {
            **os.environ,
            "PATH": f"{self._python}/bin:{os.environ['PATH']}",
            "PIP_ROOT_USER_ACTION": "ignore",
        }
        env.pop("PYTHONPATH", None)
        done = subprocess.run(
            command, cwd=self.folder / "src", env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"

    def command(self, stage: str, *arguments: str, writable: tuple[str, ...] = ()) -> list[str]:
        """How a process of an image is started: `dispatcher ...`, or `python ...`.

        Args:
            stage: whose environment.
            arguments: the command's words.
            writable: paths of the image that are mounted writable, beside /tmp.
        """
        program, *rest = arguments
        python = f"{self._seen}/{stage}/bin/python"
        # By its module: the script's first line has the place where it was built.
        words = [python, "-m", "dispatcher"] if program == "dispatcher" else [python]
        return [*self._wrap(writable), *words, *rest]

    def inside(self, path: str) -> str:
        """A path of the image as its processes see it."""
        return f"{self._seen}{path}"

    @property
    def _seen(self) -> Path:
        return INSIDE if confined() else self.folder

    def _wrap(self, writable: tuple[str, ...]) -> list[str]:
        if not confined():
            return []
        given = {
            "FOLDER": self.folder,
            "INSIDE": INSIDE,
            "AS": USER,
            "BASE": sys.base_prefix,
            "WRITABLE": " ".join(writable),
        }
        return [
            "env",
            *(f"{name}={value}" for name, value in given.items()),
            *("unshare", "--mount", "sh", "-c", NAMESPACE, "sh"),
        ]


@functools.cache
def confined() -> bool:
    """Whether this machine lets us set up a read-only root and another user; else it is whoever runs the tests."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv"))):
        return False
    script = "mount --make-rprivate / && mount -t tmpfs tmpfs /mnt && exec setpriv --reuid 10001 --clear-groups true"
    trial = ["unshare", "--mount", "sh", "-c", script]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0

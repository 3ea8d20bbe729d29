"""What files and folders hold, as SHA-256; unchanged files are not read again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from pimc.errors import ModelError, PimcError
from pimc.files.fingerprint import file_fingerprint
from pimc.files.writing.atomic import replacing, sha256_file

__all__ = ["CAPTURE", "Hashes"]

#: Suffix of captures: they lie beside data, and count on their own.
CAPTURE = ".pimccap"
#: A file that was changed so recently may change again within one tick of its clock.
_TICK_NS = 2_000_000_000
#: Suffixes of files of a project that are no data.
_NO_DATA = frozenset(
    {
        CAPTURE, ".pimc", ".die", ".recovery", ".part", ".journal", ".onnx", ".py", ".md", ".html",
        ".yaml", ".yml", ".sh", ".lock", ".log",
    }
)  # fmt: skip
_DATA_TOML = "data.toml"


class Hashes:
    """Fingerprints of files, kept by size and time of change beside the records of steps.

    Attributes:
        kept: size, time of change, number and SHA-256 of files, by path.

    Args:
        file: where they are kept.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.kept = _read(file)
        self._new: dict[str, list[Any]] = {}

    def file(self, path: Path) -> str | None:
        """SHA-256 of a file's content; None where there is no such file.

        Raises:
            UsageError: it cannot be read.
        """
        if not path.is_file():
            return None
        stat = path.stat()
        state = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        name = os.path.abspath(path)
        kept = self.kept.get(name)
        if kept is not None and kept[:3] == state:
            return str(kept[3])
        digest = sha256_file(path)
        if time.time_ns() - stat.st_mtime_ns > _TICK_NS:
            self._new[name] = [*state, digest]
        return digest

    def model(self, path: Path) -> str | None:
        """SHA-256 of a model with its external data; None where there is no such file."""
        if not path.is_file():
            return None
        try:
            return file_fingerprint(path)
        except ModelError:
            return self.file(path)  # what is wrong with it is said when it is read

    def data(self, path: Path, role: str, without: Collection[Path]) -> str | None:
        """SHA-256 of everything that a DATA argument may mean; None where there is nothing.

        A ``.npz`` stands for itself and its ``data.toml``; so does a folder with ``calib.npz`` or
        ``test.npz``, whichever is meant. Other files are read together with what
        lies beside them (labels, texts), and folders with all that they hold. Hidden files, those
        of other kinds of a project's (images, dies, captures, models, scripts) and outputs do not
        count.

        Args:
            role: what the data are for: ``calib`` or ``test``.
            without: outputs of steps, resolved.
        """
        archive = path / f"{role}.npz" if path.is_dir() else path
        if archive.is_file() and archive.suffix == ".npz":
            names = [archive.name, _DATA_TOML]
            found = {name: archive.parent / name for name in names}
        elif path.exists():
            folder = path if path.is_dir() else path.parent
            found = {name: folder / name for name in _data_files(folder, without)}
        else:
            return None
        digest = hashlib.sha256(path.name.encode() if path.is_file() else b"")
        for name, one in sorted(found.items()):
            digest.update(f"{name}\0{self.file(one)}\n".encode())
        return digest.hexdigest()

    def save(self) -> None:
        """Keep what was found out; that it cannot be kept costs time and nothing else."""
        if not self._new:
            return
        kept = {name: entry for name, entry in self.kept.items() if os.path.exists(name)}
        try:
            with replacing(self._file) as stream:
                stream.write(json.dumps(kept | self._new, indent=0).encode())
        except PimcError:
            return


def _data_files(folder: Path, without: Collection[Path]) -> Iterator[str]:
    """Files of a folder and those below it, relative to it."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(place) / name
            told = path.suffix in _NO_DATA or (path.suffix == ".toml" and name != _DATA_TOML)
            if not name.startswith(".") and not told and path.resolve() not in without:
                yield path.relative_to(folder).as_posix()


def _read(file: Path) -> dict[str, list[Any]]:
    try:
        kept = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(kept, dict):
        return {}
    return {
        name: entry for name, entry in kept.items() if isinstance(entry, list) and len(entry) == 4
    }

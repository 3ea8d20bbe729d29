"""Folders of many files: those in them, and in their sub-folders, which are classes."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.data.images import visible
from pimc.errors import DataError

__all__ = ["Listed", "class_folders", "file_in", "files_in", "listed"]


@dataclass(frozen=True, eq=False)
class Listed:
    """Files with the number of the class that each is of.

    Attributes:
        labels: (files,); None where they are of no classes.
    """

    files: list[Path]
    labels: npt.NDArray[np.int64] | None
    classes: tuple[str, ...] = ()

    @property
    def targets(self) -> dict[str, npt.NDArray[np.int64]]:
        """The labels under ``y``, where there are any."""
        return {} if self.labels is None else {"y": self.labels}


def files_in(folder: Path, suffixes: Collection[str], *, deep: bool = False) -> list[Path]:
    """Files of these extensions in the order of their names; none where it is no folder.

    Args:
        deep: in folders inside, too.
    """
    if not folder.is_dir():
        return []
    found: list[Path] = []
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if deep and not name.startswith("."))
        found += (Path(where, name) for name in sorted(names) if _is_of(name, suffixes))
    return [path for path in found if path.is_file()]


def class_folders(folder: Path, suffixes: Collection[str], *, deep: bool = False) -> list[str]:
    """The sub-folders in which files of these extensions lie.

    Args:
        deep: where they lie in folders inside, too.
    """
    return [name for name in visible(folder) if _holds(folder / name, suffixes, deep)]


def _holds(folder: Path, suffixes: Collection[str], deep: bool) -> bool:
    """Whether there is a file of these extensions, hidden ones left out."""
    if not folder.is_dir():
        return False
    for _, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if deep and not name.startswith("."))
        if any(_is_of(name, suffixes) for name in names):
            return True
    return False


def _is_of(name: str, suffixes: Collection[str]) -> bool:
    return Path(name).suffix.lower() in suffixes and not name.startswith(".")


def listed(folder: Path, suffixes: Collection[str], what: str) -> Listed:
    """The files of a folder; sub-folders that hold any, at any depth, are classes.

    Raises:
        DataError: a sub-folder holds none.
    """
    if not class_folders(folder, suffixes, deep=True):
        return Listed(files_in(folder, suffixes), None)
    classes = [name for name in visible(folder) if (folder / name).is_dir()]
    files: list[Path] = []
    labels: list[int] = []
    for number, label in enumerate(classes):
        inside = files_in(folder / label, suffixes, deep=True)
        if not inside:
            raise DataError(f"holds no {what}", str(folder / label), "every sub-folder is a class")
        files += inside
        labels += [number] * len(inside)
    return Listed(files, np.asarray(labels, np.int64), tuple(classes))


def file_in(folders: Sequence[Path], entry: Mapping[str, Any], key: str, where: str) -> Path:
    """The file that an entry names, in the first of the folders that has it.

    Raises:
        DataError: it names none, or one outside of the folders, or there is no such file.
    """
    named = entry.get(key)
    if not isinstance(named, str) or not named or "\0" in named:
        raise DataError(f"has no {key}", where, "name a file")
    parts = PurePosixPath(named)
    if parts.is_absolute() or ".." in parts.parts:
        raise DataError(f"{named[:200]!r} lies in another folder", where, "name files inside of it")
    try:
        for folder in folders:
            if (folder / parts).is_file():
                return folder / parts
    except (OSError, ValueError):  # too long a name, or one that no file can have
        pass
    places = " or ".join(f"{folder.name}/" for folder in folders[:2])
    raise DataError(f"no such file {named[:200]!r}", where, f"put it in {places}")

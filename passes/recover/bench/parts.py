"""Large tensors of a checkpoint, in files beside it: what does not change is written once.

A file holds the tensors that were new at one step, each under the hash of what it holds. It is
called after the checkpoint and the hash of them all, written before a checkpoint that refers to it
takes the place of the one before, and removed only after the last that does: whenever a recovery is
cut, the checkpoint finds its tensors.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from pimc.errors import RecoveryError
from pimc.files import container
from pimc.files.container import Tensor

__all__ = ["Places", "discard", "lay", "sweep", "take"]

FORMAT, VERSION = "pimc-recovery-part", 1
#: Smaller tensors lie in the checkpoint itself.
_LARGE_BYTES = 1 << 16
#: A file that has less than this share of its bytes in use is written anew, without the rest.
_IN_USE = 0.5
_NAME = re.compile(r"[0-9a-f]{16}\.part")

#: Of tensors by name, the hash of what they hold, and the first digits of that of their file.
Places = dict[str, tuple[str, str]]


def lay(
    path: Path, tensors: Mapping[str, Tensor], before: Iterable[tuple[str, str]]
) -> tuple[dict[str, Tensor], Places]:
    """Write what is large and was not there before beside a checkpoint.

    Args:
        path: of the checkpoint.
        tensors: all of the state.
        before: hash and file of what lies there.

    Returns:
        What is to lie in the checkpoint itself, and where the rest is.

    Raises:
        UsageError: a file cannot be written.
    """
    large = {name: value for name, value in tensors.items() if value.nbytes >= _LARGE_BYTES}
    digests = dict(zip(large, container.digests(map(np.ascontiguousarray, large.values())),
                       strict=True))  # fmt: skip
    contents = {digest: large[name] for name, digest in digests.items()}
    there = _in_use(path, dict(before), contents)
    new = {digest: value for digest, value in contents.items() if digest not in there}
    if new:
        known = {digest: digest for digest in new}
        manifest, sealed = container.seal(FORMAT, VERSION, {}, new, known)
        file = manifest["sha256"][:16]
        container.save(_file(path, file), manifest, sealed)
        _settle(path.parent)
        there |= dict.fromkeys(new, file)
    small = {name: value for name, value in tensors.items() if name not in large}
    return small, {name: (digest, there[digest]) for name, digest in digests.items()}


def take(path: Path, places: Mapping[str, tuple[str, str]]) -> dict[str, Tensor]:
    """The tensors that lie beside a checkpoint.

    Raises:
        RecoveryError: a file of them is missing or damaged.
    """
    held: dict[tuple[str, str], Tensor] = {}
    for file in {file for _, file in places.values()}:
        if not _NAME.fullmatch(f"{file}.part"):
            raise RecoveryError(f"{file!r} names no part of a checkpoint", str(path))
        beside = _file(path, file)
        _, tensors = container.load(beside, FORMAT, VERSION, RecoveryError)
        held |= {(digest, file): value for digest, value in tensors.items()}
    lost = [name for name, place in places.items() if place not in held]
    if lost:
        raise RecoveryError(f"tensor {lost[0]} is not where the checkpoint says", str(path))
    return {name: held[place] for name, place in places.items()}


def sweep(path: Path, used: Iterable[str]) -> None:
    """Remove the files beside a checkpoint that it does not use."""
    keep = {_file(path, file) for file in used}
    gone = [file for file in _files(path) if file not in keep]
    if gone:
        _settle(path.parent)
    for file in gone:
        with suppress(OSError):
            file.unlink()


def discard(path: Path) -> None:
    """Remove a checkpoint and what lies beside it; without the first the rest means nothing."""
    path.unlink(missing_ok=True)
    sweep(path, ())


def _in_use(path: Path, there: dict[str, str], contents: Mapping[str, Tensor]) -> dict[str, str]:
    """Hash and file of what lies there, of files that are worth keeping."""
    live = {digest: file for digest, file in there.items() if digest in contents}
    held: dict[str, int] = {}
    for digest, file in live.items():
        held[file] = held.get(file, 0) + contents[digest].nbytes
    kept = {file for file, size in held.items() if size >= _IN_USE * _size(_file(path, file))}
    return {digest: file for digest, file in live.items() if file in kept}


def _settle(folder: Path) -> None:
    """Have the names of files on the disk before what comes next: power may fail between."""
    with suppress(OSError):  # Windows opens no folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _size(path: Path) -> float:
    try:
        return path.stat().st_size
    except OSError:
        return float("inf")  # gone: its tensors are written again


def _file(path: Path, file: str) -> Path:
    return path.with_name(f"{path.name}.{file}.part")


def _files(path: Path) -> list[Path]:
    head = f"{path.name}."
    try:
        names = [one for one in path.parent.iterdir() if one.name.startswith(head)]
    except OSError:
        return []
    return [one for one in names if _NAME.fullmatch(one.name[len(head) :])]

"""One process at a time at a file that is read, changed and written again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pimc.errors import PimcError, UsageError
from pimc.files.writing.atomic import lock, opened_hidden, same_file

__all__ = ["alone", "require_each_once"]

#: Seconds after which a lock belongs to a process that works, and not to one that tidies up.
_PATIENCE_S = 0.5
#: What this process is at work on.
_ours: set[Path] = set()


@contextmanager
def alone(path: Path | None, error: type[PimcError]) -> Iterator[None]:
    """Be the only process at work on ``path``, of those that ask; None asks for nothing.

    Where two change a file at once, the later to write it would undo what the other did. What
    tells them apart is a hidden file that is locked: it goes when the work is done, and what a
    killed process leaves of it is not locked any more, and goes with its half-written files. A
    process that has it may ask again.

    Raises:
        error: another process is at work on it.
    """
    target = None if path is None else _target(path)
    if path is None or target is None or target in _ours:
        yield
        return
    stream = _held(path, target, error)
    _ours.add(target)
    try:
        yield
    finally:
        _ours.discard(target)
        if stream is not None:
            with suppress(OSError):
                Path(stream.name).unlink()
            stream.close()


def _target(path: Path) -> Path | None:
    """The file that ``path`` names, links followed; None where that is none."""
    try:
        return Path(path).resolve()
    except (OSError, ValueError):
        return None


def _held(path: Path, target: Path, error: type[PimcError]) -> BinaryIO | None:
    """The locked file; None where none can be made, which whoever writes there is told."""
    try:
        # As half-written files are called, so that what is left of it is removed like them.
        digest = hashlib.sha256(target.name.encode(errors="surrogateescape")).hexdigest()[:16]
        name = target.with_name(f".{target.name[:50]}.{digest}.tmp")
        patience = time.monotonic() + _PATIENCE_S
        while True:
            stream = opened_hidden(name, "ab")  # closed when the work is done
            locked = lock(stream)
            if locked is not False and same_file(stream, name):
                return stream
            stream.close()  # another has it, or took it for a leftover
            if locked is False and time.monotonic() > patience:
                break
            time.sleep(0.01)
    except (OSError, ValueError):
        return None
    raise error(
        "another process is at work on it", where=str(path), hint="wait until that one is done"
    )


def require_each_once(dies: Sequence[Path]) -> None:
    """Make sure that no die is named twice, be it by another path to its file.

    Raises:
        UsageError: one is.
    """
    known: set[Path] = set()
    for die in dies:
        real = _target(die) or die
        if real in known:
            raise UsageError("this die is named twice", where=str(die), hint="name it once")
        known.add(real)

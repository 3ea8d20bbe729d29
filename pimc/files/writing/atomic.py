"""Files written whole or not at all, and fingerprints of files and arrays."""

from __future__ import annotations

import atexit
import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from pimc.errors import UsageError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]  # tested for before it is used

_CHUNK_BYTES = 1 << 20
_LEFTOVER = re.compile(r"\..{1,50}\.[0-9a-f]{16}\.tmp")
#: Folders in which this process made hidden files, which an interrupt may keep it from removing.
_folders: set[Path] = set()
#: Who is told of files that were written.
_watchers: list[list[Path]] = []

_HINTS: Mapping[int | None, str] = {
    errno.ENOENT: "make the folder first",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EACCES: "choose a place you may write to",
    errno.EPERM: "choose a place you may write to",
    errno.EROFS: "choose a place you may write to",
    errno.ENOSPC: "free space or choose another disk",
    errno.EDQUOT: "free space or choose another disk",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def require_folder(path: Path) -> None:
    """Make sure, before long work, that there is a folder for a file that is to be written.

    Raises:
        UsageError: there is none.
    """
    if not path.parent.is_dir():
        hint = _HINTS[errno.ENOENT]
        raise UsageError("there is no such folder", where=str(path.parent), hint=hint)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Write a file whole: the old one stays until the new one is complete and on the disk.

    Yields a binary file in the same folder; when the block ends it takes the place of ``path``
    (of what it points to, for a symbolic link). When anything fails, an interrupt included, the
    new file is removed and the old one is left as it was.

    Raises:
        UsageError: the file cannot be written (missing folder, no permission, full disk), or
            ``path`` is a folder or a device.
    """
    target = _target(path)
    remove_leftovers(target.parent)
    stream = _fresh(target, path)
    temporary = Path(stream.name)
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if fcntl is None:
                stream.close()  # on Windows no open file is renamed
            if target.exists():
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            # Locked until then: another process would take it for a leftover.
            temporary.replace(target)
        for watcher in _watchers:
            watcher.append(Path(path))
    except OSError as cause:
        if cause.filename not in (None, str(temporary), temporary):
            raise  # the block failed at another file
        raise unwritable(path, cause) from cause
    finally:
        # Gone already after success; on failure what is half written must not stay.
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def written_files() -> Iterator[list[Path]]:
    """The files that :func:`replacing` wrote meanwhile, in this order, as they were named."""
    found: list[Path] = []
    _watchers.append(found)
    try:
        yield found
    finally:
        _watchers[:] = [watcher for watcher in _watchers if watcher is not found]


def _fresh(target: Path, path: str | os.PathLike[str]) -> BinaryIO:
    """A new file beside ``target``, locked for as long as it is open, so that it is no leftover."""
    while True:
        name = str(target.with_name(f".{target.name[:50]}.{secrets.token_hex(8)}.tmp"))
        try:
            stream = opened_hidden(name, "xb")
        except OSError as cause:
            raise unwritable(path, cause) from cause
        if lock(stream) is not False and same_file(stream, name):
            return stream
        stream.close()  # taken for a leftover in the moment before it was locked


def remove_leftovers(folder: Path) -> None:
    """Remove half-written files of runs that were killed; those being written stay."""
    try:
        names = [name for name in os.listdir(folder) if _LEFTOVER.fullmatch(name)]
    except OSError:
        return  # what is wrong with the folder is said when the file is made
    for name in names:
        with suppress(OSError), open(folder / name, "rb") as stream:
            # Of a name that is used again, another process may have made a new one meanwhile.
            if lock(stream) and same_file(stream, folder / name):
                (folder / name).unlink()


def opened_hidden(name: str | os.PathLike[str], mode: str) -> BinaryIO:
    """Open a hidden file, of which :func:`tidy_up` knows from then on.

    Raises:
        OSError: it cannot be opened.
    """
    _folders.add(Path(name).parent)
    return cast(BinaryIO, open(name, mode))


@atexit.register
def tidy_up() -> None:
    """Remove what is left of this process's hidden files, as of any that nobody holds."""
    for folder in _folders:
        remove_leftovers(folder)


def same_file(stream: BinaryIO, path: str | os.PathLike[str]) -> bool:
    """Whether an open file still has this name."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), os.stat(path))
    except OSError:
        return False


def lock(stream: BinaryIO) -> bool | None:
    """Lock an open file until it is closed.

    Returns:
        True where that is done, False where another process has it, None where there are no locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as cause:
        return False if cause.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    return True


def _target(path: str | os.PathLike[str]) -> Path:
    """The file that ``path`` names, or will name, links followed."""
    try:
        target = Path(os.path.realpath(path))
        irregular = target.exists() and not target.is_file()
    except (OSError, ValueError) as cause:  # too long, not searchable, a NUL byte
        raise unwritable(path, cause) from cause
    if irregular:
        raise UsageError("is not a regular file", str(path), "give the name of a file")
    return target


def unwritable(path: str | os.PathLike[str], cause: OSError | ValueError) -> UsageError:
    """The error of a file that cannot be written: which file, why, and what helps."""
    number, text = getattr(cause, "errno", None), getattr(cause, "strerror", None)
    hint = _HINTS.get(number, "check the disk and the path")
    return UsageError(f"cannot be written: {text or cause}", str(path), hint)


def write_whole(path: str | os.PathLike[str], write: Callable[[BinaryIO], Any]) -> None:
    """Write a file whole through ``write(stream)``; see :func:`replacing` for what it raises."""
    with replacing(path) as stream:
        write(stream)


def sha256_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, as hex.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as cause:
        raise UsageError(f"cannot be read: {cause.strerror or cause}", str(path)) from cause


def sha256_of(dtype: np.dtype[Any], shape: Sequence[int]) -> hashlib._Hash:
    r"""A SHA-256 that has an array's type and shape and is yet to get its content.

    The head is ``"<dtype> <shape>\n"`` in NumPy's notation, e.g. ``"<f4 2,3\n"``.

    Raises:
        UsageError: Python objects, which have no bytes of their own.
    """
    if dtype.hasobject:
        raise UsageError("an array of Python objects has no fingerprint", hint="use numbers")
    little = dtype.newbyteorder("<")
    return hashlib.sha256(f"{little.str} {','.join(map(str, shape))}\n".encode())


def sha256_array(array: npt.NDArray[Any]) -> str:
    """SHA-256 of dtype, shape and content (little endian, row by row), as hex.

    Raises:
        UsageError: an array of Python objects, which has no bytes of its own.
    """
    digest = sha256_of(array.dtype, array.shape)
    flat = array.reshape(-1)  # a view where the array is contiguous, memory-mapped included
    step = max(1, _CHUNK_BYTES // max(1, array.itemsize))
    for start in range(0, flat.size, step):
        digest.update(little_endian(flat[start : start + step]).data)
    return digest.hexdigest()


def little_endian(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """The bytes of an array as they are hashed and written, row by row."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8)

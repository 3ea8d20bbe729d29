"""Files and arrays that are read where they lie."""

from __future__ import annotations

import errno
import mmap
import os
import stat
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Buffer", "let_go", "mapped", "require_regular"]

Buffer = bytes | memoryview | mmap.mmap

#: Not every system can be told.
_DONTNEED: int | None = getattr(mmap, "MADV_DONTNEED", None)


def require_regular(path: str | os.PathLike[str]) -> None:
    """Refuse pipes and devices: to open one may wait forever. Folders say so when opened.

    Raises:
        OSError: there is nothing, or no regular file.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "is no regular file")


def mapped(path: str | os.PathLike[str]) -> Buffer:
    """The content of a file, read when it is looked at; arrays on it cannot be written to.

    Raises:
        OSError: the file cannot be read.
    """
    require_regular(path)
    with open(path, "rb") as stream:
        if os.fstat(stream.fileno()).st_size == 0:
            return b""
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def let_go(array: npt.NDArray[Any]) -> None:
    """Give the memory of a mapped file back; what is looked at again is read again.

    Does nothing for an array that lies in memory of its own.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, memoryview):
        owner = owner.obj
    if isinstance(owner, mmap.mmap) and _DONTNEED is not None:
        owner.madvise(_DONTNEED)

"""How much memory a process may take: what the machine has, what is taken, what is left."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import sys
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import ClassVar

from pimc.errors import UsageError

__all__ = [
    "UNLIMITED",
    "Memory",
    "bytes_of",
    "give_back",
    "machine_bytes",
    "size_text",
    "taken_bytes",
]

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
#: glibc's number of that setting (malloc.h), and what is large.
_M_MMAP_THRESHOLD, _LARGE_BYTES = -3, 4 << 20
#: What a machine is taken to have that does not tell.
_UNKNOWN = 8 << 30
#: A limit of a control group from which on it is none.
_NO_LIMIT = 1 << 60
_CGROUPS, _OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def bytes_of(size: int | str) -> int:
    """Bytes of a size such as ``512M`` or ``4G`` (of 1024 · 1024 · 1024), or of a number of them.

    Raises:
        UsageError: it is none.
    """
    found = _SIZE.fullmatch(str(size).strip()) if not isinstance(size, bool) else None
    count = 0 if found is None else int(float(found[1]) * _UNITS[found[2].upper()])
    if count < 1:
        raise UsageError(f"{size!r} is no size", "memory", "give one such as 512M or 4G")
    return count


def size_text(count: float) -> str:
    """Bytes as a person reads them: ``3.5 GiB``, ``512 MiB``."""
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MiB"


def machine_bytes() -> int:
    """Memory of this machine, or what its control group leaves to this process."""
    try:
        pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not on Windows
        pages, page = 1, _UNKNOWN
    physical = pages * page if pages > 0 else _UNKNOWN
    return min([physical, *_cgroup_limits()])


def _cgroup_limits() -> list[int]:
    """The limits of the control groups that this process is in, innermost first."""
    try:
        lines = _OWN_CGROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    folders: list[Path] = []
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers not in ("", "memory"):
            continue
        root = _CGROUPS / controllers
        own = root / path.strip("/")
        # Within a container the path is often that of the machine outside: then the root is ours.
        folders += [own, *(folder for folder in own.parents if folder.is_relative_to(root)), root]
    found = [_limit_in(folder / name) for folder in dict.fromkeys(folders) for name in _LIMITS]
    return [limit for limit in found if limit is not None]


_LIMITS = ("memory.max", "memory.high", "memory.limit_in_bytes")


def _limit_in(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    limit = int(text) if text.isdecimal() else _NO_LIMIT
    return limit if 0 < limit < _NO_LIMIT else None


def taken_bytes() -> int:
    """Memory that this process holds; where only its peak is known, that."""
    try:
        with open("/proc/self/statm", encoding="ascii") as stream:
            return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


@dataclass(frozen=True)
class Memory:
    """A budget: how much this process may hold.

    Who works under one lays on the disk what finds no room. What is worked out does not depend on
    it: only where things lie while they wait does.

    Attributes:
        limit: bytes; None for as many as there are.
        asked: somebody asked for it; else work that needs more is done all the same.
        processes: as many as this have such a budget each, and were given one together.
    """

    limit: int | None = None
    asked: bool = field(default=True, compare=False)
    processes: int = field(default=1, compare=False)
    #: Part of what a machine has that a process takes where nobody says otherwise.
    USUAL: ClassVar[float] = 0.5

    @staticmethod
    def of(size: int | str | Memory | None, processes: int = 1) -> Memory:
        """What was asked for, or half of what the machine has, shared by so many processes.

        Raises:
            UsageError: it is no size.
        """
        if isinstance(size, Memory):
            return size
        whole = int(machine_bytes() * Memory.USUAL) if size is None else bytes_of(size)
        return Memory(max(whole // processes, 1), size is not None, processes)

    def has_room(self, count: int) -> bool:
        """Whether so many bytes more may be held."""
        if self.limit is None or taken_bytes() + count <= self.limit:
            return True
        _keep_large_apart()
        return False

    def less(self, count: int) -> Memory:
        """What is left where so many bytes are spoken for; none is as good as one."""
        return self if self.limit is None else replace(self, limit=max(self.limit - count, 1))

    def tidy(self, count: int = 0) -> None:
        """Hand memory that was freed back to the system, where so many bytes find no room.

        Without a number: where the process has grown since that was done last.
        """
        if self.limit is None:
            return
        taken = taken_bytes()
        if taken + count > self.limit if count else taken > _kept_bytes + _WORTH_BYTES:
            give_back()

    def require(self, count: int, what: str) -> None:
        """Make sure that the smallest step of some work fits into what was asked for.

        Args:
            count: bytes that it needs beside what is held now.
            what: it is.

        Raises:
            UsageError: it does not.
        """
        needed = taken_bytes() + count
        if self.asked and self.limit is not None and needed > self.limit:
            each = f" for each of {self.processes} workers" if self.processes > 1 else ""
            raise UsageError(
                f"{size_text(self.limit)}{each} are too little: {what} needs {size_text(needed)}",
                "memory",
                f"give --memory {-(-needed * self.processes // (1 << 20))}M or more"
                + (", or fewer --jobs" if each else ""),
            )

    def __str__(self) -> str:
        return "no limit" if self.limit is None else size_text(self.limit)


#: As much as there is.
UNLIMITED = Memory()
#: To look through all objects takes tenths of a second: a process that grew by less does not.
_WORTH_BYTES = 64 << 20
_kept_bytes = 0


def give_back() -> None:
    """Hand memory that nobody refers to back to the system."""
    global _kept_bytes
    gc.collect()  # what refers to itself
    trim = _trim()  # what the C library keeps
    if trim is not None:
        trim(0)
    _kept_bytes = taken_bytes()


@cache
def _keep_large_apart() -> None:
    """Let large values be memory of their own, which is given back as soon as they are freed.

    Else glibc takes them, after the first was freed, from a heap that has holes soon. It costs a
    fifth of the time, so it is done only where memory is short.
    """
    change: ctypes._NamedFuncPointer | None = _of_glibc("mallopt")
    if change is not None:
        change(_M_MMAP_THRESHOLD, _LARGE_BYTES)


@cache
def _trim() -> ctypes._NamedFuncPointer | None:
    return _of_glibc("malloc_trim")


def _of_glibc(name: str) -> ctypes._NamedFuncPointer | None:
    """A function of the C library; None of another than glibc."""
    if not sys.platform.startswith("linux"):
        return None
    found: ctypes._NamedFuncPointer | None = getattr(ctypes.CDLL(None), name, None)
    return found

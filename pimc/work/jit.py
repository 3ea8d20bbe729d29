"""Compiled loops: how Numba compiles them, without the interpreter's lock, once for good.

What is compiled is kept on the disk. Functions take each other in when they are compiled, so it is
good as long as none of the files has changed that any of them stands in.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import event
from numba.core.dispatcher import Dispatcher

from pimc.progress import waiting

__all__ = ["Compiler", "sources"]

Function = TypeVar("Function", bound=Callable[..., Any])
#: A file by its package and its name.
File = tuple[str, str]

_OURS = f"{__name__.partition('.')[0]}."


class _Compiling(event.Listener):
    """Says once that something of this project is compiled; what is kept is no such event.

    Meanwhile nobody looks for cycles of objects: Numba makes millions of objects that live until
    all is compiled, and to go through them takes a tenth of the time. Numba's lock is held.
    """

    def __init__(self) -> None:
        self.said = False
        self._inside = 0
        self._collects = False

    def on_start(self, found: Any) -> None:
        """Compiling begins."""
        if not _ours(found):
            return
        if not self.said:
            self.said = True
            waiting("compiling loops, once")
        if not self._inside:
            self._collects = gc.isenabled()
            gc.disable()
        self._inside += 1

    def on_end(self, found: Any) -> None:
        """Compiling has ended, or failed."""
        if not _ours(found):
            return
        self._inside -= 1
        if not self._inside and self._collects:
            gc.enable()


def _ours(found: Any) -> bool:
    function = getattr((found.data or {}).get("dispatcher"), "py_func", None)
    return getattr(function, "__module__", "").startswith(_OURS)


cast(Any, event).register("numba:compile", _Compiling())


@dataclass(frozen=True)
class Compiler:
    """Compiles the functions of one package.

    Attributes:
        package: its name.
        constants: files beside those of the package whose constants are compiled in.
    """

    package: str
    constants: tuple[File, ...] = ()

    def compiled(self, function: Function) -> Function:
        """A compiled function that makes no arrays, and so counts no references to them.

        Counting takes a tenth of the time, and more with several threads, which share the counters.
        Floating point is as it stands in the source.
        """
        return self._jit(function)

    def contracted(self, function: Function) -> Function:
        """The same; a product and a sum may become one rounding."""
        return self._jit(function, fastmath={"contract"})

    def inner(self, function: Function) -> Function:
        """:meth:`compiled` for other compiled functions alone: Python cannot call it.

        What unpacks Python's objects is a good part of a small function's code.
        """
        return self._jit(function, no_cpython_wrapper=True)

    def inner_contracted(self, function: Function) -> Function:
        """The same; a product and a sum may become one rounding."""
        return self._jit(function, fastmath={"contract"}, no_cpython_wrapper=True)

    def inlined(self, function: Function) -> Function:
        """A function compiled as part of those that call it."""
        return cast(Function, njit(inline="always")(function))

    def _jit(self, function: Function, **options: Any) -> Function:
        def made(cache: bool) -> Any:
            # Numba does not tell types of the option.
            return cast(Any, njit)(
                nogil=True, cache=cache, error_model="numpy", _nrt=False, no_cfunc_wrapper=True,
                **options,
            )(function)  # fmt: skip

        try:
            kept = made(cache=True)
        except RuntimeError:  # nowhere to keep it: every process compiles for itself
            return cast(Function, made(cache=False))
        if isinstance(kept, Dispatcher):  # not where compiling is switched off
            # Numba's own stamp is of the one file that the function stands in.
            file = cast(Any, kept)._cache._cache_file
            file._source_stamp = file._source_stamp, sources(self.package, self.constants)
        return cast(Function, kept)


@cache
def sources(package: str, constants: tuple[File, ...] = ()) -> str:
    """SHA-256 of all files that compiled functions of a package are made from, as hex."""
    own = [f for f in resources.files(package).iterdir() if f.name.endswith(".py")]
    # How all is compiled is said here, and Numba does not look at its options.
    beside = ((__package__ or "", "jit.py"), *constants)
    others = [resources.files(folder) / name for folder, name in beside]
    total = hashlib.sha256()
    for file in (*sorted(own, key=lambda f: f.name), *others):
        total.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()

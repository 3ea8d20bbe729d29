"""How the fused read is compiled: without the interpreter's lock, once for good.

What is compiled is kept on the disk. Functions take each other in when they are compiled, so it is
good as long as none of the files has changed that any of them stands in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any, TypeVar, cast

from numba import njit
from numba.core.dispatcher import Dispatcher

Function = TypeVar("Function", bound=Callable[..., Any])

#: Files beside those of this package whose constants are compiled in.
_CONSTANTS = (("pimc.runtime.physics", "streams.py"),)


def compiled(function: Function) -> Function:
    """A compiled function; floating point as it stands in the source."""
    return _jit(function)


def contracted(function: Function) -> Function:
    """A compiled function in which a product and a sum may become one rounding."""
    return _jit(function, fastmath={"contract"})


def _jit(function: Function, *, fastmath: bool | set[str] = False) -> Function:
    def made(cache: bool) -> Any:
        return njit(nogil=True, cache=cache, error_model="numpy", fastmath=fastmath)(function)

    try:
        kept = made(cache=True)
    except RuntimeError:  # nowhere to keep it: every process compiles for itself
        return cast(Function, made(cache=False))
    if isinstance(kept, Dispatcher):  # not where compiling is switched off
        # Numba's own stamp is of the one file that the function stands in.
        file = cast(Any, kept)._cache._cache_file
        file._source_stamp = file._source_stamp, sources()
    return cast(Function, kept)


def inlined(function: Function) -> Function:
    """A function compiled as part of those that call it."""
    return cast(Function, njit(inline="always")(function))


@cache
def sources() -> str:
    """SHA-256 of all files that compiled functions are made from, as hex."""
    own = [f for f in resources.files(__package__ or "").iterdir() if f.name.endswith(".py")]
    others = [resources.files(package) / name for package, name in _CONSTANTS]
    total = hashlib.sha256()
    for file in (*sorted(own, key=lambda f: f.name), *others):
        total.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()

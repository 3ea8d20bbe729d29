"""How the fused read is compiled: without the interpreter's lock, once for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """A compiled function; floating point as it stands in the source."""
    return _jit(function)


def contracted(function: Function) -> Function:
    """A compiled function in which a product and a sum may become one rounding."""
    return _jit(function, fastmath={"contract"})


def _jit(function: Function, *, fastmath: bool | set[str] = False) -> Function:
    def made(cache: bool) -> Function:
        options = njit(nogil=True, cache=cache, error_model="numpy", fastmath=fastmath)
        return cast(Function, options(function))

    try:
        return made(cache=True)
    except RuntimeError:  # nowhere to keep it: every process compiles for itself
        return made(cache=False)


def inlined(function: Function) -> Function:
    """A function compiled as part of those that call it."""
    return cast(Function, njit(inline="always")(function))

"""How the fused read is compiled: without the interpreter's lock, once for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """A compiled function; floating point as it stands in the source."""
    return cast(Function, njit(nogil=True, cache=True, error_model="numpy")(function))


def contracted(function: Function) -> Function:
    """A compiled function in which a product and a sum may become one rounding."""
    options = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
    return cast(Function, options(function))


def inlined(function: Function) -> Function:
    """A function compiled as part of those that call it."""
    return cast(Function, njit(inline="always")(function))

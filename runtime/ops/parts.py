"""A function of many samples, some of them at a time."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

__all__ = ["by_samples"]


def by_samples(function: Callable[[Tensor], Tensor], x: Tensor, step: int) -> Tensor:
    """``function`` of ``x`` [N, ...], which takes every sample alone, for ``step`` at a time.

    What it takes on the way is then small beside ``x``, and fits a processor's caches.
    """
    if len(x) <= step:
        return function(x)
    first, *others = x.split(step)
    y = function(first)
    whole = y.new_empty((len(x), *y.shape[1:]))
    whole[:step] = y
    for number, part in enumerate(others, 1):
        start = number * step
        whole[start : start + len(part)] = function(part)
    return whole

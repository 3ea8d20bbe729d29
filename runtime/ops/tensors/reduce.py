"""Reductions over axes, arg-extrema and running sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from pimc.runtime.ops.registry import op, register
from pimc.runtime.ops.tensors.shape import ints

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def _extreme(x: Tensor, dims: list[int], keep: bool, *, largest: bool) -> Tensor:
    if x.numel() == 0 and any(x.shape[d] == 0 for d in dims):
        sizes = [1 if i in dims else n for i, n in enumerate(x.shape)]
        if not keep:
            sizes = [n for i, n in enumerate(x.shape) if i not in dims]
        return x.new_full(sizes, _worst(x.dtype, largest))
    return x.amax(dims, keepdim=keep) if largest else x.amin(dims, keepdim=keep)


def _worst(dtype: torch.dtype, largest: bool) -> float:
    if dtype == torch.bool:
        return not largest
    if dtype.is_floating_point:
        return float("-inf") if largest else float("inf")
    info = torch.iinfo(dtype)
    return info.min if largest else info.max


def _max(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return _extreme(x, dims, keep, largest=True)


def _min(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return _extreme(x, dims, keep, largest=False)


def _sum(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return x.sum(dims, keepdim=keep, dtype=x.dtype)


def _in_float(function: Reduction) -> Reduction:
    """Integers are reduced in float64 and turned back."""

    def reduced(x: Tensor, dims: list[int], keep: bool) -> Tensor:
        if x.is_floating_point():
            return function(x, dims, keep)
        return function(x.double(), dims, keep).to(x.dtype)

    return reduced


def _mean(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return x.mean(dims, keepdim=keep)


def _prod(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    for d in sorted(dims, reverse=True):
        x = x.prod(d, keepdim=keep, dtype=x.dtype)
    return x


def _l1(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return _sum(x.abs(), dims, keep)


def _l2(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    # vector_norm has the subgradient 0 at 0, a square root would have infinity
    norm: Tensor = torch.linalg.vector_norm(x, dim=dims, keepdim=keep)
    return norm


def _log_sum(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return _sum(x, dims, keep).log()


def _log_sum_exp(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return torch.logsumexp(x, dims, keepdim=keep)


def _sum_square(x: Tensor, dims: list[int], keep: bool) -> Tensor:
    return _sum(x * x, dims, keep)


def _none(x: Tensor) -> Tensor:
    return x


# name → (reduction, the same over no axis at all, first opset with axes as an input)
_REDUCTIONS: dict[str, tuple[Reduction, Callable[[Tensor], Tensor], int]] = {
    "ReduceMax": (_max, _none, 18),
    "ReduceMin": (_min, _none, 18),
    "ReduceSum": (_sum, _none, 13),
    "ReduceMean": (_in_float(_mean), _none, 18),
    "ReduceProd": (_prod, _none, 18),
    "ReduceL1": (_l1, torch.abs, 18),
    "ReduceL2": (_in_float(_l2), torch.abs, 18),
    "ReduceLogSum": (_in_float(_log_sum), torch.log, 18),
    "ReduceLogSumExp": (_in_float(_log_sum_exp), _none, 18),
    "ReduceSumSquare": (_sum_square, torch.square, 18),
}


def _enter(
    name: str, function: Reduction, over_nothing: Callable[[Tensor], Tensor], since: int
) -> None:
    def run(x: Tensor, axes: Sequence[int], keepdims: int, noop: int) -> Tensor:
        if x.ndim == 0 or (not axes and noop):
            return over_nothing(x)
        return function(x, [a % x.ndim for a in axes] or list(range(x.ndim)), bool(keepdims))

    def with_input(
        x: Tensor,
        axes: Tensor | None = None,
        *,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Tensor:
        return run(x, ints(axes), keepdims, noop_with_empty_axes)

    def with_attribute(
        x: Tensor, *, axes: Sequence[int] | None = None, keepdims: int = 1
    ) -> Tensor:
        return run(x, axes or (), keepdims, 0)

    register(name, with_input, since=since, host=(1,))
    register(name, with_attribute, since=1)


for _name, _entry in _REDUCTIONS.items():
    _enter(_name, *_entry)


def _arg_extreme(x: Tensor, axis: int, keepdims: int, last: int, largest: bool) -> Tensor:
    find = torch.argmax if largest else torch.argmin
    if not last:
        return find(x, dim=axis, keepdim=bool(keepdims))
    return x.shape[axis] - 1 - find(x.flip(axis), dim=axis, keepdim=bool(keepdims))


@op("ArgMax", gradient=False)
def arg_max(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """Place of the largest value."""
    return _arg_extreme(x, axis, keepdims, select_last_index, largest=True)


@op("ArgMin", gradient=False)
def arg_min(x: Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Tensor:
    """Place of the smallest value."""
    return _arg_extreme(x, axis, keepdims, select_last_index, largest=False)


def _running(
    function: Callable[..., Tensor],
    start: float,
    x: Tensor,
    axis: int,
    exclusive: int,
    reverse: int,
) -> Tensor:
    if reverse:
        x = x.flip(axis)
    if exclusive:
        first = torch.full_like(x.narrow(axis, 0, 1), start)
        x = torch.cat([first, x.narrow(axis, 0, x.shape[axis] - 1)], dim=axis)
    y = function(x, axis, dtype=x.dtype)
    return y.flip(axis) if reverse else y


@op("CumSum", since=11, host=(1,))
def cum_sum(x: Tensor, axis: Tensor, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """Running sum along an axis."""
    return _running(torch.cumsum, 0, x, int(axis.item()), exclusive, reverse)


@op("CumProd", since=26, host=(1,))
def cum_prod(x: Tensor, axis: Tensor, *, exclusive: int = 0, reverse: int = 0) -> Tensor:
    """Running product along an axis."""
    return _running(torch.cumprod, 1, x, int(axis.item()), exclusive, reverse)

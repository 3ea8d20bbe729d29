"""Pooling over windows and over everything."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pimc.runtime.ops.layers.linear import pad_ends, window_pads
from pimc.runtime.ops.registry import OpContext, op

_MAX_POOL: dict[int, Callable[..., Tensor]] = {
    1: functional.max_pool1d,
    2: functional.max_pool2d,
    3: functional.max_pool3d,
}
_AVERAGE_POOL: dict[int, Callable[..., Tensor]] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}


@dataclass(frozen=True)
class Window:
    """Where the windows lie: lists with one entry a spatial axis.

    ``extra`` is what ``ceil_mode`` adds at the end beyond the pads of the node.
    """

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begins: list[int]
    ends: list[int]
    extra: list[int]

    @classmethod
    def of(
        cls,
        x: Tensor,
        kernel_shape: Sequence[int],
        strides: Sequence[int] | None,
        dilations: Sequence[int] | None,
        pads: Sequence[int] | None,
        auto_pad: str,
        ceil_mode: int,
    ) -> Window:
        """Windows over the spatial axes of ``x`` [N, C, spatial...]."""
        sizes = list(x.shape[2:])
        steps = list(strides or [1] * len(sizes))
        spread = list(dilations or [1] * len(sizes))
        begins, ends = window_pads(auto_pad, pads, sizes, kernel_shape, steps, spread)
        extra = [0] * len(sizes)
        if ceil_mode:
            for i, n in enumerate(sizes):
                reach = (kernel_shape[i] - 1) * spread[i] + 1
                room = n + begins[i] + ends[i] - reach
                n_out = -(-room // steps[i]) + 1
                if (n_out - 1) * steps[i] >= n + begins[i]:  # would start in the end pad
                    n_out -= 1
                extra[i] = max((n_out - 1) * steps[i] - room, 0)
        return cls(list(kernel_shape), steps, spread, begins, ends, extra)

    @property
    def plain(self) -> bool:
        """Whether torch's own pooling knows these windows."""
        halves = all(2 * b <= k for b, k in zip(self.begins, self.kernel, strict=True))
        return self.begins == self.ends and not any(self.extra) and halves

    def grow(self, x: Tensor, value: float) -> Tensor:
        """``x`` with all pads filled with ``value``."""
        ends = [e + more for e, more in zip(self.ends, self.extra, strict=True)]
        return pad_ends(x, self.begins, ends, value)

    def cut(self, grown: Tensor) -> Tensor:
        """All windows of a grown tensor: [N, C, output..., kernel flattened]."""
        for i, (k, s, d) in enumerate(zip(self.kernel, self.strides, self.dilations, strict=True)):
            grown = grown.unfold(2 + i, (k - 1) * d + 1, s)[..., ::d]
        return grown.flatten(2 + len(self.kernel))


@op("MaxPool")
def max_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    storage_order: int = 0,
    strides: Sequence[int] | None = None,
    ctx: OpContext,
) -> Tensor | tuple[Tensor, Tensor]:
    """Largest value of every window, and its place in the flattened input."""
    window = Window.of(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    rank = len(window.kernel)
    wants_places = len(ctx.outputs) > 1 and ctx.outputs[1]
    if window.plain and not wants_places and x.is_floating_point() and rank in _MAX_POOL:
        return _MAX_POOL[rank](
            x, window.kernel, window.strides, window.begins, window.dilations, ceil_mode=False
        )
    lowest = float("-inf") if x.is_floating_point() else torch.iinfo(x.dtype).min
    windows = window.cut(window.grow(x, lowest))
    if not wants_places:
        return windows.amax(-1)
    best = windows.argmax(-1, keepdim=True)
    places = window.cut(window.grow(_places(x, storage_order), 0))
    return windows.gather(-1, best).squeeze(-1), places.gather(-1, best).squeeze(-1)


def _places(x: Tensor, storage_order: int) -> Tensor:
    """The flat index of every element, counted row by row or (1) column by column."""
    counted = torch.arange(x.numel(), device=x.device)
    if not storage_order:
        return counted.reshape(x.shape)
    turned = counted.reshape(*x.shape[:2], *reversed(x.shape[2:]))
    return turned.permute(0, 1, *reversed(range(2, x.ndim)))


@op("MaxUnpool", since=9, host=(2,))
def max_unpool(
    x: Tensor,
    places: Tensor,
    output_shape: Tensor | None = None,
    *,
    kernel_shape: Sequence[int],
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """Values put back at their places, zeros elsewhere; a larger output shape adds zeros."""
    rank = len(kernel_shape)
    steps, margins = strides or [1] * rank, pads or [0] * (2 * rank)
    natural = [
        (n - 1) * s - margins[i] - margins[rank + i] + k
        for i, (n, s, k) in enumerate(zip(x.shape[2:], steps, kernel_shape, strict=True))
    ]
    sizes = [*x.shape[:2], *natural]
    y = x.new_zeros(math.prod(sizes)).scatter(0, places.reshape(-1), x.reshape(-1)).reshape(sizes)
    if output_shape is None:
        return y
    more = [m - n for m, n in zip(output_shape.tolist()[2:], natural, strict=True)]
    return pad_ends(y, [0] * rank, more)


@op("AveragePool")
def average_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """Mean of every window, over its real elements or (count_include_pad) also its pads."""
    window = Window.of(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    rank = len(window.kernel)
    if window.plain and rank in _AVERAGE_POOL and set(window.dilations) == {1}:
        include = bool(count_include_pad)
        return _AVERAGE_POOL[rank](x, window.kernel, window.strides, window.begins, False, include)
    ones = torch.ones_like(x[:1, :1])
    if count_include_pad:  # what ceil_mode adds never counts
        ones = pad_ends(ones, window.begins, window.ends, 1.0)
        counted = pad_ends(ones, [0] * rank, window.extra)
    else:
        counted = window.grow(ones, 0.0)
    return window.cut(window.grow(x, 0.0)).sum(-1) / window.cut(counted).sum(-1)


@op("LpPool", since=2)
def lp_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Sequence[int] | None = None,
    p: int = 2,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """p-norm of every window."""
    window = Window.of(x, kernel_shape, strides, dilations, pads, auto_pad, ceil_mode)
    y: Tensor = torch.linalg.vector_norm(window.cut(window.grow(x, 0.0)), ord=p, dim=-1)
    return y


def _spatial(x: Tensor) -> list[int]:
    return list(range(2, x.ndim))


@op("GlobalAveragePool")
def global_average_pool(x: Tensor) -> Tensor:
    """Mean over all spatial axes, kept with size 1."""
    return x.mean(_spatial(x), keepdim=True)


@op("GlobalMaxPool")
def global_max_pool(x: Tensor) -> Tensor:
    """Maximum over all spatial axes, kept with size 1."""
    return x.amax(_spatial(x), keepdim=True)


@op("GlobalLpPool", since=2)
def global_lp_pool(x: Tensor, *, p: int = 2) -> Tensor:
    """p-norm over all spatial axes, kept with size 1."""
    y: Tensor = torch.linalg.vector_norm(x, ord=p, dim=_spatial(x), keepdim=True)
    return y

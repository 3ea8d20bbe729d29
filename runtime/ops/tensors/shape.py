"""Shapes and views: nothing here computes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pimc.runtime.ops.registry import NotNative, OpContext, op


def ints(values: Tensor | Sequence[int] | None) -> list[int]:
    """Python integers of a one-axis tensor or sequence (nothing for None)."""
    if values is None:
        return []
    return values.reshape(-1).tolist() if isinstance(values, Tensor) else list(values)


def broadcast_shape(a: Sequence[int], b: Sequence[int]) -> list[int]:
    """Shape that two shapes broadcast to."""
    rank = max(len(a), len(b))
    left, right = [1] * (rank - len(a)) + list(a), [1] * (rank - len(b)) + list(b)
    return [n if m == 1 else m for m, n in zip(left, right, strict=True)]


@op("Identity", opaque=True)
def identity(x: Tensor) -> Tensor:
    """The same value."""
    return x


@op("Shape", exotic=True, gradient=False)
def shape(x: Tensor, *, start: int = 0, end: int | None = None) -> Tensor:
    """Sizes of the axes ``start`` to ``end``, on the CPU."""
    return torch.tensor(list(x.shape)[start:end], dtype=torch.int64)


@op("Size", exotic=True, gradient=False)
def size(x: Tensor) -> Tensor:
    """Number of elements, on the CPU."""
    return torch.tensor(x.numel(), dtype=torch.int64)


@op("Reshape", since=5, host=(1,), exotic=True)
def reshape(x: Tensor, sizes: Tensor, *, allowzero: int = 0) -> Tensor:
    """New shape; 0 copies the input's size unless ``allowzero``, -1 is inferred."""
    target = ints(sizes)
    if not allowzero:
        target = [x.shape[i] if n == 0 else n for i, n in enumerate(target)]
    if -1 in target and x.numel() == 0:
        # torch calls -1 ambiguous when another size is 0; ONNX infers it from the others
        known = math.prod(n for n in target if n not in (-1, 0))
        source = math.prod(n for n in x.shape if n != 0)
        target = [source // max(known, 1) if n == -1 and 0 in target else n for n in target]
    return x.reshape(target)


@op("Flatten", exotic=True)
def flatten(x: Tensor, *, axis: int = 1) -> Tensor:
    """Two axes, cut before ``axis``."""
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


@op("Squeeze", since=13, host=(1,), exotic=True)
def squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Without the given axes of size 1 (all of them when none is given)."""
    return squeeze_1(x, axes=None if axes is None else ints(axes))


@op("Squeeze", since=1, exotic=True)
def squeeze_1(x: Tensor, *, axes: Sequence[int] | None = None) -> Tensor:
    """Axes as an attribute, before opset 13."""
    if axes is None:
        return x.squeeze()
    long = [axis for axis in axes if x.shape[axis] != 1]
    if long:  # torch would leave them as they are
        raise ValueError(f"axis {long[0]} has size {x.shape[long[0]]}, not 1")
    return x.squeeze(tuple(axes))


@op("Unsqueeze", since=13, host=(1,), exotic=True)
def unsqueeze(x: Tensor, axes: Tensor) -> Tensor:
    """With new axes of size 1 at the given places of the output."""
    return unsqueeze_1(x, axes=ints(axes))


@op("Unsqueeze", since=1, exotic=True)
def unsqueeze_1(x: Tensor, *, axes: Sequence[int]) -> Tensor:
    """Axes as an attribute, before opset 13."""
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


@op("Transpose", exotic=True)
def transpose(x: Tensor, *, perm: Sequence[int] | None = None) -> Tensor:
    """Axes in the order ``perm`` (reversed when missing)."""
    return x.permute(tuple(perm) if perm is not None else tuple(reversed(range(x.ndim))))


@op("Expand", since=8, host=(1,), exotic=True)
def expand(x: Tensor, sizes: Tensor) -> Tensor:
    """Broadcast against a shape, in both directions."""
    return x.expand(broadcast_shape(x.shape, ints(sizes)))


@op("Tile", since=6, host=(1,))
def tile(x: Tensor, repeats: Tensor) -> Tensor:
    """Repeated along every axis."""
    return x.repeat(ints(repeats)) if x.ndim else x


@op("Concat", since=4)
def concat(*values: Tensor, axis: int) -> Tensor:
    """Joined along ``axis``."""
    return torch.cat(values, dim=axis)


def _pieces(length: int, n: int) -> list[int]:
    each = -(-length // n)
    return [min(each, max(length - i * each, 0)) for i in range(n)]


@op("Split", since=13, host=(1,))
def split(
    x: Tensor,
    sizes: Tensor | None = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
    ctx: OpContext,
) -> tuple[Tensor, ...]:
    """Cut along ``axis`` into the given sizes, or into equal pieces."""
    n = num_outputs or len(ctx.outputs)
    pieces = ints(sizes) if sizes is not None else _pieces(x.shape[axis], n)
    return torch.split(x, pieces, dim=axis)


@op("Split", since=2)
def split_2(
    x: Tensor, *, axis: int = 0, split: Sequence[int] | None = None, ctx: OpContext
) -> tuple[Tensor, ...]:
    """Sizes as an attribute, before opset 13."""
    return torch.split(x, list(split or _pieces(x.shape[axis], len(ctx.outputs))), dim=axis)


@op("Slice", since=10, host=(1, 2, 3, 4), exotic=True)
def slice_10(
    x: Tensor,
    starts: Tensor,
    ends: Tensor,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    """Numpy slicing along the given axes."""
    return _slice(x, ints(starts), ints(ends), ints(axes), ints(steps))


@op("Slice", since=1, exotic=True)
def slice_1(
    x: Tensor,
    *,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] | None = None,
) -> Tensor:
    """Limits as attributes, before opset 10."""
    return _slice(x, starts, ends, axes or (), ())


def _slice(
    x: Tensor,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int],
    steps: Sequence[int],
) -> Tensor:
    axes = axes or range(len(starts))
    steps = steps or [1] * len(starts)
    cut = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step > 0:
            cut[axis] = slice(start, end, step)
        else:  # torch has no negative steps
            first = max(start, -x.shape[axis])
            picked = list(range(*slice(first, end, step).indices(x.shape[axis])))
            x = x.index_select(axis % x.ndim, torch.tensor(picked, dtype=torch.int64).to(x.device))
    return x[tuple(cut)]


@op("Pad", since=11, host=(1, 3))
def pad(
    x: Tensor,
    pads: Tensor,
    value: Tensor | None = None,
    axes: Tensor | None = None,
    *,
    mode: str = "constant",
) -> Tensor:
    """Longer (or, with negative pads, shorter) along the given axes."""
    amounts = ints(pads)
    chosen = [a % x.ndim for a in ints(axes)] if axes is not None else list(range(x.ndim))
    begins, ends = [0] * x.ndim, [0] * x.ndim
    for i, axis in enumerate(chosen):
        begins[axis], ends[axis] = amounts[i], amounts[len(chosen) + i]
    return _pad(x, begins, ends, mode, value)


@op("Pad", since=2)
def pad_2(x: Tensor, *, pads: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """Pads as an attribute, before opset 11."""
    return _pad(x, list(pads[: x.ndim]), list(pads[x.ndim :]), mode, x.new_tensor(value))


def _pad(x: Tensor, begins: list[int], ends: list[int], mode: str, value: Tensor | None) -> Tensor:
    if mode == "constant":
        flat = [n for pair in zip(reversed(begins), reversed(ends), strict=True) for n in pair]
        # the pad value is a number of the model, never a trained one
        fill = value.item() if value is not None else 0
        return torch.nn.functional.pad(x, flat, value=fill)
    for axis, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        if begin or end:
            picked = np.arange(x.shape[axis])[max(-begin, 0) : x.shape[axis] - max(-end, 0)]
            grown = np.pad(picked, (max(begin, 0), max(end, 0)), mode=mode)  # type: ignore[call-overload]
            x = x.index_select(axis, torch.from_numpy(grown).to(x.device))
    return x


def _blocks(x: Tensor, blocksize: int) -> int:
    if x.ndim != 4:
        raise NotNative("only images have blocks")
    return blocksize


@op("DepthToSpace")
def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """[B, C, H, W] → [B, C / b², H b, W b]."""
    b = _blocks(x, blocksize)
    n, c, h, w = x.shape
    if mode == "CRD":
        return (
            x.reshape(n, c // b**2, b, b, h, w)
            .permute(0, 1, 4, 2, 5, 3)
            .reshape(n, c // b**2, h * b, w * b)
        )
    return (
        x.reshape(n, b, b, c // b**2, h, w)
        .permute(0, 3, 4, 1, 5, 2)
        .reshape(n, c // b**2, h * b, w * b)
    )


@op("SpaceToDepth")
def space_to_depth(x: Tensor, *, blocksize: int) -> Tensor:
    """[B, C, H, W] → [B, C b², H / b, W / b]."""
    b = _blocks(x, blocksize)
    n, c, h, w = x.shape
    return (
        x.reshape(n, c, h // b, b, w // b, b)
        .permute(0, 3, 5, 1, 2, 4)
        .reshape(n, c * b**2, h // b, w // b)
    )

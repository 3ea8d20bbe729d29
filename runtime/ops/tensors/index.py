"""Picking and placing elements by index."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pimc.runtime.ops.registry import NotNative, OpContext, op


def _wrapped(index: Tensor, size: int) -> Tensor:
    """Indices with negative ones counted from the end."""
    index = index.to(torch.int64)
    return torch.where(index < 0, index + size, index)


@op("Gather", exotic=True)
def gather(x: Tensor, index: Tensor, *, axis: int = 0) -> Tensor:
    """Slices of ``x`` along ``axis``, arranged like ``index``."""
    axis = axis % x.ndim
    flat = _wrapped(index.reshape(-1), x.shape[axis])
    picked = x.index_select(axis, flat)
    return picked.reshape(x.shape[:axis] + index.shape + x.shape[axis + 1 :])


@op("GatherElements", since=11)
def gather_elements(x: Tensor, index: Tensor, *, axis: int = 0) -> Tensor:
    """Single elements along ``axis``."""
    return x.gather(axis, _wrapped(index, x.shape[axis]))


def _flat_places(shape: torch.Size, index: Tensor) -> Tensor:
    """Places in the flattened leading axes for index tuples [..., k] (k leading axes)."""
    k = index.shape[-1]
    place = index.new_zeros(index.shape[:-1], dtype=torch.int64)
    for i in range(k):
        place = place * shape[i] + _wrapped(index[..., i], shape[i])
    return place


@op("GatherND", since=11)
def gather_nd(x: Tensor, index: Tensor, *, batch_dims: int = 0) -> Tensor:
    """Slices of ``x`` at index tuples [..., k]."""
    b, k = batch_dims, index.shape[-1]
    batches = math.prod(x.shape[:b])
    rows = x.reshape(batches, *x.shape[b:])
    index_rows = index.reshape(batches, -1, k)
    place = _flat_places(rows.shape[1:], index_rows)
    per_batch = math.prod(x.shape[b : b + k])
    offset = torch.arange(batches, device=x.device)[:, None] * per_batch
    tail = x.shape[b + k :]
    picked = rows.reshape(batches * per_batch, *tail)[(place + offset).reshape(-1)]
    return picked.reshape(*index.shape[:-1], *tail)


_TORCH_REDUCTION = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _scatter(x: Tensor, axis: int, index: Tensor, updates: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return x.scatter(axis, index, updates)
    if x.dtype == torch.bool:
        raise NotNative("no reductions of truth values")
    return x.scatter_reduce(axis, index, updates, _TORCH_REDUCTION[reduction])


@op("ScatterElements", since=11)
def scatter_elements(
    x: Tensor, index: Tensor, updates: Tensor, *, axis: int = 0, reduction: str = "none"
) -> Tensor:
    """Single elements replaced or combined along ``axis``."""
    return _scatter(x, axis, _wrapped(index, x.shape[axis]), updates, reduction)


@op("Scatter", since=9)
def scatter(x: Tensor, index: Tensor, updates: Tensor, *, axis: int = 0) -> Tensor:
    """ScatterElements under its old name."""
    return scatter_elements(x, index, updates, axis=axis)


@op("ScatterND", since=11)
def scatter_nd(x: Tensor, index: Tensor, updates: Tensor, *, reduction: str = "none") -> Tensor:
    """Slices replaced or combined at index tuples [..., k]."""
    k = index.shape[-1]
    width = math.prod(x.shape[k:])
    place = _flat_places(x.shape[:k], index).reshape(-1, 1).expand(-1, width)
    flat = x.reshape(math.prod(x.shape[:k]), width)
    return _scatter(flat, 0, place, updates.reshape(-1, width), reduction).reshape(x.shape)


@op("Compress", since=9)
def compress(x: Tensor, condition: Tensor, *, axis: int | None = None) -> Tensor:
    """Slices (or single elements without ``axis``) for which the condition holds."""
    chosen = condition.reshape(-1).nonzero().reshape(-1)
    return x.reshape(-1)[chosen] if axis is None else x.index_select(axis, chosen)


@op("NonZero", since=9, gradient=False)
def non_zero(x: Tensor) -> Tensor:
    """Indices of all elements that are not 0, one column each."""
    return x.reshape(1).nonzero().T[:0] if x.ndim == 0 else x.nonzero().T


@op("OneHot", since=9, host=(1,))
def one_hot(index: Tensor, depth: Tensor, values: Tensor, *, axis: int = -1) -> Tensor:
    """``values[1]`` at the indices along a new axis, elsewhere ``values[0]``."""
    n = int(depth.item())
    place = _wrapped(index, n)
    axis = axis % (index.ndim + 1)
    steps = torch.arange(n, device=index.device).reshape([-1] + [1] * (index.ndim - axis))
    return torch.where(place.unsqueeze(axis) == steps, values[1], values[0])


@op("TopK", since=10, host=(1,))
def top_k(
    x: Tensor, k: Tensor, *, axis: int = -1, largest: int = 1, sorted: int = 1
) -> tuple[Tensor, Tensor]:
    """The ``k`` best values and their places; of equal values the first comes first."""
    values, places = torch.sort(x, dim=axis, descending=bool(largest), stable=True)
    n = int(k.item())
    return values.narrow(axis, 0, n), places.narrow(axis, 0, n)


@op("ReverseSequence", since=10)
def reverse_sequence(
    x: Tensor, lengths: Tensor, *, batch_axis: int = 1, time_axis: int = 0
) -> Tensor:
    """The first ``lengths[b]`` steps of every sequence in reverse order."""
    steps = torch.arange(x.shape[time_axis], device=x.device)[:, None]
    sizes = lengths.to(x.device)[None, :]
    place = torch.where(steps < sizes, sizes - 1 - steps, steps)  # [time, batch]
    if time_axis > batch_axis:
        place = place.T
    tail = [1] * (x.ndim - 2)
    return x.gather(time_axis, place.reshape(*place.shape, *tail).expand(x.shape))


@op("TensorScatter", since=24)
def tensor_scatter(
    past: Tensor,
    update: Tensor,
    write: Tensor | None = None,
    *,
    axis: int = -2,
    mode: str = "linear",
    ctx: OpContext,
) -> Tensor:
    """A cache with ``update`` written from position ``write[b]`` of ``axis`` on."""
    axis = axis % past.ndim
    batch = past.shape[0]
    start = torch.zeros(batch, dtype=torch.int64) if write is None else write
    steps = torch.arange(update.shape[axis], device=past.device)[None, :]
    place = start.to(past.device)[:, None] + steps
    if mode == "circular":
        place = place % past.shape[axis]
    sizes = [1] * past.ndim
    sizes[0], sizes[axis] = batch, update.shape[axis]
    return past.scatter(axis, place.reshape(sizes).expand(update.shape), update)

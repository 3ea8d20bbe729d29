"""Tensors made from a shape or from numbers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pimc.runtime.ops.registry import OpContext, op
from pimc.runtime.ops.tensors.shape import ints
from pimc.runtime.ops.values import float_or


@op("ConstantOfShape", since=9, host=(0,), gradient=False)
def constant_of_shape(sizes: Tensor, *, value: Tensor | None = None, ctx: OpContext) -> Tensor:
    """A tensor filled with one value (float 0 when missing)."""
    fill = torch.zeros((), dtype=ctx.dtype) if value is None else value.reshape(())
    if not fill.is_floating_point() and sizes.numel() <= 1:
        return fill.cpu().expand(ints(sizes)).clone()  # a shape: stays on the CPU
    return fill.to(ctx.device).expand(ints(sizes)).clone()


@op("EyeLike", since=9, exotic=True, gradient=False)
def eye_like(x: Tensor, *, dtype: int | None = None, k: int = 0, ctx: OpContext) -> Tensor:
    """Ones on the ``k``-th diagonal of a matrix shaped like ``x``."""
    kind = x.dtype if dtype is None else ctx.torch_dtype(dtype)
    rows = torch.arange(x.shape[0], device=x.device)[:, None]
    columns = torch.arange(x.shape[1], device=x.device)[None, :]
    return (columns - rows == k).to(kind)


@op("Range", since=11, host=(0, 1, 2), gradient=False)
def arange(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    """``start``, ``start + delta``, … before ``limit``."""
    first, step = start.item(), delta.item()
    n = max(math.ceil((limit.item() - first) / step), 0)
    kind = start.dtype
    if not kind.is_floating_point:
        return torch.arange(n, dtype=torch.int64).mul(step).add(first).to(kind)
    return torch.arange(n, dtype=float_or(kind, torch.float64)).mul(step).add(first).to(kind)


@op("Trilu", since=14, host=(1,))
def trilu(x: Tensor, k: Tensor | None = None, *, upper: int = 1) -> Tensor:
    """Upper or lower triangle from the ``k``-th diagonal on."""
    diagonal = 0 if k is None else int(k.item())
    return torch.triu(x, diagonal) if upper else torch.tril(x, diagonal)

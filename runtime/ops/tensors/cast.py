"""Changes of element type."""

from __future__ import annotations

import torch
from torch import Tensor

from pimc.runtime.ops.registry import NotNative, OpContext, op
from pimc.runtime.ops.values import ARITHMETIC_DTYPES

_WIDE = frozenset({torch.uint16, torch.uint32, torch.uint64})


def convert(x: Tensor, dtype: torch.dtype) -> Tensor:
    """``x`` as ``dtype``.

    Raises:
        NotNative: for targets whose rounding or saturation torch does differently.
    """
    if dtype not in ARITHMETIC_DTYPES and dtype not in _WIDE:
        raise NotNative(f"cast to {dtype}")
    if dtype in _WIDE and x.is_floating_point():
        return x.to(torch.int64).to(dtype)
    return x.to(dtype)


@op("Cast", since=6, exotic=True)
def cast(
    x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up", ctx: OpContext
) -> Tensor:
    """Element type given by its ONNX number."""
    return convert(x, ctx.torch_dtype(to))


@op("CastLike", since=15, exotic=True)
def cast_like(x: Tensor, like: Tensor, *, saturate: int = 1, round_mode: str = "up") -> Tensor:
    """Element type of another tensor."""
    return convert(x, like.dtype)


@op("BitCast", since=26, exotic=True, gradient=False)
def bit_cast(x: Tensor, *, to: int, ctx: OpContext) -> Tensor:
    """The same bits read as another type of the same width."""
    return x.contiguous().view(ctx.torch_dtype(to))

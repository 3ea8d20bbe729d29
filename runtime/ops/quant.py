"""Linear quantisation as ONNX defines it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pimc.runtime.ops.linear import conv, minus_zero
from pimc.runtime.ops.registry import NotNative, OpContext, op

_INTEGERS = frozenset({torch.uint8, torch.int8, torch.uint16, torch.int16, torch.int32})


def _spread(parameter: Tensor, x: Tensor, axis: int, block_size: int) -> Tensor:
    """A scale or zero point made to broadcast against ``x``: per tensor, axis or block."""
    if parameter.numel() == 1 and parameter.ndim <= 1:
        return parameter.reshape(())
    axis = axis % x.ndim
    if block_size:
        repeated = parameter.repeat_interleave(block_size, dim=axis)
        return repeated.narrow(axis, 0, x.shape[axis])
    sizes = [1] * x.ndim
    sizes[axis] = -1
    return parameter.reshape(sizes)


@op("QuantizeLinear", since=10, exotic=True)
def quantize_linear(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
    ctx: OpContext,
) -> Tensor:
    """``saturate(round(x / scale) + zero_point)``, halves to even."""
    named = ctx.torch_dtype(output_dtype) if output_dtype else torch.uint8
    kind = zero_point.dtype if zero_point is not None else named
    if kind not in _INTEGERS or precision:
        raise NotNative(f"quantisation to {kind}")
    limits = torch.iinfo(kind)
    y = torch.round(x / _spread(scale, x, axis, block_size))
    if zero_point is not None:
        y = y + _spread(zero_point.to(y.dtype), x, axis, block_size)
    return torch.clamp(y, limits.min, limits.max).to(torch.int32).to(kind)


@op("DequantizeLinear", since=10, exotic=True)
def dequantize_linear(
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    ctx: OpContext,
) -> Tensor:
    """``(x - zero_point) scale``."""
    kind = ctx.torch_dtype(output_dtype) if output_dtype else scale.dtype
    y = x.to(scale.dtype)
    if zero_point is not None:
        y = y - _spread(zero_point.to(scale.dtype), x, axis, block_size)
    return (y * _spread(scale, x, axis, block_size)).to(kind)


def _requantize(total: Tensor, scale: Tensor, y_scale: Tensor, y_zero: Tensor, axis: int) -> Tensor:
    """An exact sum in units of ``scale`` as 8-bit numbers in units of ``y_scale``."""
    factor = (scale.double() / y_scale.double()).to(total)
    if factor.ndim == 1 and factor.numel() > 1:
        sizes = [1] * total.ndim
        sizes[axis] = -1
        factor = factor.reshape(sizes)
    limits = torch.iinfo(y_zero.dtype)
    y = torch.round(total * factor) + y_zero.double()
    return torch.clamp(y, limits.min, limits.max).to(y_zero.dtype)


@op("QLinearMatMul", since=10, gradient=False)
def qlinear_matmul(
    a: Tensor,
    a_scale: Tensor,
    a_zero: Tensor,
    b: Tensor,
    b_scale: Tensor,
    b_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
) -> Tensor:
    """Product of 8-bit matrices, requantised."""
    if max(a_scale.numel(), b_scale.numel()) > 1 or not a.dtype.itemsize == b.dtype.itemsize == 1:
        raise NotNative("scales per row or column")
    total = torch.matmul(minus_zero(a, a_zero, -2), minus_zero(b, b_zero, -1))
    return _requantize(total, a_scale.double() * b_scale, y_scale, y_zero, -1)


@op("QLinearConv", since=10, gradient=False)
def qlinear_conv(
    x: Tensor,
    x_scale: Tensor,
    x_zero: Tensor,
    weight: Tensor,
    w_scale: Tensor,
    w_zero: Tensor,
    y_scale: Tensor,
    y_zero: Tensor,
    bias: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Convolution of 8-bit tensors, requantised; the bias is in units of both scales."""
    shift = None if bias is None else bias.double()
    total = conv(minus_zero(x, x_zero, 0), minus_zero(weight, w_zero, 0), shift, **options)
    return _requantize(total, x_scale.double() * w_scale, y_scale, y_zero, 1)

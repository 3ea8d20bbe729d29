"""Linear quantisation as ONNX defines it.

Where a gradient is wanted codes are whole numbers in floating point, and it passes straight
through the rounding, but not where codes are clipped (Bengio et al. 2013,
DOI 10.48550/arXiv.1308.3432).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pimc.runtime.ops.layers.linear import conv, minus_zero
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


class _Codes(torch.autograd.Function):
    """Rounded and clipped; the gradient is that of the clipping alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, low: Tensor, high: Tensor) -> Tensor:
        codes = torch.round(x)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward((codes >= low) & (codes <= high))
        return torch.clamp(codes, low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None


def _codes(steps: Tensor, zero: Tensor, kind: torch.dtype) -> Tensor:
    """Codes of type ``kind`` for numbers in steps, ``zero`` the code of zero.

    Where a gradient is wanted they stay floating point: integers carry none.
    """
    limits, zero = torch.iinfo(kind), zero.to(steps.dtype)
    # torch gives Function.apply no types.
    codes: Tensor = _Codes.apply(  # type: ignore[no-untyped-call]
        steps, limits.min - zero, limits.max - zero
    )
    codes = codes + zero
    return codes if codes.requires_grad else codes.to(torch.int32).to(kind)


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
    none = torch.zeros((), device=x.device)
    zero = none if zero_point is None else _spread(zero_point, x, axis, block_size)
    return _codes(x / _spread(scale, x, axis, block_size), zero, kind)


@op("DynamicQuantizeLinear", since=11)
def dynamic_quantize_linear(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Codes from 0 to 255 for the range of ``x`` and zero, their scale and the code of zero."""
    if not x.requires_grad:
        raise NotNative("ONNX's own definition says it all")
    low, high = x.detach().amin().clamp(max=0), x.detach().amax().clamp(min=0)
    scale = torch.where(high > low, (high - low) / 255, 1.0)
    zero = torch.clamp(torch.round(-low / scale), 0, 255).to(torch.uint8)
    return _codes(x / scale, zero, torch.uint8), scale, zero


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

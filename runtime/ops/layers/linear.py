"""Matrix products and convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pimc.runtime.ops.parts import by_samples
from pimc.runtime.ops.registry import NotNative, op

_CONV: dict[int, Callable[..., Tensor]] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}
_CONV_TRANSPOSE: dict[int, Callable[..., Tensor]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
#: Inputs that a convolution takes at a time: it makes copies of them.
_AT_ONCE = 4_000_000


@op("MatMul")
def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Numpy's matrix product."""
    return torch.matmul(a, b)


@op("Gemm", since=7)
def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803
    transB: int = 0,  # noqa: N803
) -> Tensor:
    """``alpha A B + beta C``."""
    left = a.mT if transA else a
    right = b.mT if transB else b
    if not a.is_floating_point():
        product = (left @ right) * int(alpha)
        return product if c is None else product + c * int(beta)
    if c is None:
        product = left @ right
        return product if alpha == 1.0 else product * alpha
    return torch.addmm(c, left, right, beta=beta, alpha=alpha)


@op("Einsum", since=12)
def einsum(*values: Tensor, equation: str) -> Tensor:
    """Einstein summation."""
    return torch.einsum(equation.replace(" ", ""), *values)


@op("Det", since=11)
def det(x: Tensor) -> Tensor:
    """Determinants of square matrices [..., n, n]."""
    y: Tensor = torch.linalg.det(x)
    return y


def same_pads(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    *,
    upper: bool,
) -> tuple[list[int], list[int]]:
    """Pads before and after every axis so that the output has ceil(size / stride) steps."""
    begins, ends = [], []
    for n, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        small, large = total // 2, total - total // 2
        begins.append(small if upper else large)
        ends.append(large if upper else small)
    return begins, ends


def window_pads(
    auto_pad: str,
    pads: Sequence[int] | None,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> tuple[list[int], list[int]]:
    """Pads before and after every spatial axis, from ``auto_pad`` or ``pads``."""
    rank = len(sizes)
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        upper = auto_pad == "SAME_UPPER"
        return same_pads(sizes, kernel, strides, dilations, upper=upper)
    if auto_pad == "VALID" or not pads:
        return [0] * rank, [0] * rank
    return list(pads[:rank]), list(pads[rank:])


def pad_ends(x: Tensor, begins: Sequence[int], ends: Sequence[int], value: float = 0.0) -> Tensor:
    """``x`` [N, C, spatial...] grown along its spatial axes."""
    flat = [n for pair in zip(reversed(begins), reversed(ends), strict=True) for n in pair]
    return functional.pad(x, flat, value=value) if any(flat) else x


@op("Conv")
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """Convolution of [N, C, spatial...] with weights [M, C / group, kernel...]."""
    rank = x.ndim - 2
    if rank not in _CONV:
        raise NotNative(f"convolution over {rank} axes")
    steps = list(strides or [1] * rank)
    spread = list(dilations or [1] * rank)
    begins, ends = window_pads(auto_pad, pads, x.shape[2:], weight.shape[2:], steps, spread)

    def some(x: Tensor) -> Tensor:
        if begins == ends:
            return _CONV[rank](x, weight, bias, steps, begins, spread, group)
        padded = pad_ends(x, begins, ends)
        return _CONV[rank](padded, weight, bias, steps, [0] * rank, spread, group)

    # Gradients need all padded and reordered copies anyhow.
    step = len(x) if torch.is_grad_enabled() else max(1, _AT_ONCE // max(1, x[:1].numel()))
    return by_samples(some, x, step)


@op("ConvTranspose")
def conv_transpose(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """Transposed convolution with weights [C, M / group, kernel...]."""
    rank = x.ndim - 2
    if rank not in _CONV_TRANSPOSE:
        raise NotNative(f"transposed convolution over {rank} axes")
    steps = list(strides or [1] * rank)
    spread = list(dilations or [1] * rank)
    extra = list(output_padding or [0] * rank)
    full = _CONV_TRANSPOSE[rank](
        x, weight, None, stride=steps, padding=0, groups=group, dilation=spread
    )
    natural = [n + e for n, e in zip(full.shape[2:], extra, strict=True)]
    if output_shape or auto_pad.startswith("SAME"):
        sizes = list(output_shape or [n * s for n, s in zip(x.shape[2:], steps, strict=True)])
        total = [max(n - m, 0) for n, m in zip(natural, sizes[-rank:], strict=True)]
        small = [t // 2 for t in total]
        large = [t - t // 2 for t in total]
        begins = small if auto_pad == "SAME_UPPER" else large
        ends = [n - b - m for n, b, m in zip(natural, begins, sizes[-rank:], strict=True)]
    else:
        begins, ends = window_pads(auto_pad, pads, x.shape[2:], weight.shape[2:], steps, spread)
    # cropping is padding by negative amounts; output_padding adds positions that see no input
    y = pad_ends(full, [-b for b in begins], [o - e for o, e in zip(extra, ends, strict=True)])
    return y if bias is None else y + bias.reshape([-1] + [1] * rank)


def minus_zero(x: Tensor, zero_point: Tensor | None, axis: int) -> Tensor:
    """Integers as float64 (exact: sums stay below 2^53), less their zero point along ``axis``."""
    if zero_point is None:
        return x.double()
    zero = zero_point.double()
    if zero.ndim == 1 and zero.numel() > 1 and x.ndim > 1:
        sizes = [1] * x.ndim
        sizes[axis] = -1
        zero = zero.reshape(sizes)
    return x.double() - zero


@op("MatMulInteger", since=10, gradient=False)
def matmul_integer(
    a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None
) -> Tensor:
    """Product of 8-bit matrices in 32-bit integers."""
    return torch.matmul(minus_zero(a, a_zero, -2), minus_zero(b, b_zero, -1)).to(torch.int32)


@op("ConvInteger", since=10, gradient=False)
def conv_integer(
    x: Tensor,
    weight: Tensor,
    x_zero: Tensor | None = None,
    w_zero: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Convolution of 8-bit tensors in 32-bit integers."""
    y = conv(minus_zero(x, x_zero, 0), minus_zero(weight, w_zero, 0), **options)
    return y.to(torch.int32)

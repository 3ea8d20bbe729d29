"""Normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from pimc.runtime.ops.registry import NotNative, OpContext, op


def _channels(values: Tensor, like: Tensor) -> Tensor:
    """[C] shaped to broadcast over [N, C, ...]."""
    return values.reshape([-1] + [1] * (like.ndim - 2))


@op("BatchNormalization", since=14)
def batch_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """Per-channel normalisation by given, or in training mode by measured, statistics."""
    if not training_mode:
        return _batch_norm(x, scale, bias, mean, var, epsilon)
    axes = [a for a in range(x.ndim) if a != 1]
    now, spread = x.mean(axes), x.var(axes, correction=0)
    y = _batch_norm(x, scale, bias, now, spread, epsilon)
    return y, mean * momentum + now * (1 - momentum), var * momentum + spread * (1 - momentum)


@op("BatchNormalization", since=7)
def batch_norm_7(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
) -> Tensor:
    """Inference only, before opset 14."""
    return _batch_norm(x, scale, bias, mean, var, epsilon)


def _batch_norm(
    x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor, epsilon: float
) -> Tensor:
    if x.ndim < 2:
        raise NotNative("no channel axis")
    if {scale.dtype, mean.dtype} == {x.dtype}:
        return functional.batch_norm(x, mean, var, scale, bias, training=False, eps=epsilon)
    gain = scale / torch.sqrt(var + epsilon)
    return ((x - _channels(mean, x)) * _channels(gain, x) + _channels(bias, x)).to(x.dtype)


@op("InstanceNormalization", since=6)
def instance_norm(x: Tensor, scale: Tensor, bias: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """Normalised over the spatial axes of every sample and channel."""
    # torch.nn.functional refuses single elements: it takes them for a mistake of training
    return torch.group_norm(x, x.shape[1], scale, bias, epsilon)


@op("LayerNormalization", since=17)
def layer_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    ctx: OpContext,
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """Normalised over the axes from ``axis`` on; also mean and inverse deviation."""
    axis = axis % x.ndim
    plain = x.dtype == scale.dtype and scale.shape == x.shape[axis:]
    if not any(ctx.outputs[1:]) and plain and (bias is None or bias.shape == scale.shape):
        return functional.layer_norm(x, x.shape[axis:], scale, bias, epsilon)
    axes = list(range(axis, x.ndim))
    wide = x.to(_stash(x, stash_type, ctx))
    mean = wide.mean(axes, keepdim=True)
    inverse = torch.rsqrt(wide.var(axes, keepdim=True, correction=0) + epsilon)
    y = ((wide - mean) * inverse).to(x.dtype) * scale
    return (y if bias is None else y + bias), mean, inverse


def _stash(x: Tensor, stash_type: int, ctx: OpContext) -> torch.dtype:
    """The type that moments are computed in: never narrower than the input."""
    return torch.promote_types(x.dtype, ctx.torch_dtype(stash_type))


@op("RMSNormalization", since=23)
def rms_norm(
    x: Tensor,
    scale: Tensor,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    ctx: OpContext,
) -> Tensor:
    """Divided by the root mean square over the axes from ``axis`` on."""
    axes = list(range(axis % x.ndim, x.ndim))
    wide = x.to(_stash(x, stash_type, ctx))
    inverse = torch.rsqrt(wide.square().mean(axes, keepdim=True) + epsilon)
    return ((wide * inverse).to(x.dtype) * scale).to(scale.dtype)


@op("GroupNormalization", since=21)
def group_norm(
    x: Tensor,
    scale: Tensor,
    bias: Tensor,
    *,
    num_groups: int,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Tensor:
    """Normalised over groups of channels, scaled per channel."""
    return torch.group_norm(x, num_groups, scale, bias, epsilon)


@op("LRN")
def lrn(
    x: Tensor, *, size: int, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0
) -> Tensor:
    """Divided by a power of the mean square over neighbouring channels."""
    before = (size - 1) // 2
    grown = functional.pad(
        x.square().flatten(2) if x.ndim > 2 else x.square()[..., None],
        (0, 0, before, size - 1 - before),
    )
    around = grown.unfold(1, size, 1).sum(-1).reshape(x.shape)
    return x / (bias + alpha / size * around) ** beta


@op("LpNormalization")
def lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Tensor:
    """Divided by the p-norm along ``axis``; where that is 0 the values stay 0."""
    length = torch.linalg.vector_norm(x, ord=p, dim=axis, keepdim=True)
    return x / torch.where(length == 0, torch.ones_like(length), length)


@op("MeanVarianceNormalization", since=9)
def mean_variance_normalization(x: Tensor, *, axes: Sequence[int] = (0, 2, 3)) -> Tensor:
    """Zero mean and unit variance over ``axes``; the constant is that of ONNX."""
    mean = x.mean(list(axes), keepdim=True)
    variance = (x * x).mean(list(axes), keepdim=True) - mean * mean
    return (x - mean) / (torch.sqrt(variance) + 1e-9)


@op("Dropout", since=12, host=(1, 2))
def dropout(
    x: Tensor,
    ratio: Tensor | None = None,
    training: Tensor | None = None,
    *,
    seed: int | None = None,
    ctx: OpContext,
) -> Tensor | tuple[Tensor, Tensor]:
    """Nothing in inference; in training mode ONNX Runtime draws the mask."""
    if training is not None and bool(training.item()) and (ratio is None or ratio.item() != 0):
        raise NotNative("training")
    return (x, torch.ones_like(x, dtype=torch.bool)) if len(ctx.outputs) > 1 else x


@op("Dropout", since=7)
def dropout_7(x: Tensor, *, ratio: float = 0.5, ctx: OpContext) -> Tensor | tuple[Tensor, Tensor]:
    """Nothing, before opset 12."""
    return (x, torch.ones_like(x, dtype=torch.bool)) if len(ctx.outputs) > 1 else x

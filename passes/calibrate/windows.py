"""Convolutions and pooling of a network's digital side, in NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from pimc.passes.calibrate.vectors import convolve, padded, shifted, size_of
from pimc.plan.records import Window

__all__ = ["average_pool", "conv", "global_average_pool", "global_max_pool", "max_pool"]

Values = npt.NDArray[Any]
AutoPad = Literal["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]


def _window(
    kernel: Sequence[int],
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
    pads: Sequence[int] | None,
    auto_pad: str,
) -> Window:
    ones, zeros = (1,) * len(kernel), (0,) * (2 * len(kernel))
    return Window(
        kernel=tuple(kernel),
        strides=tuple(strides or ones),
        dilations=tuple(dilations or ones),
        pads=tuple(pads or zeros) if auto_pad == "NOTSET" else zeros,
        auto_pad=cast(AutoPad, auto_pad),
    )


def conv(
    x: Values,
    weight: Values,
    bias: Values | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Values:
    """A convolution over one to three spatial axes."""
    window = _window(weight.shape[2:], strides, dilations, pads, auto_pad)
    return convolve(x, weight, bias, window, group)


def max_pool(
    x: Values,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Values:
    """Largest value of every window."""
    window = _window(kernel_shape, strides, dilations, pads, auto_pad)
    size = size_of(x, window)
    y = np.full((*x.shape[:2], *size), -np.inf, x.dtype)
    for _, values in shifted(padded(x, window, -np.inf), window, size):
        np.maximum(y, values, out=y)
    return y


def average_pool(
    x: Values,
    *,
    kernel_shape: Sequence[int],
    auto_pad: str = "NOTSET",
    count_include_pad: int = 0,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Values:
    """Mean of every window, over its real elements or (count_include_pad) also its pads."""
    window = _window(kernel_shape, strides, dilations, pads, auto_pad)
    size = size_of(x, window)
    ones = np.ones((1, 1, *x.shape[2:]), x.dtype)
    counted = padded(ones, window, 1.0 if count_include_pad else 0.0)
    y = np.zeros((*x.shape[:2], *size), x.dtype)
    counts = np.zeros((1, 1, *size), x.dtype)
    for _, values in shifted(padded(x, window), window, size):
        y += values
    for _, values in shifted(counted, window, size):
        counts += values
    y /= counts
    return y


def global_average_pool(x: Values) -> Values:
    """Mean over all spatial axes."""
    return np.asarray(x.mean(axis=tuple(range(2, x.ndim)), keepdims=True))


def global_max_pool(x: Values) -> Values:
    """Largest value over all spatial axes."""
    return np.asarray(x.max(axis=tuple(range(2, x.ndim)), keepdims=True))

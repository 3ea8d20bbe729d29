"""Fourier transforms and the inverse of cutting windows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pimc.runtime.ops.registry import op
from pimc.runtime.ops.tensors.shape import ints


def _complex(x: Tensor) -> Tensor:
    """[..., 1] or [..., 2] (real and imaginary part) as complex [...]."""
    if x.shape[-1] == 1:
        return torch.complex(x[..., 0], torch.zeros_like(x[..., 0]))
    return torch.complex(x[..., 0], x[..., 1])


def _dft(x: Tensor, length: Tensor | None, axis: int, inverse: int, onesided: int) -> Tensor:
    axis = axis % x.ndim
    values = _complex(x)
    n = None if length is None else int(length.item())
    if inverse and onesided:
        real: Tensor = torch.fft.irfft(values, n=n, dim=axis)
        return real[..., None]
    transform = torch.fft.ifft if inverse else torch.fft.fft
    y = transform(values, n=n, dim=axis)
    if onesided:
        y = y.narrow(axis, 0, y.shape[axis] // 2 + 1)
    return torch.view_as_real(y)


@op("DFT", since=20, host=(1, 2))
def dft(
    x: Tensor,
    length: Tensor | None = None,
    axis: Tensor | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> Tensor:
    """Discrete Fourier transform of [..., 1 or 2] along an axis."""
    return _dft(x, length, -2 if axis is None else int(axis.item()), inverse, onesided)


@op("DFT", since=17, host=(1,))
def dft_17(
    x: Tensor,
    length: Tensor | None = None,
    *,
    axis: int = 1,
    inverse: int = 0,
    onesided: int = 0,
) -> Tensor:
    """Axis as an attribute, before opset 20."""
    return _dft(x, length, axis, inverse, onesided)


@op("STFT", since=17, host=(1, 3))
def stft(
    signal: Tensor,
    step: Tensor,
    window: Tensor | None = None,
    length: Tensor | None = None,
    *,
    onesided: int = 1,
) -> Tensor:
    """Fourier transforms [B, frames, bins, 2] of overlapping frames of [B, L, 1 or 2]."""
    if length is not None:
        n = int(length.item())
    elif window is not None:
        n = window.shape[0]
    else:
        n = signal.shape[1]
    frames = _complex(signal).unfold(1, n, int(step.item()))
    if window is not None:
        frames = frames * window
    y = torch.fft.fft(frames, dim=-1)
    return torch.view_as_real(y[..., : n // 2 + 1] if onesided else y)


@op("Col2Im", since=18, host=(1, 2))
def col2im(
    x: Tensor,
    image_shape: Tensor,
    block_shape: Tensor,
    *,
    dilations: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """Overlapping blocks [N, C · block, L] summed into images [N, C, image...]."""
    image, block = ints(image_shape), ints(block_shape)
    rank = len(image)
    spread, steps = dilations or [1] * rank, strides or [1] * rank
    margins = pads or [0] * (2 * rank)
    padded = [n + margins[i] + margins[rank + i] for i, n in enumerate(image)]
    # flat place in the padded image of every (block element, block): one axis after the other
    place = torch.zeros((1, 1), dtype=torch.int64)
    for i in range(rank):
        n_blocks = (padded[i] - (block[i] - 1) * spread[i] - 1) // steps[i] + 1
        inside = torch.arange(block[i])[:, None] * spread[i]
        along = inside + torch.arange(n_blocks)[None, :] * steps[i]
        combined = place[:, None, :, None] * padded[i] + along[None, :, None, :]
        place = combined.reshape(place.shape[0] * block[i], -1)
    channels = x.shape[1] // math.prod(block)
    values = x.reshape(x.shape[0], channels, -1)
    index = place.reshape(1, 1, -1).to(x.device).expand(values.shape)
    image_flat = values.new_zeros(x.shape[0], channels, math.prod(padded))
    y = image_flat.scatter_add(2, index, values).reshape(x.shape[0], channels, *padded)
    for i, n in enumerate(image):
        y = y.narrow(2 + i, margins[i], n)
    return y

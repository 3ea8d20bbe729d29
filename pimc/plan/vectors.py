"""Input vectors of a layer: cut out of its input, and its outputs put back in place.

The canonical form is (batch, groups · rows, positions): what every wordline sees, one
column a position. torch is imported when first used, so that reading an image does not
need it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pimc.plan.records import Window

if TYPE_CHECKING:
    import torch


def takes(window: Window | None, size: int, shape: tuple[int, ...]) -> bool:
    """Whether a layer of ``size`` rows in all groups together takes an input of ``shape``."""
    if window is None:
        return shape[-1:] == (size,)
    channels = size // math.prod(window.kernel)
    if len(shape) != 2 + len(window.kernel) or shape[1] != channels:
        return False
    return all(length > 0 for length in output_size(shape[2:], window))


def unfold(x: torch.Tensor, window: Window | None) -> torch.Tensor:
    """Input vectors of ``x``: (batch, groups · rows, positions).

    A convolution's input is (batch, channels, *spatial) with one to three spatial
    dimensions; a matrix product's is (batch, ..., rows), and the vectors of a sample become
    positions.
    """
    import torch.nn.functional as F

    if window is None:
        batch = x.shape[0] if x.ndim > 1 else 1
        return x.reshape(batch, math.prod(x.shape[1:-1]), x.shape[-1]).transpose(1, 2)
    x = pad(x, window)
    if len(window.kernel) == 3:
        return _unfold_volumes(x, window)
    if len(window.kernel) == 1:
        x = x.unsqueeze(2)
    kernel, strides, dilations = (
        (1, *value) if len(value) == 1 else value
        for value in (window.kernel, window.strides, window.dilations)
    )
    return F.unfold(x, kernel, dilation=dilations, stride=strides)


def _unfold_volumes(x: torch.Tensor, window: Window) -> torch.Tensor:
    """:func:`unfold` of (batch, channels, depth, height, width), padded."""
    for dim, (kernel, stride, dilation) in enumerate(
        zip(window.kernel, window.strides, window.dilations, strict=True), start=2
    ):
        # Windows of the dilated kernel, of which every so many elements count.
        x = x.unfold(dim, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
    # (batch, channels, *positions, *kernel)
    return x.permute(0, 1, 5, 6, 7, 2, 3, 4).flatten(5).flatten(1, 4)


def refold(y: torch.Tensor, x: torch.Tensor, window: Window | None) -> torch.Tensor:
    """Outputs (batch, columns, positions) in the shape the layer's output has for ``x``."""
    if window is None:
        return y.transpose(1, 2).reshape(*x.shape[:-1], y.shape[1])
    return y.reshape(x.shape[0], y.shape[1], *output_size(tuple(x.shape[2:]), window))


def pad(x: torch.Tensor, window: Window) -> torch.Tensor:
    """``x`` with the window's zero padding applied."""
    import torch.nn.functional as F

    dims = len(window.kernel)
    pads = window.resolved_pads(tuple(x.shape[2:]))
    if not any(pads):
        return x
    # torch counts dimensions from the last.
    order = [pads[d + side * dims] for d in reversed(range(dims)) for side in (0, 1)]
    return F.pad(x, order)


def convolve(
    x: torch.Tensor,
    kernel: torch.Tensor,
    bias: torch.Tensor | None,
    window: Window,
    groups: int,
) -> torch.Tensor:
    """The convolution that ``window`` describes, with ``kernel`` (out, in a group, *kernel)."""
    import torch.nn.functional as F

    dims = len(window.kernel)
    pads = window.resolved_pads(tuple(x.shape[2:]))
    if pads[:dims] == pads[dims:]:
        # torch pads both sides alike without a copy.
        padding = pads[:dims]
    else:
        x, padding = pad(x, window), (0,) * dims
    function = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
    return function(x, kernel, bias, window.strides, padding, window.dilations, groups)


def output_size(size: tuple[int, ...], window: Window) -> tuple[int, ...]:
    """Spatial size of a convolution's output."""
    dims = len(size)
    pads = window.resolved_pads(size)
    return tuple(
        (size[d] + pads[d] + pads[dims + d] - window.dilations[d] * (window.kernel[d] - 1) - 1)
        // window.strides[d]
        + 1
        for d in range(dims)
    )


def sample(
    x: torch.Tensor, window: Window | None, count: int, generator: torch.Generator
) -> torch.Tensor:
    """About ``count`` input vectors of ``x`` at random positions: (count, groups · rows).

    Cuts out only the positions it returns, which is far cheaper than :func:`unfold` where
    there are many.
    """
    import torch

    if window is None:
        flat = x.reshape(-1, x.shape[-1])
        chosen = torch.randperm(len(flat), generator=generator)[:count]
        return flat[chosen.sort().values]
    spatial = output_size(tuple(x.shape[2:]), window)
    positions = x.shape[0]
    for length in spatial:
        positions *= length
    chosen = torch.randperm(positions, generator=generator)[:count].sort().values
    padded = pad(x, window)
    index: list[torch.Tensor] = []
    for d in reversed(range(len(spatial))):
        start = (chosen % spatial[d]) * window.strides[d]
        taps = torch.arange(window.kernel[d]) * window.dilations[d]
        index.insert(0, start[:, None] + taps)
        chosen = chosen // spatial[d]
    axes = len(index) + 2  # sample, channel, and the elements of the kernel
    channels = torch.arange(x.shape[1]).view(1, -1, *(1,) * (axes - 2))
    places = [
        part.view(len(chosen), 1, *(-1 if d == e else 1 for e in range(len(index))))
        for d, part in enumerate(index)
    ]
    images = chosen.view(-1, *(1,) * (axes - 1))
    return padded[images, channels, *places].reshape(len(chosen), -1)

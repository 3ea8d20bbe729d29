"""Convolutions and samples of input vectors, in NumPy.

What :mod:`pimc.plan.vectors` does with tensors, for the float64 arrays of the compiler.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.errors import ModelError
from pimc.plan.kernels import matrix_of_kernels
from pimc.plan.records import Window
from pimc.plan.vectors import output_size

__all__ = ["convolve", "padded", "sample", "shifted", "size_of"]

Floats = npt.NDArray[Any]

#: Values of cut-out windows that are multiplied at once, so that they stay in a processor's caches.
_AT_ONCE = 1 << 18
#: Words of 32 bits that torch's generator draws for a permutation, one a place.
_WORD = 32


def padded(x: Floats, window: Window, value: float = 0.0) -> Floats:
    """``x`` (batch, channels, *spatial) with the window's padding, filled with ``value``."""
    dims = len(window.kernel)
    pads = window.resolved_pads(tuple(x.shape[2:]))
    if not any(pads):
        return x
    both = [(pads[d], pads[d + dims]) for d in range(dims)]
    return np.pad(x, [(0, 0), (0, 0), *both], constant_values=value)


def shifted(
    x: Floats, window: Window, size: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], Floats]]:
    """Each place of the kernel, and what lies under it: views (batch, channels, *size).

    Args:
        x: padded.
        size: spatial size of the output.
    """
    for tap in np.ndindex(*window.kernel):
        cut = [
            slice(k * dilation, k * dilation + (length - 1) * stride + 1, stride)
            for k, dilation, stride, length in zip(
                tap, window.dilations, window.strides, size, strict=True
            )
        ]
        yield tap, x[(slice(None), slice(None), *cut)]


def size_of(x: Floats, window: Window) -> tuple[int, ...]:
    """How many places a window has along each spatial axis of ``x``.

    Raises:
        ModelError: it fits nowhere.
    """
    size = output_size(tuple(x.shape[2:]), window)
    if min(size) < 1:
        raise ModelError(
            f"a window of {list(window.kernel)} is larger than its inputs, {list(x.shape)}",
            hint="give larger inputs",
        )
    return size


def convolve(x: Floats, kernel: Floats, bias: Floats | None, window: Window, groups: int) -> Floats:
    """The convolution that ``window`` describes.

    Args:
        x: (batch, channels, *spatial).
        kernel: (out, channels in a group, *kernel), of the type of ``x``.
    """
    size, batch = size_of(x, window), len(x)
    channels, outputs, positions = x.shape[1] // groups, len(kernel), math.prod(size)
    y = np.empty((batch, groups, outputs // groups, positions), x.dtype)
    matrix = np.ascontiguousarray(np.swapaxes(matrix_of_kernels(kernel, groups), 1, 2))
    some = max(1, min(batch, _AT_ONCE // max(1, matrix.shape[2] * groups * positions)))
    taps = math.prod(window.kernel)
    cut = np.empty((some, groups * channels, *window.kernel, *size), x.dtype)
    for start in range(0, batch, some):
        count = min(some, batch - start)
        for tap, values in shifted(padded(x[start : start + count], window), window, size):
            place: tuple[Any, ...] = (slice(count), slice(None), *tap)
            cut[place] = values
        windows = cut[:count].reshape(count, groups, channels * taps, positions)
        np.matmul(matrix, windows, out=y[start : start + count])
    y = y.reshape(batch, outputs, *size)
    if bias is not None:
        y += bias.reshape(-1, *(1,) * len(size))
    return y


def sample(x: Floats, window: Window | None, count: int, seed: int) -> Floats:
    """About ``count`` input vectors of ``x`` at drawn positions: (count, groups · rows).

    The positions are those that :func:`pimc.plan.vectors.sample` takes with torch's generator of
    the same seed.
    """
    if window is None:
        flat = x.reshape(-1, x.shape[-1])
        return flat[_drawn(len(flat), count, seed)]
    size = output_size(tuple(x.shape[2:]), window)
    chosen = _drawn(len(x) * math.prod(size), count, seed)
    image, *place = np.unravel_index(chosen, (len(x), *size))
    grown = padded(x, window)
    dims = len(size)
    index = [
        (place[d] * window.strides[d])[:, None] + np.arange(window.kernel[d]) * window.dilations[d]
        for d in range(dims)
    ]
    places = [
        part.reshape(len(chosen), 1, *(-1 if d == e else 1 for e in range(dims)))
        for d, part in enumerate(index)
    ]
    ones = (1,) * dims
    channels = np.arange(x.shape[1]).reshape(1, -1, *ones)
    vectors: Floats = grown[(image.reshape(-1, 1, *ones), channels, *places)]
    return vectors.reshape(len(chosen), -1)


def _drawn(places: int, count: int, seed: int) -> npt.NDArray[np.int64]:
    """The first ``count`` of a permutation of ``places`` numbers, sorted.

    The permutation is torch's of the same seed: Fisher and Yates's on words of MT19937
    (M. Matsumoto, T. Nishimura 1998, 10.1145/272991.272995). Only its head is worked out.
    """
    words = np.random.RandomState(seed).randint(
        0, 1 << _WORD, size=max(0, min(count, places - 1)), dtype=np.uint32
    )
    moved: dict[int, int] = {}
    head = []
    for number, word in enumerate(words.tolist()):
        other = number + word % (places - number)
        head.append(moved.get(other, other))
        moved[other] = moved.get(number, number)
    if places and count >= places:
        head.append(moved.get(places - 1, places - 1))
    return np.sort(np.array(head, np.int64))

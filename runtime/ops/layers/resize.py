"""Resampling of images: every axis by a matrix [output, input] of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pimc.runtime.ops.registry import NotNative, op
from pimc.runtime.ops.tensors.shape import ints

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Axis:
    """One axis to resample: sizes, the scale between them and the region to read."""

    n_in: int
    n_out: int
    scale: float
    start: float = 0.0
    end: float = 1.0

    @property
    def length(self) -> float:
        """Output size before rounding."""
        return self.scale * self.n_in


def _align_corners(a: Axis, y: Array) -> Array:
    return y * 0.0 if a.length == 1 else y * (a.n_in - 1) / (a.length - 1)


def _asymmetric(a: Axis, y: Array) -> Array:
    return y / a.scale


def _half_pixel(a: Axis, y: Array) -> Array:
    return (y + 0.5) / a.scale - 0.5


def _half_pixel_symmetric(a: Axis, y: Array) -> Array:
    return a.n_in / 2 * (1 - a.n_out / a.length) + _half_pixel(a, y)


def _pytorch_half_pixel(a: Axis, y: Array) -> Array:
    return y * 0.0 - 0.5 if a.length == 1 else _half_pixel(a, y)


def _crop_and_resize(a: Axis, y: Array) -> Array:
    span = (a.end - a.start) * (a.n_in - 1)
    inside = y * 0.0 + span / 2 if a.length == 1 else y * span / (a.length - 1)
    return inside + a.start * (a.n_in - 1)


_COORDINATES: dict[str, Callable[[Axis, Array], Array]] = {
    "align_corners": _align_corners,
    "asymmetric": _asymmetric,
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "tf_crop_and_resize": _crop_and_resize,
}
_ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _triangle(distance: Array) -> Array:
    return np.clip(1.0 - np.abs(distance), 0.0, 1.0)


def _cubic(distance: Array, a: float) -> Array:
    """Keys' cubic convolution kernel (10.1109/TASSP.1981.1163711)."""
    d = np.abs(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = a * (((d - 5) * d + 8) * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _weights(
    axis: Axis,
    x: Array,
    kernel: Callable[[Array], Array],
    radius: int,
    *,
    antialias: bool,
    exclude_outside: bool,
) -> Array:
    """Matrix [output, input] of a kernel around the source coordinates ``x``."""
    squeeze = min(axis.scale, 1.0) if antialias else 1.0
    reach = math.ceil(radius / squeeze)
    taps = np.floor(x)[:, None] + np.arange(-reach + 1, reach + 1)[None, :]
    weight = kernel((taps - x[:, None]) * squeeze)
    if exclude_outside:
        weight = np.where((taps < 0) | (taps > axis.n_in - 1), 0.0, weight)
    if exclude_outside or antialias:
        total = weight.sum(axis=1, keepdims=True)
        weight = weight / np.where(total == 0, 1.0, total)
    matrix = np.zeros((len(x), axis.n_in))
    places = np.clip(taps, 0, axis.n_in - 1).astype(np.int64)
    np.add.at(matrix, (np.arange(len(x))[:, None], places), weight)
    return matrix


@op("Resize", since=11, host=(1, 2, 3))
def resize(
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Tensor:
    """Nearest, linear or cubic resampling to ``sizes`` or by ``scales``."""
    if coordinate_transformation_mode not in _COORDINATES:
        raise NotNative(coordinate_transformation_mode)
    if mode != "nearest" and not x.is_floating_point():
        raise NotNative("interpolation of integers")
    chosen = [a % x.ndim for a in axes] if axes is not None else list(range(x.ndim))
    plan = _axes(x, chosen, roi, scales, sizes, keep_aspect_ratio_policy)
    crops = coordinate_transformation_mode == "tf_crop_and_resize"
    for place, axis in plan.items():
        whole = not crops or (axis.start, axis.end) == (0.0, 1.0)
        if whole and axis.n_in == axis.n_out and math.isclose(axis.scale, 1.0):
            continue
        source = _COORDINATES[coordinate_transformation_mode](
            axis, np.arange(axis.n_out, dtype=np.float64)
        )
        if mode == "nearest":
            picked = np.clip(_ROUNDINGS[nearest_mode](source), 0, axis.n_in - 1)
            y = x.index_select(place, torch.from_numpy(picked.astype(np.int64)).to(x.device))
        else:
            kernel = _triangle if mode == "linear" else lambda d: _cubic(d, cubic_coeff_a)
            matrix = _weights(
                axis,
                source,
                kernel,
                1 if mode == "linear" else 2,
                antialias=bool(antialias),
                exclude_outside=bool(exclude_outside),
            )
            weight = torch.from_numpy(matrix).to(x)
            y = torch.tensordot(x, weight, dims=([place], [1])).movedim(-1, place)
        if crops:
            beyond = torch.from_numpy((source < 0) | (source > axis.n_in - 1)).to(x.device)
            mask = beyond.reshape([-1] + [1] * (x.ndim - place - 1))
            y = torch.where(mask, torch.full_like(y, extrapolation_value), y)
        x = y
    return x


def _axes(
    x: Tensor,
    chosen: Sequence[int],
    roi: Tensor | None,
    scales: Tensor | None,
    sizes: Tensor | None,
    policy: str,
) -> dict[int, Axis]:
    old = [x.shape[a] for a in chosen]
    if sizes is not None and sizes.numel():
        new = ints(sizes)
        factors = [m / n for m, n in zip(new, old, strict=True)]
        if policy != "stretch":
            shared = min(factors) if policy == "not_larger" else max(factors)
            factors = [shared] * len(old)
            new = [int(shared * n + 0.5) for n in old]
    elif scales is not None:
        factors = [float(f) for f in scales.tolist()]
        # In single precision, as ONNX Runtime does: in double, ten times 0.7 would fall short of 7.
        new = [int(np.float32(f) * np.float32(n)) for f, n in zip(factors, old, strict=True)]
    else:
        raise ValueError("neither sizes nor scales are given")
    limits = roi.tolist() if roi is not None and roi.numel() else []
    starts = limits[: len(old)] or [0.0] * len(old)
    ends = limits[len(old) :] or [1.0] * len(old)
    return {
        a: Axis(n, m, f, s, e)
        for a, n, m, f, s, e in zip(chosen, old, new, factors, starts, ends, strict=True)
    }


_SAMPLING = {"linear": "bilinear", "bilinear": "bilinear", "nearest": "nearest"}
_SAMPLING |= {"cubic": "bicubic", "bicubic": "bicubic"}


@op("GridSample", since=16)
def grid_sample(
    x: Tensor,
    grid: Tensor,
    *,
    align_corners: int = 0,
    mode: str = "linear",
    padding_mode: str = "zeros",
) -> Tensor:
    """Values at the coordinates [-1, 1] of a grid [N, spatial..., axes]."""
    if x.ndim not in (4, 5) or (x.ndim == 5 and _SAMPLING[mode] == "bicubic"):
        raise NotNative(f"{mode} sampling of {x.ndim} axes")
    return functional.grid_sample(
        x,
        grid.to(x.dtype),
        mode=_SAMPLING[mode],
        padding_mode=padding_mode,
        align_corners=bool(align_corners),
    )

"""Grid, codes and figures of a layer without calibration data, at the cost of reading it.

Every input counts alike then, so that a column's clipping can be judged by a part of its weights,
and all else is one pass over the weights in the order in which they lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.chip.codebook import Codebook
from pimc.chip.design import Chip
from pimc.files.weights.weight import Floats, Weight
from pimc.passes.quantize.ranges import (
    AdcRange,
    at_full_scale,
    safe_range,
    synthetic_codes,
    together_codes,
)
from pimc.passes.quantize.rounding import (
    CLIP,
    Array64,
    Codes,
    Grid,
    choose_grid,
    covering_scale,
    round_nearest,
    weights_of,
    zeros,
)
from pimc.plan.records import CodeMatrix, Layer

__all__ = ["NearestCodes", "coarse_grid", "coarse_range", "weight_error"]

#: Rows by which the clipping of a column is judged.
_ROWS = 128
#: Columns of those rows looked at together; more do not fit a processor's caches.
_COLUMNS = 1024

#: Groups and columns that the range of an ADC is chosen by where there are no data.
_GROUPS, _RANGE_COLUMNS = 16, 32
#: Input vectors drawn for it: fewer of long ones, within limits.
_DRAWN, _VALUES_DRAWN = (64, 256), 1 << 16


def coarse_grid(weight: Weight, book: Codebook, write_noise: float) -> Grid:
    """Scale and zero of every column, from evenly spread rows and the column's largest weights.

    The cost of a scale is that of :func:`pimc.passes.quantize.rounding.choose_grid`.

    Args:
        weight: (groups, rows, cols).
    """
    groups, rows, cols = weight.shape
    chosen = np.linspace(0, rows - 1, min(rows, _ROWS)).astype(int)
    if book.step_us is None:
        every = weight.take(np.arange(groups), chosen, np.arange(cols)).astype(np.float64)
        return choose_grid(every, np.ones(every.shape[:2]), book, write_noise)
    some, low, high = (
        values.reshape(-1, groups * cols) for values in _rows_and_ends(weight, chosen)
    )
    ends = np.concatenate([low, high])[None]
    parts = [
        _even_grid(
            some[:, k : k + _COLUMNS], ends[:, :, k : k + _COLUMNS].astype(float), book, write_noise
        )
        for k in range(0, groups * cols, _COLUMNS)
    ]
    scale, zero = (
        np.concatenate(values).reshape(groups, cols) for values in zip(*parts, strict=True)
    )
    return Grid(scale, zero)


def _rows_and_ends(weight: Weight, chosen: npt.NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """Some rows, (rows, groups, cols), and the extremes of every column, in one pass."""
    groups, rows, cols = weight.shape
    some = np.empty((len(chosen), groups, cols), np.float32)
    low, high = np.full((2, groups, cols), [[[np.inf]], [[-np.inf]]], np.float32)
    for (group, row, columns), values in weight.blocks():
        first, last, _ = row.indices(rows)
        inside = slice(*np.searchsorted(chosen, [first, last]))
        some[inside, group, columns] = values[:, chosen[inside] - first].transpose(1, 0, 2)
        for ends, extreme, reduced in (
            (low, np.minimum, values.min(axis=1)),
            (high, np.maximum, values.max(axis=1)),
        ):
            ends[group, columns] = extreme(ends[group, columns], reduced)
    return some, low, high


def _even_grid(
    weight: Floats, ends: Array64, book: Codebook, write_noise: float
) -> tuple[Array64, Codes]:
    """Scale and zero of columns (rows, columns) of which ``ends`` are the extremes.

    Errors are counted in steps between codes, in place: this is what compiling takes long for.
    """
    step, top = float(book.step_us or 1.0), len(book.values_us) - 1
    variance = (book.sigma_us / step).astype(np.float32) ** 2 * np.float32(write_noise)
    even = variance.max() == variance.min()
    best = np.full(weight.shape[1], np.inf)
    scale, zero = np.ones_like(best), np.full(best.shape, book.middle, np.uint16)
    target, code = np.empty_like(weight), np.empty_like(weight)
    for candidate in zeros(ends, book):
        full = covering_scale(ends, candidate, book)[0] * step
        offset = candidate[0].astype(np.float32)
        for part in CLIP:
            unit = full * part
            np.multiply(weight, (1.0 / unit).astype(np.float32), out=target)
            target += offset
            np.rint(target, out=code)
            np.clip(code, 0, top, out=code)
            target -= code
            cost = np.einsum("kn,kn->n", target, target).astype(np.float64)
            if write_noise:
                added = (
                    variance[0] * len(code) if even else variance[code.astype(np.intp)].sum(axis=0)
                )
                cost += added
            cost *= unit**2
            better = cost < best
            best = np.where(better, cost, best)
            scale = np.where(better, unit / step, scale)
            zero = np.where(better, candidate[0], zero)
    return scale, zero


def coarse_range(
    layer: Layer,
    grid: Grid,
    chip: Chip,
    book: Codebook,
    limits: tuple[int, int],
    rng: Callable[[Layer], np.random.Generator],
) -> AdcRange:
    """The ADC's range without data; where columns share one, some of them stand for all.

    Three kinds of inputs are reckoned with: independent ones, such as go together, and such as
    look like the weights of a column, which is what trained networks look for.

    Args:
        limits: least and largest DAC code that an input can take.
        rng: a generator for the layer, the same each time.
    """
    groups, columns = (
        np.unique(np.linspace(0, n - 1, min(n, most)).astype(int))
        for n, most in ((layer.groups, _GROUPS), (layer.cols, _RANGE_COLUMNS))
    )
    if chip.adc.range == "column":
        groups, columns = np.arange(layer.groups), np.arange(layer.cols)
    some = np.ix_(groups, columns)
    count = int(np.clip(_VALUES_DRAWN // layer.rows, *_DRAWN))
    chosen = Grid(grid.scale[some], grid.zero[some])
    held = _nearest(layer.weight.take(groups, np.arange(layer.rows), columns), chosen, book)
    window = 1 if layer.window is None else int(np.prod(layer.window.kernel))
    weights = weights_of(book, Grid(np.ones_like(chosen.scale), chosen.zero), held)
    kinds = (
        synthetic_codes(limits, layer.rows, len(groups), rng(layer), count),
        together_codes(limits, layer.rows, window, len(groups), rng(layer), count),
        at_full_scale(weights.transpose(0, 2, 1), limits),
    )
    return safe_range(chip, book, held, chosen, kinds, limits[0] < 0, rng(layer))


@dataclass(frozen=True, eq=False)
class NearestCodes:
    """Every weight's nearest code, worked out block by block when it is asked for."""

    weight: Weight
    grid: Grid
    book: Codebook

    @property
    def shape(self) -> tuple[int, int, int]:
        """Groups, rows, columns."""
        return self.weight.shape

    def __getitem__(self, block: Any) -> Codes:
        """Codes of a block of three slices, or an index and two slices."""
        return self.of(block, self.weight[block])

    def of(self, block: Any, values: Floats) -> Codes:
        """Codes of a block whose weights have been read already."""
        group, _, columns = block
        grid = Grid(self.grid.scale[group, columns], self.grid.zero[group, columns])
        return _nearest(values, grid, self.book)


def _nearest(weight: Floats, grid: Grid, book: Codebook) -> Codes:
    """Codes of weights (…, rows, cols), in float32 where the codes are evenly spaced."""
    step = book.step_us
    if step is None:
        return round_nearest(weight.astype(np.float64), grid, book)
    target = weight * (1.0 / (grid.scale * step)).astype(np.float32)[..., None, :]
    target += grid.zero.astype(np.float32)[..., None, :]
    np.rint(target, out=target)
    np.clip(target, 0, len(book.values_us) - 1, out=target)
    return target.astype(np.uint16)


def weight_error(weight: Weight, grid: Grid, codes: CodeMatrix, book: Codebook) -> float:
    """Σ(ŵ − w)² / Σw², rounded to float32: the last bits of a sum differ between machines."""
    error = power = 0.0
    for block, values in weight.blocks():
        group, _, columns = block
        part = Grid(grid.scale[group, columns], grid.zero[group, columns])
        some = codes.of(block, values) if isinstance(codes, NearestCodes) else codes[block]
        if book.step_us is None:
            held = weights_of(book, part, some).astype(np.float32)
        else:
            held = some - part.zero.astype(np.float32)[:, None, :]
            held *= (part.scale * book.step_us).astype(np.float32)[:, None, :]
        held -= values
        error += _squares(held)
        power += _squares(values)
    return float(np.float32(error / power)) if power else 0.0


def _squares(values: Floats) -> float:
    flat = values.reshape(-1, order="A") if values.flags.forc else values.ravel(order="K")
    with np.errstate(over="ignore"):
        total = float(np.dot(flat, flat))
    return total if np.isfinite(total) else float(np.square(flat, dtype=np.float64).sum())

"""Weights to codes: the scale and zero of every column, then which level each cell gets.

Shapes: weights are (groups, rows, cols); scale and zero (groups, cols); second moments of
the inputs (groups, rows, rows). All arithmetic is in float64, so that the result does not
depend on how a machine orders its sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pimc.chip.codebook import Codebook
from pimc.plan.held import HeldWeights

Array64 = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint16]

#: Clipping candidates, as parts of the scale that holds every weight.
CLIP = np.linspace(1.0, 0.45, 12)
#: Damping of second moments, a part of their mean diagonal.
_DAMPING = 0.01
#: Columns looked at together; more do not fit a processor's caches.
_COLUMNS = 64
#: Rows whose corrections are applied together; bounds memory traffic, not the result.
_BLOCK = 128


@dataclass(frozen=True)
class Grid:
    """Per column: the weight of code ``c`` is ``scale · (values[c] − values[zero])``."""

    scale: Array64
    zero: Codes


def nearest(book: Codebook, target_us: Array64) -> Codes:
    """The code whose effective conductance is nearest to ``target_us``."""
    values, step = book.values_us, book.step_us
    if step is None:
        codes = np.searchsorted((values[1:] + values[:-1]) / 2, target_us)
    else:
        even = np.rint((target_us - values[0]) / step)
        codes = np.minimum(np.maximum(even, 0), len(values) - 1)
    return np.asarray(codes, np.uint16)


def weights_of(book: Codebook, grid: Grid, codes: Codes) -> Array64:
    """The weights that ``codes`` stand for."""
    zero_us = book.values_us[grid.zero]
    weights: Array64 = grid.scale[..., None, :] * (book.values_us[codes] - zero_us[..., None, :])
    return weights


def choose_grid(
    weight: Array64, importance: Array64, book: Codebook, write_noise: float | Array64
) -> Grid:
    """Scale and zero of every column by least squared error.

    The error of a column is what rounding and clipping change, each row weighted with
    ``importance`` (the mean square of its input), plus ``write_noise`` times the variance that
    programming errors will add: a wide scale clips little but magnifies them.

    Args:
        weight: (groups, rows, cols).
        importance: (groups, rows).
        write_noise: how much of the write variance counts, 0 to 1; of each group, or of all.
    """
    counted = np.asarray(write_noise, np.float64).reshape(-1, 1)
    parts = [
        _choose_grid(weight[:, :, start : start + _COLUMNS], importance, book, counted)
        for start in range(0, weight.shape[2], _COLUMNS)
    ]
    return Grid(
        np.concatenate([part.scale for part in parts], axis=1),
        np.concatenate([part.zero for part in parts], axis=1),
    )


def _choose_grid(
    weight: Array64, importance: Array64, book: Codebook, write_noise: Array64
) -> Grid:
    best_cost = np.full(weight[:, 0].shape, np.inf)
    best_scale = np.ones_like(best_cost)
    best_zero = np.full(best_cost.shape, book.middle, np.uint16)
    for zero in zeros(weight, book):
        full = covering_scale(weight, zero, book)
        for part in CLIP:
            grid = Grid(full * part, zero)
            codes = nearest(book, _target(weight, grid, book))
            error = weight - weights_of(book, grid, codes)
            cost = np.einsum("gk,gkn->gn", importance, np.square(error, out=error))
            if write_noise.any():
                variance = np.einsum("gk,gkn->gn", importance, book.sigma_us[codes] ** 2)
                cost += write_noise * grid.scale**2 * variance
            better = cost < best_cost
            best_cost = np.where(better, cost, best_cost)
            best_scale = np.where(better, grid.scale, best_scale)
            best_zero = np.where(better, zero, best_zero)
    return Grid(best_scale, best_zero.astype(np.uint16))


def round_nearest(weight: Array64, grid: Grid, book: Codebook) -> Codes:
    """Every weight to its nearest code."""
    return nearest(book, _target(weight, grid, book))


def round_with_feedback(weight: Array64, moments: Array64, grid: Grid, book: Codebook) -> Codes:
    """Round row by row; what one row loses, the rows not yet rounded make up for.

    The error counted is that of the layer's output, so the compensation follows the second
    moments of the inputs. Optimal Brain Quantization in the fixed order of GPTQ
    (Frantar et al. 2022, DOI 10.48550/arXiv.2210.17323), rows with the strongest input first.

    Args:
        moments: (groups, rows, rows) second moments of the inputs about their mean.
    """
    groups, rows, _ = weight.shape
    order = np.argsort(-np.einsum("gkk->gk", moments), axis=1, kind="stable")
    group = np.arange(groups)[:, None]
    left = weight[group, order].copy()
    factor = _inverse_factor(moments[group[:, :, None], order[:, :, None], order[:, None, :]])
    codes = np.empty(weight.shape, np.uint16)
    for start in range(0, rows, _BLOCK):
        stop = min(start + _BLOCK, rows)
        errors = np.empty_like(left[:, start:stop])
        for k in range(start, stop):
            row = left[:, k : k + 1]
            code = nearest(book, _target(row, grid, book))
            codes[:, k : k + 1] = code
            loss = (row - weights_of(book, grid, code)) / factor[:, k, k, None, None]
            errors[:, k - start : k - start + 1] = loss
            left[:, k + 1 : stop] -= factor[:, k, k + 1 : stop, None] * loss
        left[:, stop:] -= np.swapaxes(factor[:, start:stop, stop:], 1, 2) @ errors
    result = np.empty_like(codes)
    result[group, order] = codes
    return result


def refit_scale(
    weight: Array64,
    moments: Array64,
    grid: Grid,
    codes: Codes,
    book: Codebook,
    held: HeldWeights | None = None,
) -> Grid:
    """The scale that serves the chosen codes best: one least-squares factor a column."""
    unit = units(book, grid, codes, held)
    image = damped(moments) @ unit
    power = np.einsum("gkn,gkn->gn", unit, image)
    match = np.einsum("gkn,gkn->gn", weight, image)
    scale = np.where(power > 0, match / np.where(power > 0, power, 1.0), grid.scale)
    # A column that rounds to nothing or turns round keeps the scale it had.
    return Grid(np.where(scale > 0, scale, grid.scale), grid.zero)


def units(book: Codebook, grid: Grid, codes: Codes, held: HeldWeights | None = None) -> Array64:
    """Weights of ``codes`` in µS, the zero taken off; of stuck cells what they hold."""
    values = book.values_us[codes] if held is None else held.of_codes(codes)
    zero_us = book.values_us[grid.zero]
    weights: Array64 = values - zero_us[..., None, :]
    return weights


def damped(moments: Array64) -> Array64:
    """Second moments made safely invertible."""
    mean = np.einsum("gkk->g", moments) / moments.shape[1]
    ridge = np.where(mean > 0, _DAMPING * mean, 1.0)
    return moments + ridge[:, None, None] * np.eye(moments.shape[1])


def _target(weight: Array64, grid: Grid, book: Codebook) -> Array64:
    zero_us = book.values_us[grid.zero]
    target: Array64 = weight / grid.scale[..., None, :] + zero_us[..., None, :]
    return target


def zeros(weight: Array64, book: Codebook) -> list[Codes]:
    """Candidate zeros: the middle, and the code that suits each column's own range."""
    low, high = np.minimum(weight.min(axis=1), 0), np.maximum(weight.max(axis=1), 0)
    span = np.where(high > low, high - low, 1.0)
    values = book.values_us
    fitting = nearest(book, values[0] + (values[-1] - values[0]) * (-low / span))
    # A zero at the very end would leave one sign without any code.
    inner = np.clip(fitting, 1, len(values) - 2) if len(values) > 2 else fitting
    middle = np.full_like(fitting, book.middle)
    return [middle, *(c for c in (inner, _toward(inner, middle)) if (c != middle).any())]


def _toward(code: Codes, middle: Codes) -> Codes:
    step = np.sign(middle.astype(np.int64) - code.astype(np.int64))
    return (code.astype(np.int64) + step).astype(np.uint16)


def covering_scale(weight: Array64, zero: Codes, book: Codebook) -> Array64:
    """The smallest scale at which no weight is clipped that has a code of its sign."""
    above = book.values_us[-1] - book.values_us[zero]
    below = book.values_us[zero] - book.values_us[0]
    # With two levels the zero is one of them: the other sign must not set the scale.
    need = np.maximum(
        np.where(above > 0, np.maximum(weight.max(axis=1), 0) / np.where(above > 0, above, 1), 0),
        np.where(below > 0, np.maximum(-weight.min(axis=1), 0) / np.where(below > 0, below, 1), 0),
    )
    return np.where(need > 0, need, 1.0)


def _inverse_factor(moments: Array64) -> Array64:
    """Upper triangular U with Uᵀ U = inverse of the damped moments."""
    inverse = np.linalg.inv(damped(moments))
    lower = np.linalg.cholesky((inverse + np.swapaxes(inverse, 1, 2)) / 2)
    return np.asarray(np.swapaxes(lower, 1, 2), np.float64)

"""Rounding with feedback against least squares, row by row, and what its damping is for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pimc.chip.codebook import Codebook, codebook
from pimc.chip.design import Chip
from pimc.passes.quantize.rounding import (
    Codes,
    Grid,
    choose_grid,
    damped,
    round_nearest,
    round_with_feedback,
    weights_of,
)
from tests.passes.quantize.test_rounding import BASE, UNEVEN, correlated, error_of, normal, ones

Array64 = npt.NDArray[np.float64]


def row_by_row(weight: Array64, moments: Array64, grid: Grid, book: Codebook) -> Codes:
    """Each row rounded once; those that are left minimize the error that is then there.

    Of errors E the output has Eᵀ H E, least where E_left = −H_left,left⁻¹ H_left,done E_done.
    """
    codes = np.empty(weight.shape, np.uint16)
    for group, rows in enumerate(np.argsort(-np.einsum("gkk->gk", moments), axis=1, kind="stable")):
        held, own = np.empty_like(weight[group]), Grid(grid.scale[[group]], grid.zero[[group]])
        for n, row in enumerate(rows):
            done, left = rows[:n], rows[n:]
            pull = moments[group][np.ix_(left, done)] @ (weight[group, done] - held[done])
            wanted = weight[group, left] + np.linalg.solve(moments[group][np.ix_(left, left)], pull)
            codes[group, row] = round_nearest(wanted[None, :1], own, book)[0, 0]
            held[row] = weights_of(book, own, codes[None, group, row, None])[0, 0]
    return codes


@pytest.mark.parametrize("chip", [BASE, UNEVEN, BASE.with_mapping("differential")])
def test_feedback_is_what_least_squares_make_up_for_row_by_row(chip: Chip) -> None:
    book = codebook(chip)
    weight = normal(6, 2, 40, 5)
    moments = np.concatenate([correlated(6, 40), correlated(7, 40, -0.6)])
    grid = choose_grid(weight, ones(weight), book, 0.0)
    wanted = row_by_row(weight, damped(moments), grid, book)
    assert np.array_equal(round_with_feedback(weight, moments, grid, book), wanted)


def test_damping_costs_feedback_little() -> None:
    """Of inputs that are known for sure, hardly more error than without any damping."""
    book, found = codebook(BASE), np.zeros(2)
    for seed in range(4):
        weight, moments = normal(seed, 1, 64, 8), correlated(seed, 64, 0.97)
        grid = choose_grid(weight, ones(weight), book, 0.0)
        for n, rounded in enumerate((round_with_feedback, row_by_row)):
            held = weights_of(book, grid, rounded(weight, moments, grid, book))
            found[n] += error_of(weight, moments, held).sum()
    assert found[0] < 1.2 * found[1]


def test_damping_bounds_what_few_inputs_mislead_to() -> None:
    """As many vectors as rows say little of how inputs go together; fresh ones tell."""
    book, found = codebook(BASE), np.zeros(3)
    for seed in range(6):
        weight, moments = normal(seed, 1, 80, 12), correlated(seed, 80, 0.5)
        seen = normal(seed + 100, 80, 80) @ np.linalg.cholesky(moments[0]).T
        few = (seen.T @ seen / len(seen))[None]
        grid = choose_grid(weight, ones(weight), book, 0.0)
        for n, codes in enumerate(
            (
                round_nearest(weight, grid, book),
                round_with_feedback(weight, few, grid, book),
                row_by_row(weight, few + 1e-4 * np.eye(80), grid, book),
            )
        ):
            found[n] += error_of(weight, moments, weights_of(book, grid, codes)).sum()
    assert found[1] < 2.2 * found[0] < 0.7 * found[2]

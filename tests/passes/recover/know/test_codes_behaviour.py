"""What is known of cells, against Bayes' rule for normal numbers written in another way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from pimc.api import compile as compile_model
from pimc.chip.converters import rounding_variance
from pimc.image.image import Image
from pimc.passes.recover.estimate import STUCK_SIGMAS, CellEstimate, prior, reference_error, stuck
from pimc.passes.recover.know.codes import identify
from pimc.passes.recover.know.regression import posterior
from pimc.runtime.capture import LayerCapture
from tests.passes.lowered_nets import drawn, model_of, node
from tests.passes.recover.known_dies import UNCLIPPED, VARIANTS, chip_of

Array64 = npt.NDArray[np.float64]


def image_of(variant: tuple[str, str] = ("offset", "digital"), **changes: Any) -> Image:
    model = model_of([node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 20]}, {"w": drawn(20, 6)})
    return compile_model(model, chip_of(variant, **changes), options=UNCLIPPED)


def conditioned(
    inputs: Array64, current: Array64, mean: Array64, variance: Array64, noise: Array64
) -> tuple[Array64, Array64]:
    """Cells given currents, from their joint normal distribution, column by column.

    With y = X g + noise: E[g | y] = m + V Xᵀ (X V Xᵀ + N)⁻¹ (y − X m), and likewise Var[g | y].
    """
    found, left = np.empty_like(mean), np.empty_like(variance)
    for block, column in np.ndindex(mean.shape[0], mean.shape[2]):
        x, v = inputs[block], np.diag(variance[block, :, column])
        seen = x @ v @ x.T + noise[block, 0, column] * np.eye(len(x))
        gain = np.linalg.solve(seen, x @ v).T
        m = mean[block, :, column]
        found[block, :, column] = m + gain @ (current[block, :, column] - x @ m)
        left[block, :, column] = np.diag(v - gain @ x @ v)
    return found, left


@pytest.mark.parametrize("at_once", [16_000_000, 1])
@pytest.mark.parametrize("vectors", [3, 40])
def test_cells_are_conditioned_on_their_currents(
    vectors: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More vectors than rows or fewer; all columns at once or one at a time."""
    monkeypatch.setattr("pimc.passes.recover.know.regression._SOLVE_ELEMENTS", at_once)
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((2, vectors, 9))
    current = rng.standard_normal((2, vectors, 4)) * 5
    mean, variance = rng.standard_normal((2, 9, 4)), rng.uniform(0.1, 3.0, (2, 9, 4))
    noise = rng.uniform(0.1, 2.0, (2, 1, 4))
    wanted = conditioned(inputs, current, mean, variance, noise)
    given = (torch.from_numpy(values) for values in (inputs, current, mean, variance, noise))
    for found, expected in zip(posterior(*given), wanted, strict=True):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("repeats", [1, 4])
def test_a_capture_counts_by_the_scatter_of_its_repeats_and_the_rounding_of_codes(
    repeats: int,
) -> None:
    image = image_of()
    (layer,) = image.layers
    before = prior(image, layer)
    rng = np.random.default_rng(1)
    inputs = rng.integers(-100, 100, (1, before.mean_us.shape[1], 30)).astype(np.int16)
    driven = inputs[0].T.astype(np.float64)
    current = driven @ (before.mean_us[0] + np.sqrt(before.variance[0]) * 0.5)
    noise = 3.0 * rng.standard_normal((repeats, 1, layer.cols, 30))
    codes = np.rint(current.T / layer.adc_lsb_us + noise).clip(-127, 127).astype(np.int16)
    assert np.abs(codes).max() < 127
    record = LayerCapture(inputs, codes, np.zeros((layer.cols, 30), np.float32))
    after = identify(before, image, layer, record)
    lsb_squared = layer.adc_lsb_us**2
    rounding = rounding_variance(image.chip, layer.input_signed)
    scatter = codes.var(axis=0, ddof=1).mean(axis=-1) if repeats > 1 else np.zeros((1, layer.cols))
    assert after.noise == pytest.approx((scatter + rounding) * lsb_squared)
    mean, variance = conditioned(
        driven[None],
        codes.mean(axis=0).transpose(0, 2, 1) * layer.adc_lsb_us,
        before.mean_us,
        before.variance,
        (scatter / repeats + rounding)[:, None] * lsb_squared,
    )
    np.testing.assert_allclose(after.mean_us, mean, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(after.variance, variance, rtol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_prior_is_what_the_chip_file_says_of_each_level(variant: tuple[str, str]) -> None:
    sigma = {"kind": "polynomial", "variable": "x", "coefficients_us": [3.0, -2.5]}
    spread = {"cell.sigma": sigma, "variation.cell_relative": 0.05}
    image = image_of(variant, **spread)
    (layer,), chip = image.layers, image.chip
    known, cells = prior(image, layer), image.cells(layer)
    assert not (cells < 0).any() or variant[0] == "sliced"
    levels_us, reference_us = np.asarray(chip.cell.g_levels_us), image.codebook.reference_us
    own = (3.0 - 2.5 * levels_us / chip.cell.g_max_us) ** 2 + (0.05 * levels_us) ** 2
    level = image.levels.reshape(-1)[cells]
    shared = 0.0
    if variant[1] == "reference":
        middle = int(np.argmin(np.abs(levels_us - reference_us)))
        shared = own[middle]
    here = known.present
    assert np.array_equal(here, cells >= 0)
    np.testing.assert_allclose(known.target_us[here], (levels_us[level] - reference_us)[here])
    np.testing.assert_allclose(known.mean_us, known.target_us)
    np.testing.assert_allclose(known.variance[here], (own[level] + shared)[here], rtol=1e-9)
    assert not known.offset.any()
    assert not known.noise.any()


def test_the_reference_error_is_the_best_guess_of_what_a_row_has_in_common() -> None:
    """Of errors that are a row's own plus each cell's: E[common | errors], by least squares."""
    image = image_of(("offset", "reference"), **{"mapping.reference_sigma_us": 0.7})
    (layer,) = image.layers
    known, own = prior(image, layer), (0.05 * 38) ** 2
    rng = np.random.default_rng(2)
    errors = rng.standard_normal(known.mean_us.shape)
    known = replace(known, mean_us=known.target_us + errors)
    count = errors.shape[2]
    joint = own * np.eye(count) + 0.7**2
    wanted = 0.7**2 * np.linalg.solve(joint, errors.swapaxes(1, 2)).sum(axis=1)
    found = reference_error(known, image, layer)
    np.testing.assert_allclose(found, np.repeat(wanted[:, :, None], count, axis=2), rtol=1e-6)


def test_stuck_is_what_lies_further_off_than_writing_and_knowing_explain() -> None:
    image = image_of()
    (layer,) = image.layers
    known = prior(image, layer)
    sigma, unknown = 0.05 * 38, 0.6
    limit = STUCK_SIGMAS * np.hypot(sigma, unknown)
    away = np.zeros(known.mean_us.shape)
    away[0, 0], away[0, 1] = 0.99 * limit, -0.99 * limit
    away[0, 2], away[0, 3] = 1.01 * limit, -1.01 * limit
    estimate: CellEstimate = replace(
        known, mean_us=known.target_us + away, variance=np.full(away.shape, unknown**2)
    )
    found = stuck(image, layer, estimate)
    assert found[0, 2:4].all()
    assert not np.delete(found, [2, 3], axis=1).any()

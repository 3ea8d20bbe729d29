"""Cells from the sums of whole layers, against a regression of outputs written out in numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pimc.api import compile as compile_model
from pimc.chip.converters import rounding_variance
from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.passes.recover.estimate import CellEstimate, prior
from pimc.passes.recover.know.sums import identify_sums
from pimc.runtime.capture import CaptureOptions, LayerCapture, capture
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from tests.passes.lowered_nets import drawn, model_of, node
from tests.passes.recover.known_dies import UNCLIPPED, chip_of, truth

Array64 = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def image() -> Image:
    """80 inputs in two tiles one under the other, on converters without errors of their own."""
    model = model_of(
        [node("Gemm", ["x", "w", "b"], ["y"])], {"x": ["N", 80]}, {"w": drawn(80, 6), "b": drawn(6)}
    )
    chip = chip_of(("offset", "digital"), **{"read_noise.relative": 0.05, "adc.bits": 12})
    x = drawn(500, 80)
    made = compile_model(model, chip, calib=x, options=UNCLIPPED)
    gain = np.linspace(0.7, 1.4, 6).astype(np.float32)
    # Wide ranges, so that no conversion is clipped.
    (entry,) = made.manifest["layers"]
    wide = [{**entry, "adc_lsb_us": 3 * entry["adc_lsb_us"]}]
    return made.updated(columns={0: {"gain": gain}}, layers=wide)


def recorded(image: Image, die: Die, vectors: int) -> LayerCapture:
    options = CaptureOptions(vectors=vectors, repeats=1, record="sums")
    session = Session(image, die, seed=1)
    return capture(session, Dataset.of(drawn(500, 80)), options, outputs=False).layers[0]


def found_of(image: Image, record: LayerCapture) -> CellEstimate:
    (layer,) = image.layers
    return identify_sums(prior(image, layer), image, Session(image).layers[layer.name], record)


def by_evidence(image: Image, record: LayerCapture) -> tuple[Array64, Array64, Array64]:
    """Mean and variance (rows, cols) of the cells of each output, and its noise (cols,).

    Each output, its digital part taken off, is a sum over all its cells plus noise that all
    vectors share; the noise is what the fit leaves, over as many vectors as it did not use up.
    """
    (layer,) = image.layers
    before = prior(image, layer)
    x = record.inputs.reshape(-1, record.inputs.shape[2]).T[:, : layer.rows].astype(np.float64)
    mean, variance = (
        values.reshape(-1, layer.cols)[: layer.rows] for values in (before.mean_us, before.variance)
    )
    assert layer.input_scale is not None
    scale = layer.scale.astype(np.float64) * layer.gain * layer.input_scale
    pedestal = image.codebook.pedestal_us(layer.zero)
    current = (record.outputs.T - layer.bias) / scale + pedestal * x.sum(axis=1)[:, None]
    least = rounding_variance(image.chip, layer.input_signed) * 2 * layer.adc_lsb_us**2
    means, spreads, noises = np.empty_like(mean), np.empty_like(mean), np.empty(layer.cols)
    for column in range(layer.cols):
        m, v, noise = mean[:, column], variance[:, column], least
        for _ in range(4):
            posterior = np.linalg.inv(x.T @ x / noise + np.diag(1 / v))
            means[:, column] = m + posterior @ x.T @ (current[:, column] - x @ m) / noise
            spreads[:, column] = np.diag(posterior)
            left = ((current[:, column] - x @ means[:, column]) ** 2).sum()
            fitted = (1 - spreads[:, column] / v).sum()
            noise = max(left / max(len(x) - fitted, 1.0), least)
        noises[column] = noise
    return means, spreads, noises


@pytest.mark.parametrize("vectors", [50, 300])
def test_cells_are_those_of_a_regression_of_the_outputs(image: Image, vectors: int) -> None:
    (layer,) = image.layers
    record = recorded(image, Die.simulated(3), vectors)
    means, spreads, noises = by_evidence(image, record)
    found = found_of(image, record)
    rows = layer.rows
    np.testing.assert_allclose(found.mean_us.reshape(-1, 6)[:rows], means, atol=2e-3)
    np.testing.assert_allclose(found.variance.reshape(-1, 6)[:rows], spreads, rtol=1e-2)
    # Two tiles share the noise of an output.
    assert found.noise.shape == (2, 6)
    np.testing.assert_allclose(found.noise.sum(axis=0), noises, rtol=2e-2)
    np.testing.assert_allclose(found.noise[0], found.noise[1])
    assert found.rank.tolist() == [min(vectors, 64), min(vectors, 16)]


def test_noise_is_that_of_a_read_of_the_chip(image: Image) -> None:
    (layer,) = image.layers
    noises = []
    for seed in range(3):
        die = Die.simulated(seed)
        record = recorded(image, die, 400)
        found = found_of(image, record)
        held = truth(image, die, layer)
        codes = record.inputs.astype(np.float64) ** 2
        variance = np.einsum("brv,brc->c", codes, (0.05 * held) ** 2) / codes.shape[2]
        variance += 2 * rounding_variance(image.chip, layer.input_signed) * layer.adc_lsb_us**2
        noises.append(found.noise.sum(axis=0) / variance)
    assert 0.8 < np.mean(noises) < 1.25

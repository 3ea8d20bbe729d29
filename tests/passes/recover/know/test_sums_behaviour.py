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


KINDS = ["offset", "differential", "sliced"]


def image_of(kind: str = "offset", noise: float = 0.05, offset_lsb: float = 0.0) -> Image:
    """80 inputs in two tiles one under the other, and ranges so wide that nothing is clipped."""
    weights = {"w": drawn(80, 6), "b": drawn(6)}
    model = model_of([node("Gemm", ["x", "w", "b"], ["y"])], {"x": ["N", 80]}, weights)
    keys = {"read_noise.relative": noise, "adc.bits": 12, "adc.offset_error_lsb": offset_lsb}
    chip = chip_of((kind, "digital"), **keys)
    made = compile_model(model, chip, calib=drawn(500, 80), options=UNCLIPPED)
    gain = np.linspace(0.7, 1.4, 6).astype(np.float32)
    (entry,) = made.manifest["layers"]
    wide = [{**entry, "adc_lsb_us": 3 * entry["adc_lsb_us"]}]
    return made.updated(columns={0: {"gain": gain}}, layers=wide)


def recorded(image: Image, die: Die, vectors: int) -> LayerCapture:
    options = CaptureOptions(vectors=vectors, repeats=1, record="sums")
    session = Session(image, die=die, seed=1)
    return capture(session, Dataset.of(drawn(500, 80)), options, outputs=False).layers[0]


def found_of(image: Image, record: LayerCapture) -> CellEstimate:
    (layer,) = image.layers
    return identify_sums(prior(image, layer), image, Session(image).layers[layer.name], record)


def of_outputs(image: Image, values: Array64) -> Array64:
    """(rows · planes, cols) values of the cells of each output."""
    (layer,) = image.layers
    return np.moveaxis(layer.by_weight(values)[0], 2, 1).reshape(-1, layer.cols)


def by_evidence(image: Image, record: LayerCapture) -> tuple[Array64, Array64, Array64, Array64]:
    """Mean and variance of the cells of each output, its offset and its noise.

    Each output, its digital part taken off, is a sum over all its cells, plus what its converters
    add, plus noise that all vectors share; the noise is what the fit leaves, over as many vectors
    as it did not use up, and never less than rounding.
    """
    (layer,), factors = image.layers, image.codebook.factors
    before, deviation = prior(image, layer), image.chip.adc.offset_error_lsb
    codes = record.inputs.reshape(-1, record.inputs.shape[2]).T[:, : layer.rows].astype(np.float64)
    assert layer.input_scale is not None
    scale = layer.scale.astype(np.float64) * layer.gain * layer.input_scale
    pedestal = image.codebook.pedestal_us(layer.zero)
    current = (record.outputs.T - layer.bias) / scale + pedestal * codes.sum(axis=1)[:, None]
    conversions = layer.row_blocks * (factors**2).sum() * layer.adc_lsb_us**2
    least = rounding_variance(image.chip, layer.input_signed) * conversions
    # The offsets of all converters of an output are one more cell, that every vector drives alike.
    x = np.column_stack([np.kron(codes, factors), np.ones(len(codes))])
    mean, variance = (of_outputs(image, v) for v in (before.mean_us, before.variance))
    mean = np.vstack([mean, np.zeros(layer.cols)])
    variance = np.vstack([variance, np.full(layer.cols, max(deviation**2 * conversions, 1e-12))])
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
    return means[:-1], spreads[:-1], means[-1], noises


@pytest.mark.parametrize("offset_lsb", [0.0, 3.0])
@pytest.mark.parametrize("noise", [0.05, 0.0])
@pytest.mark.parametrize("kind", KINDS)
def test_cells_are_those_of_a_regression_of_the_outputs(
    kind: str, noise: float, offset_lsb: float
) -> None:
    image = image_of(kind, noise, offset_lsb)
    (layer,), factors = image.layers, image.codebook.factors
    for vectors in (50, 300):
        record = recorded(image, Die.simulated(3), vectors)
        means, spreads, offsets, noises = by_evidence(image, record)
        found = found_of(image, record)
        np.testing.assert_allclose(of_outputs(image, found.mean_us), means, atol=5e-3)
        np.testing.assert_allclose(of_outputs(image, found.variance), spreads, rtol=1e-2)
        # The converters of an output, one a tile and bitline, share its offset and its noise.
        shared = found.offset.reshape(2, layer.cols, len(factors)) @ factors
        np.testing.assert_allclose(shared.sum(axis=0), offsets, rtol=2e-2, atol=0.1)
        of_bitlines = found.noise.reshape(2, layer.cols, len(factors))
        np.testing.assert_allclose((of_bitlines @ factors**2).sum(axis=0), noises, rtol=2e-2)
        assert np.ptp(of_bitlines, axis=(0, 2)) == pytest.approx(np.zeros(layer.cols))
        assert found.rank.tolist() == [min(vectors, 64), min(vectors, 16)]


def test_noise_is_that_of_a_read_of_the_chip() -> None:
    image = image_of()
    (layer,) = image.layers
    noises = []
    for seed in range(3):
        die = Die.simulated(seed)
        record = recorded(image, die, 1600)
        found = found_of(image, record)
        held = truth(image, die, layer)
        codes = record.inputs.astype(np.float64) ** 2
        variance = np.einsum("brv,brc->c", codes, (0.05 * held) ** 2) / codes.shape[2]
        variance += 2 * rounding_variance(image.chip, layer.input_signed) * layer.adc_lsb_us**2
        noises.append(found.noise.sum(axis=0) / variance)
    assert 0.95 < np.mean(noises) < 1.05

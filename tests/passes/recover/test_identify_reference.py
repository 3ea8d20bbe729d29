"""Of the reference column: its error taken off row by row; and cells that were written again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch

from pimc.api import compile as compile_model
from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.passes.recover.identify import (
    CellEstimate,
    identify,
    prior,
    reference_error,
    rewritten,
    row_correction,
)
from pimc.runtime.capture import CaptureOptions, capture
from pimc.runtime.die.die import Die
from pimc.runtime.door.program import program, write
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session
from tests.passes.recover.known_dies import UNCLIPPED, VARIANTS, chip_of, truth


@pytest.fixture(scope="module")
def images(tiny_model, tiny_inputs) -> dict[Any, Image]:
    return {v: compile_model(tiny_model(), chip_of(v), calib=tiny_inputs) for v in VARIANTS}


@pytest.fixture(scope="module")
def image(images) -> Image:
    return images["offset", "reference"]


# --- the reference column ----------------------------------------------------------------------


def exact_cells(image: Image, seed: int) -> SimDevice:
    """A die whose cells hold their targets and whose reference column does not."""
    die = Die.simulated(seed)
    device = SimDevice(die, image.chip, image.arrays, converters=False)
    program(image, device)
    levels_us = np.asarray(image.chip.cell.g_levels_us)
    die.cells.g_us[image.used] = levels_us[image.levels[image.used]]
    return device


def corrected(image: Image, estimates: dict[int, CellEstimate]) -> Image:
    return image.updated(
        columns={
            layer.index: {"row_correction": row_correction(estimates[layer.index], image, layer)}
            for layer in image.layers
        }
    )


@pytest.mark.parametrize("calibrated", [True, False])
@pytest.mark.parametrize("kind", ["offset", "sliced"])
def test_row_correction_removes_the_reference_error(
    tiny_model, tiny_inputs, kind, calibrated
) -> None:
    chip = chip_of((kind, "reference"), **{"read_noise.relative": 0.0}).with_array(16, 8)
    image = compile_model(
        tiny_model(), chip, calib=tiny_inputs if calibrated else None, options=UNCLIPPED
    )
    device = exact_cells(image, 6)
    raw = Session(image, device)
    estimates = {
        layer.index: replace(prior(image, layer), mean_us=truth(image, device.die, layer))
        for layer in image.layers
    }
    found = Session(corrected(image, estimates), device)
    ideal = Session(image, converters=False)
    seen: list[str] = []

    def compare(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        name = node.attributes["layer"].as_string()
        wanted = ideal.layers[name](x)
        before = float((raw.layers[name](x) - wanted).abs().max())
        assert before > 0.05 * float(wanted.abs().max())
        # Of the mean of n columns n / (n + 1) is put down to the reference.
        layer = raw.layers[name].layer
        fewest = layer.cols * layer.planes % layer.col_block or layer.col_block
        after = float((found.layers[name](x) - wanted).abs().max())
        assert after <= 1.05 * before / (fewest + 1)
        seen.append(name)
        return wanted

    ideal.evaluate({"x": torch.from_numpy(tiny_inputs)}, array=compare)
    assert len(seen) == 3


def test_row_correction_from_a_capture(image, tiny_inputs) -> None:
    device = exact_cells(image, 6)
    session = Session(image, SimDevice(device.die, image.chip, image.arrays))
    captured = capture(session, Dataset.of(tiny_inputs), CaptureOptions(), outputs=False)
    estimates = {
        layer.index: identify(prior(image, layer), image, layer, captured.layers[layer.index])
        for layer in image.layers
    }
    (wanted,) = Session(image).run(None, {"x": tiny_inputs})
    (raw,) = Session(image, device).run(None, {"x": tiny_inputs})
    (found,) = Session(corrected(image, estimates), device).run(None, {"x": tiny_inputs})
    before, after = ((y - wanted).std() for y in (raw, found))
    assert after < 0.25 * before


def test_the_reference_error_is_the_shrunk_mean_of_each_block_of_columns(images) -> None:
    image = images["sliced", "reference"]
    layer = replace(image.layers[0], col_block=4)
    known = prior(image, image.layers[0])
    rng = np.random.default_rng(0)
    known = replace(known, mean_us=known.mean_us + rng.standard_normal(known.mean_us.shape))
    # A stuck cell says nothing of the reference.
    known.mean_us[0, 0, 0] += 100.0
    found = reference_error(known, image, layer)
    for first in range(0, found.shape[2], 4):
        errors = known.error_us[:, :, first : first + 4]
        # Equal variances of cell and reference: the mean of n counts n / (n + 1).
        wanted = errors.sum(axis=2) / (errors.shape[2] + 1)
        if first == 0:
            wanted[0, 0] = errors[0, 0, 1:].sum() / 4
        for column in range(errors.shape[2]):
            np.testing.assert_allclose(found[:, :, first + column], wanted)
    correction = row_correction(known, image, layer)
    assert correction.dtype == np.float32
    assert correction.shape == (layer.groups, layer.col_blocks, layer.rows)
    np.testing.assert_allclose(correction[0, 1], found[0, : layer.rows, 4], rtol=1e-6)


# --- after a write -----------------------------------------------------------------------------


@pytest.mark.parametrize("variant", [("offset", "reference"), ("offset", "digital")])
def test_rewritten_resets_only_the_cells_that_changed(images, tiny_inputs, variant) -> None:
    image = images[variant]
    layer = image.layers[1]
    die = Die.simulated(8)
    session = Session(image, die)
    record = capture(session, Dataset.of(tiny_inputs), CaptureOptions(), only=[1]).layers[1]
    before = identify(prior(image, layer), image, layer, record)
    cells = image.cells(layer)
    changed = np.zeros(cells.shape, np.bool_)
    changed.reshape(-1)[np.flatnonzero(before.present)[::5]] = True
    levels = image.levels.copy()
    levels.reshape(-1)[cells[changed]] = 15 - levels.reshape(-1)[cells[changed]]
    following = image.updated(levels=levels)
    after = rewritten(before, following, layer, changed)

    np.testing.assert_array_equal(after.mean_us[~changed], before.mean_us[~changed])
    np.testing.assert_array_equal(after.variance[~changed], before.variance[~changed])
    np.testing.assert_array_equal(after.target_us, prior(following, layer).target_us)
    sigma = 0.05 * 38
    assert (after.variance[changed] >= sigma**2).all()
    common = reference_error(before, image, layer)[changed]
    np.testing.assert_allclose((after.mean_us - after.target_us)[changed], common, atol=1e-9)

    write(session.device, cells[changed], levels.reshape(-1)[cells[changed]], limit=99)
    away = (truth(following, die, layer) - after.mean_us)[changed] / sigma
    assert 0.6 < away.std() < 1.4
    record = capture(
        Session(following, session.device), Dataset.of(tiny_inputs), CaptureOptions(), only=[1]
    ).layers[1]
    known = identify(after, following, layer, record)
    left = (truth(following, die, layer) - known.mean_us)[known.present]
    assert left.std() < 0.1 * sigma

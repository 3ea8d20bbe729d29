"""The reference column's error, taken off row by row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
import torch

from pimc.api import compile as compile_model
from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.passes.recover.digital.rows import row_correction
from pimc.passes.recover.estimate import CellEstimate, prior
from pimc.passes.recover.know.codes import identify
from pimc.runtime.capture import CaptureOptions, capture
from pimc.runtime.die.die import Die
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session
from tests.passes.recover.known_dies import UNCLIPPED, chip_of, truth


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
    raw = Session(image, die=device)
    estimates = {
        layer.index: replace(prior(image, layer), mean_us=truth(image, device.die, layer))
        for layer in image.layers
    }
    found = Session(corrected(image, estimates), die=device)
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
    session = Session(image, die=SimDevice(device.die, image.chip, image.arrays))
    captured = capture(session, Dataset.of(tiny_inputs), CaptureOptions(), outputs=False)
    estimates = {
        layer.index: identify(prior(image, layer), image, layer, captured.layers[layer.index])
        for layer in image.layers
    }
    (wanted,) = Session(image).run(None, {"x": tiny_inputs})
    (raw,) = Session(image, die=device).run(None, {"x": tiny_inputs})
    (found,) = Session(corrected(image, estimates), die=device).run(None, {"x": tiny_inputs})
    before, after = ((y - wanted).std() for y in (raw, found))
    assert after < 0.25 * before

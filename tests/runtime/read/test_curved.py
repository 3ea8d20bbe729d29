"""Non-linear cells behind exact wires, read by a device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pimc.api import compile
from pimc.chip.design import Chip
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.physics.iv import driven
from pimc.runtime.session import Session
from tests.runtime.physics import kirchhoff

OHM, ALPHA = 400.0, 3.0
CHIP = (
    Chip.default()
    .with_array(8, 6)
    .with_(
        **{
            "array.wire_ohm": OHM, "cell.iv_alpha": ALPHA, "read_noise.relative": 0.0,
            "dac.mode": "parallel",
        }
    )
)  # fmt: skip
#: On wordlines 6, 1, 3 of array 1 (columns 1, 4) and of array 0 (column 0); one row has no cell.
WORDLINES = np.array([6, 1, 3, 0])
ARRAYS = ((1, [0, 1], [1, 4]), (0, [2], [0]))


def region() -> Region:
    cells = np.stack(
        [(8 + WORDLINES) * 6 + 1, (8 + WORDLINES) * 6 + 4, WORDLINES * 6], axis=1
    ).astype(np.int64)
    cells[3] = -1
    return Region("w", cells[None], 1.0, True)


def device(chip: Chip, ir_drop: Any = "exact") -> SimDevice:
    die = Die.simulated(3)
    die.attach(chip, 2)
    levels = np.random.default_rng(3).integers(0, chip.cell.levels, 96)
    die.program(np.arange(96), levels.astype(np.uint16))
    return SimDevice(die, chip, 2, converters=False, ir_drop=ir_drop)


def expected(found: SimDevice, shares: np.ndarray) -> np.ndarray:
    """Currents of the region's columns for shares of the full voltage on its rows."""
    state = found.die.cells
    reference = found.chip.mapping.pedestal == "reference"
    currents = np.zeros(3)
    for array, columns, bitlines in ARRAYS:
        g_us, drive = np.zeros((8, 7)), np.zeros(8)
        lines = WORDLINES[:3]
        g_us[lines, :6] = state.g_us[array, lines]
        if reference:
            g_us[lines, 6] = state.reference_us[array, lines]
        drive[lines] = shares[:3]
        answer = kirchhoff.curved(g_us if reference else g_us[:, :6], OHM, ALPHA, drive)
        currents[columns] = answer[bitlines] - (answer[6] if reference else 0.0)
    return currents


@pytest.mark.parametrize("pedestal", ["reference", "digital"])
def test_currents_obey_kirchhoff(pedestal: str) -> None:
    found = device(CHIP.with_(**{"mapping.pedestal": pedestal}))
    codes = np.random.default_rng(1).integers(-127, 128, (2, 1, 4, 3))
    read = found.read(region(), torch.from_numpy(codes).float()).numpy()
    for sample, position in np.ndindex(2, 3):
        wanted = 127 * expected(found, codes[sample, 0, :, position] / 127)
        assert read[sample, 0, :, position] == pytest.approx(wanted, abs=0.02)
    bent = device(CHIP.with_(**{"mapping.pedestal": pedestal}), "first")
    assert np.abs(bent.read(region(), torch.from_numpy(codes).float()).numpy() - read).max() > 10


def test_bits_are_read_one_by_one() -> None:
    found = device(CHIP.with_(**{"dac.mode": "bit_serial", "dac.bits": 4}))
    codes = np.array([5, -3, 7, 2])
    read = found.read(region(), torch.from_numpy(codes[None, None, :, None]).float()).numpy()
    wanted = np.zeros(3)
    for bit in range(3):
        plane = np.sign(codes) * (np.abs(codes) >> bit & 1)
        wanted += 2**bit * expected(found, plane.astype(float))
    assert read[0, 0, :, 0] == pytest.approx(wanted, abs=0.01)


def test_pulses_count_as_read_by_linear_cells() -> None:
    codes = torch.full((1, 1, 4, 1), 5.0)
    pulses = {"dac.mode": "pulse_count"}
    linear = CHIP.with_(**pulses, **{"cell.iv_alpha": 0.0})
    assert torch.equal(
        device(CHIP.with_(**pulses)).read(region(), codes), device(linear).read(region(), codes)
    )


def test_without_wires_only_inputs_are_bent() -> None:
    codes = torch.tensor([100.0, -40.0, 127.0, 3.0])[None, None, :, None]
    dry = {"array.wire_ohm": 0.0}
    linear = device(CHIP.with_(**dry, **{"cell.iv_alpha": 0.0}))
    assert torch.allclose(
        device(CHIP.with_(**dry)).read(region(), codes),
        linear.read(region(), driven(codes, 127, ALPHA)),
    )


def test_networks_are_read_like_single_layers(tiny_model, tiny_inputs) -> None:
    wired = {"array.wire_ohm": 100.0, "cell.iv_alpha": 2.0, "dac.mode": "parallel"}
    chip = Chip.default().with_array(32, 32).with_(**wired, **{"read_noise.relative": 0.0})
    image = compile(tiny_model(), chip, calib=tiny_inputs)
    device = {}
    for ir_drop in ("first", "exact"):
        device[ir_drop] = SimDevice(Die.simulated(2), chip, image.arrays, ir_drop=ir_drop)
        program(image, device[ir_drop])
    layer = image.layers[0]
    assert not device["exact"].reads_whole(layer)
    found = {
        name: Session(image, die=one).run(None, {"x": tiny_inputs[:2]})[0]
        for name, one in device.items()
    }
    assert np.isfinite(found["exact"]).all()
    assert np.abs(found["exact"] - found["first"]).max() > 1e-3

"""The I–V curve of cells that are not linear."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.chip.design import Chip
from pimc.errors import ChipError
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.physics.iv import driven

WHERE = Region("w", np.arange(12).reshape(1, 4, 3), 2.0, True)
CHIP = Chip.default().with_array(4, 3).with_(**{"read_noise.relative": 0.0})
CODES = torch.arange(-127, 128).float()


@pytest.mark.parametrize("alpha", [0.1, 1.0, 3.0, 20.0])
def test_the_current_is_a_sinh_of_the_voltage(alpha: float) -> None:
    found = driven(CODES, 127, alpha).numpy()
    expected = 127 * np.sinh(alpha * CODES.numpy().astype(float) / 127) / np.sinh(alpha)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


@settings(deadline=None)
@given(st.floats(1e-3, 20), st.sampled_from([1, 7, 127, 255]))
def test_it_is_odd_below_the_line_and_exact_at_full_scale(alpha: float, high: int) -> None:
    codes = torch.arange(high + 1).float()
    found = driven(codes, high, alpha)
    assert torch.allclose(found, -driven(-codes, high, alpha))
    assert (found <= codes * (1 + 1e-5)).all()
    assert found[-1].item() == pytest.approx(high, rel=1e-5)
    assert (found.diff() > 0).all()


def test_linear_cells_are_the_limit() -> None:
    assert driven(CODES, 127, 0.0) is CODES
    assert driven(CODES, 127, 1e-3).numpy() == pytest.approx(CODES.numpy(), abs=1e-4)


def test_the_device_reads_non_linear_cells_and_leaves_the_inputs() -> None:
    inputs = torch.from_numpy(np.random.default_rng(1).integers(-127, 128, (2, 1, 4, 5))).float()
    before = inputs.clone()

    def read(alpha: float, x: torch.Tensor, die: Die) -> torch.Tensor:
        chip = CHIP.with_(**{"cell.iv_alpha": alpha})
        device = SimDevice(die, chip, 1, converters=False)
        device.program(np.arange(12), np.arange(12, dtype=np.uint16))
        return device.read(WHERE, x)

    found = read(2.0, inputs, Die.simulated(1))
    assert torch.equal(inputs, before)
    linear = read(0.0, driven(inputs, 127, 2.0), Die.simulated(1))
    assert torch.allclose(found, linear)
    assert not torch.allclose(found, read(0.0, inputs, Die.simulated(1)), atol=1.0)
    # Perfect cells are linear.
    assert torch.equal(read(2.0, inputs, Die.ideal()), read(0.0, inputs, Die.ideal()))


@pytest.mark.parametrize("alpha", [-0.1, 21, float("nan")])
def test_impossible_curvature_is_refused(alpha: float) -> None:
    with pytest.raises(ChipError, match=r"cell\.iv_alpha"):
        CHIP.with_(**{"cell.iv_alpha": alpha})

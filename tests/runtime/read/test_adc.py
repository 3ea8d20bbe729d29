"""Column converters: static errors of gain and offset, ranges a column, saturation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from pimc.chip.converters import adc_limits
from pimc.chip.design import Chip
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.door.abilities import saturation_of
from pimc.runtime.door.device import Saturation
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.read.adc import adc_gain, adc_offset_lsb

BASE = Chip.default().with_array(8, 6).with_(**{"read_noise.relative": 0.0, "adc.bits": 12})
ERRORS = {"adc.gain_error": 0.05, "adc.offset_error_lsb": 3.0}
#: Eight columns of two arrays; the second block reads the same bitlines on other wordlines.
CELLS = np.stack(
    [
        np.concatenate([(np.arange(first, first + 4)[:, None] + 8 * a) * 6 + [0, 2, 3, 5]
                        for a in (0, 1)], axis=1)
        for first in (0, 4)
    ]
)  # fmt: skip
COLUMNS = np.array([0, 2, 3, 5, 6, 8, 9, 11])


def region(lsb_us: Any = 2.0) -> Region:
    cells = CELLS.copy()
    cells[1, 3] = -1
    return Region("w", cells, lsb_us, True)


def device_of(chip: Chip, die: Die, **options: Any) -> SimDevice:
    device = SimDevice(die, chip, 2, **options)
    levels = np.random.default_rng(5).integers(0, 16, 96).astype(np.uint16)
    device.program(np.arange(96), levels)
    return device


def inputs(count: int = 40, high: int = 127) -> torch.Tensor:
    codes = np.random.default_rng(8).integers(-high, high + 1, (1, 2, 4, count))
    return torch.from_numpy(codes.astype(np.float32))


def test_gain_and_offset_stand_before_the_rounding() -> None:
    chip, die = BASE.with_(**ERRORS), Die.simulated(3)
    exact = device_of(chip, Die.simulated(3), converters=False).read(region(16.0), inputs())
    codes = device_of(chip, die).read(region(16.0), inputs())
    gain, offset = adc_gain(die, COLUMNS), adc_offset_lsb(die, COLUMNS)
    wanted = exact[0].double().numpy() * gain[:, None] + offset[:, None]
    assert np.abs(codes[0].numpy() - wanted).max() <= 0.501
    assert float((codes - exact).abs().max()) > 3


def test_errors_belong_to_the_die_and_the_physical_column() -> None:
    chip = BASE.with_(**ERRORS)
    dies = [Die.simulated(seed) for seed in (1, 1, 2)]
    for die in dies:
        die.attach(chip, 2)
    first, same, other = (adc_gain(die, COLUMNS) for die in dies)
    assert np.array_equal(first, same)
    assert np.abs(first - other).min() > 0
    # One column alone, or all in another order: the same converters.
    assert adc_gain(dies[0], COLUMNS[[5]]) == first[5]
    assert np.array_equal(adc_offset_lsb(dies[0], COLUMNS[::-1]),
                          adc_offset_lsb(dies[0], COLUMNS)[::-1])  # fmt: skip


def test_errors_have_the_spread_that_the_chip_states() -> None:
    die, count = Die.simulated(7), 100_000
    die.attach(BASE.with_(**ERRORS), 1)
    gain, offset = adc_gain(die, np.arange(count)), adc_offset_lsb(die, np.arange(count))
    for values, mean, sigma in ((gain, 1.0, 0.05), (offset, 0.0, 3.0)):
        assert abs(values.mean() - mean) < 4.5 * sigma / count**0.5
        # Relative standard error of a standard deviation: 1 / √(2 n).
        assert abs(values.std() / sigma - 1) < 4.5 / (2 * count) ** 0.5
        assert abs(((values - mean) ** 4).mean() / sigma**4 - 3) < 4.5 * (96 / count) ** 0.5
    assert abs(np.corrcoef(gain, offset)[0, 1]) < 4.5 / count**0.5
    assert abs(np.corrcoef(gain[1:], gain[:-1])[0, 1]) < 4.5 / count**0.5


def test_no_converter_turns_currents_round() -> None:
    """However far gains lie apart, the least is a column that answers nothing."""
    die = Die.simulated(7)
    die.attach(BASE.with_(**{"adc.gain_error": 0.8}), 1)
    gain = adc_gain(die, np.arange(10_000))
    assert gain.min() == 0.0
    assert (gain == 0.0).mean() == pytest.approx(0.1056, abs=0.013)  # of a normal below −1/0.8


def test_a_perfect_die_has_perfect_converters() -> None:
    with_errors = device_of(BASE.with_(**ERRORS), Die.ideal()).read(region(), inputs())
    without = device_of(BASE, Die.ideal()).read(region(), inputs())
    assert torch.equal(with_errors, without)


def test_every_column_can_have_its_own_range() -> None:
    lsb = np.repeat(np.linspace(1.0, 8.0, 8, dtype=np.float32)[None], 2, axis=0)
    own = device_of(BASE, Die.simulated(3)).read(region(lsb), inputs())
    for column in range(8):
        one = device_of(BASE, Die.simulated(3)).read(region(float(lsb[0, column])), inputs())
        assert torch.equal(own[:, :, column], one[:, :, column])


@pytest.mark.parametrize("mode", ["parallel", "bit_serial"])
def test_saturation_counts_what_lies_outside(mode: str) -> None:
    chip = BASE.with_(**{"dac.mode": mode, "adc.bits": 6})
    exact = device_of(chip, Die.simulated(3), converters=False)
    device = device_of(chip, Die.simulated(3))
    assert saturation_of(device) == {}
    # Inputs of 0 and ±1 are a single bit plane, so currents can be seen through the reads.
    some = inputs(high=1)
    for _ in range(2):
        device.read(region(), some)
    planes = 7 if mode == "bit_serial" else 1
    low, high = adc_limits(chip, True)
    current = exact.read(region(), some).numpy()
    outside = int(((np.rint(current) < low) | (np.rint(current) > high)).sum())
    assert 0 < outside < current.size
    assert saturation_of(device) == {"w": Saturation(2 * planes * current.size, 2 * outside)}
    share = saturation_of(device)["w"].share
    assert share == pytest.approx(outside / current.size / planes)


def test_saturations_add() -> None:
    assert Saturation(10, 1) + Saturation(30, 3) == Saturation(40, 4)
    assert Saturation().share == 0.0
    assert saturation_of(device_of(BASE, Die.ideal(), converters=False)) == {}

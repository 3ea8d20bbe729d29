"""Input modes: what a read of codes gives, and its noise, against single cells read one by one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pimc.chip.converters import (
    adc_limits,
    code_limits,
    dac_limits,
    plane_weights,
)
from pimc.chip.converters import bit_planes as planes_of
from pimc.chip.design import Chip
from pimc.runtime.die.die import Die
from pimc.runtime.die.fixed import Drives, Squares
from pimc.runtime.die.region import Region
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.read.dac import driven_planes, held_squares, noise_drive

Array64 = npt.NDArray[np.float64]
BASE = Chip.default().with_array(8, 6).with_(**{"read_noise.relative": 0.03, "dac.bits": 6})
QUIET = BASE.with_(**{"read_noise.relative": 0.0})
MODES = ["parallel", "bit_serial", "pulse_count"]
LSB_US = 3.0


def device_of(chip: Chip, *, converters: bool = True) -> tuple[SimDevice, Region]:
    device = SimDevice(Die.simulated(5), chip, 1, converters=converters)
    levels = np.random.default_rng(2).integers(0, chip.cell.levels, 48).astype(np.uint16)
    device.program(np.arange(48), levels)
    return device, Region("w", np.arange(48).reshape(1, 8, 6), LSB_US, True)


def vectors(chip: Chip, count: int, signed: bool = True) -> torch.Tensor:
    low, high = dac_limits(chip, signed)
    codes = np.random.default_rng(8).integers(low, high + 1, (1, 1, 8, count))
    return torch.from_numpy(codes.astype(np.float32))


def cells_of(device: SimDevice) -> tuple[Array64, Array64]:
    """Conductances (rows, columns) and those of the reference (rows, 1) in float64."""
    state = device.die.cells
    return state.g_us[0].astype(np.float64), state.reference_us[0].astype(np.float64)[:, None]


@pytest.mark.parametrize("mode", ["parallel", "bit_serial"])
def test_a_voltage_multiplies_the_noise_of_a_read(mode: str) -> None:
    codes = np.arange(-255, 256)
    chip = BASE.with_(**{"dac.mode": mode})
    found = noise_drive(chip, True, torch.from_numpy(codes).float())
    assert found.tolist() == [x * x for x in codes]


@pytest.mark.parametrize("signed", [True, False])
def test_pulses_add_the_noise_of_as_many_reads(signed: bool) -> None:
    chip = BASE.with_(**{"dac.mode": "pulse_count"})
    low, high = dac_limits(chip, signed)
    codes = torch.arange(low, high + 1).float()
    found = noise_drive(chip, signed, codes)
    assert found.tolist() == [abs(x) * high for x in range(low, high + 1)]
    # All pulses together have the noise of one read at full scale.
    assert float(found[-1]) == high**2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [4, 8, 11])
def test_squares_are_held_in_two_times_eight_bits(bits: int, signed: bool, mode: str) -> None:
    chip = BASE.with_(**{"dac.bits": bits, "dac.mode": mode})
    high = 1 if mode == "bit_serial" else dac_limits(chip, signed)[1]
    codes = torch.arange(-high, high + 1)
    squares = Squares.of(chip, Drives.of(chip, signed))
    whole, rest = held_squares(squares, codes.float())
    exact = noise_drive(chip, signed, codes.float())
    units, rests = whole / squares.unit, rest / (squares.unit * squares.rest_unit)
    assert torch.equal(units, units.round())
    assert torch.equal(rests, rests.round())
    assert 128 <= units.max() <= 255 or squares.shift == 0
    assert rests.abs().max() <= 128
    # Rests of up to 16 bits are held as they are.
    apart = exact - (whole + rest)
    assert 0 <= apart.min() <= apart.max() < squares.unit / min(2**squares.shift, 2**8)
    assert (rest == 0).all() or squares.shift > 0


@given(st.integers(1, 10), st.integers(0, 2**32 - 1))
def test_bit_planes_are_those_of_the_vocabulary(bits: int, seed: int) -> None:
    high = 2**bits - 1
    codes = np.random.default_rng(seed).integers(-high, high + 1, (4, 7)).astype(np.float64)
    weights = tuple(2**bit for bit in range(bits))
    inputs = torch.from_numpy(codes)
    found = list(driven_planes(inputs, weights))
    assert tuple(weight for weight, _ in found) == weights
    planes = np.stack([plane.numpy() for _, plane in found])
    assert np.array_equal(planes, planes_of(codes, weights))
    assert np.array_equal(inputs.numpy(), codes)


@pytest.mark.parametrize("mode", MODES)
def test_without_converters_every_mode_gives_the_same_current(mode: str) -> None:
    device, region = device_of(QUIET.with_(**{"dac.mode": mode}), converters=False)
    inputs = vectors(QUIET, 9)
    g, reference = cells_of(device)
    wanted = (g - reference).T @ inputs[0, 0].numpy() / LSB_US
    assert device.read(region, inputs)[0, 0].numpy() == pytest.approx(wanted, abs=1e-3)


def test_every_bit_plane_is_converted_on_its_own() -> None:
    chip = QUIET.with_(**{"dac.mode": "bit_serial", "adc.bits": 4})
    device, region = device_of(chip)
    inputs = vectors(chip, 50)
    g, reference = cells_of(device)
    weights = plane_weights(chip, True)
    planes = planes_of(inputs[0, 0].numpy(), weights)
    current = np.einsum("kc,bkv->bcv", g - reference, planes) / LSB_US
    # Where single precision may fall on the other side of a half, either code is right.
    clear = (np.abs(current - np.floor(current) - 0.5) > 1e-3).all(axis=0)
    wanted = np.tensordot(weights, np.clip(np.rint(current), *adc_limits(chip, True)), 1)
    codes = device.read(region, inputs)[0, 0].numpy()
    assert clear.mean() > 0.9
    assert np.array_equal(codes[clear], wanted[clear])
    low, high = code_limits(chip, True)
    assert low <= codes.min() < codes.max() <= high
    assert device.reads == 50 * len(weights)


DRAWS = 40_000


def variance_of(mode: str, device: SimDevice, x: Array64) -> tuple[Array64, float]:
    """Variance of each column, and what all share through the reference, µS², by definition."""
    relative, (g, reference) = device.chip.read_noise.relative, cells_of(device)
    high = dac_limits(device.chip, True)[1]
    weights = np.asarray(plane_weights(device.chip, True), np.float64)
    planes = planes_of(x, tuple(map(int, weights)))
    drive = {
        "parallel": x**2,
        "bit_serial": np.tensordot(weights**2, planes**2, 1),
        "pulse_count": np.abs(x) * high,
    }[mode]
    own = drive @ (relative * g) ** 2
    return own, float((drive @ (relative * reference) ** 2)[0])


def sampled(mode: str, device: SimDevice, x: Array64, rng: np.random.Generator) -> Array64:
    """(draws, columns): every cell fluctuates anew in every pulse or bit plane."""
    relative, (g, reference) = device.chip.read_noise.relative, cells_of(device)
    high = dac_limits(device.chip, True)[1]
    draws, result = 4000, np.zeros((4000, g.shape[1]))
    if mode == "pulse_count":
        # One pulse of many: so noisy that x_max together have the noise of one read.
        sigma, turns = relative * high**0.5, range(high)
        driven = [np.sign(x) * (np.abs(x) > turn) for turn in turns]
        factors = [1.0] * high
    else:
        weights = plane_weights(device.chip, True)
        sigma, driven = relative, list(planes_of(x, weights))
        factors = [float(weight) for weight in weights]
    for factor, line in zip(factors, driven, strict=True):
        cells = g * (1 + sigma * rng.standard_normal((draws, *g.shape)))
        common = reference * (1 + sigma * rng.standard_normal((draws, *reference.shape)))
        result += factor * np.einsum("k,dkc->dc", line, cells - common)
    return result


@pytest.mark.parametrize("mode", MODES)
def test_read_noise_follows_the_mode(mode: str) -> None:
    chip = BASE.with_(**{"dac.mode": mode})
    device, region = device_of(chip, converters=False)
    one = vectors(chip, 1)
    x = one[0, 0, :, 0].numpy().astype(np.float64)
    own, common = variance_of(mode, device, x)
    model = np.diag(own) + common
    reads = device.read(region, one.expand(1, 1, 8, DRAWS))[0, 0].T.numpy() * LSB_US
    oracle = sampled(mode, device, x, np.random.default_rng(4))
    g, reference = cells_of(device)
    for found in (reads, oracle):
        mean, total = x @ (g - reference), own + common
        assert (np.abs(found.mean(axis=0) - mean) < 4.5 * (total / len(found)) ** 0.5).all()
        # Standard error of a covariance: √((σᵢ²σⱼ² + σᵢⱼ²) / n).
        error = np.sqrt((np.outer(total, total) + model**2) / len(found))
        assert (np.abs(np.cov(found, rowvar=False) - model) < 4.5 * error).all()


def test_planes_of_one_vector_fluctuate_apart() -> None:
    """Otherwise the noise of a code of many bits would be that of a parallel read."""
    chip = BASE.with_(**{"dac.mode": "bit_serial"})
    device, region = device_of(chip, converters=False)
    high = float(dac_limits(chip, True)[1])
    full = device.read(region, torch.full((1, 1, 8, DRAWS), high))[0, 0, 0].double()
    once = device.read(region, torch.full((1, 1, 8, DRAWS), 1.0))[0, 0, 0].double()
    bits = plane_weights(chip, True)
    wanted = sum(weight**2 for weight in bits)
    # Relative standard error of a ratio of variances: √(4 / n).
    assert float(full.var() / once.var()) == pytest.approx(wanted, rel=4.5 * (4 / DRAWS) ** 0.5)
    assert wanted < 0.5 * high**2

"""The simulated chip reads as slow, plain arithmetic over single cells says it should."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from pimc.chip.converters import adc_limits
from pimc.chip.design import Chip
from pimc.errors import DeviceError
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.door.device import Device
from pimc.runtime.door.sim import SimDevice

Array64 = npt.NDArray[np.float64]
BASE = Chip.default().with_array(8, 6)
QUIET = BASE.with_(**{"read_noise.relative": 0.0})
NOISY = BASE.with_(**{"read_noise.relative": 0.02, "read_noise.sigma_us": 0.3})
PEDESTALS = ("reference", "digital")


def addresses(array: int, wordlines: list[int], bitlines: list[int]) -> npt.NDArray[np.int64]:
    cells = (array * 8 + np.asarray(wordlines))[:, None] * 6 + np.asarray(bitlines)
    return cells.astype(np.int64)


def region(lsb_us: float = 3.0, signed: bool = True) -> Region:
    """Two blocks of four rows and five columns.

    The columns of a block lie in three reads: two of array 0, two on other wordlines of the same
    array, one of array 1. The second block lacks its last row.
    """
    blocks = []
    for first in (0, 4):
        rows = list(range(first, first + 4))
        other = [(row + 4) % 8 for row in rows]
        parts = (addresses(0, rows, [0, 3]), addresses(0, other, [1, 2]), addresses(1, rows, [5]))
        blocks.append(np.concatenate(parts, axis=1))
    blocks[1][3] = -1
    return Region("w", np.stack(blocks), lsb_us, signed)


READS = np.array([0, 0, 1, 1, 2])


def device_of(chip: Chip, *, seed: int = 5, **options: Any) -> SimDevice:
    die = Die.simulated(seed)
    device = SimDevice(die, chip, 2, **options)
    levels = np.random.default_rng(seed).integers(0, chip.cell.levels, 96).astype(np.uint16)
    device.program(np.arange(96), levels)
    return device


def vectors(chip: Chip, signed: bool, batch: int = 3, positions: int = 7) -> torch.Tensor:
    high = 2 ** (chip.dac.bits - 1) - 1 if signed else 2**chip.dac.bits - 1
    rng = np.random.default_rng(8)
    codes = rng.integers(-high if signed else 0, high + 1, (batch, 2, 4, positions))
    return torch.from_numpy(codes.astype(np.float32))


def currents(device: SimDevice, where: Region, inputs: torch.Tensor) -> Array64:
    """Column currents cell by cell in float64, µS times DAC code."""
    chip, state = device.chip, device.die.cells
    x = inputs.numpy().astype(np.float64)
    batch, blocks, rows, positions = x.shape
    result = np.zeros((batch, blocks, where.cells.shape[2], positions))
    for block, row, column in np.ndindex(where.cells.shape):
        cell = int(where.cells[block, row, column])
        if cell < 0:
            continue
        array, wordline, bitline = np.unravel_index(cell, state.level.shape)
        g = float(state.g_us[array, wordline, bitline])
        if chip.mapping.pedestal == "reference":
            g -= float(state.reference_us[array, wordline])
        result[:, block, column] += g * x[:, block, row]
    assert rows == where.cells.shape[1]
    return result


# --- without noise ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["offset", "differential", "sliced"])
@pytest.mark.parametrize("pedestal", PEDESTALS)
@pytest.mark.parametrize("signed", [False, True])
def test_a_read_is_the_sum_over_cells(kind: str, pedestal: str, signed: bool) -> None:
    chip = QUIET.with_(**{"mapping.kind": kind, "mapping.pedestal": pedestal})
    where, inputs = region(signed=signed), vectors(chip, signed)
    expected = currents(device_of(chip), where, inputs) / where.lsb_us
    analog = device_of(chip, converters=False).read(where, inputs).numpy()
    assert analog == pytest.approx(expected, abs=1e-5 * np.abs(expected).max())

    codes = device_of(chip).read(where, inputs).numpy()
    low, high = adc_limits(chip, signed)
    assert codes.shape == (3, 2, 5, 7)
    assert np.array_equal(codes, np.rint(codes))
    # Conductances are held in fixed point: half a quantum a row either way, so near a half
    # either code is right.
    quantum = chip.cell.g_max_us / 2**15
    doubt = 1e-3 + quantum / 2 * np.abs(inputs.numpy()).sum(axis=2, keepdims=True) / where.lsb_us
    clear = np.abs(expected - np.floor(expected) - 0.5) > doubt
    assert clear.mean() > 0.7
    assert np.array_equal(codes[clear], np.clip(np.rint(expected), low, high)[clear])
    assert (np.abs(codes - np.clip(expected, low, high)) <= 0.5 + doubt).all()


@pytest.mark.parametrize("pedestal", PEDESTALS)
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("signed", [False, True])
def test_codes_stop_at_the_ends_of_the_converter(pedestal: str, bits: int, signed: bool) -> None:
    chip = QUIET.with_(**{"mapping.pedestal": pedestal, "adc.bits": bits})
    low, high = adc_limits(chip, signed)
    assert high - low == 2**bits - 1
    codes = device_of(chip).read(region(1e-3, signed), vectors(chip, signed))
    assert codes.max() == high
    if signed or pedestal == "reference":
        assert codes.min() == low < 0
    else:
        assert codes.min() >= low == 0


def test_inputs_are_left_as_they_were() -> None:
    inputs = vectors(NOISY, True)
    before = inputs.clone()
    device_of(NOISY).read(region(), inputs)
    assert torch.equal(inputs, before)


def test_an_ideal_die_reads_without_noise() -> None:
    device = SimDevice(Die.ideal(), NOISY, 2)
    device.program(np.arange(96), np.full(96, 15, np.uint16))
    first, second = (device.read(region(), vectors(NOISY, True)) for _ in range(2))
    assert torch.equal(first, second)


def test_a_write_shows_in_the_next_read() -> None:
    device = device_of(QUIET, converters=False)
    where, inputs = region(), torch.zeros(1, 2, 4, 1)
    inputs[0, 0, 0, 0] = 100.0
    before = device.read(where, inputs)
    cell = where.cells[0, 0, 0]
    assert device.program(np.array([cell]), np.array([15], np.uint16)).all()
    after = device.read(where, inputs)
    assert device.written(np.array([cell])).tolist() == [15]
    assert (after != before).sum() == 1
    assert after.numpy() == pytest.approx(currents(device, where, inputs) / 3.0, rel=1e-5)


# --- read noise ------------------------------------------------------------------------------

DRAWS = 30_000


def noise_model(device: SimDevice, where: Region, x: Array64) -> Array64:
    """(blocks, columns, columns) covariance of one read, from the chip's description."""
    noise, state = device.chip.read_noise, device.die.cells
    blocks, _, columns = where.cells.shape
    result = np.zeros((blocks, columns, columns))
    for block in range(blocks):
        for row, code in enumerate(x[block]):
            for column, cell in enumerate(where.cells[block, row].tolist()):
                if cell < 0:
                    continue
                array, wordline, bitline = np.unravel_index(cell, state.level.shape)
                g = state.g_us[array, wordline, bitline]
                spread = (noise.relative * g) ** 2 + noise.sigma_us**2
                result[block, column, column] += code**2 * spread
                if device.chip.mapping.pedestal == "reference":
                    reference = state.reference_us[array, wordline]
                    spread = (noise.relative * reference) ** 2 + noise.sigma_us**2
                    same = READS[column] == READS
                    result[block, column, same] += code**2 * spread
    return result


def sampled(device: SimDevice, where: Region, x: Array64, rng: np.random.Generator) -> Array64:
    """(draws, blocks, columns): every cell and reference cell drawn anew for every read."""
    chip, state = device.chip, device.die.cells
    noise = chip.read_noise

    def drawn(g: npt.NDArray[np.float32]) -> Array64:
        sigma = np.sqrt((noise.relative * g.astype(np.float64)) ** 2 + noise.sigma_us**2)
        return g + sigma * rng.standard_normal((DRAWS, *g.shape))

    result = np.zeros((DRAWS, *where.cells.shape[::2]))
    for block, cells in enumerate(where.cells):
        present = cells[:, 0] >= 0
        cells, codes = cells[present], x[block][present]
        current = np.einsum("k,dkc->dc", codes, drawn(state.g_us.reshape(-1)[cells]))
        if chip.mapping.pedestal == "reference":
            for read in np.unique(READS):
                lines = cells[:, read == READS][:, 0] // chip.array.cols
                common = drawn(state.reference_us.reshape(-1)[lines]) @ codes
                current[:, read == READS] -= common[:, None]
        result[:, block] = current
    return result


@pytest.mark.parametrize("pedestal", PEDESTALS)
def test_read_noise_is_that_of_the_single_cells(pedestal: str) -> None:
    chip = NOISY.with_(**{"mapping.pedestal": pedestal})
    device, where = device_of(chip, converters=False), region(lsb_us=1.0)
    one = vectors(chip, True, batch=1, positions=1)
    x = one[0, :, :, 0].numpy().astype(np.float64)
    # Draws spread over the batch and over positions alike.
    inputs = one.expand(DRAWS // 100, -1, -1, 100)
    reads = device.read(where, inputs).permute(0, 3, 1, 2).flatten(0, 1).numpy().astype(np.float64)

    mean = currents(device, where, one)[0, :, :, 0]
    model = noise_model(device, where, x)
    oracle = sampled(device, where, x, np.random.default_rng(3))
    for draws in (reads, oracle):
        for block in range(2):
            sigma = np.sqrt(np.diag(model[block]))
            found = np.cov(draws[:, block], rowvar=False)
            assert (
                np.abs(draws[:, block].mean(axis=0) - mean[block]) < 4.5 * sigma / DRAWS**0.5
            ).all()
            # Standard error of a covariance: √((σᵢ²σⱼ² + σᵢⱼ²) / n).
            error = np.sqrt((np.outer(sigma**2, sigma**2) + model[block] ** 2) / DRAWS)
            assert (np.abs(found - model[block]) < 4.5 * error).all()
    # Columns read together share their reference; what is read apart shares nothing.
    shared = model[:, 0, 1] / model[:, 0, 0]
    assert (shared > 0.1).all() == (pedestal == "reference")
    assert (model[:, 0, 2:] == 0).all()


def test_reads_are_independent_over_vectors_and_blocks() -> None:
    device, where = device_of(NOISY, converters=False), region(lsb_us=1.0)
    one = vectors(NOISY, True, batch=1, positions=1)
    reads = device.read(where, one.expand(2, -1, -1, 20_000)).numpy()
    again = device.read(where, one.expand(2, -1, -1, 20_000)).numpy()
    pairs = {
        "neighbouring positions": (reads[0, 0, 0, 1:], reads[0, 0, 0, :-1]),
        "batch": (reads[0, 0, 0], reads[1, 0, 0]),
        "blocks": (reads[0, 0, 0], reads[0, 1, 0]),
        "the next read": (
            reads[0, 0, 0],
            again[0, 0, 0],
        ),
    }
    for name, (left, right) in pairs.items():
        assert abs(np.corrcoef(left, right)[0, 1]) < 4.5 / 20_000**0.5, name


def test_noise_is_repeatable_by_its_seed() -> None:
    inputs = vectors(NOISY, True)
    first, same, other = (
        device_of(NOISY, read_seed=seed, converters=False).read(region(), inputs)
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert (first != other).float().mean() > 0.8


def test_no_input_no_noise() -> None:
    codes = device_of(NOISY, converters=False).read(region(), torch.zeros(1, 2, 4, 9))
    assert (codes == 0).all()


def test_a_dead_wordline_gives_nothing_and_adds_no_noise() -> None:
    rates = {"faults.dead_row_rate": 0.5, "faults.dead_col_rate": 0.2}
    device, where = device_of(NOISY.with_(**rates), converters=False), region(lsb_us=1.0)
    dead = (device.die.cells.reference_us == 0.0).reshape(-1)
    lines = where.cells // 6
    on = np.where(where.cells >= 0, dead[lines], False).transpose(0, 2, 1)
    assert on.any()
    assert not on.all()
    # (blocks, rows): drive rows whose wordlines are dead in the array of one column.
    for column in range(5):
        inputs = torch.from_numpy(on[:, column].astype(np.float32) * 100)[None, :, :, None]
        assert (device.read(where, inputs)[:, :, column] == 0).all()
        alive = torch.from_numpy(~on[:, column]).float()[None, :, :, None] * 100
        assert (device.read(where, alive)[:, 0, column] != 0).all()


def test_it_counts_its_reads() -> None:
    device = device_of(BASE)
    assert device.reads == 0
    # Three reads for the columns of each of two blocks, by 3 · 7 vectors.
    device.read(region(), vectors(BASE, True))
    assert device.reads == 3 * 2 * 3 * 7
    device.read(region(), vectors(BASE, True, batch=1, positions=2))
    assert device.reads == 6 * (21 + 2)


# --- door ------------------------------------------------------------------------------------


def test_it_is_a_device() -> None:
    device = device_of(BASE)
    assert isinstance(device, Device)
    assert device.name == "sim:5"
    fresh = SimDevice(Die.simulated(1), BASE, 1)
    assert fresh.written(np.arange(48)).tolist() == [-1] * 48


def test_a_region_outside_the_die_is_refused() -> None:
    device = SimDevice(Die.simulated(1), BASE, 1)
    with pytest.raises(DeviceError, match="fewer arrays than the image uses"):
        device.read(region(), vectors(BASE, True))


def test_a_die_of_another_chip_is_refused() -> None:
    die = device_of(BASE).die
    with pytest.raises(DeviceError, match="other parameters"):
        SimDevice(die, BASE.with_sigma(0.2), 1)


@pytest.mark.parametrize("mode", ["parallel", "bit_serial"])
def test_vectors_are_read_in_parts_as_all_at_once(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has draws of its own."""
    chip = NOISY.with_(**{"dac.mode": mode})
    inputs = vectors(chip, True, 1, 9)
    whole, where = device_of(chip), region()
    first = [whole.read(where, inputs) for _ in range(2)]
    monkeypatch.setattr("pimc.runtime.door.sim_reads._AT_ONCE", 4 * 10)
    parts = device_of(chip)
    for codes in first:
        assert torch.equal(parts.read(where, inputs), codes)
    assert not torch.equal(*first)
    assert parts.reads == whole.reads
    assert parts.saturation == whole.saturation

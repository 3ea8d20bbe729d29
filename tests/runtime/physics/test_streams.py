"""A seed is the same die in every version: which number of which stream each error is drawn from.

Captures and images name a simulated die by its seed alone, so what is drawn for it must not change.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pimc.chip.design import Chip
from pimc.runtime.die.die import Die, Stuck
from pimc.runtime.physics import read_noise
from pimc.runtime.physics.philox import normal, uniform
from pimc.runtime.physics.streams import Stream, normals
from pimc.runtime.read.adc import adc_gain, adc_offset_lsb

Keys = dict[str, Any]
SEED, ARRAYS, ROWS, COLS = 2**40 + 17, 3, 10, 7
CELL = np.arange(ARRAYS * ROWS * COLS).reshape(ARRAYS, ROWS, COLS)
LINE = np.arange(ARRAYS * ROWS).reshape(ARRAYS, ROWS)
COLUMN = np.arange(ARRAYS * COLS).reshape(ARRAYS, COLS)
CHIP = Chip.default().with_array(ROWS, COLS)
#: What every cell is asked for, far from 0 µS.
LEVEL = 12
TARGET_US = CHIP.cell.g_levels_us[LEVEL]
MIDDLE_US = CHIP.cell.g_levels_us[8]


def die_of(writes: int = 1, **keys: Any) -> Die:
    die = Die.simulated(SEED)
    die.attach(CHIP.with_(**keys), ARRAYS)
    for _ in range(writes):
        die.program(CELL.reshape(-1), np.full(CELL.size, LEVEL, np.uint16))
    return die


def same(found: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> None:
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("writes", [1, 2, 5])
def test_a_write_draws_by_address_and_how_often_the_cell_was_written_before(writes: int) -> None:
    wanted = TARGET_US + 1.9 * normal(SEED, 0, CELL, writes - 1)
    same(die_of(writes).cells.g_us, wanted)


def test_reference_cells_draw_by_wordline() -> None:
    same(die_of().cells.reference_us, MIDDLE_US + 1.9 * normal(SEED, 2, LINE))


def test_faults_draw_by_address_and_by_line() -> None:
    rates = {"stuck_gmax": 0.1, "stuck_gmin": 0.2, "dead_row": 0.1, "dead_col": 0.15}
    keys: Keys = {f"faults.{name}_rate": rate for name, rate in rates.items()}
    cells = die_of(**keys).cells
    draw = uniform(SEED, 1, CELL)
    wanted = np.where(draw < 0.3, Stuck.AT_G_MIN, Stuck.FREE)
    wanted[draw < 0.1] = Stuck.AT_G_MAX
    wanted[uniform(SEED, 3, LINE) < 0.1] = Stuck.OPEN
    wanted[np.repeat(uniform(SEED, 4, COLUMN)[:, None] < 0.15, ROWS, axis=1)] = Stuck.OPEN
    assert set(np.unique(wanted)) == set(Stuck)
    assert np.array_equal(cells.stuck, wanted)


def test_variation_draws_by_address_by_line_and_by_column() -> None:
    shares = {"cell": 0.02, "row": 0.03, "col": 0.04}
    exact: Keys = {"cell.sigma": {"kind": "constant", "constant_us": 0.0}}
    keys: Keys = {f"variation.{name}_relative": share for name, share in shares.items()}
    cells = die_of(**exact, **keys).cells
    row = 0.03 * normal(SEED, 6, LINE)
    own = 0.02 * normal(SEED, 5, CELL) + 0.04 * normal(SEED, 7, COLUMN)[:, None]
    same(cells.g_us, TARGET_US * (1 + own + row[:, :, None]))
    reference = 0.02 * normal(SEED, 8, LINE) + 0.04 * normal(SEED, 9, np.arange(ARRAYS))[:, None]
    same(cells.reference_us, MIDDLE_US * (1 + reference + row))


@pytest.mark.parametrize("dead_rows", [0.0, 0.3])
def test_retention_draws_once_a_write(dead_rows: float) -> None:
    keys = {"kind": "log", "log_shift_us": -0.1, "log_sigma_us": 0.05, "sigma_1s_us": 0.2}
    chip: Keys = {"retention": keys, "faults.dead_row_rate": dead_rows}
    for writes in (1, 3):
        die = die_of(writes, **chip)
        before, reference = die.cells.g_us.copy(), die.cells.reference_us.copy()
        alive = reference > 0
        assert alive.all() == (dead_rows == 0)
        die.age(1000.0)
        shift, sigma = -0.1 * np.log(1000.0), 0.05 * np.log(1000.0) + 0.2
        cells = before + shift + sigma * normal(SEED, 10, CELL, writes - 1)
        same(die.held_us(CELL), np.where(alive[:, :, None], cells, 0.0))
        references = reference + shift + sigma * normal(SEED, 11, LINE)
        same(die.reference_held_us(LINE), np.where(alive, references, 0.0))


def test_traps_and_their_states() -> None:
    noise = CHIP.with_(
        **{
            "read_noise.rtn_share": 0.3,
            "read_noise.rtn_amplitude": 0.1,
            "read_noise.rtn_duty": 0.4,
            "read_noise.rtn_dwell_samples": 8,
        }
    ).read_noise
    for streams, trap, state in ((read_noise.CELL, 12, 13), (read_noise.REFERENCE, 14, 15)):
        found = read_noise.trapped(noise, SEED, streams, CELL)
        assert np.array_equal(found, uniform(SEED, trap, CELL) < 0.3)
        for sample in (0, 7, 8, 40):
            upper = uniform(99, state, CELL, sample // 8) < 0.4
            factor = read_noise.telegraph(noise, 99, streams, CELL, sample)
            same(factor, np.where(upper, 1 + 0.1 * 0.6, 1 - 0.1 * 0.4))


def test_converters_draw_by_column() -> None:
    keys: Keys = {"adc.gain_error": 0.02, "adc.offset_error_lsb": 1.5}
    die = die_of(**keys)
    same(adc_gain(die, COLUMN), 1 + 0.02 * normal(SEED, 32, COLUMN))
    same(adc_offset_lsb(die, COLUMN), 1.5 * normal(SEED, 33, COLUMN))


def test_further_draws_of_an_event_are_streams_far_apart() -> None:
    found = normals(3, SEED, Stream.PROGRAMMING, CELL, 2)
    assert found.shape == (3, *CELL.shape)
    for number, stream in enumerate((0, 256, 512)):
        assert np.array_equal(found[number], normal(SEED, stream, CELL, 2))
    assert max(Stream) < 256

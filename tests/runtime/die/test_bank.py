"""The bank of a region, cell by cell: what each conducts, fluctuates by and shares with others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pimc.chip.design import Chip
from pimc.errors import DeviceError
from pimc.runtime.die.bank import Bank, bank_of, periods
from pimc.runtime.die.die import Die, Stuck
from pimc.runtime.die.region import Region
from pimc.runtime.physics.disturb import PARTS, disturbed_us
from pimc.runtime.physics.read_noise import variance_us2

ROWS, COLS, ARRAYS = 6, 8, 3
NOISE = {"read_noise.relative": 0.03, "read_noise.log_us": 0.02}
FAULTS = {"faults.dead_row_rate": 0.15, "faults.dead_col_rate": 0.15, "faults.stuck_gmin_rate": 0.1}
DISTURB = {"disturb.tau0_s": 1e-3, "disturb.every_samples": 4}


def address(array: int, row: int, col: int) -> int:
    return (array * ROWS + row) * COLS + col


def region() -> Region:
    """Two blocks of four rows and five columns.

    The first lies in array 0, but for its last two columns, which lie in array 1 on other
    wordlines; the second has three rows and two columns less, in array 2, upside down.
    """
    cells = np.full((2, 4, 5), -1, np.int64)
    for row in range(4):
        for col in range(3):
            cells[0, row, col] = address(0, row + 1, 2 * col)
        for col in (3, 4):
            cells[0, row, col] = address(1, row, col + 1)
    for row in range(3):
        for col in range(3):
            cells[1, row, col] = address(2, 5 - row, col + 3)
    return Region("w", cells, 2.0, True)


def die_of(pedestal: str, age_s: float = 0.0, **keys: Any) -> Die:
    die = Die.simulated(11)
    chip = Chip.default().with_array(ROWS, COLS)
    die.attach(chip.with_(**{"mapping.pedestal": pedestal}, **keys), ARRAYS)
    size = die.cells.level.size
    die.program(np.arange(size), (np.arange(size) % 13 + 2).astype(np.uint16))
    if age_s:
        die.age(age_s)
    return die


def places(cells: np.ndarray) -> list[tuple[tuple[int, int, int], int]]:
    """Where there is a cell: its place in the region, and its address."""
    return [((int(b), int(r), int(c)), int(cells[b, r, c])) for b, r, c in np.argwhere(cells >= 0)]


def read_of(bank: Bank, block: int, column: int) -> int:
    return int(bank.read_of_column[block, column])


@pytest.mark.parametrize("keys", [{}, FAULTS], ids=["sound", "faults"])
@pytest.mark.parametrize("age_s", [0.0, 1e5])
@pytest.mark.parametrize("pedestal", ["reference", "digital"])
def test_every_cell_is_what_the_die_holds_at_its_address(
    pedestal: str, age_s: float, keys: dict[str, Any]
) -> None:
    where, die = region(), die_of(pedestal, age_s, **NOISE, **keys)
    bank, noise = bank_of(die, where), die.attached().read_noise
    g_us, stuck = die.cells.g_us.reshape(-1), die.cells.stuck.reshape(-1)
    reference_us = die.cells.reference_us.reshape(-1)
    assert bank.variance is not None
    assert (bank.reference_variance is None) == (pedestal == "digital")
    for (block, row, column), cell in places(where.cells):
        held, line = float(g_us[cell]), cell // COLS
        beside = float(reference_us[line]) if pedestal == "reference" else 0.0
        assert bank.g_us[block, row, column] == pytest.approx(held - beside, abs=1e-5)
        wanted = variance_us2(noise, np.array([held]), age_s)[0]
        wanted = 0.0 if stuck[cell] == Stuck.OPEN else wanted
        assert bank.variance[block, row, column] == pytest.approx(wanted, rel=1e-5)
        if bank.reference_variance is not None:
            wanted = variance_us2(noise, np.array([beside]), age_s)[0] if beside > 0 else 0.0
            found = bank.reference_variance[block, row, read_of(bank, block, column)]
            assert found == pytest.approx(wanted, rel=1e-5)
    nowhere = where.cells < 0
    assert not bank.variance[nowhere].any()
    # Padding beside cells is no wordline's.
    assert not bank.g_us[1, 3].any()


@pytest.mark.parametrize("pedestal", ["reference", "digital"])
def test_without_noise_there_is_nothing_to_draw(pedestal: str) -> None:
    for keys, perfect in (({"read_noise.relative": 0.0}, False), (NOISE, True)):
        die = die_of(pedestal, **keys)
        die.perfect = perfect
        bank = bank_of(die, region())
        assert bank.variance is None
        assert bank.reference_variance is None


def test_columns_of_one_array_are_read_together_and_others_take_a_read_of_their_own() -> None:
    bank = bank_of(die_of("reference", **NOISE), region())
    assert bank.read_of_column[0].tolist() == [0, 0, 0, 1, 1]
    assert len(set(bank.read_of_column[1, :3].tolist())) == 1
    assert bank.reads == 2 + len(set(bank.read_of_column[1].tolist()))


@pytest.mark.parametrize("pedestal", ["reference", "digital"])
def test_reads_disturb_cells_since_their_own_write_and_reference_cells_since_ever(
    pedestal: str,
) -> None:
    die = die_of(pedestal, **DISTURB, **{"read_noise.relative": 0.0}, **FAULTS)
    chip, where = die.attached(), region()
    die.cells.stress += (PARTS * np.arange(40, 40 + ARRAYS * ROWS)).reshape(ARRAYS, ROWS)
    # Some cells are written when half of that had been.
    die.cells.stress_before[:, :, ::2] = die.cells.stress[:, :, None] // 2
    # A device that counts less than the die knows of: cells are not read less than never.
    for stress in (None, die.cells.stress // 4):
        bank = bank_of(die, where, stress=stress)
        counted = (die.cells.stress if stress is None else stress).reshape(-1)
        for (block, row, column), cell in places(where.cells):
            line, held = cell // COLS, die.cells.g_us.reshape(-1)[cell].astype(np.float64)
            before = int(die.cells.stress_before.reshape(-1)[cell])
            reads = np.array([max(int(counted[line]) - before, 0) / PARTS])
            if die.cells.stuck.reshape(-1)[cell] == Stuck.FREE:
                held = disturbed_us(chip, held, reads)[0]
            beside = 0.0
            if pedestal == "reference":
                beside = die.cells.reference_us.reshape(-1)[line].astype(np.float64)
                if beside > 0:
                    beside = disturbed_us(chip, beside, counted[[line]] / PARTS)[0]
            assert bank.g_us[block, row, column] == pytest.approx(held - beside, abs=1e-4)


def test_a_bank_lasts_as_long_as_what_changes_in_it() -> None:
    base = Chip.default()
    rtn = {"read_noise.rtn_share": 0.1, "read_noise.rtn_dwell_samples": 12}
    assert periods(base) == ()
    assert periods(base.with_(**rtn)) == (12,)
    assert periods(base.with_(**DISTURB)) == (4,)
    assert periods(base.with_(**rtn, **DISTURB)) == (12, 4)


def test_a_region_beyond_the_die_is_refused() -> None:
    die = die_of("reference")
    last = np.full((1, 1, 1), die.cells.level.size - 1)
    assert bank_of(die, Region("w", last, 1.0, True)).g_us.shape == (1, 1, 1)
    with pytest.raises(DeviceError, match="fewer arrays than the image uses"):
        bank_of(die, Region("w", last + 1, 1.0, True))


@pytest.mark.parametrize("keys", [{}, {"array.wire_ohm": 2.0}, {"read_noise.relative": 0.0}],
                         ids=["plain", "wires", "quiet"])  # fmt: skip
def test_blocks_are_looked_at_in_parts_as_all_at_once(
    keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    die = die_of("reference", **{**NOISE, **FAULTS, **keys, "cell.iv_alpha": 0.1})
    whole = bank_of(die, region(), ir_drop="exact")
    monkeypatch.setattr("pimc.runtime.die.bank._AT_ONCE", 1)
    parts = bank_of(die, region(), ir_drop="exact")
    assert len(whole.curved) == 3 * bool(keys.get("array.wire_ohm"))
    for name, value in vars(whole).items():
        found = getattr(parts, name)
        if name == "curved":
            assert [one.block for one in found] == [one.block for one in value]
            assert all(np.array_equal(a.g_us, b.g_us) for a, b in zip(found, value, strict=True))
        else:
            assert np.array_equal(found, value), name

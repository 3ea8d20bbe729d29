"""Dies: errors as the chip says, drawn once a write whatever the order, kept in a file."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pimc.chip.design import Chip
from pimc.errors import DeviceError, UsageError
from pimc.files import container
from pimc.runtime.die.die import (
    FORMAT,
    UNWRITTEN,
    VERSION,
    Die,
    Stuck,
)

SMALL = Chip.default().with_array(8, 6)
FAULTY = Chip.default().with_(
    **{
        "array.rows": 200,
        "array.cols": 150,
        "faults.stuck_gmax_rate": 0.02,
        "faults.stuck_gmin_rate": 0.09,
    }
)


def die_of(chip: Chip, arrays: int = 1, seed: int = 1) -> Die:
    die = Die.simulated(seed)
    die.attach(chip, arrays)
    return die


def fill(die: Die, level: int) -> np.ndarray:
    """All cells written with ``level``; their conductances."""
    size = die.cells.level.size
    die.program(np.arange(size), np.full(size, level, np.uint16))
    return die.cells.g_us.reshape(-1).astype(np.float64)


# --- programming error -----------------------------------------------------------------------


@pytest.mark.parametrize("name", Chip.shipped())
def test_errors_have_the_moments_of_the_chip(name: str) -> None:
    chip = Chip.load(name).with_array(250, 400)
    cells = 100_000
    levels_us = np.asarray(chip.cell.g_levels_us)
    sigmas = chip.cell.sigma.sigma_us(levels_us)
    # Far enough from zero that no cell ends there.
    for level in np.flatnonzero(levels_us > 5 * sigmas)[[0, -1]].tolist():
        error = fill(die_of(chip), level) - levels_us[level]
        sigma = float(sigmas[level])
        assert abs(error.mean()) < 4 * sigma / cells**0.5
        assert abs(error.var() / sigma**2 - 1) < 4 * (2 / cells) ** 0.5
        assert stats.kstest(error / sigma, "norm").pvalue > 0.01


def test_no_cell_conducts_less_than_nothing() -> None:
    chip = SMALL.with_array(100, 100).with_sigma(0.5)
    held = fill(die_of(chip), 0)
    assert held.min() == 0.0
    # Target 2 µS, σ 19 µS: the part of a normal below −2/19.
    assert (held == 0.0).mean() == pytest.approx(stats.norm.cdf(-2 / 19), abs=0.02)


@settings(max_examples=25)
@given(st.permutations(range(48)), st.lists(st.integers(1, 47), max_size=5), st.integers(0, 2**63))
def test_order_and_batches_do_not_matter(order: list[int], cuts: list[int], seed: int) -> None:
    levels = np.arange(48, dtype=np.uint16) % 16
    together, apart = die_of(SMALL, seed=seed), die_of(SMALL, seed=seed)
    together.program(np.arange(48), levels)
    for part in np.split(np.asarray(order), sorted(cuts)):
        apart.program(part, levels[part])
    assert np.array_equal(together.cells.g_us, apart.cells.g_us)
    assert np.array_equal(together.cells.level.reshape(-1), levels)


def test_every_write_draws_anew() -> None:
    die = die_of(SMALL.with_array(100, 100))
    first, second, third = (fill(die, 8) for _ in range(3))
    for one, other in ((first, second), (second, third), (first, third)):
        assert (one != other).mean() > 0.99
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.04
    assert (die.cells.writes == 3).all()


def test_a_write_leaves_all_other_cells_alone() -> None:
    die = die_of(SMALL)
    before = fill(die, 8).copy()
    die.program(np.array([7]), np.array([3], np.uint16))
    changed = np.flatnonzero(die.cells.g_us.reshape(-1) != before.astype(np.float32))
    assert changed.tolist() == [7]
    assert die.cells.level.reshape(-1)[7] == 3


def test_seeds_make_dies() -> None:
    assert np.array_equal(fill(die_of(SMALL, seed=4), 8), fill(die_of(SMALL, seed=4), 8))
    assert (fill(die_of(SMALL, seed=4), 8) != fill(die_of(SMALL, seed=5), 8)).all()


def test_a_perfect_die_holds_what_was_written() -> None:
    die = Die.ideal()
    die.attach(FAULTY, 1)
    for level in (0, 7, 15):
        assert (fill(die, level) == np.float32(FAULTY.cell.g_levels_us[level])).all()
    assert (die.cells.reference_us == np.float32(FAULTY.cell.g_levels_us[8])).all()


def test_reference_cells_have_errors_of_their_own() -> None:
    chip = SMALL.with_array(50_000, 1)
    error = die_of(chip).cells.reference_us[0].astype(np.float64) - chip.cell.g_levels_us[8]
    assert abs(error.mean()) < 4 * 1.9 / 50_000**0.5
    assert abs(error.std() / 1.9 - 1) < 4 * (0.5 / 50_000) ** 0.5
    # The same draws where the chip gives them a σ of their own.
    better = die_of(chip.with_(**{"mapping.reference_sigma_us": 0.19})).cells
    smaller = better.reference_us[0].astype(np.float64) - chip.cell.g_levels_us[8]
    np.testing.assert_allclose(smaller, 0.1 * error, atol=1e-5)


# --- faults ----------------------------------------------------------------------------------


def test_stuck_cells_are_as_frequent_as_the_chip_says_and_stay() -> None:
    die = die_of(FAULTY, arrays=2)
    stuck = die.cells.stuck.reshape(-1).copy()
    for kind, rate in ((Stuck.AT_G_MAX, 0.02), (Stuck.AT_G_MIN, 0.09)):
        found = int((stuck == kind).sum())
        assert abs(found - 60_000 * rate) < 4 * (60_000 * rate * (1 - rate)) ** 0.5
    virgin = die.cells.g_us.reshape(-1).copy()
    for held in (virgin, fill(die, 3), fill(die, 12)):
        assert (held[stuck == Stuck.AT_G_MAX] == 40.0).all()
        assert (held[stuck == Stuck.AT_G_MIN] == 2.0).all()
    assert (die.cells.g_us.reshape(-1)[stuck == Stuck.FREE] != 2.0).all()
    assert np.array_equal(die.cells.stuck.reshape(-1), stuck)


def test_dead_lines_carry_no_current() -> None:
    rates = {"faults.dead_row_rate": 0.2, "faults.dead_col_rate": 0.1}
    die = die_of(SMALL.with_array(300, 200).with_(**rates), arrays=3)
    fill(die, 15)
    dead = die.cells.stuck == Stuck.OPEN
    assert (die.cells.g_us[dead] == 0.0).all()
    rows, cols = dead.all(axis=2), dead.all(axis=1)
    assert np.array_equal(dead, rows[:, :, None] | cols[:, None, :])
    assert rows.mean() == pytest.approx(0.2, abs=4 * (0.16 / 900) ** 0.5)
    assert cols.mean() == pytest.approx(0.1, abs=4 * (0.09 / 600) ** 0.5)
    # The reference cell of a dead wordline has no current either; a dead bitline is not its own.
    assert np.array_equal(die.cells.reference_us == 0.0, rows)
    # Another array has other dead lines.
    assert not np.array_equal(rows[0], rows[1])


# --- attaching -------------------------------------------------------------------------------


def test_more_arrays_later_are_the_arrays_from_the_start() -> None:
    grown, whole = die_of(FAULTY, arrays=1, seed=9), die_of(FAULTY, arrays=3, seed=9)
    fill(grown, 5)
    held = grown.cells.g_us[0].copy()
    grown.attach(FAULTY, 3)
    assert np.array_equal(grown.cells.g_us[0], held)
    assert np.array_equal(grown.cells.stuck, whole.cells.stuck)
    assert np.array_equal(grown.cells.reference_us, whole.cells.reference_us)
    assert (grown.cells.level[1:] == UNWRITTEN).all()
    grown.attach(FAULTY, 2)
    assert len(grown.cells.level) == 3


def test_a_die_of_another_chip_is_refused() -> None:
    die = die_of(SMALL)
    with pytest.raises(DeviceError, match="die of chip 'generic-128' with other parameters") as e:
        die.attach(SMALL.with_sigma(0.1), 1)
    assert e.value.where == "sim:1"
    assert e.value.hint


def test_a_die_of_no_chip_has_no_cells(tmp_path: Path) -> None:
    die = Die.simulated(3)
    with pytest.raises(DeviceError, match="belongs to no chip yet"):
        _ = die.cells
    with pytest.raises(DeviceError, match="belongs to no chip yet"):
        die.program(np.array([0]), np.array([0]))
    with pytest.raises(DeviceError, match="belongs to no chip yet"):
        die.save(tmp_path / "x.die")


# --- file ------------------------------------------------------------------------------------


def test_file_round_trip(tmp_path: Path) -> None:
    die = die_of(FAULTY, arrays=2, seed=2**63 + 11)
    fill(die, 6)
    die.save(tmp_path / "x.die")
    loaded = Die.load(tmp_path / "x.die")
    assert (loaded.seed, loaded.perfect, loaded.chip) == (die.seed, die.perfect, die.chip)
    for name, value in vars(die.cells).items():
        other = vars(loaded.cells)[name]
        assert other.dtype == value.dtype
        assert np.array_equal(other, value)
    # It goes on where it was: the next write draws the same error in both.
    assert np.array_equal(fill(loaded, 9), fill(copy.deepcopy(die), 9))
    loaded.attach(FAULTY, 3)
    with pytest.raises(DeviceError):
        loaded.attach(SMALL, 1)


def test_equal_dies_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        die = die_of(SMALL)
        fill(die, 3)
        die.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_damaged_die_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.die"
    die_of(SMALL).save(path)
    data = path.read_bytes()
    for broken in (b"", data[:-1], data[:200], data[:-1] + bytes([data[-1] ^ 1]), b"junk" * 99):
        path.write_bytes(broken)
        with pytest.raises(DeviceError):
            Die.load(path)
    with pytest.raises(DeviceError, match="no such file"):
        Die.load(tmp_path / "none.die")
    with pytest.raises(UsageError):
        die_of(SMALL).save(tmp_path / "none" / "x.die")


def test_dies_of_the_first_format_are_read_as_fresh(tmp_path: Path) -> None:
    path, die = tmp_path / "x.die", die_of(SMALL)
    fill(die, 3)
    die.save(path)
    manifest, tensors = container.load(path, FORMAT, VERSION, DeviceError)
    content = {name: manifest[name] for name in ("seed", "perfect", "chip")}
    old = {n: v for n, v in tensors.items() if n not in ("age_s", "stress", "stress_before")}
    container.save(path, *container.seal(FORMAT, 1, content, old))
    loaded = Die.load(path)
    assert loaded.clock_s == 0
    for name, value in vars(die.cells).items():
        assert np.array_equal(vars(loaded.cells)[name], value), name


def test_arrays_are_drawn_and_written_in_parts_as_all_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chip = FAULTY.with_array(8, 6).with_(**{"faults.dead_row_rate": 0.1, "disturb.tau0_s": 1e-3})
    levels = np.arange(7 * 48, dtype=np.uint16) % 16

    def written() -> tuple[Die, np.ndarray]:
        die = die_of(chip, 7)
        die.age(5.0)
        return die, die.program(np.arange(levels.size), levels)

    whole, accepted = written()
    for most in (1, 100, 150):
        monkeypatch.setattr("pimc.runtime.die.die._AT_ONCE", most)
        parts, same = written()
        assert np.array_equal(same, accepted)
        for name, value in vars(whole.cells).items():
            assert np.array_equal(getattr(parts.cells, name), value), name
    assert whole.cells.stuck.any()
    assert not whole.cells.age_s.any()

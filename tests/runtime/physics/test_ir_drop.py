"""What wires leave of a cell's current, against Kirchhoff's laws written out line by line."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.api import compile
from pimc.chip.design import Chip
from pimc.errors import ChipError, UsageError
from pimc.runtime.die.bank import Bank, bank_of
from pimc.runtime.die.die import Die, Stuck
from pimc.runtime.die.region import Region
from pimc.runtime.die.site import site_of
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.physics.ir_drop import METHODS
from pimc.runtime.session import Session
from tests.runtime.physics.kirchhoff import plain

Array64 = npt.NDArray[np.float64]

#: Currents in µA out of each bitline (columns) for 1 V on one wordline (rows) at a time, all
#: others at 0 V, 50 Ω a wire: badcrossbar 1.1.0, ``compute(numpy.eye(4), 1e6 / G_US, r_i=50)``.
G_US = np.array([[58, 101, 114], [125, 224, 179], [140, 223, 49], [37, 138, 11]], np.float64)
BADCROSSBAR_UA = np.array(
    [
        [54.762038, 91.197738, 105.056299],
        [116.910538, 198.900863, 161.893538],
        [132.783981, 203.436494, 45.861712],
        [36.050018, 131.434355, 10.673981],
    ]
)


def answer(method: str, g_us: Array64, wordlines: Any, rows: int, wire_ohm: float) -> Array64:
    wires = METHODS[method](g_us, np.asarray(wordlines), rows, wire_ohm)
    return wires.effective_us(g_us)


def test_it_agrees_with_stored_results_of_badcrossbar() -> None:
    assert answer("exact", G_US, range(4), 4, 50.0) == pytest.approx(BADCROSSBAR_UA, rel=1e-6)
    assert plain(G_US, 50.0) == pytest.approx(BADCROSSBAR_UA, rel=1e-6)


def test_it_agrees_with_badcrossbar() -> None:
    with warnings.catch_warnings(record=True):  # of drawing, which needs cairo
        badcrossbar = pytest.importorskip(
            "badcrossbar", reason="compared where badcrossbar is installed (it needs no cairo)"
        )
    rng = np.random.default_rng(7)
    g_us = rng.uniform(1, 40, (64, 64))
    inputs_v = rng.random((64, 3))
    solved = badcrossbar.compute(inputs_v, 1e6 / g_us, r_i=1.0, node_voltages=False)
    expected_ua = 1e6 * np.asarray(solved.currents.output)
    found_ua = inputs_v.T @ answer("exact", g_us, range(64), 64, 1.0)
    assert found_ua == pytest.approx(expected_ua, rel=1e-9)


# --- properties ------------------------------------------------------------------------------

shapes = st.tuples(st.integers(1, 6), st.integers(1, 6))


@given(shapes, st.floats(0.01, 500), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_the_exact_solution_obeys_kirchhoff(
    shape: tuple[int, int], wire_ohm: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = shape
    on = np.sort(rng.choice(rows, rng.integers(1, rows + 1), replace=False))
    g_us = np.zeros(shape)
    g_us[on] = rng.uniform(1, 300, (len(on), columns))
    # Wordlines that are not driven carry no current; the bitlines pass them by all the same.
    expected = plain(g_us, wire_ohm)
    assert answer("exact", g_us[on], on, rows, wire_ohm) == pytest.approx(expected[on], rel=1e-9)


@given(shapes, st.floats(0.01, 500), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_wires_take_and_never_give(shape: tuple[int, int], wire_ohm: float, seed: int) -> None:
    g_us = np.random.default_rng(seed).uniform(1, 300, shape)
    currents = {
        method: answer(method, g_us, range(shape[0]), shape[0], wire_ohm) for method in METHODS
    }
    ideal = g_us.sum(axis=0)
    for current in currents.values():
        assert (current > 0).all()
        assert (current.sum(axis=0) < ideal).all()
    # All wordlines at one voltage: no more comes out than a wire without loss would carry in.
    assert currents["exact"].sum() < 1e6 / wire_ohm * min(shape)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_without_resistance_nothing_is_lost(method: str) -> None:
    g_us = np.random.default_rng(1).uniform(1, 40, (8, 9))
    along, down = np.arange(1, 10), 8 - np.arange(8)
    drop = g_us @ np.minimum.outer(along, along) + np.minimum.outer(down, down) @ g_us
    for wire_ohm in (10.0, 1.0, 0.1, 1e-2, 1e-3):
        lost = 1 - answer(method, g_us, range(8), 8, wire_ohm) / g_us
        slope = lost / (wire_ohm * 1e-6 * drop)
        # What is lost goes to zero with the wire, with the slope of the first order.
        assert slope == pytest.approx(np.ones_like(slope), abs=1e-2 * wire_ohm)


LEVELS_US = np.linspace(1, 40, 16)


@pytest.mark.parametrize(
    ("wire_ohm", "g_us", "bound"),
    [
        (0.35, LEVELS_US, 0.001),
        (1.0, LEVELS_US, 0.004),
        (1.0, LEVELS_US[-1:], 0.008),
    ],
)
def test_first_order_is_within_two_per_cent_at_128x128(
    wire_ohm: float, g_us: Array64, bound: float
) -> None:
    rng = np.random.default_rng(0)
    g_us = rng.choice(g_us, (128, 128))
    full_scale = g_us.sum(axis=0).max()
    first, exact = (answer(name, g_us, range(128), 128, wire_ohm) for name in ("first", "exact"))
    inputs = np.concatenate(
        [np.ones((1, 128)), rng.random((50, 128)), rng.uniform(-1, 1, (50, 128))]
    )
    error = np.abs(inputs @ (first - exact)).max() / full_scale
    loss = np.abs(inputs @ (g_us - exact)).max() / full_scale
    assert error < bound < 0.02
    assert loss > 10 * bound


# --- in the bank -----------------------------------------------------------------------------

BASE = Chip.default().with_array(8, 6)
WIRED = BASE.with_(**{"array.wire_ohm": 20.0, "read_noise.relative": 0.02})


def written(chip: Chip, seed: int = 3) -> Die:
    die = Die.simulated(seed)
    die.attach(chip, 2)
    levels = np.random.default_rng(seed).integers(0, chip.cell.levels, 96)
    die.program(np.arange(96), levels.astype(np.uint16))
    return die


def region() -> Region:
    """One block of four rows, on wordlines out of order; columns 1 and 4 of array 1, 0 of array 0.

    Its last row has no cell.
    """
    wordlines = np.array([6, 1, 3, 0])
    cells = np.stack(
        [(8 + wordlines) * 6 + 1, (8 + wordlines) * 6 + 4, wordlines * 6], axis=1
    ).astype(np.int64)
    cells[3] = -1
    return Region("w", cells[None], 1.0, True)


def bank(chip: Chip, method: Any = "exact", die: Die | None = None) -> Bank:
    die = die or written(chip)
    return bank_of(die, region(), site=site_of(die, region(), method))


@pytest.mark.parametrize("pedestal", ["reference", "digital"])
def test_the_bank_holds_what_the_whole_array_answers(pedestal: str) -> None:
    chip = WIRED.with_(**{"mapping.pedestal": pedestal})
    die = written(chip)
    state = die.cells
    expected = np.zeros((4, 3))
    for columns, array, bitlines in (([0, 1], 1, [1, 4]), ([2], 0, [0])):
        # Everything on the driven wordlines carries current, other layers' cells too.
        driven = np.zeros((8, 7))
        driven[[6, 1, 3], :6] = state.g_us[array, [6, 1, 3]]
        if pedestal == "reference":
            driven[[6, 1, 3], 6] = state.reference_us[array, [6, 1, 3]]
            effective = plain(driven, 20.0)
            effective = effective[:, bitlines] - effective[:, 6:]
        else:
            effective = plain(driven[:, :6], 20.0)[:, bitlines]
        expected[:3, columns] = effective[[6, 1, 3]]
    assert bank(chip).g_us[0] == pytest.approx(expected, rel=1e-5, abs=1e-5)
    ideal = bank(chip.with_(**{"array.wire_ohm": 0.0})).g_us[0]
    assert np.abs(expected - ideal).max() > 0.05
    assert bank(chip, "first").g_us[0] == pytest.approx(expected, abs=5e-3)


def partly_written(chip: Chip) -> Die:
    """Only the cells of the region hold a write, and those of bitline 2 of array 1."""
    die = Die.simulated(3)
    die.attach(chip, 2)
    cells = region().cells[region().cells >= 0]
    cells = np.concatenate([cells, (8 + np.arange(8)) * 6 + 2])
    die.program(cells, (np.arange(len(cells)) % 16).astype(np.uint16))
    return die


@pytest.mark.parametrize("virgin_us", [None, 0.0, 0.05, 30.0])
def test_unwritten_cells_load_the_lines_with_what_they_conduct(virgin_us: float | None) -> None:
    """Of a partly filled array: the nodal solution with the virgin cells as the chip has them."""
    chip = WIRED.with_(**{"mapping.pedestal": "digital", "cell.virgin_us": virgin_us})
    die = partly_written(chip)
    state = die.cells
    expected = np.zeros((4, 3))
    for columns, array, bitlines in (([0, 1], 1, [1, 4]), ([2], 0, [0])):
        virgin = state.level[array] == -1
        assert 0 < virgin.sum() < virgin.size
        held = np.where(virgin, 2.0 if virgin_us is None else virgin_us, state.g_us[array])
        driven = np.zeros((8, 6))
        driven[[6, 1, 3]] = held[[6, 1, 3]]
        expected[:3, columns] = plain(driven, 20.0)[[6, 1, 3]][:, bitlines]
    assert bank(chip, die=die).g_us[0] == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert bank(chip, "first", die).g_us[0] == pytest.approx(expected, abs=2e-2)


def test_cells_that_were_never_written_take_less_the_less_they_conduct() -> None:
    chips = [
        WIRED.with_(**{"mapping.pedestal": "digital", "cell.virgin_us": virgin_us})
        for virgin_us in (0.0, 0.05, None, 30.0)
    ]
    for method in METHODS:
        arrives = [bank(chip, method, partly_written(chip)).g_us[0].sum() for chip in chips]
        assert (np.diff(arrives) < 0).all()
    # Once a cell is written it holds what it was written to, and without wires none is seen.
    chip = WIRED.with_(**{"cell.virgin_us": 0.05})
    assert np.array_equal(written(chip).cells.g_us, written(WIRED).cells.g_us)
    dry = [
        bank_of(partly_written(one), region()).g_us
        for one in (BASE, BASE.with_(**{"cell.virgin_us": 0.05}))
    ]
    assert np.array_equal(dry[0], dry[1])


def test_virgin_cells_are_those_that_no_fault_holds() -> None:
    rates = {
        "faults.stuck_gmax_rate": 0.2,
        "faults.stuck_gmin_rate": 0.2,
        "faults.dead_row_rate": 0.2,
    }
    chip = BASE.with_(**{"cell.virgin_us": 0.05}).with_(**rates)
    die = Die.simulated(1)
    die.attach(chip, 4)
    held = {
        kind: set(die.cells.g_us[die.cells.stuck == kind].tolist())
        for kind in (Stuck.FREE, Stuck.AT_G_MIN, Stuck.AT_G_MAX, Stuck.OPEN)
    }
    assert held == {
        Stuck.FREE: {float(np.float32(0.05))}, Stuck.AT_G_MIN: {2.0}, Stuck.AT_G_MAX: {40.0},
        Stuck.OPEN: {0.0},
    }  # fmt: skip


@pytest.mark.parametrize("method", sorted(METHODS))
def test_both_ways_to_read_see_virgin_cells(method: Any, tiny_model, tiny_inputs) -> None:
    """The fused read and the torch path give the same codes, which are not those of G_min."""
    outputs = {}
    for virgin_us in (None, 0.01):
        chip = Chip.default().with_array(32, 32)
        wired = {"array.wire_ohm": 100.0, "read_noise.relative": 0.0, "cell.virgin_us": virgin_us}
        image = compile(tiny_model(), chip.with_(**wired), calib=tiny_inputs)
        for fused in (True, False):
            device = SimDevice(
                Die.simulated(2), image.chip, image.arrays, ir_drop=method, fused=fused
            )
            program(image, device)
            assert (device.die.cells.level == -1).any()
            outputs[virgin_us, fused] = Session(image, die=device).run(None, {"x": tiny_inputs})[0]
    for virgin_us in (None, 0.01):
        assert np.allclose(outputs[virgin_us, True], outputs[virgin_us, False], atol=1e-4)
    assert np.abs(outputs[None, True] - outputs[0.01, True]).max() > 1e-2


def test_wires_carry_what_cells_hold_by_now() -> None:
    table = {"kind": "log", "log_shift_us": -0.3, "log_sigma_us": 0.04, "sigma_1s_us": 0.4}
    chip = WIRED.with_(**{"retention": table, "mapping.pedestal": "digital"})
    device = SimDevice(written(chip), chip, 2, converters=False, ir_drop="exact")
    one = torch.zeros(1, 1, 4, 4)
    one[0, 0, range(4), range(4)] = 100.0
    quiet = bank(chip, die=device.die).g_us[0].T
    device.read(region(), one)
    device.die.age(1e6)
    driven = np.zeros((8, 6))
    for row in (6, 1, 3):
        driven[row] = device.die.held_us((8 + row) * 6 + np.arange(6))
    expected = plain(driven, 20.0)[[6, 1, 3]][:, [1, 4]].T
    read = device.read(region(), one.expand(2000, -1, -1, -1)).mean(dim=0)[0, :2, :3] / 100
    error = 4.5 * 0.02 * expected / 2000**0.5
    assert (np.abs(read.numpy() - expected) < error + 1e-3).all()
    assert np.abs(expected - quiet[:2, :3]).max() > 1.0


@pytest.mark.parametrize("method", sorted(METHODS))
def test_wires_damp_the_noise_as_they_damp_the_current(method: Any) -> None:
    chip = WIRED.with_(**{"mapping.pedestal": "digital"})
    found = bank(chip, method)
    assert found.variance is not None
    sigma = np.sqrt(found.variance)
    assert sigma == pytest.approx(
        0.02 * found.g_us, rel=1e-5 if method == "first" else 0.02, abs=1e-4
    )
    ideal = bank(chip.with_(**{"array.wire_ohm": 0.0}))
    assert ideal.variance is not None
    assert (found.variance[0, :3] < ideal.variance[0, :3])[ideal.variance[0, :3] > 0].all()


def test_a_perfect_die_has_perfect_wires() -> None:
    die = Die.ideal()
    die.attach(WIRED, 2)
    die.program(np.arange(96), np.arange(96, dtype=np.uint16) % 16)
    levels_us = np.asarray(WIRED.cell.g_levels_us)
    held = levels_us[region().cells[0, :3] % 16] - levels_us[8]
    assert bank(WIRED, die=die).g_us[0, :3] == pytest.approx(held, rel=1e-6)


def test_dead_lines_stay_dead() -> None:
    chip = WIRED.with_(**{"faults.dead_row_rate": 0.4, "faults.dead_col_rate": 0.3})
    die = written(chip)
    dead = die.cells.stuck.reshape(-1)[region().cells] == Stuck.OPEN
    assert 0 < dead[0, :3].sum() < 9
    for method in METHODS:
        found = bank(chip, method, die)
        assert found.variance is not None
        assert np.isfinite(found.g_us).all()
        assert (found.variance[0, :3][dead[0, :3]] == 0).all()


def test_the_device_reads_through_its_wires() -> None:
    inputs = torch.from_numpy(np.random.default_rng(2).integers(-127, 128, (2, 1, 4, 5))).float()
    quiet = WIRED.with_(**{"read_noise.relative": 0.0})
    for method in ("first", "exact"):
        device = SimDevice(written(quiet), quiet, 2, converters=False, ir_drop=method)
        expected = torch.matmul(torch.from_numpy(bank(quiet, method).g_us[0]).T, inputs)
        assert device.read(region(), inputs).numpy() == pytest.approx(expected.numpy(), rel=1e-5)


def test_unknown_treatments_and_impossible_wires_are_refused() -> None:
    with pytest.raises(UsageError, match="no such treatment of IR drop: 'second'"):
        SimDevice(written(WIRED), WIRED, 2, ir_drop="second")  # type: ignore[arg-type]
    with pytest.raises(ChipError, match=r"array\.wire_ohm"):
        BASE.with_(**{"array.wire_ohm": -1.0})

"""Faults by name, from captures alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from pimc.api import Options
from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.chip.fault_map import Fault, FaultMap
from pimc.data.dataset import Dataset
from pimc.passes.recover.estimate import prior
from pimc.passes.recover.know.findings import Findings, findings
from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.recovery import Recovery
from pimc.runtime.capture import CaptureOptions
from pimc.runtime.die.die import Die
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice

OPTIONS = RecoverOptions(rounds=0, capture=CaptureOptions(vectors=192, repeats=4, images=32))
RATES: dict[str, Any] = {"faults.stuck_gmax_rate": 0.02, "faults.stuck_gmin_rate": 0.05}


def recovered(
    tiny_model, tiny_inputs, strategy: str = "selective", seed: int = 7, **more: Any
) -> tuple[Recovery, SimDevice]:
    chip = Chip.default().with_array(64, 32).with_sigma(0.02).with_(**more)
    image = compile_model(tiny_model(), chip, calib=tiny_inputs, options=Options(feedback=False))
    device = SimDevice(Die.simulated(seed), chip, image.arrays, read_seed=7)
    program(image, device)
    rng = np.random.default_rng(3)
    calib = Dataset.of(rng.standard_normal((96, 2, 8, 8)).astype(np.float32))
    return recover(image, device, calib, OPTIONS, strategy=strategy), device


def test_stuck_cells_are_named_by_where_they_sit(tiny_model, tiny_inputs) -> None:
    recovery, device = recovered(tiny_model, tiny_inputs, **RATES)
    image, found = recovery.image, recovery.findings
    assert found is not None
    levels = np.asarray(image.chip.cell.g_levels_us)
    held, wanted = device.die.cells.g_us, levels[image.levels]
    # No write of this chip lands ten standard deviations off.
    far = image.used & (np.abs(held - wanted) > 10 * 0.02 * np.ptp(levels))
    truth: dict[tuple[int, int | None, int | None], str] = {
        (int(a), int(r), int(c)): "stuck_gmin" if held[a, r, c] < levels.mean() else "stuck_gmax"
        for a, r, c in np.argwhere(far)
    }
    named = {(f.array, f.row, f.col): f.kind for f in found.faults}
    right = sum(truth.get(at) == kind for at, kind in named.items())
    assert len(truth) > 20
    assert right >= 0.9 * len(truth)
    stuck = image.used & (device.die.cells.stuck > 0)
    assert sum(bool(stuck[at]) for at in named) >= 0.95 * len(named)


def test_a_sound_die_has_no_faults(tiny_model, tiny_inputs) -> None:
    found = recovered(tiny_model, tiny_inputs)[0].findings
    assert found is not None
    assert found.faults == ()
    assert found.off_target == 0
    assert all(0 < sigma < 0.76 for sigma in found.uncertainty_us.values())  # what a write has


def test_dead_wordlines_are_named_as_lines(tiny_model, tiny_inputs) -> None:
    rates: dict[str, Any] = {"faults.dead_row_rate": 0.1, "faults.dead_col_rate": 0.1}
    dead, told = 0, 0
    for seed in (7, 10, 11, 13):
        recovery, device = recovered(tiny_model, tiny_inputs, seed=seed, **rates)
        found, used = recovery.findings, recovery.image.used
        assert found is not None
        stuck = device.die.cells.stuck > 0
        enough = used.sum(axis=2) >= 8
        rows = {(int(a), int(r)) for a, r in np.argwhere(stuck.all(axis=2) & enough)}
        named = {(fault.array, fault.row) for fault in found.faults if fault.col is None}
        assert named <= rows  # none is named that is sound,
        dead, told = dead + len(rows), told + len(named)
        for fault in found.faults:
            if fault.row is None:
                assert stuck[fault.array, :, fault.col].all()
    assert dead > 12
    assert told >= 0.8 * dead  # and hardly one stays unnamed


def test_nothing_is_found_where_nothing_was_identified(tiny_model, tiny_inputs) -> None:
    recovery, _ = recovered(tiny_model, tiny_inputs, "affine")
    assert recovery.findings is None
    image = recovery.image
    before = findings(image, {layer.index: prior(image, layer) for layer in image.layers})
    assert before.faults == ()


def test_what_is_found_is_a_fault_map(tmp_path) -> None:
    faults = (Fault(0, 3, None, "open"), Fault(1, None, 2, "open"), Fault(1, 4, 5, "stuck_gmin"))
    FaultMap(faults).save(tmp_path / "a.csv")
    assert FaultMap.load(tmp_path / "a.csv").faults == faults
    found = Findings(faults, 0, {}, 0.0, 0.0, 0.0, {})
    assert found.counts() == {"dead_cols": 1, "dead_rows": 1, "stuck_gmin": 1}

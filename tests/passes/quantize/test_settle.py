"""Compiled around known faults: the die that has them gives nearly what a sound one does."""

from __future__ import annotations

import numpy as np
import pytest

import pimc
from pimc import api
from pimc.chip.design import Chip
from pimc.chip.fault_map import Fault, FaultMap
from pimc.data.dataset import Dataset
from pimc.image.golden import golden_model
from pimc.image.image import Image
from pimc.passes.emit.emit import emit
from pimc.passes.layout.map_cells import MapCells
from pimc.passes.layout.schedule import Scheduling
from pimc.passes.options import Options
from pimc.passes.quantize.settle import Settle
from pimc.plan.records import Plan
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from pimc.studies.drawn import FRESH
from tests.passes.lowered_nets import golden
from tests.passes.quantize.turned import half_turned

#: Nothing but faults.
QUIET = {"read_noise": {}, "adc.bits": 12}


SEED = 900


def chip_of(kind: str, levels: int, **more: object) -> Chip:
    chip = Chip.default().with_array(64, 16).with_levels(levels).with_sigma(0.0)
    return chip.with_mapping(kind).with_(**QUIET, **more)


def faults_of(image: Image, seed: int) -> FaultMap:
    """What the die of a seed has."""
    kinds, die = ("", "stuck_gmin", "stuck_gmax", "open"), Die.simulated(seed)
    die.attach(image.chip, image.arrays)
    stuck = die.cells.stuck
    return FaultMap(
        tuple(Fault(a, r, c, kinds[stuck[a, r, c]]) for a, r, c in np.argwhere(stuck).tolist())
    )


def error(image: Image, model, inputs: np.ndarray, seed: int = SEED) -> float:
    """Squared error of the outputs that a die gives, a part of their power."""
    (wanted,) = golden(model, {"x": inputs})
    (found,) = FRESH.session(image, seed).run(None, {"x": inputs})
    return float(np.square(found - wanted).mean() / np.square(wanted).mean())


@pytest.mark.parametrize("kind", ["offset", "differential", "sliced"])
def test_a_die_with_known_faults_gives_nearly_what_a_sound_one_does(
    kind: str, tiny_model, tiny_inputs
) -> None:
    chip = chip_of(kind, 4, **{"faults.stuck_gmin_rate": 0.05, "faults.stuck_gmax_rate": 0.05})
    plain = pimc.compile(tiny_model(), chip, calib=tiny_inputs)
    sound = pimc.compile(tiny_model(), chip_of(kind, 4), calib=tiny_inputs)
    faults = faults_of(plain, SEED)
    around = pimc.compile(tiny_model(), chip, calib=tiny_inputs, faults=faults)
    natural, best, settled = (error(i, tiny_model(), tiny_inputs) for i in (plain, sound, around))
    assert settled < best + 0.2 * (natural - best)


def placed(model, chip: Chip, calib: np.ndarray) -> Plan:
    return api.plan(model, chip, calib=calib, stop_after="place")


def image_of(plan: Plan, chip: Chip) -> Image:
    return emit(Scheduling()(plan, chip), chip, {})


@pytest.mark.parametrize("same_currents", [True, False])
@pytest.mark.parametrize("kind", ["offset", "differential", "sliced"])
def test_turned_columns_compute_the_same_network(
    kind: str, same_currents: bool, tiny_model, tiny_inputs
) -> None:
    """On an ideal chip, in every way to compute it; ONNX Runtime is the first."""
    chip, feed = chip_of(kind, 16), {"x": tiny_inputs}
    plan = MapCells()(placed(tiny_model(), chip, tiny_inputs), chip)
    before = image_of(plan, chip)
    after = image_of(half_turned(plan, chip, same_currents=same_currents), chip)
    assert any((layer.gain < 0).any() for layer in after.layers)
    ways = [
        lambda image: golden(golden_model(image), feed),
        lambda image: Session(image, converters=False).run(None, feed),
    ]
    if same_currents:  # else converters round otherwise
        ways.append(lambda image: Session(image).run(None, feed))
    for give in ways:
        (wanted,), (found,) = give(before), give(after)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_it_settles_nothing_where_nothing_is_faulty(tiny_model, tiny_inputs) -> None:
    chip = chip_of("offset", 16)
    plain = pimc.compile(tiny_model(), chip, calib=tiny_inputs)
    elsewhere = FaultMap((Fault(99, 0, 0, "open"),))
    same = pimc.compile(tiny_model(), chip, calib=tiny_inputs, faults=elsewhere)
    assert {k: v.tobytes() for k, v in same.tensors.items()} == {
        k: v.tobytes() for k, v in plain.tensors.items()
    }


def test_ranges_fit_columns_that_turned(tiny_model, tiny_inputs) -> None:
    """Turned columns have another pedestal; without a new range the converters would clip it."""
    chip = chip_of("offset", 16)
    calib = tiny_inputs
    plan = MapCells(FaultMap((Fault(0, 0, 0, "open"),)), signs=False)(
        placed(tiny_model(), chip, calib), chip
    )
    turned = half_turned(plan, chip, same_currents=False)
    first = api.read(tiny_model(), None, None)
    calibration = api.calibration_on(first, Dataset.of(calib), Options())
    settled = Settle(FaultMap((Fault(0, 0, 0, "open"),)), calibration)(turned, chip)
    sound = error(image_of(plan, chip), tiny_model(), calib)
    assert error(image_of(settled, chip), tiny_model(), calib) < 1.5 * sound

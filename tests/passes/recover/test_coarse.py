"""Recovery from less than every tile's codes: sums of layers, or the network's outputs alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.errors import CaptureError, UsageError
from pimc.image.image import Image
from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.recovery import Recovery
from pimc.passes.recover.train.distill import DistillOptions
from pimc.runtime.capture import Capture, CaptureOptions, Record, capture
from pimc.runtime.die.die import Die
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session
from pimc.studies.evaluate import float_session

#: Digital work only, so that the results compare.
OPTIONS = RecoverOptions(
    rounds=0, influence_images=64, distill=DistillOptions(epochs=2, batch_size=32)
)


@dataclass(frozen=True)
class Lab:
    """A programmed chip, what it was captured with, and data nobody learns from."""

    image: Image
    device: SimDevice
    calib: Dataset
    unseen: np.ndarray

    def capture(self, record: Record) -> Capture:
        options = CaptureOptions(vectors=256, images=64, record=record)
        return capture(Session(self.image, die=self.device), self.calib, options)

    def recover(self, record: Record, **changes: Any) -> Recovery:
        options = replace(OPTIONS, **changes)
        return recover(self.image, None, self.calib, options, captured=self.capture(record))

    def distance(self, image: Image) -> float:
        (wanted,) = float_session(image).run(None, {"x": self.unseen})
        (found,) = Session(image, die=self.device).run(None, {"x": self.unseen})
        return float(((found - wanted) ** 2).mean() / wanted.var())


@pytest.fixture(scope="module")
def lab(tiny_model) -> Lab:
    x = np.random.default_rng(5).standard_normal((768, 2, 8, 8)).astype(np.float32)
    chip = Chip.default().with_array(16, 8).with_sigma(0.08)
    image = compile_model(tiny_model(), chip, calib=x[:64])
    device = SimDevice(Die.simulated(2), image.chip, image.arrays, read_seed=2)
    program(image, device)
    return Lab(image, device, Dataset.of(x[:512]), x[512:])


@pytest.fixture(scope="module")
def recoveries(lab) -> dict[Record, Recovery]:
    records: tuple[Record, ...] = ("codes", "sums", "outputs")
    return {record: lab.recover(record) for record in records}


def test_all_take_most_of_the_error_off(lab, recoveries) -> None:
    before = lab.distance(lab.image)
    left = {record: lab.distance(found.image) / before for record, found in recoveries.items()}
    assert left["codes"] < 0.3
    assert left["sums"] < 0.4
    assert left["outputs"] < 0.6


def test_it_is_told_what_was_known_and_how_well(recoveries) -> None:
    found = {record: recovery.findings for record, recovery in recoveries.items()}
    assert {record: one.record for record, one in recoveries.items()} == {r: r for r in found}
    known = {record: one.known_us / one.before_us for record, one in found.items()}
    assert known["codes"] < known["sums"] < 0.5
    assert known["outputs"] == 1.0
    assert set(found["codes"].unspanned.values()) == {0}
    assert all(found["outputs"].unspanned.values())


def test_outputs_of_other_inputs_are_refused(lab) -> None:
    captured = lab.capture("outputs")
    fewer = lab.calib.subset(np.arange(100))
    with pytest.raises(CaptureError, match="outputs for 512 samples, and there are 100"):
        recover(lab.image, None, fewer, OPTIONS, captured=captured)


def test_an_output_that_was_not_recorded_is_named(lab) -> None:
    captured = replace(lab.capture("outputs"), outputs={})
    with pytest.raises(CaptureError, match="output y was not recorded"):
        recover(lab.image, None, lab.calib, OPTIONS, captured=captured)


def test_ranges_are_not_tried_without_the_chip(lab) -> None:
    with pytest.raises(UsageError, match="ranges are tried on the chip"):
        lab.recover("codes", train=("ranges",))


@pytest.mark.parametrize("record", ["codes", "sums", "outputs"])
def test_a_file_keeps_what_there_is(lab, record, tmp_path) -> None:
    captured = lab.capture(record)
    captured.save(tmp_path / "a.pimccap")
    again = Capture.load(tmp_path / "a.pimccap", lab.image)
    assert again.record == captured.record == record
    for index, layer in captured.layers.items():
        for name, value in vars(layer).items():
            np.testing.assert_array_equal(getattr(again.layers[index], name), value)

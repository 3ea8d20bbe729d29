"""The whole loop on the shipped network, on dies that it knows only through the device protocol."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from pimc.api import Options
from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset, load_data
from pimc.image.image import Image, RecoveryNote
from pimc.passes.recover.loop import recover
from pimc.passes.recover.options import RecoverOptions
from pimc.passes.recover.recovery import Recovery
from pimc.passes.recover.train.distill import DistillOptions
from pimc.runtime.capture import Capture, CaptureOptions, capture
from pimc.runtime.door.program import program
from pimc.runtime.session import Session
from pimc.studies.evaluate import accuracy, float_session
from tests.passes.recover.closed_device import ClosedDevice

QUICK = RecoverOptions(
    rounds=1,
    influence_images=48,
    capture=CaptureOptions(vectors=256, repeats=2, images=32),
    distill=DistillOptions(epochs=1),
)


pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Shipped:
    image: Image
    calib: Dataset
    test: Dataset

    def accuracy(self, image: Image, device: Any) -> float:
        return accuracy(Session(image, die=device), self.test)


@pytest.fixture(scope="module")
def shipped(fashion) -> Shipped:
    calib = load_data(fashion)
    image = compile_model(
        fashion / "resnet8.onnx",
        Chip.default().with_sigma(0.08),
        calib=calib,
        options=Options(feedback=False, calibration_images=64),
    )
    test = load_data(fashion, role="test")
    some = calib.subset(np.arange(0, len(calib), 12))
    return Shipped(image, some, test.subset(np.arange(0, len(test), 8)))


@dataclass(frozen=True)
class Recovered:
    device: ClosedDevice
    before: float
    after: float
    bytes_before: bytes
    recovery: Recovery


@pytest.fixture(scope="module")
def recovered(shipped) -> Recovered:
    device = ClosedDevice(shipped.image, 3)
    before = shipped.accuracy(shipped.image, device)
    content = shipped.image.to_bytes()
    recovery = recover(shipped.image, device, shipped.calib, QUICK)
    return Recovered(device, before, shipped.accuracy(recovery.image, device), content, recovery)


def test_accuracy_on_data_never_seen_comes_back(shipped, recovered) -> None:
    in_float = accuracy(float_session(shipped.image), shipped.test)
    assert recovered.before < in_float - 0.2
    assert recovered.after > recovered.before + 0.15
    assert recovered.after > in_float - 0.06
    assert recovered.recovery.measured


def test_writes_stay_within_the_budget_and_are_told(shipped, recovered) -> None:
    recovery, device = recovered.recovery, recovered.device
    budget = int(QUICK.budget * shipped.image.used.sum())
    assert 0.5 * budget < recovery.cells_rewritten <= budget
    assert recovery.cells_rewritten == len(device.writes) == len(recovery.writes)
    assert sum(stage.cells_written for stage in recovery.stages) == len(device.writes)
    cells, before, after, number = recovery.writes.T
    assert sorted(zip(cells.tolist(), after.tolist(), strict=True)) == sorted(device.writes)
    np.testing.assert_array_equal(before, shipped.image.levels.reshape(-1)[cells])
    assert set(number.tolist()) == {1}


def test_the_next_image_is_what_the_device_holds(shipped, recovered) -> None:
    image = recovered.recovery.image
    cells = np.flatnonzero(shipped.image.used)
    held = recovered.device.written(cells)
    np.testing.assert_array_equal(image.levels.reshape(-1)[cells], held)
    np.testing.assert_array_equal(image.tiles.table(), shipped.image.tiles.table())
    assert image.recovery == RecoveryNote(
        parent=shipped.image.sha256,
        die="sim:3",
        strategy="selective",
        cells_rewritten=len(recovered.device.writes),
        rounds=1,
    )
    assert Image.build(image.manifest, image.tensors).sha256 == image.sha256 != shipped.image.sha256


def test_the_input_image_stays_as_it_was(shipped, recovered) -> None:
    assert shipped.image.to_bytes() == recovered.bytes_before


def test_the_report_tells_the_steps(recovered) -> None:
    stages = recovered.recovery.stages
    assert [stage.name for stage in stages[:4]] == [
        "as programmed",
        "column gain and offset",
        "column gain and offset, spread of the float network",
        "rewriting, round 1",
    ]
    first, *fits, rewritten = (stage.loss for stage in stages[:4])
    assert rewritten < min(fits) < first
    (kept,) = (stage for stage in stages if stage.kept)
    assert kept.loss == min(stage.loss for stage in stages[3:])
    assert all(0 <= (stage.agreement or 0) <= 1 for stage in stages)
    first, last = stages[0].layer_errors, kept.layer_errors
    assert list(first) == list(last) == [layer.name for layer in recovered.recovery.image.layers]
    assert all(last[name] < first[name] for name in first)
    assert recovered.recovery.seconds >= sum(stage.seconds for stage in stages) * 0.99


def test_from_a_capture_alone_a_programmable_image_comes(shipped, tmp_path) -> None:
    """A lab's way: capture, recover without the chip, write the cells, use the image."""
    device = ClosedDevice(shipped.image, 4)
    before = shipped.accuracy(shipped.image, device)
    options = QUICK.capture
    capture(Session(shipped.image, die=device), shipped.calib, options).save(tmp_path / "a.pimccap")
    captured = Capture.load(tmp_path / "a.pimccap", shipped.image)
    reads = device.reads
    recovery = recover(
        shipped.image, None, shipped.calib, replace(QUICK, rounds=3), captured=captured
    )
    assert (device.reads, device.writes) == (reads, [])
    assert not recovery.measured
    note = recovery.image.recovery
    assert note is not None
    assert note.die == "sim:4"
    assert set(recovery.writes[:, 3].tolist()) == {1}
    assert 0 < recovery.cells_rewritten <= 0.1 * shipped.image.used.sum()
    done = program(recovery.image, device)
    assert done.cells_written == recovery.cells_rewritten
    assert shipped.accuracy(recovery.image, device) > before + 0.1

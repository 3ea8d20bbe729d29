"""The digital side is gone on from where it serves, and left as it was where it does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pimc.image.image import Image
from pimc.passes.recover import DistillOptions, RecoverOptions, Recovery, recover
from pimc.passes.recover.digital import calibrate
from pimc.runtime.capture import CaptureOptions
from tests.passes.recover.closed_device import ClosedDevice
from tests.passes.recover.deep_net import deep_image, deep_inputs

pytestmark = pytest.mark.usefixtures("one_thread")

OPTIONS = RecoverOptions(
    rounds=0, cost_images=0, capture=CaptureOptions(64, 2), distill=DistillOptions(epochs=0)
)


@pytest.fixture
def spoilt(monkeypatch) -> None:
    """Columns are fitted three times too steep."""
    fitted = calibrate.fitted_line

    def too_steep(*arguments: Any) -> Any:
        slope, offset = fitted(*arguments)
        return 3 * slope, offset

    monkeypatch.setattr(calibrate, "fitted_line", too_steep)


@pytest.fixture(scope="module")
def image() -> Image:
    return deep_image(4, 16, 0.02, deep_inputs())


def recovered(image: Image, strategy: str) -> Recovery:
    return recover(image, ClosedDevice(image, 5), deep_inputs(), OPTIONS, strategy=strategy)


def gains(image: Image) -> np.ndarray:
    return np.concatenate([np.ravel(layer.gain) for layer in image.layers])


@pytest.mark.usefixtures("spoilt")
@pytest.mark.parametrize("strategy", ["affine", "selective"])
def test_a_fit_that_loses_is_not_kept(image: Image, strategy: str) -> None:
    recovery = recovered(image, strategy)
    before, fit = recovery.stages[:2]
    assert fit.loss > before.loss
    assert not fit.kept
    np.testing.assert_array_equal(gains(recovery.image), gains(image))


@pytest.mark.usefixtures("spoilt")
def test_what_the_reference_columns_add_is_taken_off_all_the_same(image: Image) -> None:
    recovery = recovered(image, "selective")
    names = ["column gain and offset", "column gain and offset, spread of the float network"]
    *fits, as_before = recovery.stages[1:4]
    assert [stage.name for stage in fits] == names
    assert as_before.name == "column gain and offset, columns as before"
    assert as_before.kept
    assert as_before.loss < recovery.stages[0].loss
    assert any(np.any(layer.row_correction) for layer in recovery.image.layers)


@pytest.mark.usefixtures("spoilt")
def test_training_begins_from_what_was_kept(image: Image) -> None:
    one = replace(OPTIONS, distill=DistillOptions(epochs=1))
    device, data = ClosedDevice(image, 5), deep_inputs()
    trained = recover(image, device, data, one)
    (fit,) = (s for s in trained.stages if s.name == "column gain and offset")
    assert trained.stages[-1].name == "distilling, epoch 1"
    assert trained.stages[-1].loss < fit.loss / 2

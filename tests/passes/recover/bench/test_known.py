"""What is held out, and what of the data fits into memory."""

from __future__ import annotations

import pytest

from pimc.passes.recover import DistillOptions, RecoverOptions, recover
from pimc.passes.recover.bench.known import held_out_part
from pimc.passes.recover.recovery import Basis, Limit
from pimc.passes.recover.watch import layers
from pimc.runtime.capture import CaptureOptions
from tests.passes.recover.closed_device import ClosedDevice
from tests.passes.recover.deep_net import WIDTH, deep_image, deep_inputs

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("samples", "asked", "held_out"),
    [
        (16, None, 8),
        (64, None, 32),
        (100, None, 32),
        (320, None, 32),
        (2000, None, 200),
        (64, 0.1, 6),
        (2000, 0.2, 400),
    ],
)
def test_of_few_samples_more_than_a_tenth_is_held_out(samples, asked, held_out) -> None:
    assert round(held_out_part(samples, asked) * samples) == held_out


def basis_of(count: int) -> Basis:
    data = deep_inputs(count)
    image = deep_image(2, 16, 0.05, data)
    options = RecoverOptions(
        rounds=0, capture=CaptureOptions(64, 1), distill=DistillOptions(epochs=0)
    )
    found = recover(image, ClosedDevice(image, 1), data, options)
    assert found.floor.samples == found.basis.held_out
    return found.basis


def test_what_the_figures_stand_on_is_told() -> None:
    assert basis_of(64) == Basis(samples=64, held_out=32)


def test_images_that_do_not_fit_into_memory_are_told(monkeypatch) -> None:
    # Two layers of 24 outputs and one of 4: nine samples' fit.
    monkeypatch.setattr(layers, "_VALUES", 9 * (2 * WIDTH + 4))
    assert basis_of(80).limits == (
        # One layer at a time: 9 · 52 / 24.
        Limit("gains and offsets are fitted", asked=48, used=19),
        Limit("the cost of single layers is estimated", asked=32, used=9),
        Limit("the errors of layers are measured", asked=32, used=16),
    )

"""Compensation of drift: what it brings back, and that it leaves alone what does not drift."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pimc.api import Options, compile
from pimc.chip.design import Chip
from pimc.errors import UsageError
from pimc.image.image import Image
from pimc.runtime.compensation import Compensated, ages_of, compensated, driven_rows, without
from pimc.runtime.die.die import Die
from pimc.runtime.door.sim_driver import simulated
from pimc.runtime.session import Session
from tests.lab import install

YEAR = 31_557_600.0
#: No error but what the converters round.
EXACT: dict[str, Any] = {
    "cell.sigma.fraction_of_range": 0.0,
    "read_noise.relative": 0.0,
    "adc.bits": 12,
}
#: A power law that all cells follow alike.
COMMON = EXACT | {"physics.time.drift.exponent": 0.06, "physics.time.drift.spread": 0.0}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch)


def outputs(image: Image, age_s: float, x: np.ndarray, die: Die | None = None) -> np.ndarray:
    """What a die gives that is aged behind the session's back."""
    die = die or Die.simulated(900)
    session = Session(image, die=die)
    die.age(age_s)
    return session.run(None, {"x": x})[0]


def away(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - wanted) ** 2)) / wanted.std())


def learnt(image: Image, x: np.ndarray, from_s: float = 0.0) -> Compensated:
    return compensated(image, {"x": torch.from_numpy(x)}, from_s=from_s)


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize(
    "mapping",
    [
        {"kind": "offset"},
        {"kind": "offset", "pedestal": "digital"},
        {"kind": "differential", "pair": "rows"},
        {"kind": "differential", "pair": "arrays"},
        {"kind": "sliced", "slice_ratio": 4, "pedestal": "digital"},
    ],
)
def test_a_common_power_law_is_brought_back(
    mapping: dict[str, Any], tiny_model: Any, tiny_inputs: np.ndarray, tiny_chip: Chip
) -> None:
    """To what rounding of the converters leaves, whatever the cells of a weight are."""
    chip = tiny_chip.with_(**COMMON, **{f"mapping.{key}": v for key, v in mapping.items()})
    image = compile(tiny_model(), chip, calib=tiny_inputs, options=Options(feedback=False))
    found = learnt(image, tiny_inputs).image
    fresh = outputs(image, 0.0, tiny_inputs)
    for age_s in (3_000.0, 10 * YEAR):
        assert away(outputs(image, age_s, tiny_inputs), fresh) > 0.2
        assert away(outputs(found, age_s, tiny_inputs), fresh) < 0.01
    # Nothing is done to cells that are as they were.
    np.testing.assert_array_equal(outputs(found, 0.0, tiny_inputs), fresh)


@pytest.mark.usefixtures("lab")
def test_without_data_and_with_dynamic_ranges_too(
    dynamic_image: Image, tiny_inputs: np.ndarray
) -> None:
    image = dynamic_image.with_chip(dynamic_image.chip.with_(**COMMON))
    found = compensated(image).image
    assert found.drift is not None
    assert not found.drift.calibrated
    fresh = outputs(image, 0.0, tiny_inputs)
    assert away(outputs(image, YEAR, tiny_inputs), fresh) > 0.2
    # The image was compiled for converters of eight bits, and these round so.
    assert away(outputs(found, YEAR, tiny_inputs), fresh) < 0.04


@pytest.mark.usefixtures("lab")
def test_where_ranges_follow_the_inputs_gains_alone_make_up_for_it(
    dynamic_image: Image, tiny_inputs: np.ndarray
) -> None:
    """An offset would have to follow them, too: none is stated, and none is counted on."""
    image = cmo(dynamic_image)
    driven = tiny_inputs + 3
    done = learnt(image, driven)
    for layer in done.image.layers:
        assert layer.drift_offset is not None
        assert not layer.drift_offset.any()
    fresh, plain, left = (
        outputs(one, age_s, driven)
        for one, age_s in ((image, 0.0), (image, YEAR), (done.image, YEAR))
    )
    assert away(left, fresh) < away(plain, fresh)


@pytest.mark.parametrize("from_s", [-1.0, float("nan"), float("inf")])
def test_an_age_that_is_none_is_refused(tiny_image: Image, from_s: float) -> None:
    with pytest.raises(UsageError, match="from_s"):
        compensated(cmo(tiny_image), from_s=from_s)


def test_a_chip_that_does_not_drift_gives_the_image_back(
    tiny_image: Image, tiny_inputs: np.ndarray
) -> None:
    found = learnt(tiny_image, tiny_inputs)
    assert found.costs == ()
    assert found.image is tiny_image


def test_an_ideal_die_gives_exactly_the_same(tiny_image: Image, tiny_inputs: np.ndarray) -> None:
    """Its cells do not drift, however old it is."""
    image = cmo(tiny_image)
    found = learnt(image, tiny_inputs).image
    for age_s in (0.0, YEAR):
        wanted = outputs(image, age_s, tiny_inputs, Die.ideal())
        np.testing.assert_array_equal(outputs(found, age_s, tiny_inputs, Die.ideal()), wanted)


def cmo(image: Image, **changes: Any) -> Image:
    """The image on a chip whose cells relax, and are cut off at the ends of the range."""
    drift = {
        "retention.kind": "log",
        "retention.log_shift_us": -0.5,
        "retention.log_sigma_us": 0.0,
        "retention.sigma_1s_us": 0.0,
        "retention.within_range": True,
    }
    return image.with_chip(image.chip.with_(**(EXACT | drift | changes)))


def test_a_shift_that_the_ends_of_the_range_cut_off(
    tiny_image: Image, tiny_inputs: np.ndarray
) -> None:
    """The lowest level cannot drift further down, so no gain brings all back; most comes back."""
    image = cmo(tiny_image)
    done = learnt(image, tiny_inputs)
    for cost in done.costs[1:]:
        assert cost.after < cost.before / 2
        assert cost.spread == pytest.approx(0.0, abs=1e-9)
    fresh = outputs(image, 0.0, tiny_inputs)
    plain, left = (away(outputs(one, YEAR, tiny_inputs), fresh) for one in (image, done.image))
    assert left < plain / 1.5


def test_what_scatters_is_told_and_stays(tiny_image: Image, tiny_inputs: np.ndarray) -> None:
    image = cmo(tiny_image, **{"retention.log_sigma_us": 0.1})
    costs = learnt(image, tiny_inputs).costs
    spreads = [cost.spread for cost in costs]
    assert spreads == sorted(spreads)
    assert costs[-1].spread > costs[-1].after


def test_an_image_fitted_to_an_aged_die_starts_there(
    tiny_image: Image, tiny_inputs: np.ndarray
) -> None:
    image, month = cmo(tiny_image), 2.6e6
    found = learnt(image, tiny_inputs, from_s=month).image
    assert found.drift is not None
    assert found.drift.ages_s[0] == month
    as_it_was = outputs(image, month, tiny_inputs)
    np.testing.assert_array_equal(outputs(found, month, tiny_inputs), as_it_was)
    later = (away(outputs(one, 10 * YEAR, tiny_inputs), as_it_was) for one in (image, found))
    plain, left = later
    assert left < plain


def test_a_gain_that_recovery_fitted_is_kept(tiny_image: Image, tiny_inputs: np.ndarray) -> None:
    """The tables hold for any gain and bias: what they add stands before both."""
    image = cmo(tiny_image)
    fitted = image.with_layers(
        replace(layer, gain=layer.gain * 1.5, bias=layer.bias - 0.1) for layer in image.layers
    )
    one, two = (learnt(each, tiny_inputs).image for each in (image, fitted))
    for first, second in zip(one.layers, two.layers, strict=True):
        if first.index == 0:  # what follows is driven otherwise
            np.testing.assert_array_equal(first.drift_gain, second.drift_gain)
            np.testing.assert_array_equal(first.drift_offset, second.drift_offset)


def test_it_is_learnt_anew_and_taken_off(tiny_image: Image, tiny_inputs: np.ndarray) -> None:
    image = cmo(tiny_image)
    found = learnt(image, tiny_inputs).image
    assert learnt(found, tiny_inputs).image.sha256 == found.sha256
    assert without(found).sha256 == image.sha256
    assert without(image) is image


# --- the age that it is done for ---------------------------------------------------------------


def test_a_session_follows_its_die(tiny_image: Image, tiny_inputs: np.ndarray) -> None:
    image = cmo(tiny_image)
    found = learnt(image, tiny_inputs).image
    die = Die.simulated(900)
    session = Session(found, die=die)
    feed = {"x": tiny_inputs}
    before = session.run(None, feed)[0]
    die.age(YEAR)
    aged = session.run(None, feed)[0]
    np.testing.assert_array_equal(aged, outputs(found, YEAR, tiny_inputs))
    assert (aged != before).any()
    np.testing.assert_array_equal(session.with_die(Die.simulated(900)).run(None, feed)[0], before)


def test_the_age_of_a_chip_that_does_not_know_it_is_told(
    tiny_image: Image, tiny_inputs: np.ndarray
) -> None:
    image = cmo(tiny_image)
    found = learnt(image, tiny_inputs).image

    def aged_session(age_s: float | None) -> np.ndarray:
        die = Die.simulated(900)
        Session(image, die=die)  # writes it
        die.age(YEAR)
        chip = simulated(
            die, image, seed=0, ir_drop="first", processor="cpu", converters=True
        )  # fmt: skip
        return Session(found, die=Forgetful(chip), age_s=age_s).run(None, {"x": tiny_inputs})[0]

    # It does not read whole layers, so sums are rounded in another order.
    wanted, plain = (outputs(one, YEAR, tiny_inputs) for one in (found, image))
    np.testing.assert_allclose(aged_session(YEAR), wanted, atol=1e-5)
    np.testing.assert_allclose(aged_session(None), plain, atol=1e-5)
    assert np.abs(wanted - plain).max() > 0.01


class Forgetful:
    """A chip on a bench: no ability but what a device must have."""

    def __init__(self, chip: Any) -> None:
        self.name, self.program = chip.name, chip.program
        self.written, self.read = chip.written, chip.read


@pytest.mark.parametrize("age_s", [-1.0, float("nan"), float("inf")])
def test_an_age_is_a_time_that_has_passed(tiny_image: Image, age_s: float) -> None:
    with pytest.raises(UsageError, match="age_s"):
        Session(tiny_image, age_s=age_s)
    with pytest.raises(UsageError, match="from_s"):
        compensated(tiny_image, from_s=age_s)


# --- its parts ---------------------------------------------------------------------------------


def test_ages_are_decades_and_what_the_chip_states() -> None:
    ages = ages_of(Chip.load("neurram"))
    assert ages[:2] == (1.0, 10.0)
    assert 86_400.0 in ages
    assert ages[-1] >= 30 * YEAR
    later = ages_of(Chip.load("cmo"), 3e6)
    assert later[0] == 3e6
    assert later[-1] >= 30 * YEAR
    assert len(ages_of(Chip.load("cmo"), 1e12)) > 1


def test_rows_are_driven_as_the_data_drive_them(tiny_image: Image, tiny_inputs: np.ndarray) -> None:
    layer = tiny_image.layers[0]
    drives = driven_rows(tiny_image, {"x": torch.from_numpy(tiny_inputs)})
    session = Session(tiny_image)
    codes = session.layers[layer.name].convert(torch.from_numpy(tiny_inputs))[0].numpy()
    drive = drives[layer.name]
    np.testing.assert_allclose(drive.mean.reshape(-1), codes.mean(axis=(0, 2)), atol=1e-6)
    np.testing.assert_allclose(drive.variance.reshape(-1), codes.var(axis=(0, 2)), rtol=1e-6)
    assert set(drives) == {one.name for one in tiny_image.layers}

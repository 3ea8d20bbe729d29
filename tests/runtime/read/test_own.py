"""Terms of a laboratory's own on simulated dies: each does what its class says, and only that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from pimc.api import compile
from pimc.chip.converters import plane_weights
from pimc.chip.design import Chip
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session
from tests.lab import install

Array64 = npt.NDArray[np.float64]

#: A chip on which nothing happens that the test does not ask for.
QUIET = (
    Chip.default()
    .with_array(8, 4)
    .with_sigma(0.0)
    .with_(**{"read_noise.relative": 0.0, "dac.bits": 4})
)
HIGH = 7
DRAWS = 60_000
#: Standard errors that a statistic may be off.
BOUND = 5.0


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch)


def device_of(keys: dict[str, Any], *, seed: int = 3, **options: Any) -> SimDevice:
    """A die whose first array is written with levels of all kinds."""
    chip = QUIET.with_(**keys)
    options = {"converters": False, "read_seed": 5} | options
    device = SimDevice(Die.simulated(seed), chip, 3, **options)
    cells = np.arange(32)
    device.program(cells, (cells * 5 % 16).astype(np.uint16))
    return device


def region_of(array: int = 0, lsb_us: float = 1.0) -> Region:
    cells = np.arange(32).reshape(1, 8, 4) + 32 * array
    return Region(f"layer {array}", cells, lsb_us, signed=True)


def repeated(codes: list[int], count: int = DRAWS) -> torch.Tensor:
    """One input vector, read over and over: half of it samples, half of it positions."""
    column = torch.tensor(codes, dtype=torch.float32)[None, None, :, None]
    return column.expand(count // 2, 1, 8, 2)


def held(device: SimDevice) -> tuple[Array64, Array64]:
    """What cells and reference cells of the first array conduct, µS."""
    cells = device.die.held_us(np.arange(32)).reshape(8, 4).astype(np.float64)
    return cells, device.die.reference_held_us(np.arange(8)).astype(np.float64)


# --- reads ----------------------------------------------------------------------------------


def drive(mode: str, power: int, x: Array64) -> Array64:
    """Factor of each row's variance: |v|^power a read, v the share of the full voltage."""
    if mode == "bit_serial":
        planes = [(np.abs(x).astype(int) // w % 2, w) for w in (1, 2, 4)]
        return np.sum([w**2 * (bits if power else np.ones(8)) for bits, w in planes], axis=0)
    if power == 0:
        return np.full(8, float(HIGH**2))
    if power == 1 or mode == "pulse_count":
        return np.abs(x) * HIGH
    return x**2


@pytest.mark.parametrize("pedestal", ["reference", "digital"])
@pytest.mark.parametrize("mode", ["parallel", "bit_serial", "pulse_count"])
@pytest.mark.parametrize(
    ("keys", "power", "variance_us2"),
    [
        ({"physics.read.shot.factor_us": 0.5}, 1, lambda g: 0.5 * g),
        ({"physics.read.thermal.sigma_us": 0.7}, 0, lambda g: np.full(g.shape, 0.49)),
        ({"physics.read.flicker.relative": 0.1}, 2, lambda g: (0.1 * g) ** 2),
    ],
)
def test_noise_of_reads_has_the_variance_of_its_class(
    keys: dict[str, Any],
    power: int,
    variance_us2: Callable[[Array64], Array64],
    mode: str,
    pedestal: str,
) -> None:
    codes = [7, -5, 3, 0, -7, 1, 0, 6]
    device = device_of({**keys, "dac.mode": mode, "mapping.pedestal": pedestal})
    x, (g, reference) = np.array(codes, np.float64), held(device)
    found = device.read(region_of(), repeated(codes)).double().numpy()
    values = np.moveaxis(found[:, 0], 1, 0).reshape(4, -1)
    squares = drive(mode, power, x)
    own, common = squares @ variance_us2(g), 0.0
    if pedestal == "reference":
        common = float(squares @ variance_us2(reference))
        g = g - reference[:, None]
    assert np.abs(values.mean(axis=1) - x @ g).max() < BOUND * np.sqrt((own + common) / DRAWS).max()
    error = BOUND * (2 / DRAWS) ** 0.5
    assert values.var(axis=1) == pytest.approx(own + common, rel=error)
    covariance = np.cov(values)[np.triu_indices(4, 1)]
    assert covariance == pytest.approx(common, abs=error * float((own + common).max()))


def test_noise_of_several_terms_adds_up() -> None:
    codes = [7, -5, 3, 0, -7, 1, 0, 6]
    terms = [
        {"read_noise.relative": 0.05},
        {"physics.read.shot.factor_us": 0.5},
        {"physics.read.thermal.sigma_us": 0.7},
        {"physics.read.flicker.relative": 0.1},
    ]
    variances = [
        device_of(keys).read(region_of(), repeated(codes)).double().var(dim=(0, 3))
        for keys in (*terms, {key: v for keys in terms for key, v in keys.items()})
    ]
    assert torch.allclose(variances[-1], sum(variances[:-1], torch.zeros(())), rtol=0.03)


def test_noise_that_goes_with_the_square_takes_the_fast_path(
    tiny_model: Any, tiny_inputs: np.ndarray
) -> None:
    for key, whole in (("flicker", True), ("shot", False)):
        chip = Chip.default().with_array(16, 8).with_(**{f"physics.read.{key}": {}})
        image = compile(tiny_model(), chip, calib=tiny_inputs)
        outputs = []
        for fused in (True, False):
            device = SimDevice(Die.simulated(1), chip, image.arrays, fused=fused)
            program(image, device)
            assert device.reads_whole(image.layers[0]) == (whole and fused)
            outputs.append(Session(image, die=device).run(None, {"x": tiny_inputs})[0])
        assert np.abs(outputs[0] - outputs[1]).max() < 1e-2 * np.ptp(outputs[0])
    # Perfect cells have no noise at all.
    ideal = SimDevice(Die.ideal(), chip, image.arrays)
    assert ideal.reads_whole(image.layers[0])


# --- cells ------------------------------------------------------------------------------------


def test_cells_hold_what_the_class_makes_of_them() -> None:
    plain, device = device_of({}), device_of({"physics.cell.relax.share": 0.25})
    g, reference = held(plain)
    relaxed, beside = held(device)
    for before, after in ((g, relaxed), (reference, beside)):
        expected = before + 0.25 * (20.0 - before)
        drawn = (after - expected) / 0.5
        assert 0.4 < drawn.std() < 1.6
        assert len(np.unique(np.round(drawn, 6))) == drawn.size
    exact = device_of({"physics.cell.relax": {"share": 0.25, "sigma": 0.0}})
    assert held(exact)[0] == pytest.approx(g + 0.25 * (20.0 - g), abs=1e-5)


def test_every_write_draws_anew_in_whatever_order() -> None:
    keys = {"physics.cell.relax": {"share": 0.0, "sigma": 1.0}}
    whole, parts = device_of(keys), device_of(keys)
    first = held(whole)[0]
    cells = np.arange(32)
    levels = (cells * 5 % 16).astype(np.uint16)
    whole.program(cells, levels)
    for part in (cells[20:], cells[:20][::-1]):
        parts.program(part, levels[part])
    assert np.array_equal(held(whole)[0], held(parts)[0])
    assert not np.isclose(held(whole)[0], first).any()
    assert not np.array_equal(held(device_of(keys, seed=4))[0], first)


def test_other_draws_stay_what_they_are() -> None:
    """A term changes nothing but what it is about, and no other term."""
    noise = {"cell.sigma": {"kind": "constant", "constant_us": 1.0}, "read_noise.relative": 0.05}
    nothing = {
        "physics.cell.relax": {"share": 0.0, "sigma": 0.0},
        "physics.time.drift": {"exponent": 0.0, "spread": 0.0},
        "physics.read.thermal.sigma_us": 0.0,
        "physics.converter.inl": {},
        "physics.converter.drivers": {},
    }
    x = repeated([7, -5, 3, 0, -7, 1, 0, 6], 64)
    one, two = device_of(noise, converters=True), device_of(noise | nothing, converters=True)
    for device in (one, two):
        device.die.age(60.0)
    assert np.array_equal(held(one)[0], held(two)[0])
    region = region_of(lsb_us=8.0)
    assert torch.equal(one.read(region, x), two.read(region, x))
    relax = {"physics.cell.relax": {"share": 0.0, "sigma": 1.0}}
    alone, beside = device_of(relax), device_of(relax | {"physics.converter.drivers": {}})
    assert np.array_equal(held(alone)[0], held(beside)[0])


# --- time -------------------------------------------------------------------------------------


def test_time_does_what_the_class_says() -> None:
    device = device_of({"physics.time.drift": {"exponent": 0.05, "spread": 0.02}})
    fresh, fresh_beside = held(device)
    assert np.array_equal(fresh, held(device_of({}))[0])
    exponents = []
    for age_s in (99.0, 9_900.0):
        device.die.age(age_s)
        total = device.die.clock_s
        now, beside = held(device)
        found = [-np.log(after / before) / np.log1p(total)
                 for before, after in ((fresh, now), (fresh_beside, beside))]  # fmt: skip
        exponents.append(np.concatenate([part.reshape(-1) for part in found]))
    # Each cell keeps its exponent.
    assert exponents[0] == pytest.approx(exponents[1], rel=1e-3)
    spread = exponents[0].std()
    assert abs(exponents[0].mean() - 0.05) < BOUND * 0.02 / 40**0.5
    assert spread == pytest.approx(0.02, rel=BOUND / (2 * 40) ** 0.5)
    device.program(np.arange(4), np.full(4, 15, np.uint16))
    assert held(device)[0][0] == pytest.approx(40.0)


# --- converters -------------------------------------------------------------------------------


def test_adc_errors_are_in_codes_before_rounding() -> None:
    keys = {"physics.converter.inl.bow": 4.0}
    plain, bent = (device_of(k, converters=True) for k in ({}, keys))
    x = torch.randint(-7, 8, (50, 1, 8, 3), generator=torch.Generator().manual_seed(0)).float()
    region = region_of(lsb_us=1.0)
    codes = plain.read(region, x).double().numpy()
    moved = bent.read(region, x).double().numpy() - codes
    inside = np.abs(codes) < 120
    # Each column has a factor of its own, the same at every read.
    for column in range(4):
        chosen, there = inside[:, :, column], codes[:, :, column]
        shape, found = np.cos(there[chosen] / 40.0), moved[:, :, column][chosen]
        factor = shape @ found / (shape @ shape) / 4.0
        assert np.abs(found - 4.0 * factor * shape).max() < 1.1
        assert 0.05 < abs(factor) < 4.0
    assert torch.equal(bent.read(region, x).double(), torch.from_numpy(moved + codes))


def test_noise_of_conversions_is_drawn_anew_for_every_column() -> None:
    device = device_of({"physics.converter.inl.noise": 3.0}, converters=True)
    found = device.read(region_of(lsb_us=2.0), repeated([1, -1, 0, 0, 1, 0, 0, 0])).double()
    values = np.moveaxis(found.numpy()[:, 0], 1, 0).reshape(4, -1)
    # Rounding adds 1/12.
    assert values.var(axis=1) == pytest.approx(9.0 + 1 / 12, rel=BOUND * (2 / DRAWS) ** 0.5)
    covariance = np.cov(values)[np.triu_indices(4, 1)]
    assert np.abs(covariance).max() < BOUND * 9.0 / DRAWS**0.5


def test_dac_errors_are_those_of_the_wordlines() -> None:
    keys = {"physics.converter.drivers.gain": 0.1, "mapping.pedestal": "digital"}
    device = device_of(keys)
    g, _ = held(device)
    single = torch.eye(8)[None, None].expand(1, 1, 8, 8) * HIGH
    currents = device.read(region_of(), single)[0, 0].double().numpy()
    gains = currents / (HIGH * g.T)
    # All columns of a row meet the same gain.
    assert gains == pytest.approx(np.broadcast_to(gains.mean(axis=0), gains.shape), rel=1e-4)
    assert 0.03 < gains.mean(axis=0).std() < 0.25
    # Of another array they are others.
    other = device_of(keys)
    other.program(np.arange(32, 64), (np.arange(32) * 5 % 16).astype(np.uint16))
    elsewhere = other.read(region_of(1), single)[0, 0].double().numpy() / (HIGH * g.T)
    assert not np.allclose(elsewhere, gains, rtol=1e-3)


def test_columns_in_several_arrays_have_drivers_of_their_own() -> None:
    keys = {"physics.converter.drivers": {"gain": 0.1, "noise": 0.05}}
    device = device_of(keys)
    device.program(np.arange(32, 64), (np.arange(32) * 5 % 16).astype(np.uint16))
    both = np.concatenate([np.arange(32).reshape(1, 8, 4), np.arange(32, 64).reshape(1, 8, 4)], 2)
    wide = Region("layer 0", both, 1.0, signed=True)
    x = torch.randint(-7, 8, (20, 1, 8, 3), generator=torch.Generator().manual_seed(0)).float()
    found = device.read(wide, x)
    # The first array's columns are those of a region of it alone.
    assert torch.allclose(found[:, :, :4], device_of(keys).read(region_of(), x), rtol=1e-5)
    silent = {"physics.converter.drivers.gain": 0.1}
    device = device_of(silent)
    device.program(np.arange(32, 64), (np.arange(32) * 5 % 16).astype(np.uint16))
    found = device.read(Region("layer 0", both, 1.0, signed=True), x)
    alone = [device.read(region_of(n), x) for n in (0, 1)]
    assert torch.allclose(found, torch.cat(alone, dim=2), rtol=1e-5)


@pytest.mark.parametrize("mode", ["parallel", "bit_serial", "pulse_count"])
def test_noise_of_drivers_is_drawn_in_every_read(mode: str) -> None:
    keys = {
        "physics.converter.drivers.noise": 0.02,
        "dac.mode": mode,
        "mapping.pedestal": "digital",
    }
    device = device_of(keys)
    g, _ = held(device)
    found = device.read(region_of(), repeated([3, 0, -7, 5, 0, 1, 2, -2])).double().numpy()
    values = np.moveaxis(found[:, 0], 1, 0).reshape(4, -1)
    each = sum(w**2 for w in plane_weights(device.chip, True)) if mode == "bit_serial" else HIGH**2
    wanted = 0.02**2 * each * (g.T @ g)
    assert np.cov(values) == pytest.approx(wanted, rel=BOUND * (2 / DRAWS) ** 0.5)


@pytest.mark.parametrize("mode", ["parallel", "bit_serial", "pulse_count"])
def test_noise_follows_what_drivers_really_put_on_wordlines(mode: str) -> None:
    """Codes are whole numbers, what drivers make of them is not."""
    keys = {
        "physics.converter.drivers.gain": 0.1, "read_noise.relative": 0.1, "dac.mode": mode,
        "mapping.pedestal": "digital", "adc.bits": 16,
    }  # fmt: skip
    x, region = repeated([1, 3, -2, 1, 7, 5, 3, -6], 2000), region_of(lsb_us=0.05)
    codes, currents = (
        device_of(keys, converters=converters).read(region, x).double()
        for converters in (True, False)
    )
    # The draws are the same.
    assert codes.numpy().std(axis=(0, 3)) == pytest.approx(
        currents.numpy().std(axis=(0, 3)), rel=0.01
    )


# --- whole networks -----------------------------------------------------------------------------

ALL: dict[str, Any] = {
    "physics.read.shot.factor_us": 0.05,
    "physics.cell.relax": {"share": 0.02, "sigma": 0.3},
    "physics.time.drift": {},
    "physics.converter.inl": {"bow": 0.5, "noise": 0.3},
    "physics.converter.drivers": {"gain": 0.02, "noise": 0.01},
}


@pytest.fixture
def image(tiny_model: Any, tiny_inputs: np.ndarray) -> Image:
    chip = Chip.default().with_array(16, 8).with_(**ALL)
    return compile(tiny_model(), chip, calib=tiny_inputs)


def test_outputs_depend_on_seeds_and_on_no_batch(image: Image, tiny_inputs: np.ndarray) -> None:
    def outputs(*, seed: int = 1, die: int = 2, batch: int = 32) -> npt.NDArray[np.float32]:
        session = Session(image, die=(specimen := Die.simulated(die)), seed=seed)
        specimen.age(3600.0)
        parts, x = range(0, 32, batch), tiny_inputs[:32]
        return np.concatenate([session.run(None, {"x": x[i : i + batch]})[0] for i in parts])

    wanted = outputs()
    assert np.array_equal(outputs(), wanted)
    # Up to float rounding, which may move a code where it is on the border of two.
    for batch in (1, 5, 16):
        near = np.isclose(outputs(batch=batch), wanted, rtol=1e-4, atol=1e-5)
        assert near.mean() > 0.95
    assert not np.isclose(outputs(seed=2), wanted, rtol=1e-3).mean() > 0.5
    assert not np.isclose(outputs(die=3), wanted, rtol=1e-3).mean() > 0.5


def test_a_perfect_die_has_none_of_it(image: Image, tiny_inputs: np.ndarray) -> None:
    plain = image.updated(chip=image.chip.with_(physics=None).to_dict())
    x = {"x": tiny_inputs}
    assert np.array_equal(Session(image).run(None, x)[0], Session(plain).run(None, x)[0])

"""Quantizing without data: as good as with all rows looked at, and ranges that leave room."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pimc.api import compile as compile_model
from pimc.chip.codebook import Codebook, codebook
from pimc.chip.converters import adc_limits
from pimc.chip.design import Chip
from pimc.files.weights.weight import Weight
from pimc.passes.quantize.coarse import NearestCodes, coarse_grid, weight_error
from pimc.passes.quantize.rounding import (
    Grid,
    choose_grid,
    covering_scale,
    round_nearest,
    weights_of,
)
from pimc.runtime.die.die import Die
from pimc.runtime.door.abilities import saturation_of
from pimc.runtime.session import Session
from tests.passes.lowered_nets import model_of, node

Array64 = npt.NDArray[np.float64]
BASE = Chip.default().with_sigma(0.1)
#: σ falls with the conductance, so that errors depend on the code.
FALLING = BASE.with_(
    **{"cell.sigma": {"kind": "polynomial", "variable": "x", "coefficients_us": [6.0, -5.0]}}
)
UNEVEN = BASE.with_(
    **{
        "cell.levels": 5,
        "cell.spacing": "table",
        "cell.g_levels_us": [2.0, 3.0, 7.0, 18.0, 40.0],
    }
)
EVEN = [
    BASE,
    BASE.with_levels(2),
    BASE.with_levels(3),
    FALLING,
    BASE.with_mapping("differential"),
    BASE.with_levels(4).with_mapping("sliced"),
]
NAMES = ["base", "two", "three", "falling", "differential", "sliced"]
even_chips = pytest.mark.parametrize("chip", EVEN, ids=NAMES)
every_chip = pytest.mark.parametrize("chip", [*EVEN, UNEVEN], ids=[*NAMES, "uneven"])


def drawn(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Normal weights, columns of unlike mean and size, of which float32 and float64 agree."""
    rng = np.random.default_rng(seed)
    size = 10.0 ** rng.uniform(-2, 2, (shape[0], 1, shape[2]))
    weight = size * (rng.standard_normal(shape) + rng.uniform(-1, 1, size.shape))
    return weight.astype(np.float32)


def cost(weight: npt.NDArray[Any], grid: Grid, book: Codebook, share: float) -> Array64:
    """(groups, cols) expected squared error of the weights once they are written."""
    wanted = weight.astype(np.float64)
    codes = round_nearest(wanted, grid, book)
    error = (weights_of(book, grid, codes) - wanted) ** 2
    written = grid.scale[:, None] ** 2 * book.sigma_us[codes] ** 2
    summed: Array64 = (error + share * written).sum(axis=1)
    return summed


# --- grid ------------------------------------------------------------------------------------


@every_chip
@pytest.mark.parametrize("share", [0.0, 0.4])
@pytest.mark.parametrize("shape", [(2, 50, 7), (1, 128, 20), (1, 20, 1100)])
def test_the_grid_of_few_rows_is_that_of_all_of_them(
    chip: Chip, share: float, shape: tuple[int, int, int]
) -> None:
    book, weight = codebook(chip), drawn(*shape)
    found = coarse_grid(Weight(weight), book, share)
    wanted = choose_grid(weight.astype(np.float64), np.ones(shape[:2]), book, share)
    own, best = (cost(weight, grid, book, share) for grid in (found, wanted))
    np.testing.assert_allclose(own, best, rtol=1e-4, atol=1e-9)
    assert np.isclose(found.scale, wanted.scale).mean() > 0.99
    assert found.zero.dtype == np.uint16


@even_chips
@pytest.mark.parametrize("by_column", [False, True])
def test_the_grid_of_many_rows_is_hardly_worse_and_clips_no_large_weight(
    chip: Chip, by_column: bool
) -> None:
    book, weight = codebook(chip), drawn(2, 700, 120)
    weight[:, 613] *= 4  # a row that evenly spread ones miss
    laid = weight.transpose(0, 2, 1).copy().transpose(0, 2, 1) if by_column else weight
    found = coarse_grid(Weight(laid), book, 1.0)
    wanted = choose_grid(weight.astype(np.float64), np.ones(weight.shape[:2]), book, 1.0)
    ratio = cost(weight, found, book, 1.0) / cost(weight, wanted, book, 1.0)
    assert ratio.mean() < 1.05
    covering = covering_scale(weight.astype(np.float64), found.zero, book)
    part = found.scale / covering
    assert part.min() > 0.449
    assert part.max() < 1.001


@every_chip
def test_the_grid_follows_the_unit_of_the_weights(chip: Chip) -> None:
    book, weight = codebook(chip), drawn(1, 60, 30)
    grid, other = (coarse_grid(Weight(unit * weight), book, 1.0) for unit in (1, 1024))
    np.testing.assert_allclose(other.scale, 1024 * grid.scale)
    assert np.array_equal(other.zero, grid.zero)


# --- codes -----------------------------------------------------------------------------------


@every_chip
def test_codes_are_the_nearest_of_every_block(chip: Chip) -> None:
    book, weight = codebook(chip), drawn(2, 40, 30)
    grid = coarse_grid(Weight(weight), book, 0.0)
    codes = NearestCodes(Weight(weight), grid, book)
    wanted = round_nearest(weight.astype(np.float64), grid, book)
    assert codes.shape == wanted.shape
    assert len(np.unique(wanted)) == len(book.values_us)
    for block in (np.s_[:, :, :], np.s_[1:, 5:20, 3:9], np.s_[0:1, :, 29:]):
        assert codes[block].dtype == np.uint16
        assert np.array_equal(codes[block], wanted[block])
        assert np.array_equal(codes.of(block, weight[block]), wanted[block])
    assert np.array_equal(codes[1, 5:20, 3:9], wanted[1, 5:20, 3:9])


@every_chip
@pytest.mark.parametrize("shape", [(2, 40, 30), (1, 900, 150)])
def test_the_weights_error_is_that_of_the_weights_held(
    chip: Chip, shape: tuple[int, int, int]
) -> None:
    book, weight = codebook(chip), drawn(*shape)
    grid = coarse_grid(Weight(weight), book, 0.0)
    codes = round_nearest(weight.astype(np.float64), grid, book)
    away = weights_of(book, grid, codes) - weight
    wanted = (away**2).sum() / (weight.astype(np.float64) ** 2).sum()
    for given in (codes, NearestCodes(Weight(weight), grid, book)):
        found = weight_error(Weight(weight), grid, given, book)
        assert found == pytest.approx(wanted, rel=1e-4)
        assert found == float(np.float32(found))


def test_weights_of_zero_have_no_error() -> None:
    book, weight = codebook(BASE), Weight(np.zeros((1, 4, 3), np.float32))
    grid = coarse_grid(weight, book, 1.0)
    assert weight_error(weight, grid, NearestCodes(weight, grid, book), book) == 0.0


@pytest.mark.parametrize("mapping", ["offset", "differential"])
def test_a_network_is_compiled_without_data_for_uneven_levels(mapping: str) -> None:
    weight = drawn(1, 40, 12)
    model = model_of([node("MatMul", ["x", "w"], ["y"])], {"x": ["N", 40]}, {"w": weight[0]})
    chip = UNEVEN.with_array(16, 8).with_mapping(mapping)
    image = compile_model(model, chip)
    (layer,), book = image.layers, codebook(chip)
    grid = coarse_grid(Weight(weight), book, 1.0)
    wanted = book.levels[round_nearest(weight.astype(np.float64), grid, book)]
    held = image.levels.reshape(-1)[layer.by_weight(image.cells(layer))]
    assert np.array_equal(held, wanted)


# --- ADC range -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["parallel", "bit_serial"])
@pytest.mark.parametrize("by", ["layer", "column"])
@pytest.mark.parametrize("shape", [(64, 48), (300, 8)])
def test_ranges_without_data_leave_room_for_inputs_that_go_together(
    by: str, mode: str, shape: tuple[int, int]
) -> None:
    """Inputs of a network have much in common, those that a range is drawn from nothing.

    Random ones meet no end of the range, and of those that share half of their energy hardly any
    conversion does; but no more than two bits of the converter lie idle.
    """
    rows = shape[0]
    rng = np.random.default_rng(1)
    model = model_of(
        [node("MatMul", ["x", "w"], ["y"])],
        {"x": ["N", rows]},
        {"w": rng.standard_normal(shape).astype(np.float32)},
    )
    chip = Chip.default().with_array(64, 48).with_(**{"adc.range": by, "dac.mode": mode})
    image = compile_model(model, chip)
    (layer,) = image.layers
    apart = rng.standard_normal((2048, rows)).astype(np.float32)
    together = apart + rng.standard_normal((2048, 1)).astype(np.float32)
    clipped = []
    for x in (apart, together):
        session = Session(image, die=Die.simulated(3))
        session.run(None, {"x": x})
        clipped.append(saturation_of(session.device)[layer.name].share)
    assert clipped[0] == 0.0
    assert clipped[1] < 2e-3
    _, record = Session(image, die=Die.simulated(3)).layers[layer.name].record(as_tensor(apart))
    if mode == "parallel":
        largest = float(record.codes.abs().max())
        assert largest > adc_limits(chip, True)[1] / 4


def as_tensor(x: npt.NDArray[np.float32]) -> Any:
    import torch

    return torch.from_numpy(x)

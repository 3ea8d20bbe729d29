"""Findings of dies that are known for sure: each fault by name, figures by their formulas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pimc.api import compile as compile_model
from pimc.image.image import Image
from pimc.passes.recover.estimate import CellEstimate, prior
from pimc.passes.recover.know.findings import findings
from tests.passes.lowered_nets import drawn, model_of, node
from tests.passes.recover.known_dies import UNCLIPPED, chip_of

Array64 = npt.NDArray[np.float64]
LOW_US, HIGH_US = 2.0, 40.0


@pytest.fixture(scope="module", params=["reference", "digital"])
def image(request) -> Image:
    """Two layers, each in an array of its own; levels of 2 to 40 µS, errors of 2 %."""
    nodes = [node("MatMul", ["x", "v"], ["a"]), node("MatMul", ["a", "w"], ["y"])]
    weights = {"v": drawn(24, 24), "w": drawn(24, 12)}
    model = model_of(nodes, {"x": ["N", 24]}, weights)
    chip = chip_of(("offset", request.param)).with_array(32, 32).with_sigma(0.02)
    return compile_model(model, chip, options=UNCLIPPED)


def held(image: Image, changes: Mapping[tuple[int, int], float]) -> dict[int, CellEstimate]:
    """Cells at their targets but for (row, column) of the first layer, which hold so many µS."""
    found = {}
    for layer in image.layers:
        before = prior(image, layer)
        mean = before.target_us.copy()
        for (row, column), g_us in changes.items() if layer.index == 0 else ():
            mean[0, row, column] = g_us - image.codebook.reference_us
        found[layer.index] = replace(before, mean_us=mean, variance=np.full(mean.shape, 0.01))
    return found


def far_cells(image: Image, g_us: float, count: int) -> list[tuple[int, int]]:
    """Places whose targets are more than half the range away from ``g_us``."""
    target = prior(image, image.layers[0]).target_us[0] + image.codebook.reference_us
    places = np.argwhere(np.abs(target - g_us) > (HIGH_US - LOW_US) / 2)
    # No two of a line, which would then be named instead.
    chosen: list[tuple[int, int]] = []
    for row, col in places.tolist():
        if all(row != r and col != c for r, c in chosen):
            chosen.append((row, col))
    return chosen[:count]


def addresses(image: Image, places: list[tuple[int, int]]) -> set[tuple[int, int, int]]:
    array = image.chip.array
    cells = image.cells(image.layers[0])[0]
    shape = (image.arrays, array.rows, array.cols)
    found = (np.unravel_index(cells[at], shape) for at in places)
    return {(int(a), int(row), int(col)) for a, row, col in found}


@pytest.mark.parametrize(
    ("g_us", "kind"), [(LOW_US, "stuck_gmin"), (HIGH_US, "stuck_gmax"), (HIGH_US + 2, "stuck_gmax")]
)
def test_cells_that_are_stuck_are_named_with_their_place(
    image: Image, g_us: float, kind: str
) -> None:
    places = far_cells(image, g_us, 4)
    assert len(places) >= 3
    found = findings(image, held(image, dict.fromkeys(places, g_us)))
    assert {fault.kind for fault in found.faults} == {kind}
    named = {(fault.array, fault.row, fault.col) for fault in found.faults}
    assert named == addresses(image, places)
    assert found.counts() == {kind: len(places)}
    assert found.off_target == 0


def test_a_cell_that_lies_far_off_but_at_no_end_is_counted_and_not_named(image: Image) -> None:
    middle = (LOW_US + HIGH_US) / 2
    target = prior(image, image.layers[0]).target_us[0] + image.codebook.reference_us
    places = [tuple(at) for at in np.argwhere(np.abs(target - middle) > 12)[::40].tolist()]
    assert len(places) > 2
    found = findings(image, held(image, dict.fromkeys(places, middle)))
    assert found.faults == ()
    assert found.off_target == len(places)


def test_lines_are_named_once_and_not_cell_by_cell(image: Image) -> None:
    """A wordline whose cells do not answer, and a bitline that carries nothing."""
    rows, cols = image.layers[0].rows, image.layers[0].cols
    reference_us = image.codebook.reference_us
    row = dict.fromkeys([(3, col) for col in range(cols)], reference_us)
    ((fault),) = findings(image, held(image, row)).faults
    ((_, line, _),) = addresses(image, [(3, 0)])
    assert (fault.row, fault.col) == (line, None)
    column = dict.fromkeys([(row, 7) for row in range(rows)], 0.0)
    found = findings(image, held(image, column))
    ((_, _, bitline),) = addresses(image, [(0, 7)])
    assert [(fault.row, fault.col) for fault in found.faults] == [(None, bitline)]
    both = findings(image, held(image, {**column, **row}))
    assert both.counts() == {"dead_cols": 1, "dead_rows": 1}


def test_a_line_of_few_cells_is_not_judged_as_one() -> None:
    """Five cells beside the reference's level may be chance; they count one by one."""
    model = model_of([node("MatMul", ["x", "v"], ["y"])], {"x": ["N", 24]}, {"v": drawn(24, 5)})
    chip = chip_of(("offset", "reference")).with_array(32, 32).with_sigma(0.02)
    few = compile_model(model, chip, options=UNCLIPPED)
    row = dict.fromkeys([(3, col) for col in range(5)], few.codebook.reference_us)
    found = findings(few, held(few, row))
    assert "dead_rows" not in found.counts()
    assert found.off_target > 2


def test_a_column_that_holds_the_lowest_level_is_not_dead(image: Image) -> None:
    rows = image.layers[0].rows
    found = findings(image, held(image, dict.fromkeys([(row, 7) for row in range(rows)], LOW_US)))
    assert "dead_cols" not in found.counts()


def test_figures_are_root_mean_squares_over_the_cells(image: Image) -> None:
    rng = np.random.default_rng(1)
    known: dict[int, CellEstimate] = {}
    errors: list[Array64] = []
    variances: dict[str, Array64] = {}
    before: list[Array64] = []
    for layer in image.layers:
        start = prior(image, layer)
        here = start.present
        away = 0.5 * rng.standard_normal(here.shape)
        variance = rng.uniform(0.01, 0.2, here.shape)
        rank = np.array([layer.rows - 5 * layer.index])
        known[layer.index] = replace(
            start, mean_us=start.target_us + away, variance=variance, rank=rank
        )
        errors.append(away[here])
        variances[layer.name] = variance[here]
        before.append(start.variance[here])
    found = findings(image, known)
    rms: dict[str, Any] = {name: np.sqrt(values.mean()) for name, values in variances.items()}
    assert found.uncertainty_us == pytest.approx(rms)
    assert found.away_us == pytest.approx(np.sqrt(np.mean(np.concatenate(errors) ** 2)))
    assert found.known_us == pytest.approx(np.sqrt(np.concatenate([*variances.values()]).mean()))
    assert found.before_us == pytest.approx(np.sqrt(np.concatenate(before).mean()))
    assert dict(found.unspanned) == {"v": 0, "w": 5}
    assert found.faults == ()

"""Digital weights: the ones that pay most, with the values that serve a column best."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pimc.api import compile as compile_model
from pimc.image.image import Image
from pimc.passes.recover.estimate import CellEstimate, prior
from pimc.passes.recover.twin.twin import effective_weight
from pimc.passes.recover.write.influence import Influence
from pimc.passes.recover.write.residual import add_residual, residual_weights
from tests.passes.lowered_nets import drawn, model_of, node
from tests.passes.recover.known_dies import UNCLIPPED, chip_of

Array64 = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def image() -> Image:
    """Two layers of 18 inputs, on a chip whose digital side takes the pedestal off."""
    nodes = [node("MatMul", ["x", "v"], ["a"]), node("MatMul", ["a", "w"], ["y"])]
    model = model_of(nodes, {"x": ["N", 18]}, {"v": drawn(18, 18), "w": drawn(18, 4)})
    return compile_model(model, chip_of(("offset", "digital")), options=UNCLIPPED)


def known_of(image: Image) -> dict[int, CellEstimate]:
    """A die: cells off their targets, one of them as far as it gets."""
    rng = np.random.default_rng(1)
    found = {}
    for layer in image.layers:
        before = prior(image, layer)
        away = np.sqrt(before.variance) * rng.standard_normal(before.variance.shape)
        away[0, 5, 2] = -25.0
        found[layer.index] = replace(before, mean_us=before.target_us + away)
    return found


def influence_of(image: Image) -> dict[int, Influence]:
    rng = np.random.default_rng(2)
    found = {}
    for layer in image.layers:
        x = rng.standard_normal((layer.groups, 60, layer.rows)) + rng.standard_normal((1, 60, 1))
        sensitivity = rng.uniform(0.2, 3.0, (layer.groups, layer.cols))
        found[layer.index] = Influence(x.transpose(0, 2, 1) @ x / 60, sensitivity)
    return found


def away_of(
    image: Image, index: int, known: CellEstimate, influence: Influence, plain: Image
) -> Array64:
    """(groups, rows, cols) what a layer's weights are off, by the gain that fits ``plain``."""
    layer = image.layers[index]
    wanted = np.asarray(layer.teacher_weight, np.float64)
    bare = effective_weight(plain, plain.layers[index], known)
    match, power = (
        np.einsum("gkn,gkl,gln->gn", other, influence.moments, bare) for other in (wanted, bare)
    )
    away: Array64 = (match / power)[:, None] * effective_weight(image, layer, known) - wanted
    return away


def loss(away: Array64, influence: Influence) -> float:
    energy = np.einsum("gkn,gkl,gln->gn", away, influence.moments, away)
    return float((energy * influence.sensitivity).sum())


def test_one_weight_is_the_one_that_pays_most_of_all(image: Image) -> None:
    known, influence = known_of(image), influence_of(image)
    found = add_residual(image, known, influence, 1)
    assert residual_weights(found) == 1
    best, place = 0.0, (0, 0)
    for layer in image.layers:
        given = influence[layer.index]
        away = away_of(image, layer.index, known[layer.index], given, image)
        for flat in range(layer.groups * layer.rows * layer.cols):
            group, row, col = np.unravel_index(flat, away.shape)
            # A column's error along one weight is a parabola; what it falls by at its bottom.
            pull = given.moments[group, row] @ away[group, :, col]
            gain = given.sensitivity[group, col] * pull**2 / given.moments[group, row, row]
            if gain > best:
                best, place = gain, (layer.index, flat)
    index, flat = place
    chosen = found.layers[index]
    assert chosen.residual_index is not None
    assert chosen.residual_index.tolist() == [flat]
    given = influence[index]
    before, after = (
        loss(away_of(each, index, known[index], given, image), given) for each in (image, found)
    )
    assert before - after == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("budget", [5, 40, 300])
def test_values_are_those_that_serve_each_column_best(image: Image, budget: int) -> None:
    """No change of a weight that is there would lower the error: its gradient is zero."""
    known, influence = known_of(image), influence_of(image)
    found = add_residual(image, known, influence, budget)
    count = residual_weights(found)
    assert 0 < count <= budget
    assert count >= min(budget, 40)
    for layer in found.layers:
        given = influence[layer.index]
        if layer.residual is None:
            continue
        away = away_of(found, layer.index, known[layer.index], given, image)
        there = layer.residual != 0
        slope = given.moments @ away
        before = given.moments @ away_of(image, layer.index, known[layer.index], given, image)
        assert np.abs(slope[there]).max() < 1e-4 * np.abs(before).max()


def test_more_weights_leave_less_and_earlier_ones_stay(image: Image) -> None:
    known, influence = known_of(image), influence_of(image)

    def left(found: Image) -> float:
        return sum(
            loss(away_of(found, n, known[n], influence[n], image), influence[n]) for n in (0, 1)
        )

    steps = [left(add_residual(image, known, influence, budget)) for budget in (0, 3, 30, 120)]
    assert steps[0] > steps[1] > steps[2] > 2 * steps[3]
    few = add_residual(image, known, influence, 10)
    assert add_residual(few, known, influence, residual_weights(few)) is few
    more = add_residual(few, known, influence, 40)
    assert residual_weights(more) <= 40
    assert left(more) < left(few)
    for old, new in zip(few.layers, more.layers, strict=True):
        if old.residual is not None:
            assert new.residual is not None
            assert not (old.residual[new.residual == 0]).any()


def test_rows_without_input_and_columns_without_weight_get_none(image: Image) -> None:
    known, influence = known_of(image), influence_of(image)
    given: dict[str, Any] = {
        "moments": influence[0].moments.copy(),
        "sensitivity": influence[0].sensitivity.copy(),
    }
    given["moments"][:, 5] = given["moments"][:, :, 5] = 0.0
    given["sensitivity"][:, 3] = 0.0
    found = add_residual(image, known, {**influence, 0: Influence(**given)}, 200)
    residual = found.layers[0].residual
    assert residual is not None
    assert not residual[:, 5].any()
    assert not residual[:, :, 3].any()
    assert residual.any()

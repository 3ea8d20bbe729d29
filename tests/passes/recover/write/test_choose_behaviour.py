"""The choice of writes against the definition of what a write gains, cell by cell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pimc.api import compile as compile_model
from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.estimate import CellEstimate, prior
from pimc.passes.recover.twin.twin import effective_weight
from pimc.passes.recover.write.choose import choose, propose
from pimc.passes.recover.write.influence import Influence
from pimc.passes.recover.write.problem import Problem
from tests.passes.lowered_nets import drawn, model_of, node
from tests.passes.recover.known_dies import UNCLIPPED, VARIANTS, chip_of

Array64 = npt.NDArray[np.float64]
#: The digital side takes the pedestal off, so that cells are known on their own.
DIGITAL = [variant for variant in VARIANTS if variant[1] == "digital"]
#: σ falls with the conductance: where a write lands tells how far.
FALLING = {"cell.sigma": {"kind": "polynomial", "variable": "x", "coefficients_us": [3.0, -2.5]}}


def image_of(variant: tuple[str, str], rows: int = 14, cols: int = 5, **changes: Any) -> Image:
    model = model_of(
        [node("MatMul", ["x", "w"], ["y"])], {"x": ["N", rows]}, {"w": drawn(rows, cols)}
    )
    return compile_model(model, chip_of(variant, **changes), options=UNCLIPPED)


def of_a_die(image: Image, seed: int = 1, least: float = 0.1, most: float = 3.0) -> CellEstimate:
    """What might be known of a die: cells off their targets, some known better than others.

    Variances are ``least`` to ``most`` times that of a write.
    """
    rng = np.random.default_rng(seed)
    before = prior(image, image.layers[0])
    sigma = np.sqrt(before.variance)
    return replace(
        before,
        mean_us=before.target_us + sigma * rng.standard_normal(sigma.shape),
        variance=before.variance * rng.uniform(least, most, sigma.shape),
    )


def influence_of(layer: ImageLayer, seed: int = 2) -> Influence:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((layer.groups, 40, layer.rows)) + rng.standard_normal((1, 40, 1))
    moments = x.transpose(0, 2, 1) @ x / 40
    return Influence(moments, rng.uniform(0.2, 3.0, (layer.groups, layer.cols)))


def energy(away: Array64, influence: Influence) -> Array64:
    """(groups, cols) rᵀ H r."""
    found: Array64 = np.einsum("gkn,gkl,gln->gn", away, influence.moments, away)
    return found


def away_from_teacher(layer: ImageLayer, weight: Array64, fit: Array64) -> Array64:
    return fit * weight - np.asarray(layer.teacher_weight, np.float64)


def best_fit(layer: ImageLayer, weight: Array64, influence: Influence) -> Array64:
    """(groups, 1, cols) factor of each column that brings it nearest to the float network's."""
    wanted = np.asarray(layer.teacher_weight, np.float64)
    match = np.einsum("gkn,gkl,gln->gn", wanted, influence.moments, weight)
    return (match / energy(weight, influence))[:, None]


def gains_of_all_writes(
    image: Image, estimate: CellEstimate, influence: Influence
) -> dict[tuple[int, int], float]:
    """(address, level) → expected fall of the loss of this write alone, by its definition.

    The loss of a column is E[rᵀ H r] over what is not known: of the mean, and for every cell its
    variance times what it does to the output. A write puts the cell at the level, with the
    variance of a write.
    """
    (layer,) = image.layers
    book, chip = image.codebook, image.chip
    weight = effective_weight(image, layer, estimate)
    fit = best_fit(layer, weight, influence)
    levels_us = np.asarray(chip.cell.g_levels_us)
    landing = np.asarray(chip.cell.sigma.sigma_us(levels_us)) ** 2
    scale = fit[:, 0] * layer.scale.reshape(layer.groups, layer.cols)
    start = energy(away_from_teacher(layer, weight, fit), influence)
    address, held = image.cells(layer), layer.by_weight(estimate.mean_us)
    known = layer.by_weight(estimate.variance)
    found = {}
    for at in np.argwhere(layer.by_weight(address) >= 0):
        group, row, col, plane = (int(n) for n in at)
        unit = scale[group, col] * book.coefficients[plane]
        strength = influence.moments[group, row, row]
        for level, g_us in enumerate(levels_us):
            moved = weight.copy()
            step_us = g_us - book.reference_us - held[group, row, col, plane]
            moved[group, row, col] += unit / fit[group, 0, col] * step_us
            after = energy(away_from_teacher(layer, moved, fit), influence)[group, col]
            spread = unit**2 * strength * (landing[level] - known[group, row, col, plane])
            fall = start[group, col] - after - spread
            cell = int(layer.by_weight(address)[group, row, col, plane])
            found[cell, level] = float(influence.sensitivity[group, col] * fall)
    return found


@pytest.mark.parametrize("changes", [{}, FALLING], ids=["even", "falling"])
@pytest.mark.parametrize("variant", DIGITAL)
def test_the_best_write_is_the_best_of_all(variant: tuple[str, str], changes: Any) -> None:
    """Of every cell and every level, tried one by one; the level is that nearest to the wish."""
    image = image_of(variant, **changes)
    (layer,) = image.layers
    influence = influence_of(layer)
    for seed in range(3):
        estimate = of_a_die(image, seed)
        every = gains_of_all_writes(image, estimate, influence)
        found = Problem.of(image, layer, estimate, influence).best(influence.sensitivity)
        best = max(every.values())
        # Of unlike levels a neighbour may land so much better that it would be worth more.
        assert found == pytest.approx(best, rel=1e-9 if not changes else 0.1)
        assert found > 0


@pytest.mark.parametrize("variant", [("offset", "digital"), ("differential", "digital")])
def test_gains_are_what_happens_to_cells_that_are_not_known_for_sure(
    variant: tuple[str, str],
) -> None:
    """Truths drawn from what is known, writes drawn where they land: the mean fall of the loss."""
    image = image_of(variant, rows=30, cols=6)
    (layer,) = image.layers
    influence, estimate = influence_of(layer), of_a_die(image)
    fit = best_fit(layer, effective_weight(image, layer, estimate), influence)
    found = propose(image, layer, estimate, influence)
    cells, levels = choose([found], len(found.cells) // 2)[0]
    predicted = found.gain[np.isin(found.cells, cells)].sum()
    levels_us = np.asarray(image.chip.cell.g_levels_us)
    target_us = levels_us[levels]
    written = np.isin(image.cells(layer), cells)
    order = np.argsort(cells)
    place = order[np.searchsorted(cells[order], image.cells(layer)[written])]
    rng = np.random.default_rng(3)

    def loss(mean_us: Array64) -> float:
        weight = effective_weight(image, layer, replace(estimate, mean_us=mean_us))
        away = away_from_teacher(layer, weight, fit)
        return float((energy(away, influence) * influence.sensitivity).sum())

    falls = []
    for _ in range(1500):
        truth = estimate.mean_us + np.sqrt(estimate.variance) * rng.standard_normal(written.shape)
        after = truth.copy()
        landed = target_us + image.chip.cell.sigma.sigma_us(target_us) * rng.standard_normal(
            len(target_us)
        )
        after[written] = landed[place] - image.codebook.reference_us
        falls.append(loss(truth) - loss(after))
    error = np.std(falls, ddof=1) / np.sqrt(len(falls))
    assert 4 * error < 0.2 * predicted
    assert abs(np.mean(falls) - predicted) < 4 * error + 0.05 * predicted


def test_what_is_not_known_is_worth_a_write_and_what_is_known_well_is_not() -> None:
    """At its target, a cell that may lie anywhere gains by a write; one that is known loses."""
    image = image_of(("offset", "digital"))
    (layer,) = image.layers
    influence, before = influence_of(layer), prior(image, layer)
    well, badly = (
        propose(image, layer, replace(before, variance=v * before.variance), influence, share=1.0)
        for v in (0.01, 4.0)
    )
    again = image.levels.reshape(-1)
    assert len(badly.cells) > 0.8 * before.present.sum()
    assert (again[badly.cells] == badly.levels).mean() > 0.9
    assert len(well.cells) < 0.4 * before.present.sum()
    assert well.gain.sum() < 0.1 * badly.gain.sum()


def test_a_column_that_holds_nothing_is_written_toward_its_weights() -> None:
    image = image_of(("offset", "digital"))
    (layer,) = image.layers
    known = prior(image, layer)
    mean = known.mean_us.copy()
    mean[0, :, 1] = image.codebook.values_us[layer.zero[1]]
    nothing = replace(known, mean_us=mean, variance=0.01 * known.variance)
    assert not effective_weight(image, layer, nothing)[:, :, 1].any()
    found = propose(image, layer, nothing, influence_of(layer), share=1.0)
    cells = image.cells(layer)[0, :, 1]
    assert np.isfinite(found.gain).all()
    assert set(cells.tolist()) & set(found.cells[:3].tolist())
    asked = dict(zip(cells.tolist(), image.levels.reshape(-1)[cells].tolist(), strict=True))
    middle = int(layer.zero[1])
    for cell, level in zip(found.cells.tolist(), found.levels.tolist(), strict=True):
        if cell in asked and abs(asked[cell] - middle) > 3:
            assert (level > middle) == (asked[cell] > middle)


def test_gains_never_rise_and_follow_the_unit_of_the_loss() -> None:
    image = image_of(("offset", "digital"), rows=40, cols=8)
    (layer,) = image.layers
    influence, estimate = influence_of(layer), of_a_die(image)
    found = propose(image, layer, estimate, influence, share=0.4)
    assert (np.diff(found.gain) <= 0).all()
    scaled = replace(influence, sensitivity=8 * influence.sensitivity)
    same = propose(image, layer, estimate, scaled, share=0.4)
    np.testing.assert_allclose(same.gain, 8 * found.gain)
    assert np.array_equal(same.cells, found.cells)

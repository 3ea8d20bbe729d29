"""The choice of writes: lawful, within the budget, and worth what it says."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pimc import api
from pimc.api import compile as compile_model
from pimc.chip.design import Chip
from pimc.image.image import Image, ImageLayer
from pimc.passes.emit.emit import emit
from pimc.passes.recover.estimate import STUCK_SIGMAS, CellEstimate, prior
from pimc.passes.recover.twin.twin import effective_weight
from pimc.passes.recover.write.choose import Proposal, choose, propose
from pimc.passes.recover.write.influence import Influence
from pimc.passes.recover.write.problem import Problem
from pimc.runtime.die.die import Die
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice
from tests.passes.quantize.turned import half_turned
from tests.passes.recover.known_dies import UNCLIPPED, VARIANTS, mapping_keys


def image_of(
    tiny_model: Any, tiny_inputs: np.ndarray, variant: tuple[str, str], **changes: Any
) -> Image:
    chip = Chip.default().with_array(64, 32).with_(**(mapping_keys(variant) | changes))
    return compile_model(tiny_model(), chip, calib=tiny_inputs, options=UNCLIPPED)


def programmed(image: Image, seed: int = 3) -> SimDevice:
    device = SimDevice(Die.simulated(seed), image.chip, image.arrays)
    program(image, device)
    return device


def known(image: Image, die: Die, layer: ImageLayer) -> CellEstimate:
    """The truth, as an estimate that is sure of itself."""
    cells = image.cells(layer)
    held = die.cells.g_us.reshape(-1)[cells].astype(np.float64)
    if image.chip.mapping.pedestal == "reference":
        held -= die.cells.reference_us.reshape(-1)[cells // image.chip.array.cols]
    before = prior(image, layer)
    held = np.where(before.present, held, 0.0)
    return replace(before, mean_us=held, variance=np.full(held.shape, 1e-6))


def influence_of(layer: ImageLayer, seed: int = 0) -> Influence:
    """Correlated inputs of unlike strength; outputs of unlike weight."""
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((layer.groups, layer.rows, 3 * layer.rows)) + rng.standard_normal(
        (layer.groups, layer.rows, 1)
    )
    moments = mix @ mix.transpose(0, 2, 1) / (3 * layer.rows)
    return Influence(moments, rng.uniform(0.2, 3.0, (layer.groups, layer.cols)))


def proposals(image: Image, die: Die) -> list[Proposal]:
    return [
        propose(image, layer, known(image, die, layer), influence_of(layer))
        for layer in image.layers
    ]


def column_of(image: Image, layer: ImageLayer) -> dict[int, tuple[int, int]]:
    """(group, output) of each cell address."""
    cells = layer.by_weight(image.cells(layer))
    return {int(cells[tuple(at)]): (int(at[0]), int(at[2])) for at in np.argwhere(cells >= 0)}


@pytest.fixture(scope="module")
def images(tiny_model, tiny_inputs) -> dict[Any, Image]:
    return {variant: image_of(tiny_model, tiny_inputs, variant) for variant in VARIANTS}


# --- lawful ------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_proposals_are_lawful(images, variant) -> None:
    image = images[variant]
    for layer, found in zip(image.layers, proposals(image, programmed(image).die), strict=True):
        assert found.layer == layer.index
        assert len(found.gain) == len(found.cells) == len(found.levels) > 3
        assert (found.gain > 0).all()
        assert found.levels.dtype == np.uint16
        assert found.levels.max() < image.chip.cell.levels
        assert len(np.unique(found.cells)) == len(found.cells)
        columns = column_of(image, layer)
        by_column: dict[tuple[int, int], list[float]] = {}
        for cell, gain in zip(found.cells.tolist(), found.gain.tolist(), strict=True):
            by_column.setdefault(columns[cell], []).append(gain)
        assert len(by_column) > layer.cols // 2
        for gains in by_column.values():
            assert all(first >= second for first, second in itertools.pairwise(gains))


def test_writes_that_an_image_cannot_tell_can_be_left_out(images) -> None:
    """To write a cell again to the level it was asked for: no other image says so."""
    image = images["offset", "reference"]
    levels = image.levels.reshape(-1)
    die = programmed(image).die
    layer = image.layers[1]
    given = (image, layer, known(image, die, layer), influence_of(layer))
    free, moved = propose(*given), propose(*given, again=False)
    assert (levels[free.cells] == free.levels).mean() > 0.1
    assert len(moved.cells) > 3
    assert (levels[moved.cells] != moved.levels).all()
    assert moved.gain.sum() < free.gain.sum()


@pytest.mark.parametrize("variant", [("offset", "reference"), ("offset", "digital")])
def test_stuck_cells_are_never_proposed(tiny_model, tiny_inputs, variant) -> None:
    rates = {"faults.stuck_gmax_rate": 0.05, "faults.stuck_gmin_rate": 0.05}
    image = image_of(tiny_model, tiny_inputs, variant, **rates, **{"cell.sigma": narrow_sigma()})
    die = programmed(image).die
    levels_us = np.asarray(image.chip.cell.g_levels_us)[image.levels]
    # A reference row is taken off by the mean of its columns, stuck ones among them: allow
    # for what they shift it by.
    far = np.abs(die.cells.g_us - levels_us) > STUCK_SIGMAS * 0.38 + 4
    stuck = set(np.flatnonzero((die.cells.stuck > 0) & far & image.used).tolist())
    assert len(stuck) > 15
    proposed = {cell for found in proposals(image, die) for cell in found.cells.tolist()}
    assert len(proposed) > 20
    assert not stuck & proposed


def narrow_sigma() -> dict[str, Any]:
    return {"kind": "constant", "fraction_of_range": 0.01}


def test_hardly_a_write_pays_where_all_cells_are_as_wanted(images) -> None:
    for image in images.values():
        device = SimDevice(Die.ideal(), image.chip, image.arrays)
        program(image, device)
        proposed = sum(len(found.cells) for found in proposals(image, device.die))
        on_a_die = sum(len(found.cells) for found in proposals(image, programmed(image).die))
        assert proposed < 0.05 * image.used.sum()
        assert proposed < 0.3 * on_a_die


def test_outputs_without_weight_are_left_alone(images) -> None:
    image = images["offset", "reference"]
    layer = image.layers[1]
    influence = influence_of(layer)
    sensitivity = influence.sensitivity.copy()
    sensitivity[:, 1:] = 0
    found = propose(
        image,
        layer,
        known(image, programmed(image).die, layer),
        replace(influence, sensitivity=sensitivity),
    )
    columns = column_of(image, layer)
    assert {columns[cell][1] for cell in found.cells.tolist()} == {0}


def test_rows_that_never_fire_are_left_alone(images) -> None:
    image = images["offset", "reference"]
    layer = image.layers[0]
    influence = influence_of(layer)
    moments = influence.moments.copy()
    moments[:, 4] = moments[:, :, 4] = 0
    found = propose(
        image,
        layer,
        known(image, programmed(image).die, layer),
        replace(influence, moments=moments),
    )
    assert len(found.cells) > 3
    assert not set(image.cells(layer)[0, 4].tolist()) & set(found.cells.tolist())


# --- the budget --------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [0, 1, 7, 30, 10**6])
def test_the_budget_is_respected_and_goes_to_the_best(images, budget) -> None:
    image = images["offset", "reference"]
    found = proposals(image, programmed(image).die)
    chosen = choose(found, budget)
    total = sum(len(proposal.gain) for proposal in found)
    assert list(chosen) == [proposal.layer for proposal in found]
    assert sum(len(cells) for cells, _ in chosen.values()) == min(budget, total)
    taken, left = [], []
    for proposal in found:
        cells, levels = chosen[proposal.layer]
        inside = np.isin(proposal.cells, cells)
        taken.append(proposal.gain[inside])
        left.append(proposal.gain[~inside])
        wanted = dict(zip(proposal.cells.tolist(), proposal.levels.tolist(), strict=True))
        assert {
            int(c): int(q) for c, q in zip(cells, levels, strict=True)
        }.items() <= wanted.items()
    if 0 < budget < total:
        assert np.concatenate(taken).min() >= np.concatenate(left).max()


# --- what it says it gains ---------------------------------------------------------------------


def loss(
    image: Image, layer: ImageLayer, estimate: CellEstimate, influence: Influence, fit: np.ndarray
) -> float:
    """Σ over columns of sensitivity · rᵀ H r."""
    weight = effective_weight(image, layer, estimate)
    away = fit * weight - np.asarray(layer.teacher_weight, np.float64)
    energy = np.einsum("gkn,gkl,gln->gn", away, influence.moments, away)
    return float((energy * influence.sensitivity).sum())


@pytest.mark.parametrize("share", [0.03, 0.15])
@pytest.mark.parametrize("variant", [v for v in VARIANTS if v[1] == "digital"])
def test_the_predicted_gain_is_the_mean_of_what_happens(images, variant, share) -> None:
    image = images[variant]
    layer = image.layers[0]
    influence = influence_of(layer)
    start = programmed(image)
    before = known(image, start.die, layer)
    weight = effective_weight(image, layer, before)
    teacher = np.asarray(layer.teacher_weight, np.float64)
    match = np.einsum("gkn,gkl,gln->gn", teacher, influence.moments, weight)
    fit = (match / np.einsum("gkn,gkl,gln->gn", weight, influence.moments, weight))[:, None]
    found = propose(image, layer, before, influence)
    budget = int(share * (image.cells(layer) >= 0).sum())
    cells, levels = choose([found], budget)[layer.index]
    predicted = found.gain[np.isin(found.cells, cells)].sum()
    loss_before = loss(image, layer, before, influence, fit)

    falls = []
    for draw in range(200):
        device = programmed(image)
        device.die.cells.writes += np.uint32(1000 * draw)  # other draws for the same cells
        device.program(cells, levels)
        after = known(image, device.die, layer)
        falls.append(loss_before - loss(image, layer, after, influence, fit))
    mean, error = np.mean(falls), np.std(falls, ddof=1) / np.sqrt(len(falls))
    assert predicted > 0.1 * loss_before
    assert abs(mean - predicted) < 4 * error + 0.05 * predicted


def test_more_writes_gain_more_and_random_ones_lose(images) -> None:
    image = images["offset", "digital"]
    layer = image.layers[0]
    influence = influence_of(layer)
    found = propose(image, layer, known(image, programmed(image).die, layer), influence)
    ones = np.ones((layer.groups, 1, layer.cols))
    fit = ones * (layer.gain.reshape(layer.groups, 1, layer.cols))
    rng = np.random.default_rng(0)

    def after(cells: np.ndarray, levels: np.ndarray) -> float:
        values = []
        for draw in range(20):
            device = programmed(image)
            device.die.cells.writes += np.uint32(1000 * draw)
            if len(cells):
                device.program(cells, levels)
            values.append(loss(image, layer, known(image, device.die, layer), influence, fit))
        return float(np.mean(values))

    losses = [after(*choose([found], budget)[layer.index]) for budget in (0, 4, 12)]
    assert losses[2] < losses[1] < losses[0]
    some = rng.choice(image.cells(layer)[image.cells(layer) >= 0], 12, replace=False)
    assert after(some, image.levels.reshape(-1)[some]) > losses[2]


def test_worn_cells_are_never_proposed(images) -> None:
    image = images["offset", "reference"]
    layer, die = image.layers[1], programmed(image).die
    given = (image, layer, known(image, die, layer), influence_of(layer))
    free, cells = propose(*given), image.cells(layer)
    tired = np.isin(cells, free.cells[::2])
    found = propose(*given, worn=tired)
    assert not np.isin(found.cells, cells[tired]).any()
    assert len(found.cells) > 3
    # What is known of the layer's reference cells stays what it was.
    same = propose(*given, worn=np.zeros_like(tired))
    assert np.array_equal(same.cells, free.cells)
    assert np.array_equal(same.gain, free.gain)


@pytest.mark.parametrize("kind", ["offset", "differential"])
def test_turned_columns_are_fitted_as_they_would_be_unturned(
    kind: str, tiny_model, tiny_inputs
) -> None:
    chip = Chip.default().with_array(64, 32).with_mapping(kind)
    plan = api.plan(tiny_model(), chip, calib=tiny_inputs)
    turned = half_turned(plan, chip, same_currents=False)
    images = [emit(each, chip, {}) for each in (plan, turned)]
    for before, after in zip(*(image.layers for image in images), strict=True):
        found = []
        for image, layer in zip(images, (before, after), strict=True):
            problem = Problem.of(image, layer, prior(image, layer), influence_of(layer))
            found.append(problem.fit * np.sign(layer.gain).reshape(problem.fit.shape))
        np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
    assert any((layer.gain < 0).any() for layer in images[1].layers)


def test_columns_are_looked_at_in_parts_as_all_at_once(
    tiny_model, tiny_inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = image_of(tiny_model, tiny_inputs, VARIANTS[0])
    die = programmed(image).die
    rng = np.random.default_rng(4)

    def found() -> list[Proposal]:
        return [
            propose(
                image, layer, known(image, die, layer), influence_of(layer),
                share=0.3, again=again, worn=worn[layer.index],
            )
            for layer in image.layers
            for again in (True, False)
        ]  # fmt: skip

    worn = {each.index: rng.random(image.cells(each).shape) < 0.2 for each in image.layers}
    whole = found()
    monkeypatch.setattr("pimc.passes.recover.write.problem._AT_ONCE", 1)
    monkeypatch.setattr("pimc.passes.recover.estimate._AT_ONCE", 1)
    parts = found()
    assert sum(len(one.cells) for one in whole) > 100
    for one, other in zip(parts, whole, strict=True):
        np.testing.assert_allclose(one.gain, other.gain, rtol=1e-9)
        assert np.array_equal(one.cells, other.cells)
        assert np.array_equal(one.levels, other.levels)

"""What is known of cells beforehand, of the reference column, and of cells written again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pimc.data.dataset import Dataset
from pimc.passes.recover.digital.rows import row_correction
from pimc.passes.recover.estimate import prior, reference_error, reference_variance, rewritten
from pimc.passes.recover.know.codes import identify
from pimc.runtime.capture import CaptureOptions, capture
from pimc.runtime.die.die import Die
from pimc.runtime.door.program import program, write
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session
from tests.passes.recover.known_dies import VARIANTS, truth

# --- what is known before ----------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_prior_has_the_statistics_of_dies(images, variant) -> None:
    image = images[variant]
    z = []
    for seed in range(20):
        die = Die.simulated(seed)
        program(image, SimDevice(die, image.chip, image.arrays))
        for layer in image.layers:
            known = prior(image, layer)
            assert known.present.shape == image.cells(layer).shape
            assert (known.target_us == known.mean_us).all()
            away = (truth(image, die, layer) - known.mean_us) / np.sqrt(known.variance)
            z.append(away[known.present])
            assert (known.mean_us[~known.present] == 0).all()
    # The lowest levels cannot fall below 0 µS, so that errors are a little smaller than σ.
    assert 0.9 < np.concatenate(z).std() < 1.02


def test_the_reference_counts_only_where_there_is_one(images) -> None:
    sigma = 0.05 * 38
    assert reference_variance(images["offset", "reference"]) == pytest.approx(sigma**2)
    assert reference_variance(images["offset", "digital"]) == 0
    layer = images["offset", "digital"].layers[0]
    assert row_correction(prior(image := images["offset", "digital"], layer), image, layer) is None


# --- the reference column ----------------------------------------------------------------------


def test_the_reference_error_is_the_shrunk_mean_of_each_block_of_columns(images) -> None:
    image = images["sliced", "reference"]
    layer = replace(image.layers[0], col_block=4)
    known = prior(image, image.layers[0])
    rng = np.random.default_rng(0)
    known = replace(known, mean_us=known.mean_us + rng.standard_normal(known.mean_us.shape))
    # A stuck cell says nothing of the reference.
    known.mean_us[0, 0, 0] += 100.0
    found = reference_error(known, image, layer)
    for first in range(0, found.shape[2], 4):
        errors = known.error_us[:, :, first : first + 4]
        # Equal variances of cell and reference: the mean of n counts n / (n + 1).
        wanted = errors.sum(axis=2) / (errors.shape[2] + 1)
        if first == 0:
            wanted[0, 0] = errors[0, 0, 1:].sum() / 4
        for column in range(errors.shape[2]):
            np.testing.assert_allclose(found[:, :, first + column], wanted)
    correction = row_correction(known, image, layer)
    assert correction.dtype == np.float32
    assert correction.shape == (layer.groups, layer.col_blocks, layer.rows)
    np.testing.assert_allclose(correction[0, 1], found[0, : layer.rows, 4], rtol=1e-6)


# --- after a write -----------------------------------------------------------------------------


@pytest.mark.parametrize("variant", [("offset", "reference"), ("offset", "digital")])
def test_rewritten_resets_only_the_cells_that_changed(images, tiny_inputs, variant) -> None:
    image = images[variant]
    layer = image.layers[1]
    die = Die.simulated(8)
    session = Session(image, die=die)
    record = capture(session, Dataset.of(tiny_inputs), CaptureOptions(), only=[1]).layers[1]
    before = identify(prior(image, layer), image, layer, record)
    cells = image.cells(layer)
    changed = np.zeros(cells.shape, np.bool_)
    changed.reshape(-1)[np.flatnonzero(before.present)[::5]] = True
    levels = image.levels.copy()
    levels.reshape(-1)[cells[changed]] = 15 - levels.reshape(-1)[cells[changed]]
    following = image.updated(levels=levels)
    after = rewritten(before, following, layer, changed)

    np.testing.assert_array_equal(after.mean_us[~changed], before.mean_us[~changed])
    np.testing.assert_array_equal(after.variance[~changed], before.variance[~changed])
    np.testing.assert_array_equal(after.target_us, prior(following, layer).target_us)
    sigma = 0.05 * 38
    assert (after.variance[changed] >= sigma**2).all()
    common = reference_error(before, image, layer)[changed]
    np.testing.assert_allclose((after.mean_us - after.target_us)[changed], common, atol=1e-9)

    write(session.device, cells[changed], levels.reshape(-1)[cells[changed]], limit=99)
    away = (truth(following, die, layer) - after.mean_us)[changed] / sigma
    assert 0.6 < away.std() < 1.4
    record = capture(
        Session(following, die=session.device), Dataset.of(tiny_inputs), CaptureOptions(), only=[1]
    ).layers[1]
    known = identify(after, following, layer, record)
    left = (truth(following, die, layer) - known.mean_us)[known.present]
    assert left.std() < 0.1 * sigma

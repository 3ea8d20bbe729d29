"""From captured codes to what the cells hold: compared with dies whose truth is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pimc.api import compile as compile_model
from pimc.data.dataset import Dataset
from pimc.passes.recover.estimate import prior
from pimc.passes.recover.know.codes import identify
from pimc.runtime.capture import CaptureOptions, capture, capture_layer
from pimc.runtime.die.die import Die
from pimc.runtime.read.adc import adc_offset_lsb
from pimc.runtime.session import Session
from tests.passes.recover.known_dies import UNCLIPPED, VARIANTS, chip_of, errors, truth

# --- what a capture tells ----------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_default_capture_leaves_little_of_the_error(images, tiny_inputs, variant) -> None:
    found = errors(images[variant], tiny_inputs, CaptureOptions(), range(3))
    assert found.raw.std() > 1.5
    assert found.share < 0.05
    # Rounding to codes counts as noise of its own beside the scatter of the repeats, so that
    # the estimate may be better than it says, but never much worse.
    assert 0.6 < found.z.std() < 1.25
    assert abs(found.z.mean()) < 0.15


def test_the_rank_of_the_known_inputs_is_told(image, tiny_inputs) -> None:
    record = capture(
        Session(image, die=Die.simulated(0)), Dataset.of(tiny_inputs), CaptureOptions()
    )
    for layer in image.layers:
        before = prior(image, layer)
        rows = before.present.any(axis=2).sum(axis=1)
        full = identify(before, image, layer, record.layers[layer.index])
        assert (before.rank == 0).all()
        np.testing.assert_array_equal(full.rank, rows)
        few = record.layers[layer.index]
        few = replace(
            few, inputs=few.inputs[:, :, :5], codes=few.codes[..., :5], outputs=few.outputs[:, :5]
        )
        driven = few.inputs * np.asarray(before.present.any(axis=2))[:, :, None]
        spanned = np.linalg.matrix_rank(driven.astype(np.float64))
        assert 3 < spanned.max() <= 5
        np.testing.assert_array_equal(identify(before, image, layer, few).rank, spanned)


@pytest.mark.parametrize("signed", [True, False])
def test_uncertainty_is_calibrated(tiny_model, tiny_inputs, signed) -> None:
    chip = chip_of(("offset", "reference"), **{"dac.signed": signed})
    image = compile_model(tiny_model(), chip, calib=tiny_inputs, options=UNCLIPPED)
    found = errors(image, tiny_inputs, CaptureOptions(), range(8))
    assert 0.8 < found.z.std() < 1.25
    assert 0.5 < (np.abs(found.z) < 1).mean() < 0.85


def test_tiles_of_full_height(fashion_image, fashion) -> None:
    from pimc.data.dataset import load_data

    data = load_data(fashion).subset(np.arange(0, 2000, 40))
    die = Die.simulated(1)
    session = Session(fashion_image, die=die)
    layer = max(fashion_image.layers, key=lambda layer: layer.row_block)
    assert layer.row_block > 90
    captured = capture(session, data, CaptureOptions(), outputs=False, only=[layer.index])
    before = prior(fashion_image, layer)
    after = identify(before, fashion_image, layer, captured.layers[layer.index])
    held = truth(fashion_image, die, layer)
    left, raw = held - after.mean_us, held - before.mean_us
    assert (left**2).sum() < 0.05 * (raw**2).sum()


def test_more_repeats_and_more_vectors_tell_more(image, tiny_inputs) -> None:
    def share(**options: Any) -> float:
        return errors(image, tiny_inputs, CaptureOptions(**options), range(3)).share

    assert share(repeats=1) > 2 * share(repeats=4)
    assert share(vectors=64) > 2 * share(vectors=512)


def test_dynamic_ranges_too(tiny_model, tiny_inputs) -> None:
    image = compile_model(tiny_model(), chip_of(("offset", "reference")))
    assert all(layer.input_scale is None for layer in image.layers)
    assert errors(image, tiny_inputs, CaptureOptions(), range(2)).share < 0.05


def test_without_a_capture_of_a_row_the_prior_stays(image, tiny_inputs) -> None:
    layer = image.layers[0]
    session = Session(image, die=Die.simulated(0))
    record = capture(session, Dataset.of(tiny_inputs), CaptureOptions()).layers[0]
    inputs = record.inputs.copy()
    codes = record.codes.copy()
    inputs[:, 4] = 0
    before = prior(image, layer)
    after = identify(before, image, layer, replace(record, inputs=inputs, codes=codes))
    np.testing.assert_allclose(after.mean_us[:, 4], before.mean_us[:, 4], atol=1e-9)
    np.testing.assert_allclose(after.variance[:, 4], before.variance[:, 4])
    assert (after.variance[:, 3] < 0.1 * before.variance[:, 3]).all()


def test_a_second_capture_adds_to_the_first(image, tiny_inputs) -> None:
    die = Die.simulated(4)
    session = Session(image, die=die)
    layer = image.layers[1]
    known, energy = prior(image, layer), []
    for seed in range(3):
        options = CaptureOptions(vectors=32, seed=seed)
        record = capture(session, Dataset.of(tiny_inputs), options, only=[1]).layers[1]
        known = identify(known, image, layer, record)
        energy.append(((truth(image, die, layer) - known.mean_us)[known.present] ** 2).sum())
    assert energy[2] < energy[1] < energy[0]


# --- clipped codes -----------------------------------------------------------------------------


def test_clipped_codes_are_known_to_be_clipped(tiny_model, tiny_inputs) -> None:
    """Against an estimate that takes clipped codes for true ones."""
    chip = chip_of(("offset", "reference"))
    image = compile_model(tiny_model(), chip, calib=tiny_inputs, options=UNCLIPPED)
    die = Die.simulated(2)
    # Vectors for the image's range overdrive an ADC of a third of it.
    wide = capture(
        Session(image, die=die), Dataset.of(tiny_inputs), CaptureOptions(), outputs=False
    )
    narrow = image.with_layers(replace(v, adc_lsb_us=v.adc_lsb_us / 3) for v in image.layers)
    blind = narrow.updated(chip=narrow.chip.with_(**{"adc.bits": 12}).to_dict())
    session = Session(narrow, die=die)
    for layer in narrow.layers[:2]:
        inputs = torch.from_numpy(wide.layers[layer.index].inputs.astype(np.float32))
        record = capture_layer(session.layers[layer.name], narrow, session.device, inputs, 4)
        assert np.isin(record.codes, (127, -128)).mean() > 0.05
        held, before = truth(narrow, die, layer), prior(narrow, layer)
        raw, aware, naive = (
            float(((held - found.mean_us)[before.present] ** 2).sum())
            for found in (
                before,
                identify(before, narrow, layer, record),
                identify(before, blind, layer, record),
            )
        )
        assert aware < 0.1 * raw
        assert aware < 0.2 * naive


# --- modes and errors of the converters ---------------------------------------------------------

CONVERTERS: list[dict[str, Any]] = [
    {"dac.mode": "bit_serial"},
    {"dac.mode": "bit_serial", "dac.signed": False},
    {"dac.mode": "pulse_count"},
    {"adc.range": "column"},
    {"dac.mode": "bit_serial", "adc.range": "column"},
    {"adc.range": "fixed", "adc.full_scale_us": 150.0},
]


@pytest.mark.parametrize("keys", CONVERTERS, ids=lambda keys: "-".join(map(str, keys.values())))
def test_cells_are_found_whatever_the_converters(tiny_model, tiny_inputs, keys) -> None:
    chip = chip_of(("offset", "reference"), **keys)
    image = compile_model(tiny_model(), chip, calib=tiny_inputs, options=UNCLIPPED)
    found = errors(image, tiny_inputs, CaptureOptions(), range(1))
    assert found.share < 0.02
    assert 0.5 < found.z.std() < 1.5


@pytest.mark.parametrize("mode", ["parallel", "bit_serial"])
def test_offsets_of_converters_are_found_beside_the_cells(tiny_model, tiny_inputs, mode) -> None:
    keys = {"dac.mode": mode, "adc.offset_error_lsb": 4.0}
    image = compile_model(tiny_model(), chip_of(("offset", "reference"), **keys), calib=tiny_inputs)
    die = Die.simulated(3)
    captured = capture(
        Session(image, die=die), Dataset.of(tiny_inputs), CaptureOptions(), outputs=False
    )
    for layer in image.layers:
        cells = image.cells(layer).max(axis=1)
        column = cells // (64 * 32) * 32 + cells % 32
        wanted = adc_offset_lsb(die, column) * layer.adc_lsb_us
        after = identify(prior(image, layer), image, layer, captured.layers[layer.index])
        assert ((after.offset - wanted) ** 2).sum() < 0.05 * (wanted**2).sum()
        raw, left = (truth(image, die, layer) - e.mean_us for e in (prior(image, layer), after))
        assert (left**2).sum() < 0.02 * (raw**2).sum()

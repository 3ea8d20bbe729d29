"""What each element costs: paired over dies, and the same as measured by hand."""

from __future__ import annotations

import numpy as np
import pytest

import pimc.studies.ablation
from pimc.api import Options, compile
from pimc.chip.design import Chip
from pimc.chip.elements import ELEMENTS, present, without
from pimc.data.dataset import Dataset
from pimc.runtime.die.die import Die
from pimc.runtime.session import Session
from pimc.studies.ablation import explain, on_chip
from pimc.studies.drawn import Reading
from pimc.studies.evaluate import Batches, accuracy, float_session, measure, right
from pimc.studies.intervals import Difference
from tests.lab import install

SEEDS = (3, 4, 5)
NAMES = [element.name for element in ELEMENTS]
QUIET = Chip.default().with_array(16, 8).with_sigma(0.0)


@pytest.fixture(scope="module")
def batches(tiny_image, tiny_inputs) -> Batches:
    """Inputs with the labels of the float network."""
    labels = float_session(tiny_image).run(None, {"x": tiny_inputs})[0].argmax(axis=1)
    return Batches(Dataset.of(tiny_inputs, labels))


@pytest.fixture(scope="module")
def found(tiny_image, batches):
    return explain(tiny_image, batches, SEEDS, snr_images=8)


def by_hand(image, batches, off: set[str], seed: int) -> float:
    """Accuracy of one die without some elements."""
    changed = on_chip(image, without(image.chip, off))
    session = Session(changed, die=Die.simulated(seed), seed=seed, converters="ADC" not in off)
    return accuracy(session, batches)


def test_costs_are_differences_of_accuracies_on_the_same_dies(found, tiny_image, batches) -> None:
    every = {element.name for element in present(tiny_image.chip)}
    full = [accuracy(Session(tiny_image, die=Die.simulated(s), seed=s), batches) for s in SEEDS]
    assert list(found.accuracies) == full
    bare = by_hand(tiny_image, batches, every, 0)
    assert [cost.element.name for cost in found.costs] == [n for n in NAMES if n in every]
    for cost in found.costs:
        name = cost.element.name
        off = [by_hand(tiny_image, batches, {name}, seed) for seed in SEEDS]
        alone = [by_hand(tiny_image, batches, every - {name}, seed) for seed in SEEDS]
        assert cost.switched_off.per_die == pytest.approx(np.subtract(off, full))
        assert cost.alone.per_die == pytest.approx(np.subtract(bare, alone))
    assert found.together.per_die == pytest.approx(np.subtract(bare, full))


def test_programming_costs_what_it_should(found) -> None:
    lost = {cost.element.name: cost.switched_off.mean for cost in found.costs}
    assert max(lost, key=lost.__getitem__) in ("programming", "reference column")
    assert found.together.mean > 0.05


def test_quantization_steps_are_those_of_perfect_cells(found, tiny_image, batches) -> None:
    steps = found.quantization
    assert steps.in_float == 1.0
    fine = on_chip(tiny_image, tiny_image.chip.with_(**{"dac.bits": 16}))
    assert steps.weights == accuracy(Session(fine, converters=False), batches)
    assert steps.dac == accuracy(Session(tiny_image, converters=False), batches)
    assert steps.adc == accuracy(Session(tiny_image), batches)


def test_dies_differ_in_the_element_alone(tiny_image) -> None:
    """The same cells with the same draws meet a chip without read noise, or without faults."""

    def cells(off: set[str]):
        chip = without(tiny_image.chip.with_(**{"faults.stuck_gmax_rate": 0.1}), off)
        die = Die.simulated(7)
        Session(on_chip(tiny_image, chip), die=die)
        return die.cells

    one, quiet, sound, exact = (
        cells(off) for off in (set(), {"read noise"}, {"stuck cells"}, {"reference column"})
    )
    assert np.array_equal(one.g_us, quiet.g_us)
    free = one.stuck == 0
    assert not free.all()
    assert np.array_equal(one.g_us[free], sound.g_us[free])
    assert np.array_equal(one.g_us, exact.g_us)
    assert np.ptp(exact.reference_us) == 0.0
    assert np.ptp(one.reference_us) > 1.0


def test_a_chip_with_read_noise_only_shows_read_noise_only(tiny_model, tiny_inputs) -> None:
    # A range that no noise leaves: 16 cells of 40 µS and room to spare.
    wide = {"dac.bits": 16, "adc.bits": 16, "adc.range": "fixed", "adc.full_scale_us": 1000.0}
    chip = QUIET.with_(**{"read_noise.relative": 0.1, **wide})
    image = compile(tiny_model(), chip, calib=tiny_inputs)
    labels = Session(image).run(None, {"x": tiny_inputs})[0].argmax(axis=1)
    found = explain(image, Batches(Dataset.of(tiny_inputs, labels)), SEEDS)
    noise, adc = found.costs
    assert (noise.element.name, adc.element.name) == ("read noise", "ADC")
    assert found.together.mean > 0.05
    assert noise.switched_off.per_die == pytest.approx(found.together.per_die, abs=0.02)
    assert noise.alone.per_die == pytest.approx(found.together.per_die, abs=0.02)
    assert adc.switched_off.per_die == pytest.approx([0.0] * 3, abs=0.02)
    for layer in found.layers:
        assert layer.read_noise == pytest.approx(layer.own, rel=0.1)
        assert layer.cells < 0.1 * layer.own
        assert layer.adc < 0.01 * layer.own


def test_a_chip_without_any_error_has_nothing_to_explain(tiny_model, tiny_inputs) -> None:
    chip = QUIET.with_(**{"read_noise.relative": 0.0})
    image = compile(tiny_model(), chip, calib=tiny_inputs)
    found = explain(image, Batches(Dataset.of(tiny_inputs, np.zeros(64, int))), (1,))
    assert [cost.element.name for cost in found.costs] == ["DAC", "ADC"]
    assert found.accuracies == (found.quantization.adc,)
    # A single die has the interval over its samples; cells without an error have no ratio.
    table = found.to_dict()
    low, high = table["together"]["interval_95"]
    assert low < table["together"]["mean"] < high
    assert all(layer["cells_snr_db"] is None for layer in table["layers"])
    assert all(layer["adc_snr_db"] == layer["own_snr_db"] for layer in table["layers"])


def test_retention_costs_what_time_takes(tiny_model, tiny_inputs) -> None:
    retention = {"kind": "log", "log_shift_us": -0.5, "log_sigma_us": 0.3, "sigma_1s_us": 0.1}
    image = compile(tiny_model(), QUIET.with_(retention=retention), calib=tiny_inputs)
    labels = Session(image).run(None, {"x": tiny_inputs})[0].argmax(axis=1)
    batches = Batches(Dataset.of(tiny_inputs, labels))
    fresh = explain(image, batches, SEEDS, snr_images=4)
    old = explain(image, batches, SEEDS, reading=Reading(age_s=86400.0), snr_images=4)
    assert "retention" not in [cost.element.name for cost in fresh.costs]
    lost = {cost.element.name: cost.switched_off.mean for cost in old.costs}
    assert lost["retention"] > 0.05
    assert np.mean(old.accuracies) < np.mean(fresh.accuracies)
    assert all(one.cells < two.cells for one, two in zip(fresh.layers, old.layers, strict=True))


def test_what_is_known_is_not_measured_again(tiny_image, batches, found, monkeypatch) -> None:
    calls = []

    def counted(session, data):
        calls.append(session)
        return measure(session, data)

    monkeypatch.setattr(pimc.studies.ablation, "measure", counted)
    known = [measure(Session(tiny_image, die=Die.simulated(s), seed=s), batches) for s in SEEDS]
    again = explain(tiny_image, batches, SEEDS, known=known, in_float=1.0, snr_images=8)
    assert again == found
    # Five elements switched off on three dies; three drawn ones alone on three; two converters
    # alone, both, and none, which are the same on every die.
    assert len(calls) == 5 * 3 + 3 * 3 + 4


def test_an_image_without_float_weights_has_no_float_accuracy(tiny_model, tiny_inputs) -> None:
    options = Options(teacher=False)
    image = compile(tiny_model(), QUIET, calib=tiny_inputs, options=options)
    found = explain(image, Batches(Dataset.of(tiny_inputs, np.zeros(64, int))), (1,), snr_images=2)
    assert found.quantization.in_float is None


def test_on_chip_keeps_levels_and_ranges(tiny_image, dynamic_image, tiny_inputs) -> None:
    for image in (tiny_image, dynamic_image):
        same = on_chip(image, image.chip)
        assert same.sha256 == image.sha256
        fine = on_chip(image, image.chip.with_(**{"dac.bits": 14}))
        assert np.array_equal(fine.levels, image.levels)
        x = {"x": tiny_inputs}
        coarse, finer, finest = (
            Session(on_chip(image, image.chip.with_(**{"dac.bits": bits}))).run(None, x)[0]
            for bits in (8, 14, 16)
        )
        # The ADC sees the same range; what is left is rounding of inputs.
        assert 0 < np.abs(coarse - finest).max() < 0.2 * np.ptp(finest)
        assert np.abs(finer - finest).mean() < 0.5 * np.abs(coarse - finest).mean()


@pytest.mark.parametrize("mode", ["parallel", "bit_serial", "pulse_count"])
@pytest.mark.parametrize("adc_range", ["layer", "column"])
def test_on_chip_keeps_ranges_in_every_mode(mode, adc_range, tiny_model, tiny_inputs) -> None:
    chip = QUIET.with_(**{"dac.mode": mode, "adc.range": adc_range, "read_noise.relative": 0.0})
    image = compile(tiny_model(), chip, calib=tiny_inputs)
    x = {"x": tiny_inputs}
    coarse, fine, exact = (
        Session(on_chip(image, chip.with_(**{"dac.bits": bits})), converters=converters).run(
            None, x
        )[0]
        for bits, converters in ((8, True), (14, True), (14, False))
    )
    assert 0 < np.abs(coarse - exact).max() < 0.2 * np.ptp(exact)
    assert np.abs(fine - exact).max() < 0.2 * np.ptp(exact)


def test_intervals_are_those_of_paired_differences(found, tiny_image, batches) -> None:
    full = [right(Session(tiny_image, die=Die.simulated(s), seed=s), batches) for s in SEEDS]
    for cost in found.costs:
        changed = on_chip(tiny_image, without(tiny_image.chip, {cost.element.name}))
        converters = cost.element.name != "ADC"
        off = [
            right(Session(changed, die=Die.simulated(s), seed=s, converters=converters), batches)
            for s in SEEDS
        ]
        assert cost.switched_off == Difference.between(off, full)
        assert cost.switched_off.to_dict()["interval_95"] == list(cost.switched_off.interval)


def test_what_figures_stand_on_is_told(found, batches) -> None:
    table = found.to_dict()
    assert (table["dies"], table["samples"], table["snr_samples"]) == (3, 64, 8)


def test_what_costs_nothing_on_few_samples_may_cost_something(found, tiny_image, batches) -> None:
    """Without anything that is drawn all dies agree, which makes no sample certain."""
    alone = {cost.element.name: cost.alone for cost in found.costs}["DAC"]
    assert set(alone.per_die) == {alone.mean}
    low, high = alone.interval
    assert high - low > 2 / 64


def test_terms_of_a_laboratorys_own_have_rows(
    tiny_model, tiny_inputs, tmp_path, monkeypatch
) -> None:
    install(tmp_path, monkeypatch)
    own = {
        "physics.cell.relax": {"share": 0.4, "sigma": 0.0},
        "physics.read.shot.factor_us": 40.0,
        "physics.converter.inl.bow": 3.0,
        "physics.time.drift.exponent": 0.02,
    }
    quiet = QUIET.with_(**{"read_noise.relative": 0.0})
    image = compile(tiny_model(), quiet.with_(**own), calib=tiny_inputs)
    labels = float_session(image).run(None, {"x": tiny_inputs})[0].argmax(axis=1)
    batches = Batches(Dataset.of(tiny_inputs, labels))
    found = explain(image, batches, SEEDS, reading=Reading(age_s=3600.0), snr_images=4)
    names = ["DAC", "ADC", "cell.relax", "time.drift", "read.shot", "converter.inl"]
    assert [cost.element.name for cost in found.costs] == names
    lost = {cost.element.name: cost.alone.mean for cost in found.costs}
    assert lost["read.shot"] > 0.02
    assert max(layer.read_noise for layer in found.layers) > 0
    # What one costs is what a chip shows that has it alone.
    chip = quiet.with_(**{"physics.read.shot.factor_us": 40.0, "dac.bits": 16})
    alone = on_chip(image, chip)
    seen = [accuracy(Session(alone, die=Die.simulated(s), seed=s, converters=False), batches)
            for s in SEEDS]  # fmt: skip
    assert lost["read.shot"] == pytest.approx(found.quantization.weights - np.mean(seen))

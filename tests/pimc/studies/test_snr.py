"""Signal-to-noise ratios against direct calculation and the formula of read noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pimc.api import compile
from pimc.chip.design import Chip
from pimc.data.dataset import Dataset
from pimc.plan.records import layer_of
from pimc.runtime.die.die import Die
from pimc.runtime.door.abilities import saturation_of
from pimc.runtime.session import Session
from pimc.studies.snr import layer_snr

CHIP = Chip.default().with_array(16, 8)
SILENT = {"read_noise.relative": 0.0}


def image_on(chip: Chip, tiny_model, tiny_inputs):
    return compile(tiny_model(), chip, calib=tiny_inputs)


def outputs(session: Session, x: np.ndarray, source: Session | None = None) -> dict:
    """Every layer's output for the inputs it has in a run of ``source`` (or in its own)."""
    found = {}

    def array(node, value):
        layer = session.layers[layer_of(node)]
        found[layer_of(node)] = layer(value).double().numpy()
        return layer(value) if source is None else source.layers[layer_of(node)](value)

    (source or session).evaluate({"x": torch.from_numpy(x)}, array=array)
    return found


def test_powers_are_those_of_a_direct_calculation(tiny_model, tiny_inputs) -> None:
    image = image_on(CHIP.with_(**SILENT), tiny_model, tiny_inputs)
    seeds = (1, 2)
    layers = layer_snr(image, seeds, Dataset.of(tiny_inputs))
    ideal = Session(image, converters=False)
    wanted = outputs(ideal, tiny_inputs)
    rounded = outputs(Session(image), tiny_inputs, ideal)
    dies = [Session(image, die=Die.simulated(seed)) for seed in seeds]
    bare = [Session(image, die=Die.simulated(seed), converters=False) for seed in seeds]
    for layer in layers:
        y = wanted[layer.name]

        def power(runs, y=y, name=layer.name):
            return np.mean([np.square(run[name] - y).mean() for run in runs])

        assert layer.signal == pytest.approx(y.var())
        assert layer.total == pytest.approx(power(outputs(d, tiny_inputs) for d in dies))
        assert layer.own == pytest.approx(power(outputs(d, tiny_inputs, ideal) for d in dies))
        assert layer.cells == pytest.approx(power(outputs(d, tiny_inputs, ideal) for d in bare))
        assert layer.adc == pytest.approx(power([rounded]))
        assert layer.read_noise == 0.0
        ratio = layer.snr_db(layer.own)
        assert ratio == pytest.approx(10 * math.log10(y.var() / layer.own))
        assert layer.snr_db(layer.read_noise) is None


def test_read_noise_has_the_power_of_its_formula(tiny_model, tiny_inputs) -> None:
    """Output variance Σ x² σ², over tiles and the reference column, times the scale squared."""
    image = image_on(CHIP.with_(**{"read_noise.relative": 0.05}), tiny_model, tiny_inputs)
    layers = layer_snr(image, (1,), Dataset.of(tiny_inputs))
    ideal = Session(image, converters=False)
    die = Die.simulated(1)
    session = Session(image, die=die)
    records = {}

    def array(node, value):
        records[layer_of(node)] = ideal.layers[layer_of(node)].record(value)[1].inputs
        return ideal.layers[layer_of(node)](value)

    ideal.evaluate({"x": torch.from_numpy(tiny_inputs)}, array=array)
    state, cols = die.cells, image.chip.array.cols
    for layer, found in zip(image.layers, layers, strict=True):
        cells = session.layers[layer.name].region.cells
        held = np.where(cells >= 0, state.g_us.reshape(-1)[cells], 0.0)
        reference = np.where(cells >= 0, state.reference_us.reshape(-1)[cells // cols], 0.0)
        sigma2 = 0.05**2 * (held.astype(float) ** 2 + reference.astype(float) ** 2)
        square = records[layer.name].double().numpy() ** 2
        variance = np.einsum("brc,nbrp->nbcp", sigma2, square)
        variance = variance.reshape(len(variance), layer.groups, -1, *variance.shape[2:]).sum(2)
        scale = (layer.scale * layer.gain * layer.input_scale).reshape(layer.groups, -1)
        wanted = (variance * scale[None, :, :, None] ** 2).mean()
        # The mean of n squares of normal numbers has a relative standard error of √(2/n);
        # columns share the reference, so only one in eight of them counts as independent.
        count = variance.size / cols
        assert found.read_noise == pytest.approx(wanted, rel=4 * math.sqrt(2 / count))


def test_parts_add_up_to_the_whole(fashion, fashion_image) -> None:
    from pimc.data.dataset import load_data

    data = load_data(fashion, role="test")
    layers = layer_snr(fashion_image, (0, 1), data, images=8)
    assert [layer.name for layer in layers] == [layer.name for layer in fashion_image.layers]
    for layer in layers:
        parts = layer.cells + layer.read_noise + layer.adc
        assert layer.own == pytest.approx(parts, rel=0.15)
        assert layer.own <= 1.01 * layer.total
        assert layer.cells > max(layer.read_noise, layer.adc)
    # What enters the first layer has nothing wrong with it yet.
    assert layers[0].total == pytest.approx(layers[0].own, rel=0.05)


def test_errors_of_cells_are_found_below_read_noise(tiny_model, tiny_inputs) -> None:
    """What repeats does not depend on how large the noise is that it hides in."""
    image = image_on(CHIP, tiny_model, tiny_inputs)
    quiet, noisy = (
        layer_snr(
            image_on(CHIP.with_(**keys), tiny_model, tiny_inputs), (1,), Dataset.of(tiny_inputs)
        )
        for keys in (SILENT, {"read_noise.relative": 0.05})
    )
    outputs_of = {name: value.size for name, value in outputs(Session(image), tiny_inputs).items()}
    for one, two in zip(quiet, noisy, strict=True):
        # Var(d₁d₂) = 2 s² n² + n⁴; columns share the reference's noise, eight of them count once.
        spread = 2 * one.cells * two.read_noise + two.read_noise**2
        error = math.sqrt(spread / (outputs_of[one.name] / image.chip.array.cols))
        assert two.cells == pytest.approx(one.cells, abs=4 * error)
        assert error < one.cells
        assert one.read_noise == 0.0 < two.read_noise


def test_clipped_codes_are_those_of_the_run(tiny_model, tiny_inputs) -> None:
    chip = CHIP.with_(**{**SILENT, "adc.bits": 4, "adc.offset_error_lsb": 2.0})
    image = image_on(chip, tiny_model, tiny_inputs)
    layers = layer_snr(image, (1,), Dataset.of(tiny_inputs))
    session = Session(image, die=Die.simulated(1))
    session.run(None, {"x": tiny_inputs})
    counted = saturation_of(session.device)
    assert [layer.clipped for layer in layers] == [counted[layer.name].share for layer in layers]
    assert max(layer.clipped for layer in layers) > 0


def test_images_are_spread_over_the_data_and_no_more_than_asked_for(
    tiny_image, tiny_inputs
) -> None:
    two = layer_snr(tiny_image, (1,), Dataset.of(tiny_inputs), images=2)
    ends = layer_snr(tiny_image, (1,), Dataset.of(tiny_inputs[[0, -1]]))
    assert two == ends


def test_the_same_every_time(tiny_image, tiny_inputs) -> None:
    data = Dataset.of(tiny_inputs[:8])
    assert layer_snr(tiny_image, (1, 2), data) == layer_snr(tiny_image, (1, 2), data)

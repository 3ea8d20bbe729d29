"""The fused read and the torch path are the same chip: equal draws, equal codes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pimc.api import compile
from pimc.chip.design import Chip
from pimc.image.image import Image
from pimc.runtime.die.die import Die
from pimc.runtime.digital import as_read
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session
from tests.passes.lowered_nets import model_of, node

PAIRS = [("differential", pair) for pair in ("columns", "rows", "arrays")]
MAPPINGS = [("offset", "columns"), ("sliced", "columns"), *PAIRS]
MODES = ("parallel", "bit_serial", "pulse_count")


def image_of(
    tiny_model: Any, tiny_inputs: np.ndarray | None, tiny_chip: Chip, **keys: Any
) -> Image:
    return compile(tiny_model(), tiny_chip.with_(**keys), calib=tiny_inputs)


def device_of(image: Image, **options: Any) -> SimDevice:
    device = SimDevice(Die.simulated(5), image.chip, image.arrays, read_seed=9, **options)
    program(image, device)
    return device


def session(image: Image, **options: Any) -> Session:
    return Session(image, die=device_of(image, **options))


def outputs(image: Image, x: np.ndarray, **options: Any) -> np.ndarray:
    return session(image, **options).run(None, {"x": x})[0]


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def layer_codes(image: Image, x: np.ndarray, *, fused: bool) -> dict[str, np.ndarray]:
    """Sums of codes of every layer, each on the same inputs: those of perfect cells."""
    device = device_of(image, fused=fused)
    chip, found = Session(image, die=device), {}

    def array(node, value):
        name = node.attributes["layer"].as_string()
        bound = chip.layers[name]
        if fused and device.reads_whole(bound.layer):
            codes = device.read_layer(bound.region, bound.layer, value)
        else:
            read = bound.record(value)[1].codes
            codes = read.unflatten(1, (bound.layer.groups, -1)).sum(dim=2).flatten(1, 2)
        found[name] = codes.numpy()
        return ideal.layers[name](value)

    ideal = Session(image, die=Die.ideal())
    ideal.evaluate({"x": torch.from_numpy(x)}, array=array)
    return found


def layer_outputs(image: Image, x: np.ndarray, *, fused: bool) -> dict[str, np.ndarray]:
    """Outputs of every layer, each on the same inputs: those of perfect cells."""
    chip, ideal, found = session(image, fused=fused), Session(image, die=Die.ideal()), {}

    def array(node, value):
        name = node.attributes["layer"].as_string()
        found[name] = chip.layers[name](value).numpy()
        return ideal.layers[name](value)

    ideal.evaluate({"x": torch.from_numpy(x)}, array=array)
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("kind", "pair"), MAPPINGS)
@pytest.mark.parametrize("pedestal", ["reference", "digital"])
def test_both_paths_give_the_same_codes(
    tiny_model, tiny_inputs, tiny_chip, mode: str, kind: str, pair: str, pedestal: str
) -> None:
    keys = {"dac.mode": mode, "mapping.kind": kind, "mapping.pair": pair}
    errors = {"adc.gain_error": 0.02, "adc.offset_error_lsb": 0.5, "adc.range": "column"}
    image = image_of(
        tiny_model, tiny_inputs, tiny_chip,
        **keys, **errors, **{"mapping.pedestal": pedestal, "read_noise.relative": 0.05},
    )  # fmt: skip
    one, other = (layer_codes(image, tiny_inputs[:20], fused=fused) for fused in (True, False))
    for name, codes in one.items():
        apart = np.abs(codes - other[name])
        # Float rounding takes a current across the border of two codes now and then.
        largest = 2.0 ** (7 if mode == "bit_serial" else 0)
        assert apart.max() <= largest
        assert (apart > 0).mean() < 2e-3


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("kind", "pair"), [m for m in MAPPINGS if m[1] != "rows"])
def test_both_paths_read_both_signs_alike_without_negative_voltages(
    tiny_model, tiny_inputs, tiny_chip, mode: str, kind: str, pair: str
) -> None:
    keys = {"dac.mode": mode, "mapping.kind": kind, "mapping.pair": pair, "dac.signed": False}
    image = image_of(tiny_model, tiny_inputs, tiny_chip, **keys, **{"read_noise.relative": 0.05})
    assert image.layers[0].input_signed
    assert device_of(image).reads_whole(image.layers[0])
    one, other = (layer_codes(image, tiny_inputs[:20], fused=fused) for fused in (True, False))
    for name, codes in one.items():
        apart = np.abs(codes - other[name])
        largest = 2.0 ** (7 if mode == "bit_serial" else 0)
        assert apart.max() <= largest
        assert (apart > 0).mean() < 2e-3


@pytest.mark.parametrize(("kind", "pair"), MAPPINGS)
@pytest.mark.parametrize("negative", [True, False])
def test_both_paths_bend_inputs_alike(
    tiny_model, tiny_inputs, tiny_chip, kind: str, pair: str, negative: bool
) -> None:
    if pair == "rows" and not negative:
        pytest.skip("pairs of wordlines need both polarities")
    keys = {"mapping.kind": kind, "mapping.pair": pair, "dac.signed": negative}
    curved = {"cell.iv_alpha": 2.0, "read_noise.relative": 0.05, "mapping.pedestal": "digital"}
    image = image_of(tiny_model, tiny_inputs, tiny_chip, **keys, **curved)
    assert device_of(image).reads_whole(image.layers[0])
    one, other = (layer_codes(image, tiny_inputs[:20], fused=fused) for fused in (True, False))
    straight = image_of(
        tiny_model, tiny_inputs, tiny_chip, **keys, **curved | {"cell.iv_alpha": 0.0}
    )
    linear = layer_codes(straight, tiny_inputs[:20], fused=True)
    for name, codes in one.items():
        apart = np.abs(codes - other[name])
        assert apart.max() <= 1
        assert (apart > 0).mean() < 2e-3
        assert (codes != linear[name]).mean() > 0.05
    # The digital side takes off what the codes themselves amount to.
    one, other = (layer_outputs(image, tiny_inputs[:20], fused=fused) for fused in (True, False))
    for name, y in one.items():
        # No more than a code here and there.
        assert np.abs(y - other[name]).mean() < 1e-3 * np.abs(y).max()


@pytest.mark.parametrize(
    ("keys", "largest"),
    [
        ({}, 1.0),
        ({"mapping.kind": "sliced", "mapping.pedestal": "digital"}, 1.0),
        ({"mapping.kind": "differential", "mapping.pair": "rows"}, 1.0),
        ({"dac.mode": "bit_serial", "mapping.pedestal": "digital"}, 128.0),
        ({"dac.signed": False}, 1.0),
        ({"cell.iv_alpha": 2.0}, 1.0),
    ],
    ids=str,
)
def test_both_paths_scale_every_vector_alike(
    tiny_model, tiny_inputs, tiny_chip, keys: dict[str, Any], largest: float
) -> None:
    """Layers without calibration data: each input vector has a range of its own."""
    noisy = {"read_noise.relative": 0.05, "adc.gain_error": 0.02}
    image = image_of(tiny_model, None, tiny_chip, **keys, **noisy)
    assert all(layer.input_scale is None for layer in image.layers)
    device = device_of(image)
    assert all(device.reads_whole(as_read(layer)) for layer in image.layers)
    one, other = (layer_outputs(image, tiny_inputs[:20], fused=fused) for fused in (True, False))
    for layer in image.layers:
        y, wanted = one[layer.name], other[layer.name]
        step = np.abs(y - wanted)
        # Float rounding takes a current across the border of two codes now and then.
        assert (step > 1e-4 * np.abs(wanted).max()).mean() < 2e-3 * layer.row_blocks
        assert step.max() < largest * 0.1 * np.abs(wanted).max()


def test_scaled_vectors_do_not_depend_on_batches(tiny_model, tiny_inputs, tiny_chip) -> None:
    image = image_of(tiny_model, None, tiny_chip, **{"read_noise.relative": 0.05})
    together, one = outputs(image, tiny_inputs), session(image)
    apart = np.concatenate(
        [one.run(None, {"x": part})[0] for part in np.split(tiny_inputs, [1, 4, 20])]
    )
    assert apart == pytest.approx(together, abs=1e-5 * float(np.abs(together).max()))


def test_volumes_are_read_as_products_of_their_vectors(tiny_chip) -> None:
    rng = np.random.default_rng(4)
    kernel = rng.standard_normal((6, 4, 2, 3, 3)).astype(np.float32)
    x = rng.standard_normal((5, 4, 4, 6, 6)).astype(np.float32)
    nodes = [node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1, 1, 1])]
    model = model_of(nodes, {"x": ["N", 4, 4, 6, 6]}, {"w": kernel})
    image = compile(model, tiny_chip.with_(**{"read_noise.relative": 0.05}), calib=x)
    (layer,) = image.layers
    assert device_of(image).reads_whole(as_read(layer))
    one, other = (layer_outputs(image, x, fused=fused)[layer.name] for fused in (True, False))
    assert one.shape == (5, 6, 5, 6, 6)
    assert np.abs(one - other).mean() < 1e-3 * np.abs(other).max()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "keys", [{}, {"mapping.kind": "differential", "mapping.pair": "rows"}, {"dac.signed": False}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("calibrated", [True, False])
def test_both_paths_disturb_alike(
    tiny_model, tiny_inputs, tiny_chip, mode: str, keys: dict[str, Any], calibrated: bool
) -> None:
    disturb = {"tau0_s": 1e-2, "every_samples": 6, "g_sat_us": 40.0}
    image = image_of(
        tiny_model, tiny_inputs if calibrated else None, tiny_chip,
        **keys, **{"dac.mode": mode, "disturb": disturb, "read_noise.relative": 0.0},
    )  # fmt: skip
    found, stress = [], []
    for fused in (True, False):
        device = device_of(image, fused=fused)
        assert device.reads_whole(as_read(image.layers[0])) == fused
        first = Session(image, die=device).layers[image.layers[0].name]
        parts = [tiny_inputs[:7], tiny_inputs[7:20]]
        found.append(np.concatenate([first(torch.from_numpy(x)).numpy() for x in parts]))
        stress.append(device.die.cells.stress)
    assert np.array_equal(stress[0], stress[1])
    assert stress[0].any()
    moved = np.abs(found[0] - found[1])
    assert moved.mean() < 1e-3 * np.abs(found[0]).max()
    calm = image_of(
        tiny_model, tiny_inputs if calibrated else None, tiny_chip,
        **keys, **{"dac.mode": mode, "read_noise.relative": 0.0},
    )  # fmt: skip
    still = session(calm).layers[image.layers[0].name](torch.from_numpy(tiny_inputs[:20])).numpy()
    assert np.array_equal(still[:6], found[0][:6])
    assert np.abs(still[12:] - found[0][12:]).mean() > 3 * moved.mean()


@pytest.mark.parametrize("pedestal", ["reference", "digital"])
@pytest.mark.parametrize(("kind", "pair"), MAPPINGS)
def test_both_paths_give_the_same_outputs_after_a_recovery(
    tiny_model, tiny_inputs, tiny_chip, kind: str, pair: str, pedestal: str
) -> None:
    quiet = {"read_noise.relative": 0.0, "adc.bits": 16, "cell.sigma": {"kind": "constant",
             "constant_us": 0.5}}  # fmt: skip
    image = image_of(
        tiny_model, tiny_inputs, tiny_chip,
        **quiet, **{"mapping.kind": kind, "mapping.pair": pair, "mapping.pedestal": pedestal},
    )  # fmt: skip
    rng = np.random.default_rng(0)
    image = image.with_layers(
        replace(
            layer,
            gain=rng.uniform(0.8, 1.2, len(layer.gain)).astype(np.float32),
            row_correction=rng.normal(
                size=(layer.groups, layer.col_blocks, layer.wordlines)
            ).astype(np.float32),
        )
        for layer in image.layers
    )
    one, other = (layer_outputs(image, tiny_inputs, fused=fused) for fused in (True, False))
    for name, y in one.items():
        assert y == pytest.approx(other[name], abs=1e-3 * float(np.abs(y).max()))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("telegraph", [0.0, 0.5])
def test_results_do_not_depend_on_batches_or_threads(
    tiny_model, tiny_inputs, tiny_chip, fused: bool, telegraph: float
) -> None:
    noise = {"rtn_share": telegraph, "rtn_dwell_samples": 5, "relative": 0.05}
    image = image_of(tiny_model, tiny_inputs, tiny_chip, read_noise=noise)
    together = outputs(image, tiny_inputs, fused=fused)
    one = session(image, fused=fused)
    with threads(3):
        parts = np.split(tiny_inputs, [1, 4, 20, 27])
        apart = np.concatenate([one.run(None, {"x": part})[0] for part in parts])
    assert apart == pytest.approx(together, abs=1e-5 * float(np.abs(together).max()))


@pytest.mark.parametrize("recovered", [False, True])
@pytest.mark.parametrize("mode", ["parallel", "bit_serial"])
def test_a_rectifier_behind_a_layer_is_part_of_the_read(
    tiny_model, tiny_inputs, tiny_chip, mode: str, recovered: bool
) -> None:
    keys = {"dac.mode": mode, "mapping.pedestal": "digital", "read_noise.relative": 0.05}
    image = image_of(tiny_model, tiny_inputs, tiny_chip, **keys)
    if recovered:  # several sums of inputs are taken off
        rng = np.random.default_rng(0)
        image = image.with_layers(
            replace(layer, row_correction=rng.normal(size=(
                layer.groups, layer.col_blocks, layer.wordlines)).astype(np.float32))
            for layer in image.layers
        )  # fmt: skip
    apart = session(image)
    with torch.inference_mode():
        wanted = apart.evaluate({"x": torch.from_numpy(tiny_inputs)}, array=apart.array)
    (found,) = session(image).run(None, {"x": tiny_inputs})
    assert np.array_equal(found, wanted[apart.get_outputs()[0].name].numpy())
    rectified = [layer.rectified(torch.from_numpy(tiny_inputs))
                 for layer in list(apart.layers.values())[:1]]  # fmt: skip
    assert all(y is not None and float(y.min()) == 0.0 for y in rectified)


def test_every_read_draws_anew(tiny_model, tiny_inputs, tiny_chip) -> None:
    image = image_of(tiny_model, tiny_inputs, tiny_chip, **{"read_noise.relative": 0.05})
    chip = session(image)
    first, second = (chip.run(None, {"x": tiny_inputs})[0] for _ in range(2))
    assert np.abs(first - second).max() > 0
    assert np.array_equal(outputs(image, tiny_inputs), first)


def test_clipped_codes_are_counted_alike(tiny_model, tiny_inputs, tiny_chip) -> None:
    narrow = {"adc.range": "fixed", "adc.full_scale_us": 20.0}
    image = image_of(tiny_model, tiny_inputs, tiny_chip, **narrow)
    counts = []
    for fused in (True, False):
        device = device_of(image, fused=fused)
        bound = Session(image, die=device).layers[image.layers[0].name]
        bound(torch.from_numpy(tiny_inputs))
        counts.append(device.saturation[bound.layer.name])
    assert counts[0].conversions == counts[1].conversions > 0
    assert counts[0].clipped == pytest.approx(counts[1].clipped, rel=0.01)
    assert counts[0].share > 0.01


def test_what_it_does_not_know_is_read_the_other_way(tiny_model, tiny_inputs, tiny_chip) -> None:
    image = image_of(tiny_model, tiny_inputs, tiny_chip, **{"dac.bits": 12})
    device = device_of(image)
    chip = Session(image, die=device)
    bound = chip.layers[image.layers[0].name]
    assert bound.layer.input_signed
    assert not device.reads_whole(bound.layer)
    assert np.isfinite(chip.run(None, {"x": tiny_inputs})[0]).all()


@pytest.mark.parametrize("batch", [1, 16, 64])
def test_what_only_fills_up_a_strip_is_not_counted(
    tiny_model, tiny_inputs, tiny_chip, batch: int
) -> None:
    """With an offset of the converter below zero, an input of zeros would clip."""
    keys = {"mapping.pedestal": "digital", "adc.offset_error_lsb": 2.0}
    image = image_of(tiny_model, tiny_inputs, tiny_chip, **keys)
    last = image.layers[-1]
    assert last.op == "Gemm"
    x = torch.from_numpy(np.random.default_rng(0).random((batch, last.rows), np.float32))
    counts = []
    for fused in (True, False):
        device = device_of(image, fused=fused)
        Session(image, die=device).layers[last.name](x)
        counts.append(device.saturation[last.name])
    assert counts[0] == counts[1]


def test_an_empty_batch(tiny_image) -> None:
    device = device_of(tiny_image)
    bound = Session(tiny_image, die=device).layers[tiny_image.layers[-1].name]
    assert bound(torch.zeros(0, bound.layer.rows)).shape == (0, bound.layer.cols)

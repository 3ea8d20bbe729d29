"""With every imperfection off the chip computes the quantized network, whatever the mapping."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch

from pimc.api import compile as compile_model
from pimc.chip.converters import plane_weights
from pimc.chip.design import Chip
from pimc.image.image import Image, ImageLayer
from pimc.runtime.die.die import Die
from pimc.runtime.door.sim import SimDevice
from pimc.runtime.session import Session
from pimc.studies.golden.verify import verify

Net = Callable[..., onnx.ModelProto]
Ints = npt.NDArray[np.int64]

MAPPINGS = [
    ("offset", "columns"),
    ("sliced", "columns"),
    ("differential", "columns"),
    ("differential", "rows"),
    ("differential", "arrays"),
]
PEDESTALS = ["reference", "digital"]
MODES = ["parallel", "bit_serial", "pulse_count"]
#: Levels of 2, 3 … 17 µS: with one code a µS every current is a whole number of codes.
WHOLE = {"cell.g_min_us": 2.0, "cell.g_max_us": 17.0, "adc.bits": 14, "dac.bits": 6}


@pytest.fixture(scope="module")
def compiled(tiny_model: Net, tiny_inputs: npt.NDArray[np.float32]) -> Callable[..., Image]:
    """The tiny network on the default chip with other keys, each compiled once."""

    @functools.cache
    def build(calibrated: bool, keys: frozenset[tuple[str, Any]]) -> Image:
        chip = Chip.default().with_array(16, 8).with_(**dict(keys))
        return compile_model(tiny_model(), chip, calib=tiny_inputs if calibrated else None)

    def get(mapping: tuple[str, str], pedestal: str, calibrated: bool, **keys: Any) -> Image:
        kind, pair = mapping
        own = {"mapping.kind": kind, "mapping.pair": pair, "mapping.pedestal": pedestal}
        return build(calibrated, frozenset({**own, **keys}.items()))

    return get


def in_mode(image: Image, mode: str, **layer: Any) -> Image:
    """The image for a chip of another input mode, with other entries of its layers."""
    layers = [replace(own, **layer) for own in image.layers]
    return image.with_chip(image.chip.with_(**{"dac.mode": mode})).with_layers(layers)


def corrected(image: Image) -> Image:
    """With other than trivial gains and row corrections, as a recovery leaves them."""
    rng = np.random.default_rng(2)
    layers = []
    for layer in image.layers:
        shape = (layer.groups, layer.col_blocks, layer.wordlines)
        gain = rng.uniform(0.8, 1.2, layer.gain.shape).astype(np.float32)
        correction = rng.standard_normal(shape).astype(np.float32)
        layers.append(replace(layer, gain=gain, row_correction=correction))
    return image.with_layers(layers)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pedestal", PEDESTALS)
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_the_quantized_network_to_float_rounding(
    mapping: tuple[str, str],
    pedestal: str,
    mode: str,
    compiled: Callable[..., Image],
    tiny_inputs: npt.NDArray[np.float32],
) -> None:
    other = {"adc.range": "column", "array.active_rows": 6}
    for image in (compiled(mapping, pedestal, True), compiled(mapping, pedestal, False, **other)):
        found = verify(corrected(in_mode(image, mode)), {"x": tiny_inputs[:8]})
        for entry in found.comparisons:
            assert entry.relative_error < 1e-5, entry


def layer_of(image: Image) -> ImageLayer:
    """The layer of two groups: several row blocks, several tiles side by side."""
    return image.layers[1]


def currents(image: Image, layer: ImageLayer, driven: Ints) -> Ints:
    """Column currents cell by cell, µS times DAC code, for driven wordlines."""
    cells = image.cells(layer)
    level = image.levels.reshape(-1)[np.maximum(cells, 0)].astype(np.int64)
    g = 2 + level - round(image.codebook.reference_us)
    return np.einsum("brc,brv->bcv", np.where(cells >= 0, g, 0), driven)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pedestal", PEDESTALS)
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_converters_of_whole_codes_do_integer_arithmetic(
    mapping: tuple[str, str],
    pedestal: str,
    mode: str,
    compiled: Callable[..., Image],
) -> None:
    image = in_mode(compiled(mapping, pedestal, True, **WHOLE), mode, adc_lsb_us=1.0)
    layer = layer_of(image)
    session = Session(image, die=Die.ideal())
    bound = session.layers[layer.name]
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (3, 6, 4, 4)).astype(np.float32)
    y, record = bound.record(torch.from_numpy(x))
    driven = record.inputs.permute(1, 2, 0, 3).flatten(2).numpy().astype(np.int64)
    codes = record.codes.permute(1, 2, 0, 3).flatten(2).numpy()
    assert np.array_equal(codes, currents(image, layer, driven))
    if mapping[1] == "rows":
        assert np.array_equal(driven[:, 0::2], -driven[:, 1::2])
    if mode == "bit_serial":
        device = session.device
        assert isinstance(device, SimDevice)
        count = len(plane_weights(image.chip, layer.input_signed))
        assert device.saturation[layer.name].conversions == count * codes.size
        assert device.saturation[layer.name].clipped == 0
    wanted = Session(image, die=Die.ideal(), converters=False).layers[layer.name](
        torch.from_numpy(x)
    )
    assert y.numpy() == pytest.approx(wanted.numpy(), abs=1e-5 * float(wanted.abs().max()))

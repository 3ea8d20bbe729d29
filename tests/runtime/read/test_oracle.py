"""The simulated read has the distribution of reads whose every cell is drawn anew."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from pimc.api import compile
from pimc.chip.design import Chip
from pimc.image.image import Image
from pimc.runtime.crossbar import CrossbarLayer
from pimc.runtime.die.die import Die
from pimc.runtime.die.region import Region
from pimc.runtime.door.program import program
from pimc.runtime.door.sim import SimDevice
from tests.runtime.oracle import (
    MODES,
    Mapping,
    Noise,
    Oracle,
    Reads,
    offset_value_us,
    pair_value_us,
    sliced_value_us,
)
from tests.runtime.samples import assert_same_codes, assert_same_moments

Array64 = npt.NDArray[np.float64]

DRAWS = 100_000
ROWS, OUTPUTS, LEVELS, DAC_BITS, ADC_BITS = 5, 2, 4, 4, 6
CODES = np.array([7, -5, 3, 6, -7])
#: Small arrays: the layer's rows and columns lie in several, with a reference column each.
BASE = (
    Chip.default()
    .with_array(4, 3)
    .with_levels(LEVELS)
    .with_(**{"dac.bits": DAC_BITS, "adc.bits": ADC_BITS})
)


@dataclass(frozen=True)
class Keys:
    """A row of a table: what the chip file says, and what the oracle is told."""

    keys: dict[str, Any]
    model: Any = None


def _log_us(g_us: Array64) -> Array64:
    time = math.log((10.0 + 1e-6) / (2 * 1e-6))
    return 0.2 * np.log10(np.maximum(g_us, 1.0)) * time**0.5


MAPPINGS = {
    "offset": Keys({}, Mapping((1.0,), offset_value_us)),
    "sliced": Keys({"mapping.kind": "sliced"}, Mapping((float(LEVELS), 1.0), sliced_value_us)),
    "pair": Keys({"mapping.kind": "differential"}, Mapping((1.0, -1.0), pair_value_us)),
    "pair on rows": Keys(
        {"mapping.kind": "differential", "mapping.pair": "rows"},
        Mapping((1.0, -1.0), pair_value_us, "rows"),
    ),
    "pair on arrays": Keys(
        {"mapping.kind": "differential", "mapping.pair": "arrays"},
        Mapping((1.0, -1.0), pair_value_us, "arrays"),
    ),
}
NOISES = {
    "proportional": Keys({"read_noise.relative": 0.1}, Noise(lambda g: 0.1 * g)),
    "constant": Keys(
        {"read_noise.relative": 0.0, "read_noise.sigma_us": 2.0},
        Noise(lambda g: np.full_like(g, 2.0)),
    ),
    "logarithmic": Keys(
        {
            "read_noise.relative": 0.0,
            "read_noise.log_us": 0.2,
            "read_noise.log_time_s": 10.0,
        },
        Noise(_log_us),
    ),
    "telegraph": Keys(
        {
            "read_noise.relative": 0.0,
            "read_noise.sigma_us": 2.0,
            "read_noise.rtn_share": 1.0,
            "read_noise.rtn_amplitude": 0.3,
            "read_noise.rtn_duty": 0.25,
            "read_noise.rtn_dwell_samples": 1,
        },
        Noise(lambda g: np.full_like(g, 2.0), trap_amplitude=0.3, trap_duty=0.25),
    ),
}
WHITE = ("proportional", "constant", "logarithmic")
MODE_KEYS: dict[str, dict[str, Any]] = {
    "parallel": {},
    "bit_serial": {"dac.mode": "bit_serial"},
    "pulse_count": {"dac.mode": "pulse_count"},
}


#: What else a chip may have: dead lines and stuck cells, drivers without negative voltages,
#: cells whose current is no straight line.
EXTRAS: dict[str, dict[str, Any]] = {
    "faults": {
        "faults.dead_row_rate": 0.2,
        "faults.dead_col_rate": 0.2,
        "faults.stuck_gmax_rate": 0.1,
    },
    "two phases": {"dac.signed": False},
    "curved": {"cell.iv_alpha": 2.0},
}


@dataclass(frozen=True)
class Bench:
    """One layer on a die, and the same for the oracle.

    Attributes:
        codes: (rows,) DAC codes of the one input vector that is read over and over.
    """

    image: Image
    die: Die
    oracle: Oracle
    mapping: Mapping
    codes: npt.NDArray[np.int64] = field(repr=False)

    def recorded(self, images: int, *, converters: bool) -> tuple[Array64, Array64]:
        """(draws, bitlines) codes and (draws, outputs) of the simulator.

        Draws are spread over images and positions alike.
        """
        layer, x = self._on_device(images, converters)
        outputs, record = layer.record(x)
        codes = record.codes.permute(0, 3, 1, 2).reshape(DRAWS, -1)
        return _double(codes), _double(outputs.reshape(DRAWS, -1))

    def run(self, images: int) -> Array64:
        """(draws, outputs) of the simulator the way a network runs: without codes in between."""
        layer, x = self._on_device(images, converters=True)
        return _double(layer(x).reshape(DRAWS, -1))

    def _on_device(self, images: int, converters: bool) -> tuple[CrossbarLayer, torch.Tensor]:
        device = SimDevice(
            self.die, self.image.chip, self.image.arrays, read_seed=3, converters=converters
        )
        layer = CrossbarLayer.of(self.image, self.image.layers[0], device, "cpu")
        step = layer.layer.input_scale
        assert step is not None
        x = torch.from_numpy((self.codes * step).astype(np.float32))
        return layer, x.expand(images, DRAWS // images, ROWS)

    def slow(self, images: int) -> Reads:
        """(draws, blocks, columns) of the oracle."""
        rng = np.random.default_rng(11)
        lines = self.mapping.driven(self.codes)
        blocks, rows = self.oracle.cells.shape[:2]
        x = np.zeros(blocks * rows, np.int64)
        x[: len(lines)] = lines
        count = images, DRAWS // images
        if self.image.chip.dac.signed:
            return self.oracle.read(x.reshape(blocks, rows), *count, rng)
        up, down = (
            self.oracle.read(np.maximum(sign * x, 0).reshape(blocks, rows), *count, rng)
            for sign in (1, -1)
        )
        return Reads(up.analog - down.analog, up.codes - down.codes)

    def outputs(self, codes: Array64) -> Array64:
        """(draws, outputs) of the layer for codes (draws, blocks, columns), digitally."""
        layer, chip = self.image.layers[0], self.image.chip
        current = self.mapping.outputs_us(codes, self.oracle.lsb_us)
        pedestal = self.mapping.pedestal_us(
            np.array(chip.cell.g_levels_us), layer.zero.astype(np.int64), self.oracle.reference
        )
        current = current - pedestal * self.codes.sum()
        assert layer.input_scale is not None
        return current * layer.scale * layer.gain * layer.input_scale + layer.bias


def _double(values: torch.Tensor) -> Array64:
    return values.numpy().astype(np.float64)


def _model() -> bytes:
    weight = np.random.default_rng(4).standard_normal((ROWS, OUTPUTS)).astype(np.float32)
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", "P", size])
        for name, size in (("x", ROWS), ("y", OUTPUTS))
    )
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "one", [x], [y], [numpy_helper.from_array(weight, "w")])
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def bench(mode: str, mapping: str, pedestal: str, noise: str, extra: str = "") -> Bench:
    """The one layer on one die of the chip that the rows of the tables describe."""
    keys = {
        **MAPPINGS[mapping].keys,
        **NOISES[noise].keys,
        **MODE_KEYS[mode],
        **EXTRAS.get(extra, {}),
        "mapping.pedestal": pedestal,
    }
    chip = BASE.with_(**keys)
    image, die = _compiled(chip), Die.simulated(7)
    program(image, SimDevice(die, chip, image.arrays))
    region = Region.of(image, image.layers[0])
    signed = chip.dac.signed
    below_zero = signed or pedestal == "reference"
    oracle = Oracle(
        die.cells,
        region.cells,
        region.lsb_us,
        mode,
        NOISES[noise].model,
        reference=pedestal == "reference",
        largest=2 ** (DAC_BITS - 1) - 1 if signed else 2**DAC_BITS - 1,
        limits=(
            (-(2 ** (ADC_BITS - 1)), 2 ** (ADC_BITS - 1) - 1)
            if below_zero
            else (0, 2**ADC_BITS - 1)
        ),
        curvature=EXTRAS.get(extra, {}).get("cell.iv_alpha", 0.0),
    )
    return Bench(image, die, oracle, MAPPINGS[mapping].model, CODES)


@cache
def _compiled(chip: Chip) -> Image:
    calib = np.random.default_rng(5).standard_normal((64, 1, ROWS)).astype(np.float32)
    return compile(_model(), chip, calib=calib)


# --- the tests ---------------------------------------------------------------------------------

#: Every noise with every way to drive and to map; without a reference column, one will do.
CASES = [
    *itertools.product(MODES, MAPPINGS, ["reference"], WHITE, [""]),
    *itertools.product(MODES, MAPPINGS, ["digital"], ["proportional"], [""]),
    *itertools.product(MODES, ["offset"], ["reference", "digital"], ["proportional"], EXTRAS),
]


@pytest.mark.parametrize(("mode", "mapping", "pedestal", "noise", "extra"), CASES)
def test_a_read_is_that_of_single_cells(
    mode: str, mapping: str, pedestal: str, noise: str, extra: str
) -> None:
    here = bench(mode, mapping, pedestal, noise, extra)
    slow = here.slow(1000)
    for values, converters in ((slow.analog, False), (slow.codes, True)):
        codes, outputs = here.recorded(1000, converters=converters)
        assert_same_moments(codes, values.reshape(DRAWS, -1))
        assert_same_moments(outputs, here.outputs(values))
    assert_same_codes(codes, slow.codes.reshape(DRAWS, -1))
    assert_same_moments(here.run(1000), here.outputs(slow.codes))


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("mode", MODES)
def test_traps_hold_still_for_an_image(mode: str, mapping: str) -> None:
    images = 500
    here = bench(mode, mapping, "reference", "telegraph")
    fast, slow = here.run(images), here.outputs(here.slow(images).codes)
    # Within an image white noise alone is left. How much of it the ADC lets through depends on the
    # traps, so that images, not single draws, are the sample.
    by_image = [_mean_and_spread(v.reshape(images, DRAWS // images, OUTPUTS)) for v in (fast, slow)]
    assert_same_moments(*by_image)
    means, spread = np.split(by_image[0][:, : 2 * OUTPUTS], 2, axis=1)
    assert (means.var(axis=0) > 3 * spread.mean(axis=0) / (DRAWS // images)).all()


def _mean_and_spread(values: Array64) -> Array64:
    """Means, variances and covariances within each image: (images, quantities)."""
    mean = values.mean(axis=1, keepdims=True)
    rest = values - mean
    products = np.einsum("ipa,ipb->iab", rest, rest) / values.shape[1]
    pairs = np.triu_indices(values.shape[2], 1)
    variances = np.einsum("iaa->ia", products)
    return np.concatenate([mean[:, 0], variances, products[:, pairs[0], pairs[1]]], axis=1)

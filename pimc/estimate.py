"""Energy and latency of one inference, and the error of programming, from a chip's figures.

These are first-order sums over the schedule: what converters and arrays take. The digital
part of the network, data movement and leakage are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pimc.chip import Chip
from pimc.converters import two_phases
from pimc.image import TILE_FIELDS, Image, ImageLayer
from pimc.plan import ARRAY_OP, DOMAIN, layer_of

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = [
    "Inference",
    "held_us",
    "inference",
    "positions",
    "programming_error",
]

#: Mean square of an input over full scale squared, for inputs spread evenly over the range.
MEAN_SQUARE_INPUT = 1 / 3


@dataclass(frozen=True)
class Inference:
    """Cost of one sample.

    Attributes:
        dac_pj, adc_pj, array_pj: energy of input conversions, output conversions and currents.
        latency_ns: all read steps one after the other, without pipelining.
    """

    dac_pj: float
    adc_pj: float
    array_pj: float
    latency_ns: float

    @property
    def energy_pj(self) -> float:
        """All parts together."""
        return self.dac_pj + self.adc_pj + self.array_pj


@dataclass(frozen=True)
class _Reads:
    """Activations of arrays, one entry each: step, layer, wordlines and bitlines in use."""

    step: npt.NDArray[np.int64]
    layer: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    cols: npt.NDArray[np.int64]


def inference(image: Image) -> Inference | None:
    """Cost of one sample; None where the graph does not tell a layer's positions.

    With P positions of a layer, φ = 2 phases for signed inputs on a driver without negative
    voltages (else 1), and sums over the activations of arrays a with R wordlines and C
    bitlines in use:

        E_dac = P φ Σ_a R_a · dac.energy_pj            E_adc = P φ Σ_a C_a · adc.energy_pj
        E_array = P · array.v_read_v² · ⟨x²⟩ · Σ G · array.read_ns,  ⟨x²⟩ = 1/3
        t = P φ Σ_steps (array.read_ns + adc.convert_ns · max_a min(C_a, adc.columns_per_adc))

    Σ G is over the conductances the image asks for and, with a reference column, its cells.
    Arrays of one step are read at the same time, layers one after the other.
    """
    count = positions(image)
    if any(value is None for value in count.values()):
        return None
    chip, reads = image.chip, _reads(image)
    total = np.zeros(4)
    for layer in image.layers:
        mine = reads.layer == layer.index
        phases = 2 if two_phases(chip, layer.input_signed) else 1
        cost = np.array(
            [
                phases * float(reads.rows[mine].sum()) * chip.dac.energy_pj,
                phases * float(reads.cols[mine].sum()) * chip.adc.energy_pj,
                _array_pj(image, layer, float(reads.rows[mine].sum())),
                phases * _latency_ns(chip, reads.step[mine], reads.cols[mine]),
            ]
        )
        total += (count[layer.name] or 0) * cost
    return Inference(*total.tolist())


def positions(image: Image, graph: ir.Model | None = None) -> dict[str, int | None]:
    """Input vectors of each layer a sample, by layer name; None where shapes are not known.

    The first dimension of a layer's output is the batch.
    """
    graph = graph or image.graph()
    found: dict[str, int | None] = {layer.name: None for layer in image.layers}
    convolves = {layer.name: layer.window is not None for layer in image.layers}
    for node in graph.graph:
        if (node.domain, node.op_type) != (DOMAIN, ARRAY_OP):
            continue
        name = layer_of(node)
        shape = node.outputs[0].shape
        if shape is not None:
            dims = list(shape)[2:] if convolves[name] else list(shape)[1:-1]
            sizes = [dim for dim in dims if isinstance(dim, int)]
            found[name] = prod(sizes) if len(sizes) == len(dims) else None
    return found


def held_us(image: Image, layer: ImageLayer) -> npt.NDArray[np.float64]:
    """Conductances that the image asks for: (groups, rows, cols · planes) in µS."""
    cells = image.cells(layer)
    levels = image.levels.reshape(-1)[np.maximum(cells, 0)]
    held = np.asarray(image.chip.cell.g_levels_us)[levels]
    stacked = held.reshape(layer.groups, layer.row_blocks * layer.row_block, -1)
    return stacked[:, : layer.rows]


def programming_error(image: Image, layer: ImageLayer) -> float:
    """Expected Σ(w − ŵ)² / Σŵ² of the written layer about its codes, from the chip's spread σ(G).

    ŵ = s Σ_p c_p (G_p − G_zero), Var w = s² Σ_p c_p² σ(G_p)² with column scale s.
    """
    held = held_us(image, layer)
    shape = (layer.groups, layer.rows, layer.cols, layer.planes)
    book = image.codebook
    sigma = image.chip.spread_us(held).reshape(shape)
    scale = layer.scale.astype(np.float64).reshape(layer.groups, 1, layer.cols)
    zero = book.values_us[layer.zero].reshape(layer.groups, 1, layer.cols)
    weight = scale * (held.reshape(shape) @ book.coefficients - zero)
    variance = scale**2 * (sigma**2 @ book.coefficients**2)
    power = float((weight**2).sum())
    return float(variance.sum()) / power if power else 0.0


def _reads(image: Image) -> _Reads:
    schedule, tiles = image.tensors["schedule"], image.tensors["tiles"].astype(np.int64)
    step, tile = schedule[:, 0].astype(np.int64), tiles[schedule[:, 1]]
    column = {name: tile[:, number] for number, name in enumerate(TILE_FIELDS)}
    pairs = np.stack([step, column["array"]], axis=1)
    unique, index = np.unique(pairs, axis=0, return_inverse=True)
    index = index.reshape(-1)
    layer, rows, cols = (np.zeros(len(unique), np.int64) for _ in range(3))
    layer[index] = column["layer"]
    # Tiles read together in one array take the same inputs on the same wordlines.
    np.maximum.at(rows, index, column["rows"])
    np.add.at(cols, index, column["cols"])
    return _Reads(unique[:, 0], layer, rows, cols)


def read_steps(image: Image) -> int:
    """Activations of arrays that one pass over all layers takes."""
    return len(_reads(image).step)


def _array_pj(image: Image, layer: ImageLayer, wordlines: float) -> float:
    chip = image.chip
    total_us = float(held_us(image, layer).sum())
    total_us += wordlines * image.codebook.reference_us
    # V² · µS · ns is 1e-3 pJ.
    return 1e-3 * chip.array.v_read_v**2 * MEAN_SQUARE_INPUT * total_us * chip.array.read_ns


def _latency_ns(chip: Chip, step: npt.NDArray[np.int64], cols: npt.NDArray[np.int64]) -> float:
    turns = np.minimum(cols, chip.adc.columns_per_adc)
    longest = [int(turns[step == number].max()) for number in np.unique(step)]
    return sum(chip.array.read_ns + chip.adc.convert_ns * turn for turn in longest)

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

from pimc.converters import dac_limits, plane_weights, reads_per_vector
from pimc.image import TILE_FIELDS, Image, ImageLayer
from pimc.mapped import let_go
from pimc.packing import bits_per_cell, unpack_levels
from pimc.plan import array_nodes, layer_of

if TYPE_CHECKING:
    import onnx_ir as ir

#: Arrays after which mapped memory is given back.
_HELD_ARRAYS = 256
#: Cells of a layer by (group, bitline, level).
Counts = npt.NDArray[np.int64]

__all__ = [
    "Counts",
    "Inference",
    "cells_used",
    "held_us",
    "inference",
    "level_counts",
    "positions",
    "programming_error",
]


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


def inference(image: Image, counts: list[Counts] | None = None) -> Inference | None:
    """Cost of one sample; None where the graph does not tell a layer's positions.

    ``counts`` are those of :func:`level_counts`, if they are known already.

    With P positions of a layer, B reads a vector (1, or one a bit plane), φ = 2 phases for signed
    inputs on a driver without negative voltages (else 1), and sums over the activations of
    arrays a with R wordlines and C bitlines in use:

        E_dac = P φ B Σ_a R_a · dac.energy_pj          E_adc = P φ B Σ_a C_a · adc.energy_pj
        E_array = P · array.v_read_v² · d · Σ G · array.read_ns
        t = P φ B Σ_steps (n · array.read_ns + adc.convert_ns · max_a min(C_a, columns_per_adc))

    Σ G is over the conductances the image asks for and, with a reference column, its cells. n is
    the number of pulses of a read, 1 or the largest code. d is the mean of what a wordline is
    driven with, in full-scale reads of ``read_ns``, for inputs spread evenly over the range:
    ⟨x²⟩ = 1/3 of a voltage, B/2 of bit planes, half the largest code of pulses.
    Arrays of one step are read at the same time, layers one after the other.
    """
    count = positions(image)
    if any(value is None for value in count.values()):
        return None
    counts = level_counts(image) if counts is None else counts
    chip, found = image.chip, _reads(image)
    total = np.zeros(4)
    for layer in image.layers:
        mine = found.layer == layer.index
        reads = reads_per_vector(chip, layer.input_signed)
        rows, cols = float(found.rows[mine].sum()), float(found.cols[mine].sum())
        cost = np.array(
            [
                reads * rows * chip.dac.energy_pj,
                reads * cols * chip.adc.energy_pj,
                _array_pj(image, layer, rows, counts[layer.index]),
                reads * _latency_ns(image, layer, found.step[mine], found.cols[mine]),
            ]
        )
        total += (count[layer.name] or 0) * cost
    return Inference(*total.tolist())


def positions(image: Image, graph: ir.Model | None = None) -> dict[str, int | None]:
    """Input vectors of each layer a sample, by layer name; None where shapes are not known.

    The first dimension of a layer's output is the batch. What several nodes use counts for each;
    how often a body of control flow runs is not known.
    """
    graph = graph or image.graph()
    convolves = {layer.name: layer.window is not None for layer in image.layers}
    counts: dict[str, list[int | None]] = {layer.name: [] for layer in image.layers}
    for node in array_nodes(graph):
        name = layer_of(node)
        inside = node.graph is not graph.graph
        counts[name].append(None if inside else _vectors(node.outputs[0], convolves[name]))
    return {
        name: sum(c for c in found if c is not None) if found and None not in found else None
        for name, found in counts.items()
    }


def _vectors(output: ir.Value, convolves: bool) -> int | None:
    if output.shape is None:
        return None
    dims = list(output.shape)[2:] if convolves else list(output.shape)[1:-1]
    sizes = [dim for dim in dims if isinstance(dim, int)]
    return prod(sizes) if len(sizes) == len(dims) else None


def held_us(image: Image, layer: ImageLayer) -> npt.NDArray[np.float64]:
    """Conductances that the image asks for: (groups, rows, cols, planes) in µS."""
    cells = image.cells(layer)
    levels = image.levels.reshape(-1)[np.maximum(cells, 0)]
    return layer.by_weight(np.asarray(image.chip.cell.g_levels_us)[levels])


def level_counts(image: Image) -> list[Counts]:
    """How often each bitline of a layer is asked for each level, (groups, bitlines, levels)."""
    chip, tiles = image.chip, image.tensors["tiles"]
    rows, cols, levels = chip.array.rows, chip.array.cols, chip.cell.levels
    bits = bits_per_cell(levels)
    found = [np.zeros((e.groups, e.bitlines, levels), np.int64) for e in image.layers]
    order = np.argsort(tiles[:, TILE_FIELDS.index("array")], kind="stable")
    array, last = np.zeros((rows, cols), np.uint16), -1
    for number in order.tolist():
        tile = dict(zip(TILE_FIELDS, tiles[number].tolist(), strict=True))
        if tile["array"] != last:
            last = tile["array"]
            packed = image.tensors["levels"][last : last + 1]
            if last % _HELD_ARRAYS == 0:
                let_go(image.tensors["levels"])
            array = unpack_levels(packed, bits, rows * cols).reshape(rows, cols)
        top, left = tile["array_row"], tile["array_col"]
        held = array[top : top + tile["rows"], left : left + tile["cols"]]
        if "lines" in image.tensors:
            held = array[np.ix_(*image.lines(number))]
        columns = np.arange(tile["cols"]) * levels
        flat = np.bincount((held + columns).reshape(-1), minlength=tile["cols"] * levels)
        part = slice(tile["col"], tile["col"] + tile["cols"])
        found[tile["layer"]][tile["group"], part] += flat.reshape(-1, levels)
    return found


def cells_used(image: Image) -> int:
    """Cells that hold a weight."""
    rows, cols = (image.tensors["tiles"][:, TILE_FIELDS.index(n)] for n in ("rows", "cols"))
    return int((rows.astype(np.int64) * cols).sum())


def programming_error(image: Image, layer: ImageLayer, counts: Counts | None = None) -> float:
    """Expected Σ(w − ŵ)² / Σŵ² of the written layer about its codes, from the chip's spread σ(G).

    ŵ = s Σ_p c_p (G_p − G_zero), Var w = s² Σ_p c_p² σ(G_p)² with column scale s.
    ``counts`` are the layer's of :func:`level_counts`, which are enough for one cell a weight.
    """
    if counts is not None and layer.planes == 1:
        return _single_cell_error(image, layer, counts)
    held = held_us(image, layer)
    book = image.codebook
    sigma = image.chip.spread_us(held)
    scale = layer.scale.astype(np.float64).reshape(layer.groups, 1, layer.cols)
    zero = book.values_us[layer.zero].reshape(layer.groups, 1, layer.cols)
    weight = scale * (held @ book.coefficients - zero)
    variance = scale**2 * (sigma**2 @ book.coefficients**2)
    power = float((weight**2).sum())
    return float(variance.sum()) / power if power else 0.0


def _single_cell_error(image: Image, layer: ImageLayer, counts: Counts) -> float:
    levels_us = np.asarray(image.chip.cell.g_levels_us)
    factor = image.codebook.coefficients[0] ** 2
    squared = (layer.scale.astype(np.float64) ** 2).reshape(layer.groups, layer.cols) * factor
    zero_us = levels_us[layer.zero].reshape(layer.groups, layer.cols, 1)
    variance = counts @ image.chip.spread_us(levels_us) ** 2
    power = (counts * (levels_us - zero_us) ** 2).sum(axis=2)
    total = float((squared * power).sum())
    return float((squared * variance).sum()) / total if total else 0.0


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


def _array_pj(image: Image, layer: ImageLayer, wordlines: float, counts: Counts) -> float:
    chip, signed = image.chip, layer.input_signed
    driven = {
        "parallel": 1 / 3,
        "bit_serial": len(plane_weights(chip, signed)) / 2,
        "pulse_count": dac_limits(chip, signed)[1] / 2,
    }[chip.dac.mode]
    total_us = float((counts @ np.asarray(chip.cell.g_levels_us)).sum())
    total_us += wordlines * image.codebook.reference_us
    # V² · µS · ns is 1e-3 pJ.
    return 1e-3 * chip.array.v_read_v**2 * driven * total_us * chip.array.read_ns


def _latency_ns(
    image: Image,
    layer: ImageLayer,
    step: npt.NDArray[np.int64],
    cols: npt.NDArray[np.int64],
) -> float:
    """Time of one read of every tile of a layer."""
    chip = image.chip
    pulses = dac_limits(chip, layer.input_signed)[1] if chip.dac.mode == "pulse_count" else 1
    turns = np.minimum(cols, chip.adc.columns_per_adc)
    longest = [int(turns[step == number].max()) for number in np.unique(step)]
    read_ns = pulses * chip.array.read_ns
    return sum(read_ns + chip.adc.convert_ns * turn for turn in longest)

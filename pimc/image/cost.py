"""Energy, latency and area of an inference, layer by layer, from a chip's figures.

These are first-order sums over the schedule: what converters and arrays take. The digital
part of the network, data movement and leakage are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pimc.chip.converters import dac_limits, plane_weights, reads_per_vector, two_phases
from pimc.chip.design import Chip
from pimc.image.estimate import Counts, level_counts
from pimc.image.format.tables import Schedule, Tiles
from pimc.image.image import Image, ImageLayer
from pimc.plan.records import array_nodes, layer_of

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = [
    "Activations",
    "Cost",
    "activations",
    "array_area_um2",
    "inference",
    "layer_areas_um2",
    "layer_costs",
    "positions",
    "vector_ns",
    "vectors",
]


@dataclass(frozen=True)
class Cost:
    """Cost of one sample, of a layer or of all.

    Attributes:
        dac_pj, adc_pj, array_pj: energy of input conversions, output conversions and currents.
        latency_ns: all read steps one after the other, without pipelining.
    """

    dac_pj: float = 0.0
    adc_pj: float = 0.0
    array_pj: float = 0.0
    latency_ns: float = 0.0

    @property
    def energy_pj(self) -> float:
        """All parts together."""
        return self.dac_pj + self.adc_pj + self.array_pj

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.dac_pj + other.dac_pj,
            self.adc_pj + other.adc_pj,
            self.array_pj + other.array_pj,
            self.latency_ns + other.latency_ns,
        )


@dataclass(frozen=True)
class Activations:
    """Activations of arrays, one entry each: step, layer, array, wordlines and bitlines in use."""

    step: npt.NDArray[np.int64]
    layer: npt.NDArray[np.int64]
    array: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    cols: npt.NDArray[np.int64]

    def of(self, layer: int) -> Activations:
        """Those of one layer."""
        mine = self.layer == layer
        return Activations(
            self.step[mine], self.layer[mine], self.array[mine], self.rows[mine], self.cols[mine]
        )


def inference(image: Image, costs: list[Cost | None] | None = None) -> Cost | None:
    """Cost of one sample: the sum of :func:`layer_costs`; None where one of them is not known."""
    total = Cost()
    for cost in layer_costs(image) if costs is None else costs:
        if cost is None:
            return None
        total += cost
    return total


def layer_costs(
    image: Image,
    counts: list[Counts] | None = None,
    places: Mapping[str, int | None] | None = None,
) -> list[Cost | None]:
    """Cost of one sample for each layer; None where the graph does not tell its positions.

    ``counts`` are those of :func:`level_counts` and ``places`` of :func:`positions`, if they are
    known already.

    With P positions of a layer, B reads a vector (1, or one a bit plane), φ = 2 phases for signed
    inputs on a driver without negative voltages (else 1), and sums over the activations of
    arrays a with R wordlines and C bitlines in use:

        E_dac = P φ Σ_a R_a · dac.energy_pj            E_adc = P φ B Σ_a C_a · adc.energy_pj
        E_array = P · array.v_read_v² · d · Σ G · array.read_ns
        t = P φ B Σ_steps (n · array.read_ns + adc.convert_ns · max_a min(C_a, columns_per_adc))

    An input conversion puts a whole code on a wordline, in one step or many. Σ G is over the
    conductances the image asks for and, with a reference column, its cells. n is
    the number of pulses of a read, 1 or the largest code. d is the mean of what a wordline is
    driven with, in full-scale reads of ``read_ns``, for inputs spread evenly over the range:
    ⟨x²⟩ = 1/3 of a voltage, B/2 of bit planes, half the largest code of pulses.
    Arrays of one step are read at the same time, layers one after the other.
    """
    count = positions(image) if places is None else places
    counts = level_counts(image) if counts is None else counts
    chip, found = image.chip, activations(image.tiles, image.schedule)
    costs: list[Cost | None] = []
    for layer in image.layers:
        vectors, mine = count[layer.name], found.of(layer.index)
        if vectors is None:
            costs.append(None)
            continue
        reads = reads_per_vector(chip, layer.input_signed)
        phases = 2 if two_phases(chip, layer.input_signed) else 1
        rows, cols = float(mine.rows.sum()), float(mine.cols.sum())
        costs.append(
            Cost(
                dac_pj=vectors * phases * rows * chip.dac.energy_pj,
                adc_pj=vectors * reads * cols * chip.adc.energy_pj,
                array_pj=vectors * _array_pj(image, layer, rows, counts[layer.index]),
                latency_ns=vectors * vector_ns(chip, layer.input_signed, mine),
            )
        )
    return costs


def array_area_um2(chip: Chip) -> float | None:
    """Area of one array with its converters; None where the chip file states none of them.

    A = rows · cols · array.cell_area_um2 + rows · dac.area_um2
        + ⌈cols / adc.columns_per_adc⌉ · adc.area_um2
    """
    rows, cols = chip.array.rows, chip.array.cols
    converters = -(-cols // chip.adc.columns_per_adc)
    area = (
        rows * cols * chip.array.cell_area_um2
        + rows * chip.dac.area_um2
        + converters * chip.adc.area_um2
    )
    return area or None


def layer_areas_um2(image: Image) -> list[float] | None:
    """Area of each layer: of an array the share that it has of the array's cells in use."""
    whole = array_area_um2(image.chip)
    if whole is None:
        return None
    tiles = image.tiles
    cells = (tiles.rows.astype(np.int64) * tiles.cols).astype(np.float64)
    used = np.bincount(tiles.array, cells, minlength=image.arrays)
    areas = np.bincount(tiles.layer, whole * cells / used[tiles.array], len(image.layers))
    return [float(area) for area in areas]


def positions(image: Image, graph: ir.Model | None = None) -> dict[str, int | None]:
    """Input vectors of each layer a sample, by layer name; None where shapes are not known."""
    convolves = {layer.name: layer.window is not None for layer in image.layers}
    return vectors(graph or image.graph(), convolves)


def vectors(graph: ir.Model, convolves: Mapping[str, bool]) -> dict[str, int | None]:
    """Input vectors of each layer a sample, by layer name; None where shapes are not known.

    The first dimension of a layer's output is the batch. What several nodes use counts for each;
    how often a body of control flow runs is not known.

    Args:
        convolves: the layers, and whether each is a convolution.
    """
    counts: dict[str, list[int | None]] = {name: [] for name in convolves}
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


def activations(tiles: Tiles, schedule: Schedule) -> Activations:
    """Activations of arrays in one pass over all layers."""
    read = tiles.chosen(schedule.tile)
    pairs = np.stack([schedule.step, read.array], axis=1).astype(np.int64)
    unique, index = np.unique(pairs, axis=0, return_inverse=True)
    index = index.reshape(-1)
    layer, rows, cols = (np.zeros(len(unique), np.int64) for _ in range(3))
    layer[index] = read.layer
    # Tiles read together in one array take the same inputs on the same wordlines.
    np.maximum.at(rows, index, read.rows)
    np.add.at(cols, index, read.cols)
    return Activations(unique[:, 0], layer, unique[:, 1], rows, cols)


def _array_pj(image: Image, layer: ImageLayer, wordlines: float, counts: Counts) -> float:
    """Energy of the currents of one input vector."""
    chip, signed = image.chip, layer.input_signed
    driven = {
        "parallel": 1 / 3,
        "bit_serial": len(plane_weights(chip, signed)) / 2,
        "pulse_count": dac_limits(chip, signed)[1] / 2,
    }[chip.dac.mode]
    total_us = float((counts @ np.asarray(chip.cell.g_levels_us)).sum())
    total_us += wordlines * image.chip.reference_us
    # V² · µS · ns is 1e-3 pJ.
    return 1e-3 * chip.array.v_read_v**2 * driven * total_us * chip.array.read_ns


def vector_ns(chip: Chip, signed: bool, reads: Activations) -> float:
    """Time that one input vector of a layer takes, whose activations are ``reads``."""
    pulses = dac_limits(chip, signed)[1] if chip.dac.mode == "pulse_count" else 1
    turns = np.minimum(reads.cols, chip.adc.columns_per_adc)
    # The arrays of a step are read at the same time; the slowest converter counts.
    _, step = np.unique(reads.step, return_inverse=True)
    longest = np.zeros(int(step.max(initial=-1)) + 1, np.int64)
    np.maximum.at(longest, step, turns)
    read_ns = pulses * chip.array.read_ns * len(longest)
    return reads_per_vector(chip, signed) * (read_ns + chip.adc.convert_ns * int(longest.sum()))

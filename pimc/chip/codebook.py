"""How a weight becomes cells: the codebook of a mapping on a chip.

A weight is held by ``planes`` cells. Code ``c`` asks them for the levels ``levels[c]``;
together they have the effective conductance
``values_us[c] = Σ_p coefficients[p] · G(levels[c, p])``, and the weight is
``scale · (values_us[c] − values_us[zero])``. One cell a weight, a differential pair and
bit slices differ in nothing but this table, so all take the same path through the
compiler and the runtime.

Where the cells of a weight lie is the mapping's layout. They are neighbours on one wordline
(``columns``) and their currents are combined digitally; or neighbours on one bitline
(``rows``), each wordline driven with its coefficient times the input, so that the currents
themselves subtract; or they lie at the same place of different arrays (``arrays``) and are
combined digitally.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.chip.design import Chip
from pimc.chip.sections import LayerMapping
from pimc.errors import ChipError

Array64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Codebook:
    """The effective conductances a weight can take.

    Attributes:
        values_us: (M,) increasing.
        levels: (M, P) level of every cell for each code.
        coefficients: (P,) factor of each cell's current in the digital sum.
        middle: the code of cells that all hold the middle level, the default zero.
        sigma_us: (M,) standard deviation of the effective conductance after a write.
        reference_us: conductance of the reference column's cells, 0 without one.
        layout: where the cells of a weight lie: ``columns``, ``rows`` or ``arrays``.
    """

    values_us: Array64
    levels: npt.NDArray[np.uint16]
    coefficients: Array64
    middle: int
    sigma_us: Array64
    reference_us: float
    layout: str = "columns"

    @property
    def planes(self) -> int:
        """Cells a weight."""
        return int(self.levels.shape[1])

    @property
    def row_planes(self) -> int:
        """Wordlines a weight."""
        return self.planes if self.layout == "rows" else 1

    @property
    def col_planes(self) -> int:
        """Bitlines a weight, in one array or several."""
        return 1 if self.layout == "rows" else self.planes

    @property
    def drive(self) -> Array64:
        """(row_planes,) what each of a weight's wordlines gets, a unit of input."""
        return self.coefficients if self.layout == "rows" else np.ones(1)

    @property
    def factors(self) -> Array64:
        """(col_planes,) factor of each of a weight's bitlines in the digital sum."""
        return np.ones(1) if self.layout == "rows" else self.coefficients

    def on_bitlines(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values of the bitlines of weights (…, cols, col_planes) as they lie: (…, bitlines)."""
        apart = np.swapaxes(values, -1, -2) if self.layout == "arrays" else values
        return apart.reshape(*values.shape[:-2], -1)

    def by_output(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Values of bitlines (…, bitlines) as (…, cols, col_planes)."""
        if self.layout != "arrays":
            return values.reshape(*values.shape[:-1], -1, self.col_planes)
        return np.swapaxes(values.reshape(*values.shape[:-1], self.col_planes, -1), -1, -2)

    @cached_property
    def step_us(self) -> float | None:
        """Distance of neighbouring values where all are the same, else None."""
        steps = np.diff(self.values_us)
        return float(steps.mean()) if np.allclose(steps, steps.mean(), rtol=1e-9) else None

    def pedestal_us(self, zero: npt.NDArray[np.uint16]) -> Array64:
        """What one unit of input adds to a column whose zero is ``zero``, after the reference.

        The digital side subtracts it, multiplied by the sum of the inputs.
        """
        pedestal = self.values_us[zero] - self.reference_us * self.coefficients.sum()
        # Rounding must not leave a pedestal where the zero is the reference itself.
        return np.where(np.abs(pedestal) < 1e-9 * np.abs(self.values_us).max(), 0.0, pedestal)


def on_lines(values: npt.NDArray[Any], layout: str) -> npt.NDArray[Any]:
    """Values of weights' cells (…, rows, cols, planes) as they lie: (…, wordlines, bitlines).

    The planes are neighbouring lines; those in different arrays follow one after the other,
    all columns of the first, then all of the second.
    """
    *lead, rows, cols, planes = values.shape
    if layout == "columns":
        return values.reshape(*lead, rows, cols * planes)
    shape = (rows * planes, cols) if layout == "rows" else (rows, planes * cols)
    return np.swapaxes(values, -1, -2).reshape(*lead, *shape)


def by_weight(values: npt.NDArray[Any], planes: int, layout: str) -> npt.NDArray[Any]:
    """Values of cells (…, wordlines, bitlines) as (…, rows, cols, planes).

    The inverse of :func:`on_lines`.
    """
    *lead, wordlines, bitlines = values.shape
    rows = wordlines // planes if layout == "rows" else wordlines
    cols = bitlines if layout == "rows" else bitlines // planes
    if layout == "columns":
        return values.reshape(*lead, rows, cols, planes)
    return np.swapaxes(values.reshape(*lead, rows, planes, cols), -1, -2)


def _offset(levels_us: Array64, mapping: LayerMapping) -> tuple[npt.NDArray[np.int64], Array64]:
    return np.arange(len(levels_us))[:, None], np.ones(1)


def _differential(
    levels_us: Array64, mapping: LayerMapping
) -> tuple[npt.NDArray[np.int64], Array64]:
    difference = np.arange(-(len(levels_us) - 1), len(levels_us))
    pair = np.stack([np.maximum(difference, 0), np.maximum(-difference, 0)], axis=1)
    return pair, np.array([1.0, -1.0])


def _sliced(levels_us: Array64, mapping: LayerMapping) -> tuple[npt.NDArray[np.int64], Array64]:
    top = len(levels_us) - 1
    step = np.diff(levels_us)
    if not np.allclose(step, step[0], rtol=1e-6):
        raise ChipError(
            "bit slices need evenly spaced levels",
            where="cell.g_levels_us",
            hint="use --mapping offset or differential, or linear spacing",
        )
    ratio = mapping.slice_ratio or top + 1
    if ratio > top + 1:
        raise ChipError(
            f"slices {ratio} apart leave gaps between the values of {top + 1} levels",
            where="mapping.slice_ratio",
            hint=f"{top + 1} at most",
        )
    weights = [ratio**place for place in reversed(range(mapping.slices))]
    count = top * sum(weights) + 1
    if count > 65536:
        raise ChipError(
            f"{mapping.slices} slices of {top + 1} levels are {count:,} codes, more than 65,536",
            where="mapping.slices",
            hint="use fewer slices, or a smaller slice_ratio",
        )
    left = np.arange(count)
    digits = np.empty((count, mapping.slices), np.int64)
    for place, weight in enumerate(weights):
        # What follows stays as near its middle as can be: room to make up for errors both ways.
        below = top * sum(weights[place + 1 :])
        digits[:, place] = np.clip((2 * left - below + weight) // (2 * weight), 0, top)
        left = left - digits[:, place] * weight
    return digits, np.asarray(weights, np.float64)


_PLANES: dict[str, Callable[[Array64, LayerMapping], tuple[npt.NDArray[np.int64], Array64]]] = {
    "offset": _offset,
    "differential": _differential,
    "sliced": _sliced,
}


def codebook(chip: Chip, mapping: LayerMapping | None = None) -> Codebook:
    """The codebook of a layer's mapping on ``chip``; of the chip's own where it has none.

    Raises:
        ChipError: the mapping cannot be used with the chip's levels.
    """
    mapping = mapping or chip.mapping
    levels_us = np.asarray(chip.cell.g_levels_us, dtype=np.float64)
    levels, coefficients = _PLANES[mapping.kind](levels_us, mapping)
    values = levels_us[levels] @ coefficients
    sigma = chip.spread_us(levels_us)
    # All cells at the middle level: there a reference column takes the whole pedestal off.
    middle_us = levels_us[len(levels_us) // 2]
    centre = middle_us * coefficients.sum()
    return Codebook(
        values_us=values,
        levels=levels.astype(np.uint16),
        coefficients=coefficients,
        middle=int(np.argmin(np.abs(values - centre))),
        sigma_us=np.sqrt((sigma[levels] ** 2) @ coefficients**2),
        reference_us=chip.reference_us,
        layout=mapping.pair,
    )


def codebooks(chip: Chip, mappings: Iterable[LayerMapping | None]) -> list[Codebook]:
    """The codebook of each of several layers; those of equal mappings are one.

    Raises:
        ChipError: as :func:`codebook` does.
    """
    known: dict[LayerMapping | None, Codebook] = {}
    found = []
    for mapping in mappings:
        if mapping not in known:
            known[mapping] = codebook(chip, mapping)
        found.append(known[mapping])
    return found

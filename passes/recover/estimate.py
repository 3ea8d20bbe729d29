"""Estimates: what is known of the cells of a die, and what it says of them.

Whatever was looked at (codes of tiles, sums of layers, the network's outputs), what is learnt
fills the same :class:`CellEstimate`, so nobody who uses one asks where it came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pimc.files.schema import tensor
from pimc.image.image import Image, ImageLayer
from pimc.work.parts import parts

__all__ = [
    "STUCK_SIGMAS",
    "CellEstimate",
    "chip_spread_us",
    "prior",
    "reference_error",
    "reference_variance",
    "rewritten",
    "stuck",
]

Array64 = npt.NDArray[np.float64]

_COLUMN = ("blocks", "columns")
_CELL = ("blocks", "rows", "columns")
#: Beyond this many standard deviations a cell counts as stuck: no write will move it.
STUCK_SIGMAS = 6.0

#: Cells that are looked at together where nothing of them is needed again.
_AT_ONCE = 1 << 21
#: Of a cell that is known before it is looked at, µS²: none, or one written without any error.
_LEAST_VARIANCE = 1e-12


@dataclass(frozen=True)
class CellEstimate:
    """What is known of the cells of one layer; all arrays are (blocks, rows, columns), µS.

    Attributes:
        present: where there is a cell at all.
        target_us: what the cell was asked to hold, less the reference's nominal conductance.
        mean_us: the estimate of the same as its column sees it.
        variance: variance of the estimate, µS².
        offset: (blocks, columns) what each column's converter adds to one conversion, µS times
            DAC code.
        noise: (blocks, columns) variance of one read, rounding included, (µS times DAC code)².
        rank: (blocks,) how many directions of its rows the known inputs spanned.
    """

    present: npt.NDArray[np.bool_] = field(
        repr=False, metadata=tensor("bool", _CELL, "there is a cell")
    )
    target_us: Array64 = field(
        repr=False, metadata=tensor("float64", _CELL, "what was asked for", values="finite")
    )
    mean_us: Array64 = field(
        repr=False, metadata=tensor("float64", _CELL, "the estimate", values="finite")
    )
    variance: Array64 = field(
        repr=False, metadata=tensor("float64", _CELL, "of the estimate", values="not negative")
    )
    offset: Array64 = field(
        repr=False, metadata=tensor("float64", _COLUMN, "of each converter", values="finite")
    )
    noise: Array64 = field(
        repr=False, metadata=tensor("float64", _COLUMN, "of one read", values="not negative")
    )
    rank: npt.NDArray[np.int64] = field(
        repr=False, metadata=tensor("int64", ("blocks",), "directions spanned", values="ranks")
    )

    @property
    def error_us(self) -> Array64:
        """Estimated deviation from the target."""
        return self.mean_us - self.target_us

    def parts(self) -> Iterator[slice]:
        """Some blocks after others: what is known of a block's cells does not depend on others."""
        return parts(len(self.present), self.present[:1].size, _AT_ONCE)

    def blocks(self, some: slice) -> CellEstimate:
        """What is known of the cells of some blocks."""
        return CellEstimate(**{name: value[some] for name, value in vars(self).items()})


def prior(image: Image, layer: ImageLayer) -> CellEstimate:
    """What is known before anything was captured: the targets and the chip's statistics."""
    cells = image.cells(layer)
    present = cells >= 0
    level = np.where(present, image.levels.reshape(-1)[cells], 0)
    target, sigma = _of_levels(image)
    variance = np.maximum(sigma**2 + reference_variance(image), _LEAST_VARIANCE)
    asked_us = np.where(present, target[level], 0.0)
    return CellEstimate(
        present,
        asked_us,
        asked_us,  # nobody changes an estimate, so both may be one
        np.where(present, variance[level], _LEAST_VARIANCE),
        np.zeros(cells.shape[::2]),
        np.zeros(cells.shape[::2]),
        np.zeros(len(cells), np.int64),
    )


def rewritten(
    estimate: CellEstimate, image: Image, layer: ImageLayer, changed: npt.NDArray[np.bool_]
) -> CellEstimate:
    """The estimate after ``changed`` cells were written to the levels of ``image``.

    A write redraws a cell's own error; what the reference column adds to its row stays.
    """
    level = np.where(estimate.present, image.levels.reshape(-1)[image.cells(layer)], 0)
    target_us, sigma = _of_levels(image)
    target = np.where(estimate.present, target_us[level], 0.0)
    common = reference_error(estimate, image, layer)
    mean = np.where(changed, target + common, estimate.mean_us)
    variance = np.where(changed, (sigma**2)[level] + estimate.variance, estimate.variance)
    return replace(estimate, target_us=target, mean_us=mean, variance=variance)


def reference_error(estimate: CellEstimate, image: Image, layer: ImageLayer) -> Array64:
    """What the reference columns' own errors add to each cell: (blocks, rows, columns), µS.

    All columns of an array share it, so it is the mean error of a row over them, drawn toward
    zero as far as the cells' own errors can explain that mean. Stuck cells do not count.
    """
    common = np.zeros_like(estimate.mean_us)
    own, shared = _write_variance(image), reference_variance(image)
    if not shared:
        return common
    limit, block = STUCK_SIGMAS * np.sqrt(own + shared), layer.block_of_bitline
    for number in range(layer.col_blocks):
        inside = np.flatnonzero(block == number)
        error = estimate.mean_us[:, :, inside] - estimate.target_us[:, :, inside]
        sound = estimate.present[:, :, inside] & (np.abs(error) < limit)
        count = sound.sum(axis=2, keepdims=True)
        total = np.where(sound, error, 0.0).sum(axis=2, keepdims=True)
        common[:, :, inside] = total * shared / (count * shared + own)
    return common


def stuck(image: Image, layer: ImageLayer, estimate: CellEstimate) -> npt.NDArray[np.bool_]:
    """(blocks, rows, columns) cells further from their targets than any write lands."""
    spread = chip_spread_us(image)
    found = np.empty(estimate.mean_us.shape, np.bool_)
    for some in estimate.parts():
        known = estimate.blocks(some)
        limit = STUCK_SIGMAS * np.sqrt(known.variance + spread**2)
        away = np.abs(known.error_us - reference_error(known, image, layer))
        found[some] = known.present & (away >= limit)
    return found


def chip_spread_us(image: Image) -> float:
    """The largest standard deviation with which a cell of the chip holds a level, µS."""
    return float(image.chip.spread_us(np.asarray(image.chip.cell.g_levels_us)).max())


def reference_variance(image: Image) -> float:
    """Variance of a reference cell's own write error, µS²; 0 without a reference column."""
    if image.chip.mapping.pedestal != "reference":
        return 0.0
    # What every cell's variation adds to its programming error is there in these cells, too.
    chip, reference = image.chip, np.asarray([image.chip.reference_us])
    lasting = chip.spread_us(reference)[0] ** 2 - chip.cell.sigma.sigma_us(reference)[0] ** 2
    return float(lasting) + chip.reference_sigma_us**2


def _write_variance(image: Image) -> float:
    """Variance of a cell's own write error, mean over the levels, µS²."""
    levels_us = np.asarray(image.chip.cell.g_levels_us)
    return float(np.mean(np.asarray(image.chip.spread_us(levels_us)) ** 2))


def _of_levels(image: Image) -> tuple[Array64, Array64]:
    """(levels,) what a cell of each is asked for, and how far it lands from that, µS."""
    levels_us = np.asarray(image.chip.cell.g_levels_us)
    return levels_us - image.chip.reference_us, np.asarray(image.chip.spread_us(levels_us))

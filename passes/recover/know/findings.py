"""Findings: the faults of a die by name, from what its columns returned.

A cell whose estimate lies further from its target than any write lands is named by the
conductance it sits at. A wordline that drives nothing and a bitline that carries nothing show in
all of their cells, and are named as lines. What is found is a fault map that ``pimc compile
--faults`` takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pimc.chip.fault_map import Fault
from pimc.image.image import Image
from pimc.passes.recover.estimate import CellEstimate, prior, reference_error, stuck
from pimc.work.parts import parts

__all__ = ["Findings", "findings"]

Array64 = npt.NDArray[np.float64]

#: Cells of a line below which it is not judged as one.
_LINE_CELLS = 8
#: A wordline whose cells answer with less than this part of the power asked for drives none.
_SILENT = 0.25
#: A bitline with this share of its cells at the low end may carry no current.
_LOW = 0.9
#: How near a cell must be to a conductance to be stuck at it, as a part of the range.
_NEAR = 0.1
#: Cells that are looked at together.
_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class Findings:
    """What identification found.

    Attributes:
        faults: stuck cells far from their targets, and dead lines.
        off_target: cells that are further off than any write lands, but at no conductance at
            which cells are stuck.
        uncertainty_us: by layer name, root mean square of the estimates' standard deviations.
        away_us: root mean square of what the cells lie from their targets, stuck ones left out.
        known_us, before_us: the same over all cells, and what it was before anything was known.
        unspanned: by layer name, directions of its rows that no known input reached; their
            cells are not identified.
    """

    faults: tuple[Fault, ...]
    off_target: int
    uncertainty_us: Mapping[str, float]
    away_us: float
    known_us: float
    before_us: float
    unspanned: Mapping[str, int]

    def counts(self) -> dict[str, int]:
        """How many cells and lines of each kind."""
        kinds = [
            "dead_rows" if fault.col is None else "dead_cols" if fault.row is None else fault.kind
            for fault in self.faults
        ]
        return {kind: kinds.count(kind) for kind in sorted({*kinds})}


def findings(image: Image, estimates: Mapping[int, CellEstimate]) -> Findings:
    """Name what is wrong with the cells of a die."""
    cells = _Cells.of(image, estimates)
    dead_rows = cells.silent_rows(image, estimates)
    kind = cells.kinds(image)
    dead_cols = cells.empty_cols(image, kind, dead_rows)
    single = cells.stuck & ~dead_rows[:, :, None] & ~dead_cols[:, None, :]
    faults = [Fault(int(a), int(r), None, "open") for a, r in np.argwhere(dead_rows)]
    faults += [Fault(int(a), None, int(c), "open") for a, c in np.argwhere(dead_cols)]
    faults += [
        Fault(int(a), int(r), int(c), _KINDS[kind[a, r, c]])
        for a, r, c in np.argwhere(single & (kind >= 0))
    ]
    off_target = int((single & (kind < 0)).sum())
    known = {layer.name: estimates[layer.index] for layer in image.layers}
    total = sum(int(each.present.sum()) for each in known.values())
    squares = (
        each.error_us[each.present & ~stuck(image, layer, each)] ** 2
        for layer, each in zip(image.layers, known.values(), strict=True)
    )
    before = (prior(image, layer) for layer in image.layers)
    return Findings(
        tuple(faults),
        off_target,
        {name: _rms(each.variance[each.present]) for name, each in known.items()},
        _rms(_together(squares, total)),
        _rms(_together((each.variance[each.present] for each in known.values()), total)),
        _rms(_together((each.variance[each.present] for each in before), total)),
        {name: _unspanned(each) for name, each in known.items()},
    )


def _unspanned(known: CellEstimate) -> int:
    rows = known.present.any(axis=2).sum(axis=1)
    return int(np.maximum(rows - known.rank, 0).sum())


def _together(parts: Iterable[Array64], most: int) -> Array64:
    """Values of all layers, ``most`` at most: to concatenate them would hold all of them twice."""
    found, end = np.empty(most), 0
    for part in parts:
        start, end = end, end + len(part)
        found[start:end] = part
    return found[:end]


def _rms(variance: Array64) -> float:
    return float(np.sqrt(variance.mean()))


#: Conductances at which a cell can be stuck, in the order of :meth:`_Cells.kinds`.
_KINDS = ("open", "stuck_gmin", "stuck_gmax")


@dataclass(frozen=True)
class _Cells:
    """All cells of the image's arrays; shapes (arrays, rows, cols)."""

    used: npt.NDArray[np.bool_] = field(repr=False)
    stuck: npt.NDArray[np.bool_] = field(repr=False)
    mean_us: Array64 = field(repr=False)

    @staticmethod
    def of(image: Image, estimates: Mapping[int, CellEstimate]) -> _Cells:
        shape = image.levels.shape
        found = _Cells(np.zeros(shape, np.bool_), np.zeros(shape, np.bool_), np.zeros(shape))
        for layer in image.layers:
            known = estimates[layer.index]
            here, address = known.present, image.cells(layer)[known.present]
            mean_us = known.mean_us - reference_error(known, image, layer)
            found.used.reshape(-1)[address] = True
            found.stuck.reshape(-1)[address] = stuck(image, layer, known)[here]
            found.mean_us.reshape(-1)[address] = mean_us[here]
        return found

    def silent_rows(
        self, image: Image, estimates: Mapping[int, CellEstimate]
    ) -> npt.NDArray[np.bool_]:
        """(arrays, rows) wordlines on which no cell answers."""
        target_us = np.zeros(self.mean_us.shape)
        for layer in image.layers:
            known = estimates[layer.index]
            here = known.present
            target_us.reshape(-1)[image.cells(layer)[here]] = known.target_us[here]
        asked, answered = (
            np.concatenate([(values[some] ** 2).sum(axis=2) for some in _parts(values)])
            for values in (target_us, self.mean_us)
        )
        enough = self.used.sum(axis=2) >= _LINE_CELLS
        return np.asarray(enough & (asked > 0) & (answered < _SILENT * asked))

    def empty_cols(
        self, image: Image, kind: npt.NDArray[np.int8], dead_rows: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        """(arrays, cols) bitlines that carry no current, wordlines that drive none left out."""
        seen = self.used & ~dead_rows[:, :, None]
        count = seen.sum(axis=1)
        low = (seen & (kind >= 0) & (kind < _KINDS.index("stuck_gmax"))).sum(axis=1)
        reference_us = image.chip.reference_us
        held = np.concatenate(
            [
                np.where(seen[some], self.mean_us[some] + reference_us, 0.0).sum(axis=1)
                for some in _parts(seen)
            ]
        )
        empty = held < count * image.chip.cell.g_min_us / 2
        return np.asarray((count >= _LINE_CELLS) & (low >= _LOW * count) & empty)

    def kinds(self, image: Image) -> npt.NDArray[np.int8]:
        """Which of the conductances each cell sits at, as numbers of ``_KINDS``; else −1.

        A cell without current cannot be told from one at G_min where that is near zero.
        """
        levels = np.asarray(image.chip.cell.g_levels_us)
        within = _NEAR * np.ptp(levels)
        at = np.array([0.0 if levels[0] > 2 * within else -np.inf, levels[0], levels[-1]])
        found = np.empty(self.used.shape, np.int8)
        for some in _parts(found):
            held = self.mean_us[some] + image.chip.reference_us
            away = np.abs(held[..., None] - at)
            near = (away.min(axis=-1) <= within) & self.used[some]
            found[some] = np.where(near, away.argmin(axis=-1), -1)
        return found


def _parts(values: npt.NDArray[Any]) -> Iterator[slice]:
    """Some arrays after others."""
    return parts(len(values), values[:1].size, _AT_ONCE)

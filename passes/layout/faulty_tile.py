"""One tile among the faults of its array: what every place of its rows and columns costs.

The cost is the squared output error that faults cause: of every faulty cell the squared error of
its weight, times the mean square of the row's input and the square of the column's scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["FaultyTile", "assigned"]

Array64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def assigned(cost: Array64) -> Ints:
    """For each row of ``cost`` a column of its own, so that the sum is least."""
    from scipy.optimize import linear_sum_assignment

    columns: Ints = linear_sum_assignment(cost)[1]
    return columns


@dataclass
class FaultyTile:
    """Where a tile lies, and what its faults cost there.

    Attributes:
        harm: for each conductance at which cells are stuck what that costs each of the tile's
            cells, (signs, rows, bitlines): as it is, and with the column turned.
        at: for each of these conductances the cells of the array that hold it, (rows, bitlines).
        occupied: which cells of the array are taken, this tile's included; kept up to date.
        wordlines, bitlines: of its rows and columns.
        outputs: the layer's column that each bitline belongs to.
        turned: whether each bitline's column is turned.
    """

    harm: Sequence[Array64] = field(repr=False)
    at: Sequence[Bools] = field(repr=False)
    occupied: Bools = field(repr=False)
    wordlines: Ints
    bitlines: Ints
    outputs: Ints
    turned: Bools

    def cost(self) -> Array64:
        """(signs, bitlines) what each column costs where it lies."""
        total = np.zeros((2, len(self.bitlines)))
        for harm, at in zip(self.harm, self.at, strict=True):
            total += (harm * at[np.ix_(self.wordlines, self.bitlines)]).sum(axis=1)
        return total

    def likely(self) -> Array64:
        """(signs, bitlines) what each column costs on the average of all places."""
        total = np.zeros((2, len(self.bitlines)))
        for harm, at in zip(self.harm, self.at, strict=True):
            total += harm.sum(axis=1) * at.mean()
        return total

    def leave(self) -> None:
        """Free the cells that it lies on."""
        self.occupied[np.ix_(self.wordlines, self.bitlines)] = False

    def lie(self, wordlines: Ints, bitlines: Ints) -> None:
        """Take the cells of these lines, none of which another tile takes."""
        self.wordlines, self.bitlines = wordlines, bitlines
        self.occupied[np.ix_(wordlines, bitlines)] = True

    def move_rows(self) -> None:
        """The best wordlines: of the tile's own and those that nothing uses on its bitlines."""
        self.leave()
        free = np.flatnonzero(~self.occupied[:, self.bitlines].any(axis=1))
        candidates = _first(self.wordlines, free)
        cost = np.zeros((len(self.wordlines), len(candidates)))
        for harm, at in zip(self.harm, self.at, strict=True):
            own = np.where(self.turned, harm[1], harm[0])
            cost += own @ at[np.ix_(candidates, self.bitlines)].T
        self.lie(candidates[assigned(cost)], self.bitlines)

    def move_columns(self, others: Array64 | None = None, *, wider: bool = True) -> None:
        """The best bitlines: of the tile's own, and those free on its wordlines where ``wider``.

        Args:
            others: (signs, bitlines) what the column costs elsewhere; where given, every column
                takes the sign that is best with it.
        """
        self.leave()
        candidates = self.bitlines
        if wider:
            free = np.flatnonzero(~self.occupied[self.wordlines].any(axis=0))
            candidates = _first(self.bitlines, free)
        cost = np.zeros((2, len(self.bitlines), len(candidates)))
        for harm, at in zip(self.harm, self.at, strict=True):
            cost += np.swapaxes(harm, 1, 2) @ at[np.ix_(self.wordlines, candidates)]
        if others is None:
            cost = np.where(self.turned[:, None], cost[1], cost[0])
            chosen = assigned(cost)
        else:
            cost += others[..., None]
            chosen = assigned(cost.min(axis=0))
            here = cost[:, np.arange(len(chosen)), chosen]
            self.turned = here[1] < here[0]
        self.lie(self.wordlines, candidates[chosen])


def _first(own: Ints, free: Ints) -> Ints:
    """A tile's own lines, then the free ones that are not among them."""
    return np.concatenate([own, np.setdiff1d(free, own)])

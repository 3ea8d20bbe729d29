"""IR drop: what the resistance of an array's wires leaves of every cell.

Wordlines are driven from the left; bitlines end in sense amplifiers at the bottom, which hold
them at 0 V, all of them at every read. Only the wordlines of one block are driven; the
transistors of the others are off, so no current flows through their cells. Cells and wires are
linear: whatever the inputs, an array answers with a matrix G_eff, which can be worked out
beforehand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from pimc.errors import UsageError

Array64 = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
Method = Literal["first", "exact"]


@dataclass(frozen=True)
class Wires:
    """What the wires around cells do to them: G_eff = share · G + around_us.

    Attributes:
        share: part of a cell's current that arrives, and of its fluctuation.
        around_us: what reaches the cell's bitline over other cells, less what those take away
            beyond first order.
    """

    share: Array64 = field(repr=False)
    around_us: Array64 = field(repr=False)

    def effective_us(self, g_us: Floats) -> Array64:
        """G_eff of cells that hold ``g_us`` now."""
        effective: Array64 = self.share * g_us + self.around_us
        return effective


def first_order(g_us: Array64, wordlines: Ints, rows: int, wire_ohm: float) -> Wires:
    """Correct to first order in the wires' resistance, at the cost of two matrix products.

    The voltage that is missing at cell (i, j) is the current of all cells of its wordline and of
    its bitline, each times the resistance of the wire that both cells share:
    G_eff = G/(1 + D), D_ij = Σ_k G_ik·R(j, k) + Σ_k G_kj·R(i, k).

    Args:
        g_us: (driven wordlines, columns) µS, first column next to the drivers.
        wordlines: (driven wordlines,) their numbers, increasing.
        rows: wordlines of the array; the last is next to the sense amplifiers.
        wire_ohm: resistance of a wire from one cell to the next, or to driver or amplifier.
    """
    along, down = _distances(g_us, wordlines, rows, wire_ohm)
    drop = g_us @ np.minimum.outer(along, along) + np.minimum.outer(down, down) @ g_us
    return Wires(1.0 / (1.0 + drop * 1e-6), np.zeros_like(g_us))


def exact(g_us: Array64, wordlines: Ints, rows: int, wire_ohm: float) -> Wires:
    """Exact for cells that hold ``g_us``; deviations from it count to first order.

    Arguments as for :func:`first_order`.
    """
    share = first_order(g_us, wordlines, rows, wire_ohm).share
    return Wires(share, nodal_us(g_us, wordlines, rows, wire_ohm) - share * g_us)


def nodal_us(g_us: Array64, wordlines: Ints, rows: int, wire_ohm: float) -> Array64:
    """G_eff from Kirchhoff's laws, two nodes a cell.

    Arguments as for :func:`first_order`.
    """
    # Its loops are compiled: numba is loaded where wires are solved, and not for every command.
    from pimc.runtime.physics.wires.grid import answer

    below_ohm = down_ohm(wordlines, rows, wire_ohm)
    effective: Array64 = 1e6 * answer(1e-6 * g_us[::-1], wire_ohm, below_ohm)[::-1]
    return effective


def down_ohm(wordlines: Ints, rows: int, wire_ohm: float) -> Array64:
    """Resistance of a bitline from a driven wordline to the next towards the sense amplifiers.

    Beginning with the wordline next to them; arguments as for :func:`first_order`.
    """
    return -wire_ohm * np.diff(wordlines[::-1].astype(float), prepend=float(rows))


METHODS: dict[str, Callable[[Array64, Ints, int, float], Wires]] = {
    "first": first_order,
    "exact": exact,
}


def require_method(name: str) -> None:
    """Make sure that a method exists.

    Raises:
        UsageError: it does not.
    """
    if name not in METHODS:
        raise UsageError(
            f"no such treatment of IR drop: {name!r}", hint=f"there are {', '.join(METHODS)}"
        )


def _distances(
    g_us: Array64, wordlines: Ints, rows: int, wire_ohm: float
) -> tuple[Array64, Array64]:
    """Resistance from every column to the drivers, from every driven row to the amplifiers."""
    return wire_ohm * np.arange(1.0, g_us.shape[1] + 1), wire_ohm * (rows - wordlines.astype(float))

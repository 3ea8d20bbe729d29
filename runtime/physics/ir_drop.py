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
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pimc.errors import UsageError

Array64 = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]
Method = Literal["first", "exact"]

#: Wordlines whose answer is worked out at a time, for the sake of memory.
_AT_A_TIME = 32


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
    """G_eff from Kirchhoff's laws: two nodes a cell, one sparse system.

    Arguments as for :func:`first_order`.
    """
    from scipy import sparse
    from scipy.sparse.linalg import splu

    count, columns = g_us.shape
    along, down = _distances(g_us, wordlines, rows, wire_ohm)
    # Rows from the sense amplifiers upwards, so that both kinds of line begin where they end.
    cells = sparse.diags_array(1e-6 * g_us[::-1].reshape(-1))
    wordline = sparse.kron(sparse.eye_array(count), _line(along))
    bitline = sparse.kron(_line(down[::-1]), sparse.eye_array(columns))
    system = sparse.block_array(
        [[wordline + cells, -cells], [-cells, bitline + cells]], format="csc"
    )
    solved = splu(
        system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
    )
    effective = np.empty((count, columns))
    for first in range(0, count, _AT_A_TIME):
        driven = np.arange(first, min(first + _AT_A_TIME, count))
        # One volt at a driver is a current through the first wire into the first node.
        injected = np.zeros((2 * count * columns, len(driven)))
        injected[driven * columns, np.arange(len(driven))] = 1.0 / along[0]
        bottom_v = solved.solve(injected)[count * columns :][:columns]
        effective[driven] = bottom_v.T / down[-1]
    return effective[::-1] * 1e6


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


def _line(ohm: Array64) -> Any:
    """Sparse admittances of a line whose nodes are ``ohm``, increasing, away from its fixed end."""
    from scipy import sparse

    segment = 1.0 / np.diff(ohm, prepend=0.0)
    inner = segment[1:]
    return sparse.diags_array([segment + np.append(inner, 0.0), -inner, -inner], offsets=[0, 1, -1])

"""Kirchhoff's laws of an array, one equation a node: dense, and as one sparse system."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array64 = npt.NDArray[np.float64]

#: Wordlines whose answer is worked out at a time, for the sake of memory.
_AT_A_TIME = 32


def plain(g_us: Array64, wire_ohm: float) -> Array64:
    """G_eff in µS of a whole array, one equation a node, solved densely."""
    rows, columns = g_us.shape
    size = rows * columns
    y = np.zeros((2 * size, 2 * size))
    wire = 1e6 / wire_ohm  # µS

    def connect(a: int, b: int | None, g: float) -> None:
        y[a, a] += g
        if b is not None:
            y[b, b] += g
            y[a, b] -= g
            y[b, a] -= g

    for i, j in np.ndindex(rows, columns):
        wordline, bitline = i * columns + j, size + i * columns + j
        connect(wordline, bitline, float(g_us[i, j]))
        connect(wordline, wordline - 1 if j else None, wire)
        connect(bitline, bitline + columns if i < rows - 1 else None, wire)
    injected = np.zeros((2 * size, rows))
    injected[np.arange(rows) * columns, np.arange(rows)] = wire
    nodes = np.linalg.solve(y, injected)
    return wire * nodes[-columns:].T


def sparse_us(
    g_us: Array64, wordlines: npt.NDArray[np.int64], rows: int, wire_ohm: float
) -> Array64:
    """G_eff of driven wordlines: two nodes a cell, factorized once, solved for every wordline.

    The arguments of :func:`~pimc.runtime.physics.ir_drop.nodal_us`.
    """
    from scipy import sparse
    from scipy.sparse.linalg import splu

    count, columns = g_us.shape
    along = wire_ohm * np.arange(1.0, columns + 1)
    down = wire_ohm * (rows - wordlines.astype(float))
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


def _line(ohm: Array64) -> Any:
    """Sparse admittances of a line whose nodes are ``ohm``, increasing, away from its fixed end."""
    from scipy import sparse

    segment = 1.0 / np.diff(ohm, prepend=0.0)
    inner = segment[1:]
    return sparse.diags_array([segment + np.append(inner, 0.0), -inner, -inner], offsets=[0, 1, -1])

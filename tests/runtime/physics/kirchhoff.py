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
    y = _wires(rows, columns, wire_ohm)
    for cell, g in enumerate(g_us.ravel()):
        _connect(y, cell, rows * columns + cell, float(g))
    injected = np.zeros((len(y), rows))
    injected[np.arange(rows) * columns, np.arange(rows)] = 1e6 / wire_ohm
    nodes = np.asarray(np.linalg.solve(y, injected), np.float64)
    return 1e6 / wire_ohm * nodes[-columns:].T


def curved(g_us: Array64, wire_ohm: float, alpha: float, drive: Array64) -> Array64:
    """Currents in µA a volt of a whole array of cells of g·sinh(alpha·v)/sinh(alpha).

    Newton's method for all nodes at once, each step a dense solution; never too far a step.

    Args:
        drive: (rows,) shares of the full read voltage.
    """
    rows, columns = g_us.shape
    size = rows * columns
    wires, g = _wires(rows, columns, wire_ohm), g_us.ravel() / np.sinh(alpha)
    injected = np.zeros(2 * size)
    injected[np.arange(rows) * columns] = 1e6 / wire_ohm * drive
    nodes = np.zeros(2 * size)
    for _ in range(500):
        volt = nodes[:size] - nodes[size:]
        current, slopes = g * np.sinh(alpha * volt), g * alpha * np.cosh(alpha * volt)
        y = wires.copy()
        for cell, slope in enumerate(slopes):
            _connect(y, cell, size + cell, float(slope))
        missing = injected - wires @ nodes - np.concatenate([current, -current])
        step = np.linalg.solve(y, missing)
        size_of_step = np.abs(step).max()
        nodes += step * min(1.0, 1.0 / (alpha * size_of_step + 1e-300))
        if size_of_step < 1e-13:
            break
    return 1e6 / wire_ohm * nodes[-columns:]


def _wires(rows: int, columns: int, wire_ohm: float) -> Array64:
    """Admittances in µS between the nodes of an array's wires, wordlines' before bitlines'."""
    size = rows * columns
    y = np.zeros((2 * size, 2 * size))
    wire = 1e6 / wire_ohm
    for i, j in np.ndindex(rows, columns):
        wordline, bitline = i * columns + j, size + i * columns + j
        _connect(y, wordline, wordline - 1 if j else None, wire)
        _connect(y, bitline, bitline + columns if i < rows - 1 else None, wire)
    return y


def _connect(y: Array64, a: int, b: int | None, g: float) -> None:
    """Add a conductance between two nodes, or from one to a fixed potential."""
    y[a, a] += g
    if b is not None:
        y[b, b] += g
        y[a, b] -= g
        y[b, a] -= g


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

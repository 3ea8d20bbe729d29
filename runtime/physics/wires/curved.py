"""Currents of an array whose cells are not linear: Newton's method, line by line.

Cells carry g · sinh(alpha·v)/sinh(alpha) at the share v of the full read voltage. Then an array's
answer is no matrix any more, and every input vector is a solution of its own. All wordlines are
solved at once, each as a line of linearized cells between what the bitlines were at; then all
bitlines likewise. Each such step makes the same convex function smaller (the co-content of the
network, Millar 1951, DOI 10.1080/14786445108561361), and as wires conduct far better than cells it
takes few of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from pimc.errors import DeviceError

#: Potentials that are as near as this to where they go, as a share of the full read voltage, are
#: at rest.
_AT_REST = 1e-8
#: Rounds after which they should be.
_PATIENCE = 1000
#: Potentials held at a time.
_AT_A_TIME = 1 << 20


@dataclass(frozen=True)
class CurvedArray:
    """An array of non-linear cells; rows count from the amplifiers, columns from the drivers.

    Attributes:
        g: (columns, rows) of the cells at full voltage, S.
        along_ohm: resistance of a wire of a wordline.
        down_ohm: (rows,) of the wires of bitlines, below each row.
        alpha: curvature, more than 0.
    """

    g: torch.Tensor = field(repr=False)
    along_ohm: float
    down_ohm: Sequence[float] = field(repr=False)
    alpha: float

    def currents(self, drives: torch.Tensor) -> torch.Tensor:
        """Currents into the amplifiers, (vectors, columns) in S times full voltage.

        Args:
            drives: (vectors, rows) shares of the full read voltage.

        Raises:
            DeviceError: the potentials of the wires do not come to rest.
        """
        at_a_time = max(1, _AT_A_TIME // self.g.numel())
        return torch.cat([self._currents(part) for part in drives.double().split(at_a_time)])

    def _currents(self, drives: torch.Tensor) -> torch.Tensor:
        driven = drives.T.contiguous()
        columns, rows = self.g.shape
        if not len(drives):
            return drives.new_zeros(0, columns)
        # (columns, rows, vectors): of the nodes on wordlines and on bitlines.
        wordlines = driven.expand(columns, rows, -1)
        bitlines = torch.zeros_like(wordlines, memory_format=torch.contiguous_format)
        along_ohm = [self.along_ohm] * columns
        held = torch.zeros_like(driven[:1])
        last = 0.0
        for _ in range(_PATIENCE):
            constant, slope = self._linearized(wordlines - bitlines)
            source = constant.addcmul_(slope, bitlines, value=-1.0)
            wordlines, _ = _line(slope.unbind(0), source.unbind(0), along_ohm, driven, 0)
            constant, slope = self._linearized(wordlines - bitlines)
            before, source = bitlines, constant.addcmul_(slope, wordlines).neg_()
            bitlines, into = _line(slope.unbind(1), source.unbind(1), self.down_ohm, held, 1)
            moved = float(before.sub_(bitlines).abs_().max())
            # In the end every round shortens the way that is left by about the same ratio.
            if moved <= _AT_REST and moved * moved <= _AT_REST * (last - moved):
                return -into.T
            last = moved
        raise DeviceError(
            "the potentials of an array's wires do not come to rest",
            hint="take wires to first order, or less of array.wire_ohm or cell.iv_alpha",
        )

    def _linearized(self, volt: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The tangent of every cell's current: its constant part, and its slope."""
        g = self.g[:, :, None]
        grown = torch.exp(volt * self.alpha)
        shrunk = grown.reciprocal()
        slope = (grown + shrunk) * (g * (0.5 * self.alpha / math.sinh(self.alpha)))
        current = grown.sub_(shrunk).mul_(g * (0.5 / math.sinh(self.alpha)))
        return current.addcmul_(slope, volt, value=-1.0), slope


def _line(
    slopes: Sequence[torch.Tensor],
    sources: Sequence[torch.Tensor],
    ohm: Sequence[float],
    driven: torch.Tensor,
    dim: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Potentials of lines, and the current into each at its driven end.

    Seen from a node away from the drivers, a line takes ``source + slope · potential``; wires and
    cells are added to that one after the other, from the far end. Slopes and sources are used up.
    """
    passed = [torch.empty(0)] * len(ohm)
    for at in range(len(ohm) - 1, -1, -1):
        passed[at] = (slopes[at] * ohm[at]).add_(1.0).reciprocal_()
        if at:
            slopes[at - 1].addcmul_(slopes[at], passed[at])
            sources[at - 1].addcmul_(sources[at], passed[at])
    potentials, near = [], driven
    for at, wire_ohm in enumerate(ohm):
        near = torch.sub(near, sources[at], alpha=wire_ohm).mul_(passed[at])
        potentials.append(near)
    into = (slopes[0] * driven).add_(sources[0]).mul_(passed[0])
    return torch.stack(potentials, dim), into

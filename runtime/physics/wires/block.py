"""Blocks of an array, known by the ends of their lines, and how two of them become one.

Lines leave a block on four sides: wordlines towards the drivers (``WEST``) and away from them
(``EAST``), bitlines towards the amplifiers (``SOUTH``) and away from them (``NORTH``). The wires
that lead west and south belong to the block. Ends in the west and south are given voltages and
answer with the currents that flow into the block there; ends in the east and north are given these
currents and answer with their voltages, negated. So

    answers = S · given,

and S is finite even where wires have no resistance, or cells conduct nothing. It is the Hessian of
a function of what is given (a partial Legendre transform of half the power), hence symmetric: that
is reciprocity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dgetrf, dgetri

Array64 = npt.NDArray[np.float64]
Side = Literal["south", "west", "east", "north"]
Ends = dict[Side, slice]

#: The order of sides in rows and columns of S.
SIDES: tuple[Side, ...] = ("south", "west", "east", "north")


@dataclass(frozen=True)
class Block:
    """A block, or a stack of blocks of one size.

    Attributes:
        s: (…, answers, given) in S, Ω and shares.
        answers: rows of the sides whose answers are of interest.
        given: columns of the sides that are given anything but 0.
    """

    s: Array64 = field(repr=False)
    answers: Ends
    given: Ends

    def part(self, answer: Side, given: Side) -> Array64:
        """How one side answers to what another is given."""
        return self.s[..., self.answers[answer], self.given[given]]


def ends(sizes: dict[Side, int]) -> Ends:
    """Rows or columns of sides that have so many ends."""
    found: Ends = {}
    at = 0
    for side in SIDES:
        if side in sizes:
            found[side] = slice(at, at + sizes[side])
            at += sizes[side]
    return found


def joined(near: Block, far: Block, leaving: Side, entering: Side) -> Block:
    """Two blocks as one: the lines that leave ``near`` in the east or north enter ``far``.

    With Z = -S of near's leaving side, Y = S of far's entering side, M = (1 + ZY)⁻¹ and F, G the
    columns and rows of S that couple these sides to the others, the voltages and currents between
    the blocks drop out of S as

        [[G_near · YM · F_near,  -G_near · Mᵀ · F_far],
         [-G_far · M · F_near,   -G_far · MZ · F_far]].

    Z and Y are symmetric and have no negative eigenvalues, so 1 + ZY has an inverse.
    """
    z, y = -near.part(leaving, leaving), far.part(entering, entering)
    m = _inverse_beside_one(z @ y)
    from_near, to_near = _coupling(near, leaving)
    from_far, to_far = _coupling(far, entering)
    to_minus = -to_far @ m
    parts = {
        (0, 0): (to_near @ (y @ m)) @ from_near,
        (0, 1): -(to_near @ m.T) @ from_far,
        (1, 1): (to_minus @ z) @ from_far,
    }
    if near.answers == near.given and far.answers == far.given:
        parts[1, 0] = parts[0, 1].T
    else:
        parts[1, 0] = to_minus @ from_near
    return _assembled((near, far), (leaving, entering), parts)


def _inverse_beside_one(loop: Array64) -> Array64:
    """(1 + loop)⁻¹. LAPACK by its parts takes half as long as :func:`numpy.linalg.inv`."""
    unit = np.arange(len(loop))
    loop[unit, unit] += 1.0
    factors, pivots, _ = dgetrf(loop.T, overwrite_a=True)
    inverse, _ = dgetri(factors, pivots, overwrite_lu=True)
    found: Array64 = inverse.T
    return found


def _coupling(block: Block, side: Side) -> tuple[Array64, Array64]:
    """(side, given elsewhere) and (answers elsewhere, side)."""
    rows, columns = block.answers[side], block.given[side]
    return _all_but(block.s[rows], columns), _all_but(block.s.T[columns], rows).T


def _all_but(values: Array64, columns: slice) -> Array64:
    before, behind = values[..., : columns.start], values[..., columns.stop :]
    if not before.shape[-1]:
        return behind
    return np.concatenate((before, behind), axis=-1) if behind.shape[-1] else before


def _assembled(
    blocks: tuple[Block, Block], met: tuple[Side, Side], parts: dict[tuple[int, int], Array64]
) -> Block:
    """S of both blocks where they do not meet, plus ``parts``; side by side, near before far."""
    answers, rows = _places([block.answers for block in blocks], met)
    given, columns = _places([block.given for block in blocks], met)
    s = np.empty((_count(answers), _count(given)))
    for (to, by), part in parts.items():
        own = blocks[to].s if to == by else None
        for row, to_rows, part_rows in rows[to]:
            for column, to_columns, part_columns in columns[by]:
                target = s[..., to_rows, to_columns]
                added = part[..., part_rows, part_columns]
                if own is None:
                    target[...] = added
                else:
                    np.add(own[..., row, column], added, out=target)
    return Block(s, answers, given)


def _count(found: Ends) -> int:
    return max((place.stop for place in found.values()), default=0)


def _places(
    ends_of: list[Ends], met: tuple[Side, Side]
) -> tuple[Ends, list[list[tuple[slice, slice, slice]]]]:
    """Ends of the whole, and for every side of each block where it was, where it comes to lie, and
    where it is among all the block's sides but the one that met.
    """
    sizes: dict[Side, int] = {}
    moves: list[list[tuple[slice, slice, slice]]] = [[], []]
    passed, at = [0, 0], 0
    for side in SIDES:
        for which in (0, 1):
            place = ends_of[which].get(side)
            if place is None or side == met[which]:
                continue
            count = place.stop - place.start
            among = slice(passed[which], passed[which] + count)
            moves[which].append((place, slice(at, at + count), among))
            sizes[side] = sizes.get(side, 0) + count
            passed[which] += count
            at += count
    return ends(sizes), moves

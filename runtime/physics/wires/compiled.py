"""Small blocks, compiled: cells that join a block one by one, and lines that join two blocks.

Matrices of up to a few dozen ends are too small for BLAS, and far too many for Python. What is here
works on the lower triangle of a symmetric S alone (:mod:`pimc.runtime.physics.wires.block` says
what S is). Rows are updated in eights, so scratch may hold anything beside the triangle. What is
compiled takes about a second, once, and is kept on the disk.
"""

from __future__ import annotations

from pimc.work.jit import Compiler

_WIRES = Compiler(__package__ or "")
outer, inner = _WIRES.contracted, _WIRES.inner_contracted


@inner
def _add_one(s, a, b, count):
    """S + a bᵀ of ``count`` ends."""
    for r in range(count):
        by = a[r]
        for c in range(((r >> 3) + 1) << 3):
            s[r, c] = s[r, c] + by * b[c]


@inner
def _add_two(s, a, b, first, stop):
    """S + aᵀ b, a and b (2, ends), in some rows."""
    for r in range(first, stop):
        a0, a1 = a[0, r], a[1, r]
        for c in range(((r >> 3) + 1) << 3):
            s[r, c] = s[r, c] + a0 * b[0, c] + a1 * b[1, c]


@inner
def _add_eight(s, a, b, count):
    """S + aᵀ b of ``count`` ends, a and b (8, ends): S goes through the cache once."""
    for r in range(count):
        a0, a1, a2, a3 = a[0, r], a[1, r], a[2, r], a[3, r]
        a4, a5, a6, a7 = a[4, r], a[5, r], a[6, r], a[7, r]
        for c in range(((r >> 3) + 1) << 3):
            half = s[r, c] + a0 * b[0, c] + a1 * b[1, c] + a2 * b[2, c] + a3 * b[3, c]
            s[r, c] = half + a4 * b[4, c] + a5 * b[5, c] + a6 * b[6, c] + a7 * b[7, c]


@outer
def mirror(stack):
    """Complete symmetric matrices, (rows, columns, ends, ends), of which the lower triangle is."""
    for row in range(stack.shape[0]):
        for column in range(stack.shape[1]):
            s = stack[row, column]
            for r in range(len(s)):
                for c in range(r):
                    s[c, r] = s[r, c]


@inner
def _place(part, to, whole):
    """Put the triangle of a block into that of ``whole``, its ends elsewhere."""
    for r in range(len(to)):
        for c in range(r + 1):
            whole[max(to[r], to[c]), min(to[r], to[c])] = part[r, c]


@inner
def _grow(g, along_ohm, down_ohm, s, seen, drawn):
    """S of a tile; arguments as for :func:`grow`, of one tile."""
    side = len(g)
    for r in range(4 * side):
        for c in range(4 * side):
            s[r, c] = 0.0
    for line in range(side):
        west = 2 * side + 2 * line
        s[side + line, line] = s[west + 1, west] = -1.0
    for row in range(side):
        east = 2 * side + 2 * row + 1
        for column in range(side):
            north = side + column
            s[east, east] -= along_ohm
            s[north, north] -= down_ohm[row]
            # The voltage across the cell, negated, by what is given, before it conducts.
            for end in range(north):
                seen[end] = s[east, end] - s[north, end]
            for end in range(north, east + 1):
                seen[end] = s[east, end] - s[end, north]
            cell = g[row, column]
            share = cell / (1.0 - cell * (seen[east] - seen[north]))
            for end in range(east + 1):
                drawn[end] = share * seen[end]
            _add_one(s, drawn, seen, east + 1)


@outer
def grow(g, along_ohm, down_ohm, to, tiles, s, scratch):
    """Tiles from their cells, row by row.

    A cell joins the east end of its wordline and the north end of its bitline: with w the
    difference of the two rows of S and k = g/(1 - g (w_east - w_north)), S becomes S + k w wᵀ.

    Args:
        g: (rows, columns, side, side) of the cells in S, tile by tile.
        along_ohm: resistance of a wire of a wordline.
        down_ohm: (rows, side) of the wires of bitlines, below each row of cells.
        to: (4 side,) where ends come to lie in ``tiles``, of those in the south, in the north, and
            then in the west and east of every row in turns: rows not yet reached come last.
        tiles: (rows, columns, 4 side, 4 side), its lower triangles become those of S.
        s: (4 side, 4 side), scratch.
        scratch: (2, 4 side), more of it.
    """
    for row in range(g.shape[0]):
        for column in range(g.shape[1]):
            _grow(g[row, column], along_ohm, down_ohm[row], s, scratch[0], scratch[1])
            _place(s, to, tiles[row, column])


@inner
def _join(near, far, to_near, to_far, kept, s, ends, solved):
    """S of two blocks as one; arguments as for :func:`join`, of one pair."""
    for r in range(len(s)):
        for c in range(r + 1):
            s[r, c] = 0.0
    _place(near, to_near, s)
    _place(far, to_far, s)
    for group in range(len(s) - 8, kept - 1, -8):
        for at in range(6, -1, -2):
            leaving, entering = group + at, group + at + 1
            a, b, c = s[leaving, leaving], 1.0 + s[entering, leaving], s[entering, entering]
            over = 1.0 / (b * b - a * c)
            for end in range(leaving):
                out, into = s[leaving, end], s[entering, end]
                ends[at, end], ends[at + 1, end] = out, into
                solved[at, end] = over * (c * out - b * into)
                solved[at + 1, end] = over * (a * into - b * out)
            _add_two(s, solved[at : at + 2], ends[at : at + 2], group, leaving)
        _add_eight(s, solved, ends, group)


@outer
def join(near, far, to_near, to_far, joined, s, ends, solved):
    """Pairs of blocks as one each, line by line.

    A line that leaves one block and enters the other has the same voltage and current on both, so
    with rows x (leaving) and y (entering) of S, and a, b, c = S_xx, 1 + S_xy, S_yy, the others'
    S becomes S - [x y] [[a, b], [b, c]]⁻¹ [x y]ᵀ. As a ≤ 0 ≤ c, that inverse is there. Four
    lines at a time: the number of lines is a multiple of it.

    Args:
        near: (rows, columns, ends, ends), blocks whose lines leave.
        far: the same, blocks that these lines enter.
        to_near: (ends,) where they come to lie in ``s``: kept ones first, then leaving and entering
            end of every line in turns.
        to_far: the same.
        joined: (rows, columns, kept, kept), its lower triangles become those of S.
        s: (ends of both, as many and up to seven more), scratch.
        ends: (8, as many), more of it.
        solved: the same.
    """
    for row in range(near.shape[0]):
        for column in range(near.shape[1]):
            first, second = near[row, column], far[row, column]
            _join(first, second, to_near, to_far, joined.shape[2], s, ends, solved)
            for r in range(joined.shape[2]):
                for c in range(r + 1):
                    joined[row, column, r, c] = s[r, c]

"""The fused read's outputs: sums of ADC codes put in their places, and the digital side."""

from __future__ import annotations

import numpy as np
from numba import float32

from pimc.runtime.read.fused.jit import inlined, inner, inner_contracted
from pimc.runtime.read.fused.lanes import multiply_one
from pimc.runtime.read.fused.records import COLUMNS, LANES


@inner
def run_of(j, samples, positions, valid):
    """End of the vectors from ``j`` on whose positions follow each other, and their positions."""
    end = j + 1
    while (
        end < len(samples)
        and samples[end] == samples[j]
        and valid[end - 1] == LANES
        and positions[end] == positions[end - 1] + LANES
    ):
        end += 1
    return end, positions[end - 1] + valid[end - 1] - positions[j]


@inner_contracted
def add(values, weight, place):
    """Add weighted values."""
    for i in range(len(place)):
        place[i] += weight * values[i]


@inner_contracted
def scale(values, gain, offset, tap, taken, least, place):
    """Outputs from code sums, less one tap."""
    for i in range(len(place)):
        place[i] = max(values[i] * gain + (offset - taken * tap[i]), least)


@inner
def rectify(place, least):
    """Raise values to the least."""
    for i in range(len(place)):
        place[i] = max(place[i], least)


@inlined
def scatter(totals, samples, positions, valid, columns, wide, weight, out):
    """Add a chunk's totals to (samples, groups · columns, positions)."""
    j = 0
    while j < len(samples):
        end, count = run_of(j, samples, positions, valid)
        for row in range(out.shape[1]):
            total = totals[row // columns * wide * COLUMNS + row % columns]
            place = out[samples[j], row, positions[j] : positions[j] + count]
            add(total[j * LANES : j * LANES + count], weight, place)
        j = end


@inner
def finish(codes, part, rows, outputs, reading, totals, direct, sums, taps, out):
    """Make outputs of a chunk's code sums.

    Args:
        part: the chunk's vectors, a slice of ``rows.bases``.
        totals: the chunk's code sums.
        direct: these are all; else the sums are in ``out``.
        sums: (positions,) scratch.
        taps: (groups · taps, at least one; positions) scratch, zero.
    """
    bases, samples = rows.bases[part], rows.samples[part]
    positions, valid = rows.positions[part], rows.valid[part]
    columns, each, least = reading.columns, len(outputs.quanta), float32(outputs.least)
    # Further taps come after: with them the least comes last.
    first_least = least if each <= 1 else float32(-np.inf)
    wide, rest = (columns + COLUMNS - 1) // COLUMNS * COLUMNS, max(each, 1)
    taps[: len(taps) if each else 0] = 0
    for block in range(len(rows.starts) - 1 if each else 0):
        start, end = rows.starts[block], rows.starts[block + 1]
        for tap in range(each):
            weights = outputs.weights[start * each + tap * (end - start) :]
            multiply_one(codes, rows.offsets[start:end], bases, weights, sums)
            add(sums, outputs.quanta[tap], taps[block // reading.row_blocks * each + tap])
    j = 0
    while j < len(samples):
        end, count = run_of(j, samples, positions, valid)
        here = slice(j * LANES, j * LANES + count)
        for row in range(out.shape[1]):
            place = out[samples[j], row, positions[j] : positions[j] + count]
            tap, taken = taps[row // columns * rest, here], outputs.taken[row]
            gain, offset = outputs.gain[row], outputs.offset[row]
            if direct:
                total = totals[row // columns * wide + row % columns, here]
                scale(total, gain, offset, tap, taken[0], first_least, place)
            else:
                scale(place, gain, offset, tap, taken[0], first_least, place)
            for more in range(1, each):
                if taken[more] != 0.0:
                    add(taps[row // columns * rest + more, here], -taken[more], place)
            if each > 1 and least > -np.inf:
                rectify(place, least)
        j = end

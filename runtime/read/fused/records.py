"""What the fused read's kernel is given: records that Numba takes apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

#: Positions of one vector, vectors and columns that one call multiplies.
LANES, VECTORS, COLUMNS = 8, 2, 4
#: Positions that are worked on at a time: the stride of what the multiplications give.
CHUNK = 512

Floats = npt.NDArray[np.float32]


class Shape(NamedTuple):
    """Sizes of one sample: channels, input and output sizes, and of its buffer of codes."""

    channels: int
    height: int
    width: int
    pad_top: int
    pad_left: int
    #: Columns x of one remainder x mod ``stride`` lie together, ``length`` numbers of them.
    stride: int
    length: int
    #: Rows of the buffer, and numbers in it.
    lines: int
    size: int


class Drive(NamedTuple):
    """How a value becomes what a wordline is driven with.

    Attributes:
        step: input units of one DAC code.
        low, high: limits of a code.
        bent: what a line gets by the magnitude of a code; empty where it is the code.
        linear: noise variance grows with the drive, not its square (pulses).
        shift: squares are rounded to multiples of 2**shift, so that 8 bits hold them.
        rest_shift: what is left is held in multiples of 2**rest_shift.
        bits: a read for each: which bit of a code's magnitude drives the line; -1: the code. Of
            several phases those of positive codes come first.
        weights: what the ADC codes of each read count for.
    """

    step: float
    low: int
    high: int
    bent: npt.NDArray[np.int32]
    linear: bool
    shift: int
    rest_shift: int
    bits: npt.NDArray[np.int64]
    weights: Floats


class Rows(NamedTuple):
    """Where positions and rows lie in the buffer of codes.

    Attributes:
        together: samples that are worked on at a time.
        bases: place of each vector of eight positions, sample after sample.
        samples: sample of each vector.
        positions: number of each vector's first position.
        valid: how many of its positions exist.
        offsets: place of every pair of rows relative to a position, block after block.
        starts: where each block's offsets begin, and the end of the last.
        quads: place of every four rows in the buffer of squares, likewise.
        quad_starts: where each block's begin, and the end of the last.
    """

    together: int
    bases: npt.NDArray[np.int64]
    samples: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    valid: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]
    quads: npt.NDArray[np.int32]
    quad_starts: npt.NDArray[np.int64]


class Cells(NamedTuple):
    """What the cells hold, packed for the multiplication: groups of four columns at most.

    Attributes:
        current: conductances in units of their quantum, pairs of rows, block after block, group
            after group.
        variance: variances a unit of squared drive, four rows together; empty without noise.
        common: the same of the reference columns' variances, reads in place of columns.
        rest: what rests of squares are multiplied with for all columns together; empty where
            squares leave none.
        rest_unit: what a rest of 1 counts, in units of the squares.
        typical: (blocks, columns) what that sum counts for a column's variance.
        slope: (blocks, columns) ADC codes a unit of current.
        offset: (blocks, columns) ADC codes added.
        sigma: (blocks, columns) ADC codes a unit of the root of a column's variance.
        shared: (blocks, columns) the same of the reference column's.
        read: (blocks, columns) which of its block's reads a column belongs to.
    """

    current: npt.NDArray[np.int32]
    variance: npt.NDArray[np.int32]
    common: npt.NDArray[np.int32]
    rest: npt.NDArray[np.int32]
    rest_unit: float
    typical: npt.NDArray[np.float32]
    slope: npt.NDArray[np.float32]
    offset: npt.NDArray[np.float32]
    sigma: npt.NDArray[np.float32]
    shared: npt.NDArray[np.float32]
    read: npt.NDArray[np.int64]


class Outputs(NamedTuple):
    """How code sums become outputs: gain · codes + offset − Σ taken · tap.

    A tap is a sum of a layer's DAC codes with weights of its own: all ones for the pedestal, what
    is known of the reference column's errors.

    Attributes:
        gain, offset: (groups · columns,); empty where code sums are wanted as they are.
        weights: taps packed for :mod:`pimc.runtime.read.fused.lanes`, block after block.
        quanta: (taps,) what one unit of a tap's weights counts.
        taken: (groups · columns, taps, at least one) how much of each tap is taken off.
        least: outputs below are raised to it.
    """

    gain: Floats
    offset: Floats
    weights: npt.NDArray[np.int32]
    quanta: Floats
    taken: Floats
    least: float


class Reading(NamedTuple):
    """The ADC's limits, the layer's blocks, and the keys of its draws.

    Attributes:
        low, high: limits of an ADC code.
        row_blocks: blocks that one output adds up.
        columns: columns of a block.
        reads: the most reads of a block; 0 without a reference column's noise.
        key_0, key_1: key of the device's read noise.
        region: number of the region.
        vector: number of the first sample's first input vector.
        vectors: how many input vectors there are; those beyond only fill up a sample.
        each: input vectors of a sample of the network.
        phases: reads of an input vector with draws of their own: of its positive codes, and of
            its negative ones where drivers have no negative voltage.
    """

    low: float
    high: float
    row_blocks: int
    columns: int
    reads: int
    key_0: int
    key_1: int
    region: int
    vector: int
    vectors: int
    each: int
    phases: int


class Scratch(NamedTuple):
    """Where one thread works: for samples that are worked on together, or for a chunk of them.

    Attributes:
        codes: pairs of channels, padded; zero where nothing is written.
        driven: what drives the wordlines, where that are not the codes themselves.
        squares, rests: of what drives them, four channels a number.
        nothing: zeros, as many as a pair of channels has.
        gathered: (3, width) values of a line; zero in the first row.
        totals: (groups · columns in fours, CHUNK) sums of codes.
        keys, exists: of positions: (2, CHUNK), (CHUNK,).
        hashes: (3, CHUNK) what keys are made of.
        whole: (2 · COLUMNS + 1, CHUNK) currents and variances.
        real: (3 + reads, CHUNK) draws and the noise of reference columns.
        taps: (groups · taps, at least one; CHUNK).
        sums: (CHUNK,).
    """

    codes: npt.NDArray[np.int32]
    driven: npt.NDArray[np.int32]
    squares: npt.NDArray[np.int32]
    rests: npt.NDArray[np.int32]
    nothing: npt.NDArray[np.int32]
    gathered: Floats
    totals: Floats
    keys: npt.NDArray[np.uint32]
    exists: npt.NDArray[np.int32]
    hashes: npt.NDArray[np.uint32]
    whole: npt.NDArray[np.int32]
    real: Floats
    taps: Floats
    sums: npt.NDArray[np.int32]

    @staticmethod
    def of(shape: Shape, rows: Rows, reading: Reading, outputs: Outputs) -> Scratch:
        """Arrays of the sizes that a read needs."""
        # A vector may be read past the end of the last line.
        samples = rows.together * shape.size + LANES
        groups = (len(rows.starts) - 1) // reading.row_blocks
        wide = -(-reading.columns // COLUMNS)
        return Scratch(
            codes=np.zeros(samples, np.int32),
            driven=np.zeros(samples, np.int32),
            squares=np.zeros(samples, np.int32),
            rests=np.zeros(samples, np.int32),
            nothing=np.zeros(shape.lines * shape.stride * shape.length, np.int32),
            gathered=np.zeros((3, shape.width), np.float32),
            totals=np.zeros((groups * wide * COLUMNS, CHUNK), np.float32),
            keys=np.zeros((2, CHUNK), np.uint32),
            exists=np.zeros(CHUNK, np.int32),
            hashes=np.zeros((3, CHUNK), np.uint32),
            whole=np.zeros((2 * COLUMNS + 1, CHUNK), np.int32),
            real=np.zeros((3 + max(reading.reads, 1), CHUNK), np.float32),
            taps=np.zeros((groups * max(len(outputs.quanta), 1), CHUNK), np.float32),
            sums=np.zeros(CHUNK, np.int32),
        )

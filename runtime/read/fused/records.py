"""What the fused read's kernel is given: records that Numba takes apart."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

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
        linear: noise variance grows with the drive, not its square (pulses).
        shift: squares are rounded to multiples of 2**shift, so that 16 bits hold them.
        bits: a read for each: which bit of a code's magnitude drives the line; -1: the code.
        weights: what the ADC codes of each read count for.
    """

    step: float
    low: int
    high: int
    linear: bool
    shift: int
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
    """

    together: int
    bases: npt.NDArray[np.int64]
    samples: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    valid: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]


class Cells(NamedTuple):
    """What the cells hold, packed for the multiplication: pairs of rows, groups of four columns.

    Attributes:
        current: conductances in units of their quantum, block after block, group after group.
        variance: the same of the variances a unit of squared drive; empty without noise.
        common: the same of the reference columns' variances, reads in place of columns.
        slope: (blocks, columns) ADC codes a unit of current.
        offset: (blocks, columns) ADC codes added.
        sigma: (blocks, columns) ADC codes a unit of the root of a column's variance.
        shared: (blocks, columns) the same of the reference column's.
        read: (blocks, columns) which of its block's reads a column belongs to.
    """

    current: npt.NDArray[np.int32]
    variance: npt.NDArray[np.int32]
    common: npt.NDArray[np.int32]
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
    """

    gain: Floats
    offset: Floats
    weights: npt.NDArray[np.int32]
    quanta: Floats
    taken: Floats


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

"""The fused kernel against plain whole-number convolutions, for any geometry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from pimc.plan.records import Window
from pimc.plan.vectors import unfold
from pimc.runtime.die.fixed import Fixed, FixedColumns
from pimc.runtime.read.fused import lanes
from pimc.runtime.read.fused.kernel import read_samples
from pimc.runtime.read.fused.layout import Layout
from pimc.runtime.read.fused.records import (
    COLUMNS,
    Cells,
    Drive,
    Outputs,
    Reading,
    Scratch,
)

#: A converter that neither rounds nor clips whole numbers of this size.
WIDE = (-(2.0**23), 2.0**23)


CODES = Outputs(*(np.zeros(0, np.float32),) * 2, np.zeros(0, np.int32),
                np.zeros(0, np.float32), np.zeros((0, 1), np.float32), -np.inf)  # fmt: skip


def reading(columns: int, row_blocks: int) -> Reading:
    return Reading(*WIDE, row_blocks, columns, 0, 1, 2, 3, 0, 2**40, 2**40, 1)


def drive(largest: int, step: float = 1.0, bits: Sequence[int] = ()) -> Drive:
    """Codes up to ``largest`` either way, whole or bit by bit."""
    weights = np.asarray([2.0**bit for bit in bits] or [1.0], np.float32)
    chosen = np.asarray([*bits] or [-1], np.int64)
    none = np.zeros(0, np.int32)
    return Drive(step, -largest, largest, none, False, 0, 0, chosen, weights)


def cells(layout: Layout, weights: np.ndarray) -> Cells:
    blocks, _, columns = weights.shape
    shape = (blocks, -(-columns // COLUMNS) * COLUMNS)
    none, zeros = np.zeros(0, np.int32), np.zeros(shape, np.float32)
    one = np.ones(shape, np.float32)
    read = np.zeros(shape, np.int64)
    packed = layout.packed(weights)
    return Cells(packed, none, none, none, 1.0, zeros, one, zeros, zeros, zeros, read)


def summed(
    x: np.ndarray, window: Window | None, weights: np.ndarray, groups: int, rows: int, block: int,
    how: Drive,
) -> np.ndarray:  # fmt: skip
    """(samples, groups · columns, positions) by the fused kernel."""
    blocks, _, columns = weights.shape
    layout = Layout.of(window, x.shape[1], x.shape[2:], groups, rows, block)
    out = np.zeros((len(x), groups * columns, layout.positions), np.float32)
    given = reading(columns, blocks // groups)
    read_samples(
        x, out, 0, len(x), layout.shape, how, layout.rows, cells(layout, weights),
        given, CODES, Scratch.of(layout.shape, layout.rows, given, CODES),
    )  # fmt: skip
    return out


@st.composite
def geometries(draw):
    small = st.integers(1, 3)
    kernel = (draw(small), draw(small))
    strides, dilations = (draw(small), draw(small)), (draw(small), draw(small))
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    groups = draw(small)
    channels = groups * draw(small)
    size = tuple(
        draw(st.integers(max(1, (k - 1) * d + 1), 12))
        for k, d in zip(kernel, dilations, strict=True)
    )
    rows = channels // groups * kernel[0] * kernel[1]
    return Window(kernel, strides, dilations, pads), groups, channels, size, rows


@settings(max_examples=60, deadline=None)
@given(
    geometry=geometries(), columns=st.integers(1, 9), samples=st.integers(1, 5),
    block=st.integers(1, 30), seed=st.integers(0, 2**31),
)  # fmt: skip
def test_sums_are_exact_for_any_geometry(geometry, columns, samples, block, seed) -> None:
    window, groups, channels, size, rows = geometry
    rng = np.random.default_rng(seed)
    x = rng.integers(-9, 10, (samples, channels, *size)).astype(np.float32)
    block = min(block, rows)
    row_blocks = -(-rows // block)
    weights = rng.integers(-9, 10, (groups * row_blocks, block, columns)).astype(np.int16)
    last = rows - (row_blocks - 1) * block
    weights[row_blocks - 1 :: row_blocks, last:] = 0
    found = summed(x, window, weights, groups, rows, block, drive(9))
    vectors = unfold(torch.from_numpy(x), window).numpy().reshape(samples, groups, rows, -1)
    matrix = weights.reshape(groups, row_blocks * block, columns)[:, :rows].astype(np.float32)
    expected = np.einsum("sgkp,gkn->sgnp", vectors, matrix)
    assert np.array_equal(found, expected.reshape(found.shape))


@pytest.mark.parametrize("step", [1.0, 0.37])
def test_inputs_are_rounded_to_codes_and_clipped(step: float) -> None:
    x = np.linspace(-20, 20, 3 * 64, dtype=np.float32).reshape(1, 3, 1, 64)
    weights = np.eye(3, dtype=np.int16)[None]
    found = summed(x, None, weights, 1, 3, 3, drive(9, step))
    expected = (torch.from_numpy(x) / step).round().clamp(-9, 9).numpy().reshape(1, 3, 64)
    assert np.array_equal(found, expected)


def test_bit_planes_add_up_to_the_codes() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-127, 128, (2, 5, 7, 9)).astype(np.float32)
    window = Window((3, 3), (1, 1), (1, 1), (1, 1, 1, 1))
    weights = rng.integers(-99, 100, (3, 15, 6)).astype(np.int16)
    whole = summed(x, window, weights, 1, 45, 15, drive(127))
    planes = summed(x, window, weights, 1, 45, 15, drive(127, bits=range(7)))
    assert np.array_equal(planes, whole)


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_bytes_are_multiplied_on_any_processor(halves: bool, turned: bool) -> None:
    """In the one instruction of this processor, if it has it, and in two halves."""
    adder = (lambda context: lanes._add_quads) if halves else lanes._quads_on
    multiply = lanes._multiplier(1, 2, lanes._turned(adder) if turned else adder)
    rng = np.random.default_rng(0)
    without, with_sign = rng.integers(0, 256, (16, 9, 4)), rng.integers(-128, 128, (16, 9, 4))
    without[:8], with_sign[0], with_sign[1] = 255, -128, 127
    codes, weights = (with_sign, without[0]) if turned else (without, with_sign[0])
    packed = codes.transpose(1, 0, 2).astype(np.uint8).tobytes(), weights.astype(np.uint8).tobytes()
    x, w = (np.frombuffer(each, np.int32).copy() for each in packed)

    @njit
    def run(x, offsets, bases, w, sums):
        multiply(x, offsets, bases, 0, w, sums)

    sums = np.zeros(16, np.int32)
    run(x, np.arange(0, 144, 16, dtype=np.int32), np.array([0, 8]), w, sums)
    assert np.array_equal(sums, np.einsum("prc,rc->p", codes, weights))


@given(
    scale=st.floats(1e-3, 1e6), largest=st.integers(1, 1023), rows=st.integers(1, 300),
    seed=st.integers(0, 2**31),
)  # fmt: skip
def test_fixed_point_is_near_and_never_overflows(scale, largest, rows, seed) -> None:
    values = np.random.default_rng(seed).normal(size=(2, rows, 3)) * scale
    fixed = Fixed.nearest(values, largest)
    assert np.abs(fixed.whole * fixed.quantum - values).max() <= 0.5001 * fixed.quantum
    sums = np.abs(fixed.whole.astype(np.int64)).sum(axis=1) * largest
    assert sums.max() < 2**31


@given(
    spread=st.floats(0.0, 9.0), largest=st.integers(1, 32767), most=st.integers(1, 32766),
    rows=st.integers(1, 300), seed=st.integers(0, 2**31),
)  # fmt: skip
def test_small_values_do_not_vanish_from_a_sum(spread, largest, most, rows, seed) -> None:
    values = np.exp(-spread * np.random.default_rng(seed).random((2, rows, 3)))
    values[:, :, 0] *= 1e-3
    fixed = FixedColumns.carried(values, largest, most)
    assert fixed.whole.min() >= 0
    assert fixed.whole.max() <= most + 1
    sums = fixed.whole.astype(np.int64).sum(axis=1)
    assert sums.max() * largest < 2**31
    assert (np.abs(sums * fixed.quantum - values.sum(axis=1)) <= 0.5001 * fixed.quantum).all()


@given(levels=st.integers(2, 64), low=st.floats(0, 50), width=st.floats(1, 100))
def test_evenly_spaced_levels_are_held_exactly(levels, low, width) -> None:
    levels_us = np.linspace(low, low + width, levels)
    step = width / (levels - 1)
    values = (levels_us - levels_us[levels // 2])[None, :, None]
    fixed = Fixed.nearest(values, 1, step)
    assert np.abs(fixed.whole * fixed.quantum - values).max() < 1e-9 * (low + width)


def test_nothing_but_zeros() -> None:
    fixed = Fixed.nearest(np.zeros((1, 4, 2)), 255)
    assert not fixed.whole.any()
    assert fixed.quantum > 0

"""Turned columns: the same weights to the last bit of their codes, from mirrored cells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc.chip.codebook import Codebook, codebook
from pimc.chip.design import Chip
from pimc.plan.mirror import NO_TURN, mirrored, turns
from pimc.plan.records import Quantized


def quantized_of(codes: np.ndarray, zero: np.ndarray) -> Quantized:
    groups, rows, cols = codes.shape
    columns = groups * cols
    scale = np.linspace(0.5, 2.0, columns).astype(np.float32)
    gain, bias = np.ones(columns, np.float32), np.zeros(columns, np.float32)
    power = np.ones((groups, rows), np.float32)
    return Quantized(codes, zero, scale, gain, bias, power, 1.0, True, 1.0, 0.0)


def weights(quantized: Quantized, book: Codebook) -> np.ndarray:
    """What columns give: with the gain, and with the pedestal that the digital side takes off."""
    groups, _, cols = quantized.codes.shape
    factor = (quantized.scale.astype(np.float64) * quantized.gain).reshape(groups, 1, cols)
    zero_us = book.values_us[quantized.zero].reshape(groups, 1, cols)
    return factor * (book.values_us[quantized.codes[:, :, :]] - zero_us)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["offset", "differential", "sliced"]),
    st.sampled_from([2, 3, 4, 16]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_turned_columns_hold_the_same_weights(
    kind: str, levels: int, same_currents: bool, seed: int
) -> None:
    book = codebook(Chip.default().with_levels(levels).with_mapping(kind))
    rng, count = np.random.default_rng(seed), len(book.values_us)
    low, high = np.sort(rng.integers(0, count, (2, 2, 1, 3)), axis=0)
    codes = rng.integers(low, high + 1, (2, 4, 3)).astype(np.uint16)
    zero = rng.integers(0, count, (2, 3)).astype(np.uint16)
    before = quantized_of(codes, zero.reshape(-1))
    turn = turns(codes, zero, book, same_currents=same_currents)
    chosen = rng.random((2, 3)) < 0.5
    after = mirrored(before, turn, chosen)
    np.testing.assert_allclose(weights(after, book), weights(before, book), rtol=1e-9, atol=1e-9)
    turned = chosen & (turn != NO_TURN)
    np.testing.assert_array_equal(after.gain.reshape(2, 3) < 0, turned)
    assert after.codes[:, :, :].max() < count
    if same_currents:
        wanted, found = (
            (q.scale * q.gain * book.pedestal_us(q.zero)).reshape(2, 3) for q in (before, after)
        )
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    else:
        assert (turn != NO_TURN).all()


def test_levels_that_mirror_nothing_are_not_turned() -> None:
    uneven = {
        "cell.levels": 4,
        "cell.spacing": "table",
        "cell.g_levels_us": [2.0, 3.0, 7.0, 40.0],
    }
    chip = Chip.default().with_(**uneven)
    book = codebook(chip)
    codes = np.full((1, 2, 2), 2, np.uint16)
    found = turns(codes, np.full((1, 2), 1, np.uint16), book, same_currents=False)
    assert (found == NO_TURN).all()


@pytest.mark.parametrize("chosen", [True, False])
def test_a_column_without_a_turn_stays(chosen: bool) -> None:
    before = quantized_of(np.zeros((1, 2, 1), np.uint16), np.zeros(1, np.uint16))
    same = mirrored(before, np.full((1, 1), NO_TURN), np.full((1, 1), chosen))
    assert same is before

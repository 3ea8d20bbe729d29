"""Scales of rows: at their best no channel would rather be larger or smaller."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from pimc.chip.codebook import codebook
from pimc.chip.design import Chip
from pimc.passes.equalize.row_scales import Channels, Precision, error_of, row_scales

Array64 = npt.NDArray[np.float64]
CHIP = Chip.default()
BOOK = codebook(CHIP)


def precision(write_noise: float = 0.0, high: int = 127) -> Precision:
    return Precision.of(BOOK, high, write_noise)


def drawn(*shape: int, seed: int = 0) -> Array64:
    return np.random.default_rng([seed, *shape]).standard_normal(shape)


def channels(count: int, uneven: float = 0.0, seed: int = 0) -> Channels:
    power = np.exp(uneven * drawn(count, seed=seed))
    return Channels.of(power, 4 * np.sqrt(power))


def scaled(weight: Array64, met: Channels, scale: Array64, write_noise: float = 0.0) -> float:
    taps = weight.shape[0] * weight.shape[1] // len(scale)
    rows = np.repeat(scale, taps).reshape(weight.shape[0], weight.shape[1], 1)
    given = precision(write_noise)
    return error_of(weight * rows, met.over(scale), BOOK, given, write_noise)


@pytest.mark.parametrize("write_noise", [0.0, 1.0])
def test_the_error_falls(write_noise: float) -> None:
    weight = drawn(1, 48, 20) * np.exp(drawn(48))[:, None]
    met = channels(48, 1.0)
    scale = row_scales(weight, met, precision(write_noise))
    before = scaled(weight, met, np.ones(48), write_noise)
    best = scaled(weight, met, scale, write_noise)
    assert best < 0.7 * before
    # It is not that any scales would do.
    assert best < 0.9 * scaled(weight, met, 1 / scale, write_noise)
    assert best < 0.9 * scaled(weight, met, scale[::-1], write_noise)


def test_rows_of_one_size_and_inputs_of_one_strength_stay() -> None:
    weight = np.sign(drawn(1, 30, 8))
    np.testing.assert_allclose(row_scales(weight, channels(30), precision()), 1.0, rtol=1e-9)


def test_what_was_made_uneven_is_evened_out() -> None:
    weight, factor = drawn(1, 32, 24), np.exp(drawn(16) / 2)
    met = channels(16, 0.5)
    rows = np.repeat(factor, 2)[:, None]
    plain = row_scales(weight, met, precision())
    turned = row_scales(weight * rows, met.over(factor), precision())
    ratio = turned * factor / plain
    np.testing.assert_allclose(ratio / ratio.mean(), 1.0, rtol=0.01)


def test_depthwise_channels_are_scaled_for_the_converter() -> None:
    """Each has a column of its own, which fits any size: only the DAC is shared."""
    weight, met = drawn(6, 9, 1), channels(6, 2.0)
    scale = row_scales(weight, met, precision())
    peaks = met.peak / scale
    assert peaks.max() / peaks.min() < 1.1 < met.peak.max() / met.peak.min()


def test_a_coarse_converter_counts_for_more() -> None:
    weight = drawn(1, 32, 24) * np.exp(1.5 * drawn(32))[:, None]
    met = channels(32)
    fine, coarse = (row_scales(weight, met, precision(high=high)) for high in (4095, 3))
    spread = [np.ptp(np.log(met.peak / scale)) for scale in (fine, coarse)]
    assert spread[1] < 0.8 * spread[0]


def test_rows_without_weights_and_inputs_without_signal_are_left_alone() -> None:
    weight = drawn(2, 12, 5)
    weight[0, 3:6] = 0.0
    met = Channels(np.where(np.arange(8) == 6, 0.0, 1.0), np.ones(8))
    scale = row_scales(weight, met, precision())
    assert np.isfinite(scale).all()
    assert (scale > 0).all()
    assert scale[1] == scale[6] == 1.0

"""Converters: what their modes make of a code, and the codes that can come back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pimc.chip.converters import (
    adc_limits,
    bit_planes,
    code_limits,
    dac_limits,
    fixed_lsb_us,
    line_limits,
    plane_full_scale,
    plane_weights,
    reads_per_vector,
    rounding_variance,
)
from pimc.chip.design import Chip
from pimc.errors import ChipError

BASE = Chip.default()
PAIR = {"mapping.kind": "differential"}


def chip_of(**changes: Any) -> Chip:
    """``changes`` with ``_`` for the dot."""
    return BASE.with_(**{name.replace("_", ".", 1): value for name, value in changes.items()})


chips = st.builds(
    lambda mode, bits, sign, adc, pedestal: chip_of(
        dac_mode=mode, dac_bits=bits, dac_signed=sign, adc_bits=adc, mapping_pedestal=pedestal
    ),
    st.sampled_from(["parallel", "bit_serial", "pulse_count"]),
    st.integers(2, 12),
    st.booleans(),
    st.integers(2, 12),
    st.sampled_from(["reference", "digital"]),
)


@given(chips, st.booleans(), st.integers(0, 2**32 - 1))
def test_bit_planes_recompose_the_code(chip: Chip, signed: bool, seed: int) -> None:
    low, high = dac_limits(chip, signed)
    codes = np.random.default_rng(seed).integers(low, high + 1, (3, 5)).astype(np.float64)
    codes[0, :2] = low, high
    weights = plane_weights(chip, signed)
    planes = bit_planes(codes, weights)
    assert planes.shape == (len(weights), 3, 5)
    assert np.array_equal(np.tensordot(weights, planes, 1), codes)
    assert np.abs(planes).max() == plane_full_scale(chip, signed)
    if chip.dac.mode == "bit_serial":
        # Full scale sets every bit: not one read is wasted, and not one is missing.
        assert sum(weights) == high
        assert set(np.unique(planes)) <= {-1.0, 0.0, 1.0}
        assert (planes * np.sign(codes) >= 0).all()
    else:
        assert weights == (1,)


@given(chips, st.booleans())
def test_returned_codes_are_sums_of_codes(chip: Chip, signed: bool) -> None:
    low, high = adc_limits(chip, signed)
    assert high - low == 2**chip.adc.bits - 1
    assert (low < 0) == (chip.mapping.pedestal == "reference" or (signed and chip.dac.signed))
    weights = plane_weights(chip, signed)
    assert code_limits(chip, signed) == (low * sum(weights), high * sum(weights))
    # Single precision holds all of them.
    assert float(np.float32(code_limits(chip, signed)[1])) == code_limits(chip, signed)[1]
    phases = 2 if signed and not chip.dac.signed else 1
    assert reads_per_vector(chip, signed) == phases * len(weights)


@pytest.mark.parametrize("mode", ["parallel", "bit_serial", "pulse_count"])
def test_rounding_variance_is_that_of_rounded_planes(mode: str) -> None:
    chip = chip_of(dac_mode=mode, dac_bits=5)
    weights = plane_weights(chip, False)
    values = np.random.default_rng(0).uniform(-100, 100, (len(weights), 200_000))
    error = np.tensordot(weights, np.rint(values) - values, 1)
    # Standard error of a variance: at most √(2 / n) of it, as the tails are short.
    wanted = rounding_variance(chip, False)
    assert abs(error.var() / wanted - 1) < 4.5 * (2 / 200_000) ** 0.5


@pytest.mark.parametrize("signed", [False, True])
def test_a_fixed_range_is_a_current_at_full_scale_inputs(signed: bool) -> None:
    for mode in ("parallel", "bit_serial", "pulse_count"):
        chip = chip_of(dac_mode=mode, adc_range="fixed", adc_full_scale_us=500.0)
        lsb = fixed_lsb_us(chip, signed)
        assert lsb is not None
        # All wordlines of a column of 500 µS at full scale give the largest code.
        largest = 500.0 * dac_limits(chip, signed)[1]
        assert lsb * code_limits(chip, signed)[1] == pytest.approx(largest, rel=1e-6)
    assert fixed_lsb_us(BASE, signed) is None


def test_wordlines_of_a_pair_take_either_sign() -> None:
    rows = BASE.with_(**PAIR, **{"mapping.pair": "rows", "mapping.pedestal": "digital"})
    assert line_limits(rows, False) == (-255, 255)
    assert line_limits(rows, True) == (-127, 127)
    assert adc_limits(rows, False) == (-128, 127)
    columns = BASE.with_(**PAIR)
    assert line_limits(columns, False) == dac_limits(columns, False) == (0, 255)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"adc.range": "fixed"}, "full_scale_us"),
    ({"adc.range": "row"}, "adc.range"),
    ({"adc.full_scale_us": 0.0}, "full_scale_us"),
    ({"adc.range_method": "median"}, "range_method"),
    ({"adc.percentile": 101.0}, "percentile"),
    ({"adc.gain_error": -0.1}, "gain_error"),
    ({"adc.offset_error_lsb": float("nan")}, "offset_error_lsb"),
    ({"dac.mode": "serial"}, "bit_serial"),
    ({"dac.mode": "bit_serial", "dac.bits": 13, "adc.bits": 12}, "24 bits"),
    ({"array.active_rows": -1}, "active_rows"),
    ({"mapping.pair": "rows"}, "differential"),
    ({"mapping.pair": "arrays", "mapping.kind": "sliced"}, "differential"),
    ({**PAIR, "mapping.pair": "rows", "dac.signed": False}, "inverted input"),
    ({**PAIR, "mapping.pair": "row"}, "did you mean rows"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_impossible_converters_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ChipError, match=message):
        BASE.with_(**changes)


def test_another_mapping_needs_no_pair() -> None:
    chip = BASE.with_(**PAIR, **{"mapping.pair": "rows"})
    assert chip.with_mapping("offset").mapping.pair == "columns"
    assert chip.with_mapping("differential").mapping.pair == "rows"

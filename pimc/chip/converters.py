"""Code ranges of a chip's converters, and what the modes of its input drivers do to a code.

A driver applies a DAC code in one of three ways (``dac.mode``):

* ``parallel``: one read with a voltage a code.
* ``bit_serial``: one read a bit of the code's magnitude, with the full voltage of the code's
  sign where the bit is set. Each read is converted, and the codes are shifted and added:
  Σ_b 2^b · code_b.
* ``pulse_count``: one read of as many pulses as the magnitude says, summed before conversion.

A device returns shifted-and-added codes in every mode, so code times LSB is always a current
in µS times DAC code.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pimc.chip.design import Chip

Array64 = npt.NDArray[np.float64]


def dac_limits(chip: Chip, signed: bool) -> tuple[int, int]:
    """Smallest and largest DAC code of a layer's inputs.

    A driver without negative voltages reads signed inputs in two phases, positive and
    negative magnitudes apart, each with the full code range.
    """
    if not signed:
        return 0, 2**chip.dac.bits - 1
    largest = max(2 ** (chip.dac.bits - 1) - 1 if chip.dac.signed else 2**chip.dac.bits - 1, 1)
    return -largest, largest


def line_limits(chip: Chip, signed: bool, layout: str | None = None) -> tuple[int, int]:
    """Smallest and largest code on a wordline, some of which may get the inverted input.

    Args:
        layout: where the layer's mapping lays the cells of a weight; the chip's own if None.
    """
    low, high = dac_limits(chip, signed)
    return (-high, high) if (layout or chip.mapping.pair) == "rows" else (low, high)


def two_phases(chip: Chip, signed: bool) -> bool:
    """Whether signed inputs must be read as positive and negative parts."""
    return signed and not chip.dac.signed


def plane_weights(chip: Chip, signed: bool) -> tuple[int, ...]:
    """Factor of each read's code in the shifted sum of one input vector: 2^b a bit plane."""
    if chip.dac.mode != "bit_serial":
        return (1,)
    return tuple(2**bit for bit in range(dac_limits(chip, signed)[1].bit_length()))


def bit_planes(codes: npt.NDArray[np.floating], weights: tuple[int, ...]) -> Array64:
    """What each read drives for whole DAC codes: (planes, *codes.shape).

    With several weights the values are −1, 0 and 1: the code's sign where the bit of its
    magnitude is set, so Σ_b 2^b · plane_b is the code; with one they are the codes.
    """
    values = np.asarray(codes, np.float64)
    if weights == (1,):
        return values[None]
    magnitude = np.abs(values).astype(np.int64)
    bits = [np.sign(values) * ((magnitude & weight) > 0) for weight in weights]
    return np.stack(bits)


def plane_full_scale(chip: Chip, signed: bool) -> int:
    """What a wordline at full scale counts in one read, DAC codes: 1 in a bit plane."""
    return 1 if chip.dac.mode == "bit_serial" else dac_limits(chip, signed)[1]


def adc_limits(chip: Chip, signed: bool) -> tuple[int, int]:
    """Smallest and largest code of one conversion.

    Codes are signed where the current can be: after a reference column, when wordlines of a
    pair subtract, or when an array is driven with ``signed`` inputs.
    """
    bits = chip.adc.bits
    subtracts = chip.mapping.pedestal == "reference" or chip.mapping.pair == "rows"
    if subtracts or (signed and not two_phases(chip, signed)):
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def code_limits(chip: Chip, signed: bool) -> tuple[int, int]:
    """Smallest and largest code that a device returns: conversions shifted and added."""
    total = sum(plane_weights(chip, signed))
    low, high = adc_limits(chip, signed)
    return low * total, high * total


def rounding_variance(chip: Chip, signed: bool) -> float:
    """Variance that rounding adds to a returned code, codes².

    A conversion rounds with variance 1/12 (an error spread evenly over one code); shifted sums
    add Σ_b 4^b of that.
    """
    return sum(weight**2 for weight in plane_weights(chip, signed)) / 12


def fixed_lsb_us(chip: Chip, signed: bool) -> float | None:
    """Current of one code where the chip fixes the range, µS times DAC code; else None.

    ``adc.full_scale_us`` is the current at the largest code, a unit of full-scale input.
    """
    if chip.adc.range != "fixed" or chip.adc.full_scale_us is None:
        return None
    largest = adc_limits(chip, signed)[1]
    lsb = chip.adc.full_scale_us * plane_full_scale(chip, signed) / largest
    return float(np.float32(lsb))


def reads_per_vector(chip: Chip, signed: bool) -> int:
    """Reads of an array, each converted, that one input vector takes."""
    return len(plane_weights(chip, signed)) * (2 if two_phases(chip, signed) else 1)

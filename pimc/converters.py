"""Code ranges of a chip's converters."""

from __future__ import annotations

from pimc.chip import Chip


def dac_limits(chip: Chip, signed: bool) -> tuple[int, int]:
    """Smallest and largest DAC code of a layer's inputs.

    A driver without negative voltages reads signed inputs in two phases, positive and
    negative magnitudes apart, each with the full code range.
    """
    if not signed:
        return 0, 2**chip.dac.bits - 1
    largest = max(2 ** (chip.dac.bits - 1) - 1 if chip.dac.signed else 2**chip.dac.bits - 1, 1)
    return -largest, largest


def two_phases(chip: Chip, signed: bool) -> bool:
    """Whether signed inputs must be read as positive and negative parts."""
    return signed and not chip.dac.signed


def adc_limits(chip: Chip, signed: bool) -> tuple[int, int]:
    """Smallest and largest ADC code.

    Codes are signed where the current can be: after a reference column, or when an array is
    driven with ``signed`` inputs.
    """
    bits = chip.adc.bits
    if chip.mapping.pedestal == "reference" or (signed and not two_phases(chip, signed)):
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1

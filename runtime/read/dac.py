"""What wordlines get for DAC codes: one voltage, bit planes, or pulses.

See :mod:`pimc.chip.converters`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from pimc.chip.converters import plane_full_scale
from pimc.chip.design import Chip
from pimc.runtime.die.fixed import Drives, Squares


def driven_planes(
    inputs: torch.Tensor, weights: tuple[int, ...]
) -> Iterator[tuple[int, torch.Tensor]]:
    """What each read of a bit-serial input drives, and the factor of its code in the sum.

    Args:
        inputs: whole DAC codes, any shape; left as they are.
        weights: factors of the reads, 1, 2, 4 … (:func:`pimc.chip.converters.plane_weights`).

    Yields:
        A factor, and the sign of each code where the bit of its magnitude is set, else 0.
    """
    sign, left = inputs.sign(), inputs.abs()
    for weight in weights:
        half = (left / 2).floor_()
        yield weight, (left - 2 * half) * sign
        left = half


def bent(drives: Drives, codes: torch.Tensor) -> torch.Tensor:
    """What wordlines get for whole codes, as the fused read holds it: DAC codes."""
    if not len(drives.bent):
        return codes
    table = torch.from_numpy(drives.bent * np.float32(drives.unit)).to(codes.device, codes.dtype)
    # A code that is no number, of a network that has overflown, drives nothing.
    place = codes.abs().nan_to_num(0.0).clamp_max(len(table) - 1).long()
    return table[place] * codes.sign()


def noise_drive(
    chip: Chip,
    signed: bool,
    driven: torch.Tensor,
    power: int = 2,
) -> torch.Tensor:
    """Factor of a cell's noise variance for what its wordline gets, DAC codes squared.

    A voltage multiplies the noise of one read, so the factor is x². n pulses are n reads with
    independent noise: their variances add, n·v, and v is such that x_max pulses together have
    the noise of one read at full scale, x_max·v = x_max²; hence |x|·x_max.

    Args:
        power: the noise goes with |x|^power: the factor is |x|^power · x_max^(2 − power).
    """
    full_scale = plane_full_scale(chip, signed)
    if power == 0:
        return torch.full_like(driven, float(full_scale**2))
    if power == 1 or chip.dac.mode == "pulse_count":
        return driven.abs() * full_scale
    return driven.square()


def held_squares(squares: Squares, driven: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What noise grows with for whole codes, as the fused read holds it: DAC codes squared.

    Returns:
        Multiples of a unit, and what is left.
    """
    codes = (driven / squares.step).to(torch.int32)
    values = codes.abs() if squares.linear else codes.square()
    held = values + (1 << squares.shift >> 1) >> squares.shift
    rest = values - (held << squares.shift) >> squares.rest_shift
    return held.float() * squares.unit, rest.float() * (squares.unit * squares.rest_unit)

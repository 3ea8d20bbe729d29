"""Non-linear I–V: how much current a cell lets through at less than the full read voltage."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

__all__ = ["driven", "driven_by_code"]


def driven_by_code(high: int, alpha: float) -> npt.NDArray[np.float64]:
    """:func:`driven` of the codes 0 … ``high``."""
    codes = np.arange(high + 1.0)
    if alpha == 0.0:
        return codes
    bent: npt.NDArray[np.float64] = np.sinh(codes * (alpha / high)) * (high / math.sinh(alpha))
    return bent


def driven(inputs: torch.Tensor, high: int, alpha: float) -> torch.Tensor:
    """The inputs that linear cells would need for the currents of non-linear ones.

    A cell at the share v of the full read voltage carries sinh(alpha·v)/sinh(alpha) of its
    full-scale current. For inputs that are amplitudes; a train of full-scale pulses is linear.

    Args:
        inputs: DAC codes, any shape.
        high: the code of the full read voltage.
        alpha: curvature; 0 is a linear cell, for which ``inputs`` itself is returned.
    """
    if alpha == 0.0:
        return inputs
    return (inputs * (alpha / high)).sinh_().mul_(high / math.sinh(alpha))

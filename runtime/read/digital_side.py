"""What the digital side makes of a layer's code sums."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class DigitalSide:
    """A layer's outputs from its code sums: gain · codes + offset − Σ taken · tap.

    A tap is a sum of DAC codes with weights of its own; there are groups · bitlines outputs. A
    device need not know ``least`` (:class:`~pimc.runtime.door.abilities.Rectifies`).

    Attributes:
        gain, offset: (outputs,).
        taps: (taps, groups · row_blocks, row_block) weights of the wordlines' inputs, in µS or
            without unit.
        taken: (outputs, taps).
        least: outputs below are raised to it.
    """

    gain: npt.NDArray[np.float32] = field(repr=False)
    offset: npt.NDArray[np.float32] = field(repr=False)
    taps: npt.NDArray[np.float32] = field(repr=False)
    taken: npt.NDArray[np.float32] = field(repr=False)
    least: float = -inf

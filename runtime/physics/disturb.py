"""Read disturb: every read pushes the cells of its wordlines a little.

Phenomenological. No accepted formula exists; this one has the shape of what is reported: a
stretched exponential in time under voltage, faster by a factor e every few tens of millivolts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pimc.chip.design import Chip

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]

#: The shortest time constant, in s.
_SHORTEST_S = 1e-300
#: Stress is counted in whole parts of one read at full scale, so that its sum does not depend
#: on the order in which it is added up.
PARTS = 1 << 20


def disturbs(chip: Chip) -> bool:
    """Whether reads change the cells of a chip."""
    return chip.disturb.tau0_s > 0.0


def disturbed_us(
    chip: Chip, g_us: npt.NDArray[np.floating], reads: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Conductances in µS after ``reads`` reads at full scale.

    G(n) = G₀ + (G_sat − G₀)·(1 − exp(−(n·t_read/τ)^β)) with τ = τ₀·exp(−V_read/V₀).

    Args:
        g_us: G₀, what the cells held after their last write.
        reads: n, broadcasts against ``g_us``.
    """
    disturb = chip.disturb
    end_us = chip.cell.g_max_us if disturb.g_sat_us is None else disturb.g_sat_us
    # A chip may be so easily disturbed that float64 holds no τ; its cells move at the first read.
    tau_s = max(disturb.tau0_s * math.exp(-chip.array.v_read_v / disturb.v0_v), _SHORTEST_S)
    stress = disturb.net_stress * chip.array.read_ns * 1e-9 / tau_s * reads
    g: npt.NDArray[np.float64] = g_us - (end_us - g_us) * np.expm1(-(stress**disturb.beta))
    return g


def _of_voltage(chip: Chip, code: Ints, high: int) -> Floats:
    below_v = (code / high - 1.0) * chip.array.v_read_v
    return np.where(code > 0, np.exp(below_v / chip.disturb.v0_v), 0.0)


def _of_bits(chip: Chip, code: Ints, high: int) -> Floats:
    bits = np.arange(high.bit_length())
    return np.asarray((code[:, None] >> bits & 1).sum(axis=1), np.float64)


def _of_pulses(chip: Chip, code: Ints, high: int) -> Floats:
    return code / high


#: Full-scale reads that a read by DAC codes is worth, by the way inputs are applied.
_WORTH: dict[str, Callable[[Chip, Ints, int], Floats]] = {
    "parallel": _of_voltage,
    "bit_serial": _of_bits,
    "pulse_count": _of_pulses,
}


def stress_table(chip: Chip, high: int) -> Ints:
    """Stress of one read by DAC codes 0…``high``, in parts of a full-scale read.

    Time counts in units of τ, so a read at voltage V is worth τ(V_read)/τ(V) =
    exp((V − V_read)/V₀) reads at full scale, and none at 0 V. Bit by bit, each bit that is set is
    a read at full scale; of pulses, ``high`` make one.
    """
    worth = _WORTH[chip.dac.mode](chip, np.arange(high + 1), high)
    parts: Ints = np.rint(PARTS * worth).astype(np.int64)
    return parts


def stress_of(table: torch.Tensor, codes: torch.Tensor) -> npt.NDArray[np.int64]:
    """(blocks, rows) stress of reading DAC codes (batch, blocks, rows, positions).

    A code that is no number, of a network that has overflown, drives nothing.
    """
    parts = table[codes.abs().nan_to_num(0.0).long()].sum(dim=(0, 3))
    return np.asarray(parts.cpu().numpy(), np.int64)

"""Plans with turned columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pimc.chip.codebook import codebook
from pimc.chip.design import Chip
from pimc.plan.mirror import mirrored, turns
from pimc.plan.records import Plan


def half_turned(plan: Plan, chip: Chip, *, same_currents: bool) -> Plan:
    """Every second column turned, of those that can be."""
    book, entries = codebook(chip), []
    for quantized, layer in zip(plan.quantized, plan.layers, strict=True):
        zero = quantized.zero.reshape(layer.groups, layer.cols)
        turn = turns(quantized.codes[:, :, :], zero, book, same_currents=same_currents)
        chosen = np.arange(turn.size).reshape(turn.shape) % 2 == 0
        entries.append(mirrored(quantized, turn, chosen))
    return replace(plan, quantized=tuple(entries))

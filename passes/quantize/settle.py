"""Settle: the weights once more, around the cells that are known to be stuck."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from pimc.chip.design import Chip
from pimc.chip.fault_map import FaultMap
from pimc.passes.quantize.faulty import faulty_layers
from pimc.passes.quantize.quantize import Calibration, Quantize
from pimc.plan.records import Plan

__all__ = ["Settle"]


@dataclass(frozen=True)
class Settle:
    """Round weights once more around known faults, and fit scales, offsets and ranges to them.

    Now that every weight has its cells: one whose cells are stuck takes the code that comes
    nearest with them, the others of its column make up for what is left by error feedback, and
    what all give is brought to the mean and spread of the float network.

    Attributes:
        faults: the die's known faults.
        calibration, feedback, write_noise, adc_range: as of
            :class:`~pimc.passes.quantize.quantize.Quantize`.
    """

    name: ClassVar[str] = "settle"
    faults: FaultMap = field(repr=False)
    calibration: Calibration = field(repr=False)
    feedback: bool = True
    write_noise: float | None = 1.0
    adc_range: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        """Fill ``plan.quantized`` again, where faults or turned columns touch any layer."""
        faulty = faulty_layers(plan, chip, self.faults)
        if not faulty:
            return replace(plan, stage=self.name)
        quantize = Quantize(
            self.calibration, self.feedback, self.write_noise, faulty, self.adc_range
        )
        return replace(quantize(plan, chip), stage=self.name)

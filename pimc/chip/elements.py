"""What keeps a chip from being ideal, one element a row, and the same chip without some of them.

A row says which keys of the chip file switch its element off, so that an experiment can leave
out one element, or all but one, while everything else stays as it is: a die's draws are keyed
by seed and cell, and meet the changed chip unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pimc.chip.design import SUM_BITS, Chip

__all__ = ["ADC", "DAC", "NON_IDEALITIES", "NonIdeality", "present", "without"]

Keys = Mapping[str, Any]

#: Bits of a DAC that rounds nothing that matters: what a chip file may ask for at most.
_FINE_BITS = 16


@dataclass(frozen=True)
class NonIdeality:
    """One element.

    Attributes:
        name: what reports call it.
        meaning: one sentence for people.
        off: chip keys by dotted path, and the values under which the element is gone; nothing
            where a chip does not have it.
        drawn: it differs from die to die or from read to read.
        is_adc: it is the ADC itself, which a session leaves out as a whole.
        needs_age: it shows only in dies that are read some time after they were written.
    """

    name: str
    meaning: str
    off: Callable[[Chip], Keys]
    drawn: bool = True
    is_adc: bool = False
    needs_age: bool = False

    def in_chip(self, chip: Chip) -> bool:
        """Whether ``chip`` has it: switching it off makes a difference."""
        keys = self.off(chip)
        return self.is_adc or (bool(keys) and chip.with_(**keys) != chip)


def _always(keys: Keys) -> Callable[[Chip], Keys]:
    return lambda chip: keys


def _exact_cells(chip: Chip) -> Keys:
    """Cells exact, the reference column as imprecise as before."""
    if not chip.cell.sigma.sigma_us(chip.cell.g_levels_us).any():
        return {}
    return {
        "cell.sigma": {"kind": "constant", "constant_us": 0.0},
        "mapping.reference_sigma_us": chip.reference_sigma_us,
    }


def _exact_reference(chip: Chip) -> Keys:
    if chip.mapping.pedestal != "reference" or not chip.reference_sigma_us:
        return {}
    return {"mapping.reference_sigma_us": 0.0}


def _fine_inputs(chip: Chip) -> Keys:
    """More bits of the same range: as many as the chip file, and the sum of bit planes, allow."""
    room = SUM_BITS - chip.adc.bits if chip.dac.mode == "bit_serial" else _FINE_BITS
    return {"dac.bits": max(min(room, _FINE_BITS), chip.dac.bits)}


DAC = NonIdeality(
    "DAC",
    "inputs are rounded to its codes; their range stays",
    _fine_inputs,
    drawn=False,
)
ADC = NonIdeality(
    "ADC",
    "column currents are rounded to its codes, and cut off at the ends of its range",
    _always({}),
    drawn=False,
    is_adc=True,
)

#: Where two rows set the same key the later one holds: an exact reference comes after cells
#: that leave it as it is.
NON_IDEALITIES: tuple[NonIdeality, ...] = (
    NonIdeality("programming", "cells do not hold quite what was written", _exact_cells),
    NonIdeality(
        "reference column",
        "its cells do not either, which all columns of an array share",
        _exact_reference,
    ),
    NonIdeality(
        "variation",
        "cells, rows and columns of a die deviate in a way that no write redraws",
        _always({f"variation.{share}_relative": 0.0 for share in ("cell", "row", "col")}),
    ),
    NonIdeality(
        "retention",
        "cells change in the time since they were written",
        _always({"retention": {"kind": "none"}}),
        needs_age=True,
    ),
    NonIdeality(
        "read noise",
        "currents fluctuate from read to read",
        _always({"read_noise.relative": 0.0, "read_noise.sigma_us": 0.0, "read_noise.log_us": 0.0}),
    ),
    NonIdeality(
        "telegraph noise",
        "traps move some cells between two states, which last for a while",
        _always({"read_noise.rtn_share": 0.0}),
    ),
    NonIdeality("read disturb", "reads move cells", _always({"disturb.tau0_s": 0.0})),
    NonIdeality(
        "IR drop",
        "wires take a part of the voltage",
        _always({"array.wire_ohm": 0.0}),
        drawn=False,
    ),
    NonIdeality(
        "non-linear cells",
        "current is not proportional to voltage",
        _always({"cell.iv_alpha": 0.0}),
        drawn=False,
    ),
    NonIdeality(
        "stuck cells",
        "cells that hold the lowest or highest conductance whatever is written",
        _always({"faults.stuck_gmax_rate": 0.0, "faults.stuck_gmin_rate": 0.0}),
    ),
    NonIdeality(
        "dead lines",
        "rows that drive nothing and columns that read nothing",
        _always({"faults.dead_row_rate": 0.0, "faults.dead_col_rate": 0.0}),
    ),
    NonIdeality(
        "ADC errors",
        "gain and offset of every column's ADC; nothing where there is no ADC",
        _always({"adc.gain_error": 0.0, "adc.offset_error_lsb": 0.0}),
    ),
    DAC,
    ADC,
)


def present(chip: Chip, age_s: float = 0.0) -> tuple[NonIdeality, ...]:
    """The elements of a chip that show ``age_s`` after the write, in the order of the table."""
    return tuple(
        element
        for element in NON_IDEALITIES
        if element.in_chip(chip) and (age_s > 0 or not element.needs_age)
    )


def without(chip: Chip, names: Collection[str]) -> Chip:
    """A copy of ``chip`` without the elements called ``names``.

    The ADC stays: no key takes it away, a session is told to leave it out.
    """
    keys: dict[str, Any] = {}
    for element in NON_IDEALITIES:
        if element.name in names:
            keys |= element.off(chip)
    return chip.with_(**keys) if keys else chip

"""What keeps a chip from being ideal, one element a row: the one place that says so.

A row says which keys of the chip file are an element's, how it is switched off, where it acts,
whether it lasts and whether the compiler looks at it. Ablation, sweeps, the floor of a recovery,
the parts of a signal-to-noise ratio and the table in ``docs/physics.md`` are views of this table.

A die's draws are keyed by seed and cell: without an element they stay what they are, so an
experiment can leave out one element, or all but one, while everything else is the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

from pimc.chip.design import SUM_BITS, Chip
from pimc.chip.element import Element, Keys, Place, own_element
from pimc.errors import UsageError
from pimc.files.strict import did_you_mean

__all__ = [
    "ADC",
    "ELEMENTS",
    "NOTES",
    "acting_on",
    "elements_of",
    "present",
    "seen_by_compiler",
    "without",
]

#: Bits of a DAC that rounds nothing that matters: what a chip file may ask for at most.
_FINE_BITS = 16


def _always(keys: Keys) -> Callable[[Chip], Keys]:
    return lambda chip: keys


def _zero(*keys: str) -> Callable[[Chip], Keys]:
    return _always(dict.fromkeys(keys, 0.0))


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


DAC = Element(
    "DAC",
    "inputs are rounded to its codes; their range stays",
    "inputs have 16 bits in the same range (bit-serial: as many as the sum of the planes allows)",
    Place.CONVERTER,
    ("dac.bits",),
    _fine_inputs,
    drawn=False,
    seen=True,
)
ADC = Element(
    "ADC",
    "column currents are rounded to its codes, and cut off at the ends of its range",
    "currents are neither rounded nor cut off",
    Place.CONVERTER,
    ("adc.bits", "adc.range", "adc.full_scale_us", "adc.range_method", "adc.percentile"),
    None,
    drawn=False,
    seen=True,
)

#: Where two rows set the same key the later one holds: an exact reference comes after cells
#: that leave it as it is.
ELEMENTS: tuple[Element, ...] = (
    Element(
        "programming",
        "cells do not hold quite what was written",
        "cells hold their levels; the reference column stays as imprecise as it was",
        Place.CELL,
        ("cell.sigma",),
        _exact_cells,
        seen=True,
    ),
    Element(
        "reference column",
        "its cells do not either, which all columns of an array share",
        "its cells hold their level",
        Place.CELL,
        ("mapping.reference_sigma_us",),
        _exact_reference,
    ),
    Element(
        "variation",
        "cells, rows and columns of a die deviate in a way that no write redraws",
        "dies do not deviate in what no write redraws",
        Place.CELL,
        ("variation",),
        _zero("variation.cell_relative", "variation.row_relative", "variation.col_relative"),
        seen=True,
    ),
    Element(
        "retention",
        "cells change in the time since they were written",
        "time changes nothing (it shows with `--age`, or where the chip has a "
        "`retention.least_age_s`)",
        Place.TIME,
        ("retention",),
        _always({"retention": {"kind": "none"}}),
        seen=True,
    ),
    Element(
        "read noise",
        "currents fluctuate from read to read",
        "currents do not fluctuate",
        Place.READ,
        (
            "read_noise.relative",
            "read_noise.sigma_us",
            "read_noise.log_us",
            "read_noise.log_time_s",
            "read_noise.log_t_r_s",
        ),
        _zero("read_noise.relative", "read_noise.sigma_us", "read_noise.log_us"),
        lasts=False,
    ),
    Element(
        "telegraph noise",
        "traps move some cells between two states, which last for a while",
        "no cell has a trap",
        Place.READ,
        (
            "read_noise.rtn_share",
            "read_noise.rtn_amplitude",
            "read_noise.rtn_duty",
            "read_noise.rtn_dwell_samples",
        ),
        _zero("read_noise.rtn_share"),
        lasts=False,
    ),
    Element(
        "read disturb",
        "reads move cells",
        "reads change nothing",
        Place.READ,
        ("disturb",),
        _zero("disturb.tau0_s"),
    ),
    Element(
        "IR drop",
        "wires take a part of the voltage",
        "wires have no resistance (`--ir-drop` says how it is computed)",
        Place.WIRES,
        ("array.wire_ohm", "cell.virgin_us"),
        _zero("array.wire_ohm"),
        drawn=False,
    ),
    Element(
        "non-linear cells",
        "current is not proportional to voltage",
        "current is proportional to voltage",
        Place.READ,
        ("cell.iv_alpha",),
        _zero("cell.iv_alpha"),
        drawn=False,
    ),
    Element(
        "stuck cells",
        "cells that hold the lowest or highest conductance whatever is written",
        "every cell takes what is written",
        Place.CELL,
        ("faults.stuck_gmax_rate", "faults.stuck_gmin_rate"),
        _zero("faults.stuck_gmax_rate", "faults.stuck_gmin_rate"),
    ),
    Element(
        "dead lines",
        "rows that drive nothing and columns that read nothing",
        "every line carries current",
        Place.CELL,
        ("faults.dead_row_rate", "faults.dead_col_rate"),
        _zero("faults.dead_row_rate", "faults.dead_col_rate"),
    ),
    Element(
        "ADC errors",
        "gain and offset of every column's ADC; nothing where there is no ADC",
        "gain and offset of every column's ADC are nominal; alone, without an ADC, they cost "
        "nothing",
        Place.CONVERTER,
        ("adc.gain_error", "adc.offset_error_lsb"),
        _zero("adc.gain_error", "adc.offset_error_lsb"),
    ),
    DAC,
    ADC,
)

#: What else of a chip file the compiler does not look at: names, and the figures that costs are
#: worked out from when an image is looked at.
NOTES: tuple[str, ...] = (
    "name",
    "description",
    "source",
    "array.read_ns",
    "array.v_read_v",
    "array.cell_area_um2",
    "dac.energy_pj",
    "dac.area_um2",
    "adc.energy_pj",
    "adc.area_um2",
    "adc.convert_ns",
    "adc.columns_per_adc",
    "programming",
)


def elements_of(chip: Chip) -> tuple[Element, ...]:
    """The table for one chip: its rows, and one for each term of a laboratory's own."""
    return (*ELEMENTS, *(own_element(term) for term in chip.physics.terms))


def present(chip: Chip, age_s: float = 0.0) -> tuple[Element, ...]:
    """The elements of a chip that show ``age_s`` after the write, in the order of the table."""
    aged = max(age_s, chip.retention.youngest_s) > 0
    return tuple(
        element
        for element in elements_of(chip)
        if element.in_chip(chip) and (aged or element.place is not Place.TIME)
    )


def acting_on(chip: Chip, *places: Place) -> frozenset[str]:
    """Names of a chip's elements that act there."""
    return frozenset(element.name for element in present(chip, math.inf) if element.place in places)


def without(chip: Chip, names: Collection[str]) -> Chip:
    """A copy of ``chip`` without the elements called ``names``.

    The ADC stays: no key takes it away, a session is told to leave it out.

    Raises:
        UsageError: there is no element of such a name.
    """
    elements = elements_of(chip)
    known = [element.name for element in elements]
    for name in sorted(set(names) - set(known)):
        raise UsageError(
            f"no such element of a chip{did_you_mean(name, known)}",
            where=name,
            hint=f"there are {', '.join(known)}",
        )
    keys: dict[str, Any] = {}
    for element in elements:
        if element.name in names and element.off is not None:
            keys |= element.off(chip)
    return chip.with_(**keys) if keys else chip


def seen_by_compiler(chip: Chip) -> dict[str, Any]:
    """What of a chip can change levels, tiles, scales or anything else that is compiled.

    The tables of the chip file without the keys of elements that the compiler does not look at,
    and without :data:`NOTES`: chips that agree in it get the same image.
    """
    unseen = [key for element in elements_of(chip) if not element.seen for key in element.keys]
    seen = chip.to_dict()
    for path in (*unseen, *NOTES):
        _take_away(seen, path.split("."))
    return seen


def _take_away(table: dict[str, Any], path: list[str]) -> None:
    """Without a key, and without tables that held nothing else."""
    name, *rest = path
    if rest and name in table:
        _take_away(table[name], rest)
    if not rest or not table.get(name, True):
        table.pop(name, None)

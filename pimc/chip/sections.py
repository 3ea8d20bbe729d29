"""The tables of a chip file, one frozen dataclass each.

Conductances are in µS, times in ns, energies in pJ, voltages in V. Each field says
what its key may hold; files and Python callers are held to the same rules.
Import these names from :mod:`pimc.chip.design`.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from pimc.chip.cell.tables import Sigma, increasing
from pimc.chip.section import Section
from pimc.files.strict import Rule, key, setting


def _linear_levels(cell: Any) -> tuple[float, ...]:
    return tuple(np.linspace(cell.g_min_us, cell.g_max_us, cell.levels).tolist())


@dataclass(frozen=True)
class Array(Section):
    """One crossbar array: physical wordlines × bitlines, and how it is read."""

    rows: int = setting(128, "int", "wordlines (inputs) of one array", low=1, high=65536)
    cols: int = setting(128, "int", "bitlines (outputs) of one array", low=1, high=65536)
    read_ns: float = setting(100.0, "float", "time of one read step without conversion", above=0)
    v_read_v: float = setting(0.2, "float", "read voltage of a full-scale input", above=0, high=5)
    wire_ohm: float = setting(
        0.0, "float", "resistance of a wire from cell to cell; 0 = no IR drop", low=0, high=1e6
    )
    cell_area_um2: float = setting(0.0, "float", "area of a cell; 0 = not known", low=0)
    active_rows: int = setting(
        0, "int", "most wordlines that one read may drive, 0 for all", low=0, high=65536
    )

    @property
    def driven_rows(self) -> int:
        """Wordlines that one read may drive at most."""
        return min(self.active_rows or self.rows, self.rows)


@dataclass(frozen=True)
class Cell(Section):
    """One cell: its conductance levels and how exactly they are written."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("g_min_us", lambda c: c.g_min_us < c.g_max_us, "must be below g_max_us"),
        Rule(
            "levels",
            lambda c: c.g_min_us >= c.g_max_us or increasing(_linear_levels(c)),
            "too many for so small a range",
        ),
        Rule(
            "g_levels_us",
            lambda c: c.spacing == "table" or c.g_levels_us in ((), _linear_levels(c)),
            'is only for spacing = "table"',
        ),
        Rule(
            "g_levels_us",
            lambda c: c.spacing != "table" or len(c.g_levels_us) == c.levels,
            "must have one entry a level",
        ),
        Rule("g_levels_us", lambda c: increasing(c.g_levels_us), "must be strictly increasing"),
        Rule(
            "g_levels_us",
            lambda c: (
                c.spacing != "table"
                or (*c.g_levels_us[:1], *c.g_levels_us[-1:]) == (c.g_min_us, c.g_max_us)
            ),
            "must begin with g_min_us and end with g_max_us",
        ),
    )

    levels: int = field(metadata=key("int", "conductance levels of a cell", low=2, high=4096))
    g_min_us: float = field(metadata=key("float", "conductance of level 0", low=0, high=1e6))
    g_max_us: float = field(
        metadata=key("float", "conductance of the top level", above=0, high=1e6)
    )
    sigma: Sigma = field(metadata=key("table", "programming error", table=Sigma))
    spacing: str = setting(
        "linear", "str", "levels evenly spaced, or listed", choices=("linear", "table")
    )
    g_levels_us: tuple[float, ...] = setting(
        (), "floats", 'the levels where spacing = "table"', low=0
    )
    virgin_us: float | None = setting(
        None,
        "float",
        "conductance of a cell that was never written; g_min_us if not given",
        low=0,
        high=1e6,
    )
    iv_alpha: float = setting(
        0.0, "float", "I ∝ sinh(alpha·v)/sinh(alpha), v over full scale; 0 = linear", low=0, high=20
    )

    def __post_init__(self) -> None:
        if self.spacing == "linear":
            # A copy with another range or level count brings the old levels along.
            object.__setattr__(self, "g_levels_us", ())
        super().__post_init__()
        if self.spacing == "linear":
            object.__setattr__(self, "g_levels_us", _linear_levels(self))
        bound = replace(self.sigma, g_min_us=self.g_min_us, g_max_us=self.g_max_us)
        object.__setattr__(self, "sigma", bound)

    @property
    def range_us(self) -> float:
        """Usable conductance range g_max − g_min in µS."""
        return self.g_max_us - self.g_min_us


@dataclass(frozen=True)
class Dac(Section):
    """Input converters. Unsigned layers use codes 0…2^bits − 1 on any chip."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("bits", lambda d: d.bits >= 2 or not d.signed, "a signed code needs 2 bits or more"),
    )

    bits: int = setting(8, "int", "bits of an input code", low=1, high=16)
    signed: bool = setting(True, "bool", "both polarities can be applied: codes ±(2^(bits−1) − 1)")
    energy_pj: float = setting(
        49.9, "float", "energy of one input code on one wordline, all its steps together", low=0
    )
    area_um2: float = setting(0.0, "float", "area of one wordline's driver; 0 = not known", low=0)
    mode: str = setting(
        "parallel",
        "str",
        "an input as one voltage, as one read a bit, or as a number of pulses",
        choices=("parallel", "bit_serial", "pulse_count"),
    )


@dataclass(frozen=True)
class Adc(Section):
    """Output converters."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "full_scale_us",
            lambda a: a.range != "fixed" or a.full_scale_us is not None,
            'range = "fixed" needs it',
        ),
    )

    bits: int = setting(8, "int", "bits of an output code", low=2, high=16)
    range: str = setting(
        "layer",
        "str",
        "what shares one full-scale setting",
        choices=("fixed", "layer", "column"),
    )
    energy_pj: float = setting(
        1.56, "float", "energy of one conversion of one column; a bit plane takes its own", low=0
    )
    area_um2: float = setting(0.0, "float", "area of one ADC; 0 = not known", low=0)
    convert_ns: float = setting(0.78125, "float", "time of one conversion", above=0)
    columns_per_adc: int = setting(
        128, "int", "columns that share one ADC, in turn", low=1, high=65536
    )
    full_scale_us: float | None = setting(
        None,
        "float",
        "fixed: a column's current at the largest code, µS at full-scale input",
        above=0,
    )
    range_method: str = setting(
        "mse",
        "str",
        "a calibrated range is that of least squared error, or a percentile of the currents",
        choices=("mse", "percentile"),
    )
    percentile: float = setting(
        99.95, "float", "percentile: share of currents inside the range, %", low=50, high=100
    )
    gain_error: float = setting(
        0.0, "float", "σ of a column's ADC gain over its nominal gain", low=0, high=1
    )
    offset_error_lsb: float = setting(0.0, "float", "σ of a column's ADC offset, codes", low=0)


@dataclass(frozen=True)
class LayerMapping(Section):
    """How a weight of a layer becomes cells."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "pair",
            lambda m: m.pair == "columns" or m.kind == "differential",
            'rows and arrays are only for kind = "differential"',
        ),
    )

    kind: str = setting(
        "offset", "str", "cells of a weight", choices=("offset", "differential", "sliced")
    )
    _: KW_ONLY
    slices: int = setting(2, "int", "sliced: cells of one weight", low=2, high=8)
    slice_ratio: int | None = setting(
        None,
        "int",
        "sliced: how much a cell counts over the next; if not set, the number of levels",
        low=2,
    )
    pair: str = setting(
        "columns",
        "str",
        "differential: where the two cells of a weight lie",
        choices=("columns", "rows", "arrays"),
    )


@dataclass(frozen=True)
class Mapping(LayerMapping):
    """How a weight becomes cells where a layer has no mapping of its own, and where the pedestal
    is removed.
    """

    pedestal: str = setting(
        "reference",
        "str",
        "subtracted before the ADC by a reference column, or after it from the known inputs",
        choices=("reference", "digital"),
    )
    reference_sigma_us: float | None = setting(
        None,
        "float",
        "programming error of reference cells, µS; if not set, that of any cell",
        low=0,
    )


@dataclass(frozen=True)
class Faults(Section):
    """How often cells and lines of a die are unusable."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "stuck_gmax_rate",
            lambda f: f.stuck_gmax_rate + f.stuck_gmin_rate <= 1.0,
            "stuck_gmax_rate + stuck_gmin_rate must not exceed 1",
        ),
    )

    stuck_gmax_rate: float = setting(0.0, "float", "share of cells stuck at g_max", low=0, high=1)
    stuck_gmin_rate: float = setting(0.0, "float", "share of cells stuck at g_min", low=0, high=1)
    dead_row_rate: float = setting(0.0, "float", "share of rows that drive nothing", low=0, high=1)
    dead_col_rate: float = setting(
        0.0, "float", "share of columns that read nothing", low=0, high=1
    )


@dataclass(frozen=True)
class Hierarchy(Section):
    """How many arrays a die has."""

    cores: int = setting(8, "int", "cores of a die", low=1, high=1 << 20)
    arrays_per_core: int = setting(128, "int", "arrays of a core", low=1, high=1 << 20)
    mesh_cols: int = setting(
        0, "int", "cores side by side in the mesh; 0 = as square as it can be", low=0, high=1 << 20
    )

    @property
    def arrays(self) -> int:
        """Arrays of a die."""
        return self.cores * self.arrays_per_core

    @property
    def mesh_width(self) -> int:
        """Cores side by side in the mesh, whose last row need not be full."""
        return self.mesh_cols or math.ceil(math.sqrt(self.cores))


@dataclass(frozen=True)
class Programming(Section):
    """Cost of writing one cell with write-verify."""

    pulses_per_cell: float = setting(
        8.0, "float", "mean pulses until the level is accepted", above=0
    )
    pulse_ns: float = setting(100.0, "float", "length of one pulse", above=0)
    pulse_energy_pj: float = setting(
        10.0, "float", "energy of one pulse on one cell, with its verify read", low=0
    )
    endurance_writes: int = setting(
        1_000_000, "int", "writes a cell endures; no more are done", low=1, high=10**15
    )

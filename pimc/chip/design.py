"""The chip: a design of multi-level RRAM arrays, as one frozen value.

A chip says what every specimen (die) of it has in common: array size, conductance
levels, converters and noise statistics. It is read from a TOML file; the shipped
ones lie in ``pimc/chip/shipped``. The key table stands in ``docs/chip.md``.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from pimc.chip.cell.tables import Retention, Sigma, Variation
from pimc.chip.plugins.physics import Physics
from pimc.chip.reading import Disturb, ReadNoise
from pimc.chip.section import Section
from pimc.chip.sections import (
    Adc,
    Array,
    Cell,
    Dac,
    Faults,
    Hierarchy,
    LayerMapping,
    Mapping,
    Programming,
)
from pimc.errors import ChipError
from pimc.files.kinds.reading import read_as
from pimc.files.strict import (
    Rule,
    did_you_mean,
    key,
    parse_toml,
    plain_table,
    read_table,
    read_toml,
)

__all__ = [
    "DEFAULT_CHIP",
    "SCHEMA",
    "SUM_BITS",
    "Adc",
    "Array",
    "Cell",
    "Chip",
    "Dac",
    "Disturb",
    "Faults",
    "Hierarchy",
    "LayerMapping",
    "Mapping",
    "Physics",
    "Programming",
    "ReadNoise",
    "Retention",
    "Sigma",
    "Variation",
]

SCHEMA = 1
DEFAULT_CHIP = "generic-128"
#: What single precision holds exactly: a sum of codes, shifted by their bit planes, must fit.
SUM_BITS = 24


#: In µS: its square is a number that float32 can hold.
_LARGEST_SIGMA_US = 1e18


def _is_bounded(cell: Cell) -> bool:
    """Whether one can reckon with σ(G) at every level; a plugin is asked when it is used."""
    if cell.sigma.kind == "plugin":
        return True
    with np.errstate(all="ignore"):
        return bool((cell.sigma.sigma_us(cell.g_levels_us) <= _LARGEST_SIGMA_US).all())


@dataclass(frozen=True, kw_only=True)
class Chip(Section):
    """A chip design; all checks of the file also hold for chips made in Python.

    Raises:
        ChipError: on any impossible value, naming all offending keys at once.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("name", lambda c: c.name.strip(), "must not be empty"),
        Rule(
            "mapping.pair",
            lambda c: c.mapping.pair != "rows" or c.dac.signed,
            "rows needs dac.signed: the second wordline gets the inverted input",
        ),
        Rule(
            "dac.mode",
            lambda c: c.dac.mode != "bit_serial" or c.dac.bits + c.adc.bits <= SUM_BITS,
            f"bit_serial sums codes of more than {SUM_BITS} bits, dac.bits + adc.bits",
        ),
        Rule("cell.sigma", lambda c: _is_bounded(c.cell), "is beyond all numbers at some level"),
    )

    name: str = field(metadata=key("str", "short name, shown in reports"))
    description: str = field(default="", metadata=key("str", "one sentence for `pimc chips`"))
    source: str = field(default="", metadata=key("str", "where the numbers come from, with DOI"))
    array: Array = field(metadata=key("table", "the crossbar array", table=Array))
    cell: Cell = field(metadata=key("table", "the cell", table=Cell))
    variation: Variation = field(
        default_factory=Variation,
        metadata=key("table", "deviation that no write redraws", table=Variation),
    )
    retention: Retention = field(
        default_factory=Retention, metadata=key("table", "change with time", table=Retention)
    )
    read_noise: ReadNoise = field(
        default_factory=ReadNoise, metadata=key("table", "noise of a read", table=ReadNoise)
    )
    disturb: Disturb = field(
        default_factory=Disturb, metadata=key("table", "what reads change", table=Disturb)
    )
    dac: Dac = field(default_factory=Dac, metadata=key("table", "input converters", table=Dac))
    adc: Adc = field(default_factory=Adc, metadata=key("table", "output converters", table=Adc))
    mapping: Mapping = field(
        default_factory=Mapping, metadata=key("table", "weights to cells", table=Mapping)
    )
    faults: Faults = field(
        default_factory=Faults, metadata=key("table", "unusable cells and lines", table=Faults)
    )
    hierarchy: Hierarchy = field(
        default_factory=Hierarchy, metadata=key("table", "arrays of a die", table=Hierarchy)
    )
    programming: Programming = field(
        default_factory=Programming, metadata=key("table", "cost of a write", table=Programming)
    )
    physics: Physics = field(
        default_factory=Physics,
        metadata=key("table", "terms of a laboratory's own", table=Physics),
    )

    @staticmethod
    def shipped() -> tuple[str, ...]:
        """Names of the shipped chips, sorted."""
        names = (item.name for item in resources.files("pimc.chip.shipped").iterdir())
        return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))

    @classmethod
    def default(cls) -> Chip:
        """The chip taken when none is named."""
        return cls.load(DEFAULT_CHIP)

    @classmethod
    @read_as("chip")
    def load(cls, name_or_path: str | Path) -> Chip:
        """A shipped chip by name, or a chip file by path.

        Raises:
            ChipError: no such chip or file, or a file that breaks a rule; all offending keys
                are named with their dotted path.
        """
        if isinstance(name_or_path, str) and name_or_path in cls.shipped():
            content = (
                resources.files("pimc.chip.shipped").joinpath(f"{name_or_path}.toml").read_bytes()
            )
            return cls.from_dict(parse_toml(content, name_or_path, ChipError), name_or_path)
        path = Path(name_or_path)
        if path.suffix != ".toml" and len(path.parts) == 1 and not path.is_file():
            raise ChipError(
                f"no such chip{did_you_mean(str(path), cls.shipped())}",
                where=str(path),
                hint=f"shipped are {', '.join(cls.shipped())}; or give the path of a chip file",
            )
        return cls.from_dict(read_toml(path, ChipError), str(path))

    @classmethod
    def from_dict(cls, table: MappingType[str, Any], where: str = "chip") -> Chip:
        """A chip from the tables of a chip file; the inverse of :meth:`to_dict`.

        Raises:
            ChipError: another schema, or any key that breaks a rule; ``where`` is named.
        """
        schema = table.get("schema")
        if type(schema) is not int or schema != SCHEMA:
            newer = type(schema) is int and schema > SCHEMA
            raise ChipError(
                "schema: missing" if schema is None else f"schema: {schema!r} is not known",
                where=where,
                hint="update pimc to read this file" if newer else f"write schema = {SCHEMA}",
            )
        values, problems = read_table(cls, {k: v for k, v in table.items() if k != "schema"})
        if problems:
            count = f"{len(problems)} problems: " if len(problems) > 1 else ""
            raise ChipError(count + "; ".join(problems), where=where)
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The chip as plain types, in the form of a chip file; ``from_dict`` restores it."""
        table = plain_table(self)
        if self.cell.spacing == "linear":
            del table["cell"]["g_levels_us"]
        return {"schema": SCHEMA, **table}

    def spread_us(self, g_us: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Standard deviation in µS of what a cell of any die holds after a write to ``g_us``.

        √(σ² + (r G)²) with what another write draws anew σ(G), see :meth:`redrawn_us`, and r² the
        sum of the squared shares of the variation; and with the variances of a laboratory's own
        terms.
        """
        shares = (self.variation.cell_relative, self.variation.row_relative,
                  self.variation.col_relative)  # fmt: skip
        lasting = math.hypot(*shares) * np.asarray(g_us, dtype=np.float64)
        spread = np.asarray(np.hypot(self.redrawn_us(g_us), lasting))
        for term in self.physics.of_cells:
            spread = np.hypot(spread, term.sigma_us(np.asarray(g_us, dtype=np.float64)))
        return spread

    def redrawn_us(self, g_us: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The part of it that another write draws anew: programming error and, where the chip has
        a least age, the relaxation until then.
        """
        relaxed = self.retention.youngest_sigma_us
        return np.asarray(np.hypot(self.cell.sigma.sigma_us(g_us), relaxed))

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the canonical JSON of :meth:`to_dict`."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    @property
    def reference_us(self) -> float:
        """What a reference cell is asked for, the middle level, in µS; 0 without such cells."""
        levels_us = self.cell.g_levels_us
        there = self.mapping.pedestal == "reference"
        return float(levels_us[len(levels_us) // 2]) if there else 0.0

    @property
    def reference_sigma_us(self) -> float:
        """Programming error of a reference cell, which is asked for the middle level, in µS."""
        if self.mapping.reference_sigma_us is not None:
            return self.mapping.reference_sigma_us
        levels_us = self.cell.g_levels_us
        return float(self.cell.sigma.sigma_us(levels_us[len(levels_us) // 2]))

    def with_(self, **changes: Any) -> Chip:
        """A copy with keys changed by dotted path, e.g. ``with_(**{"adc.bits": 12})``.

        None takes a key or a table away.

        Raises:
            ChipError: an unknown key or an impossible value, as for a file.
        """
        table = self.to_dict()
        for path, value in changes.items():
            *parents, last = path.split(".")
            inner = table
            for name in parents:
                below = inner.setdefault(name, {})
                if not isinstance(below, dict):
                    raise ChipError(f"{path}: unknown key, {name} is no table", where=self.name)
                inner = below
            if value is None:
                inner.pop(last, None)
            else:
                inner[last] = value
        return type(self).from_dict(table, where=self.name)

    def with_array(self, rows: int, cols: int) -> Chip:
        """A copy with arrays of ``rows`` wordlines × ``cols`` bitlines."""
        return self.with_(**{"array.rows": rows, "array.cols": cols})

    def with_levels(self, levels: int) -> Chip:
        """A copy with another number of levels over the same conductance range.

        Raises:
            ChipError: listed levels of which no evenly spaced choice has this many entries.
        """
        if self.cell.spacing == "linear":
            return self.with_(**{"cell.levels": levels})
        changed = {"cell.levels": levels, "cell.g_levels_us": list(self.cell.g_levels_us)}
        if levels >= 2:
            step, rest = divmod(self.cell.levels - 1, levels - 1)
            if rest:
                valid = [
                    n + 1 for n in range(1, self.cell.levels) if (self.cell.levels - 1) % n == 0
                ]
                raise ChipError(
                    f"cell.levels: {levels} evenly spaced entries cannot be chosen from the "
                    f"{self.cell.levels} of cell.g_levels_us",
                    where=self.name,
                    hint=f"possible are {', '.join(map(str, valid))}",
                )
            changed["cell.g_levels_us"] = list(self.cell.g_levels_us[::step])
        return self.with_(**changed)

    def with_mapping(self, kind: str) -> Chip:
        """A copy with another mapping: offset, differential or sliced."""
        pair = self.mapping.pair if kind == "differential" else "columns"
        return self.with_(**{"mapping.kind": kind, "mapping.pair": pair})

    def with_sigma(self, fraction_of_range: float) -> Chip:
        """A copy whose programming error is the same fraction of the range at every level."""
        sigma = {"kind": "constant", "fraction_of_range": fraction_of_range}
        return self.with_(**{"cell.sigma": sigma})

"""The tables of a chip file that say what a written cell holds.

Conductances are in µS, times in s. Import these names from :mod:`pimc.chip.design`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from pimc.chip.cell.programming_error import (
    Constant,
    Lognormal,
    Polynomial,
    Proportional,
    Table,
    WriteModel,
)
from pimc.chip.cell.write_verify import WriteVerify
from pimc.chip.section import Section
from pimc.errors import ChipError
from pimc.files.strict import Rule, setting


def increasing(values: tuple[float, ...]) -> bool:
    """Each value is larger than the one before it."""
    return all(low < high for low, high in itertools.pairwise(values))


class _Kind(NamedTuple):
    """A kind of programming error: the keys that are its own, and its model."""

    keys: frozenset[str]
    model: Callable[[Sigma], WriteModel]


def _constant(sigma: Sigma) -> WriteModel:
    if sigma.constant_us is not None:
        return Constant(sigma.constant_us)
    return Constant((sigma.fraction_of_range or 0.0) * (sigma.g_max_us - sigma.g_min_us))


def _polynomial(sigma: Sigma, coefficients_us: tuple[float, ...]) -> Polynomial:
    return Polynomial(coefficients_us, sigma.g_max_us if sigma.variable == "x" else 1.0)


def _write_verify(sigma: Sigma) -> WriteModel:
    return WriteVerify(
        sigma.tolerance_us or 0.0,
        sigma.max_pulses or 1,
        _polynomial(sigma, sigma.pulse_coefficients_us),
        _polynomial(sigma, sigma.relaxation_coefficients_us or (0.0,)),
    )


def _plugin(sigma: Sigma) -> WriteModel:
    from pimc.chip.cell.plugins import Plugin  # few need it, and it looks into what is installed

    return Plugin(sigma.plugin or "", sigma.parameters)


_KINDS: MappingType[str, _Kind] = {
    "constant": _Kind(frozenset({"fraction_of_range", "constant_us"}), _constant),
    "proportional": _Kind(frozenset({"relative"}), lambda s: Proportional(s.relative or 0.0)),
    "lognormal": _Kind(frozenset({"ln_sigma"}), lambda s: Lognormal(s.ln_sigma or 0.0)),
    "polynomial": _Kind(
        frozenset({"coefficients_us"}), lambda s: _polynomial(s, s.coefficients_us)
    ),
    "table": _Kind(
        frozenset({"g_us", "table_us", "shift_us"}),
        lambda s: Table(s.g_us, s.table_us, s.shift_us),
    ),
    "write_verify": _Kind(
        frozenset(
            {"tolerance_us", "max_pulses", "pulse_coefficients_us", "relaxation_coefficients_us"}
        ),
        _write_verify,
    ),
    "plugin": _Kind(frozenset({"plugin", "parameters"}), _plugin),
}


def _only_own_keys(sigma: Any) -> bool:
    others = frozenset().union(*(kind.keys for kind in _KINDS.values())) - _KINDS[sigma.kind].keys
    return all(getattr(sigma, name) in (None, ()) for name in others)


def _needs(kind: str, *names: str) -> Rule:
    """A kind cannot do without these keys."""
    return Rule(
        "kind",
        lambda s: s.kind != kind or all(getattr(s, name) not in (None, ()) for name in names),
        f"{kind} needs {' and '.join(names)}",
    )


@dataclass(frozen=True)
class Sigma(Section):
    """Programming error: standard deviation of (conductance after a write − target).

    ``g_min_us`` and ``g_max_us`` are no keys of the file: the cell fills them in.
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("kind", _only_own_keys, "keys of another kind of sigma are set"),
        Rule(
            "kind",
            lambda s: (
                s.kind != "constant" or (s.fraction_of_range is None) != (s.constant_us is None)
            ),
            "constant needs exactly one of fraction_of_range and constant_us",
        ),
        Rule(
            "coefficients_us",
            lambda s: s.kind != "polynomial" or len(s.coefficients_us) > 0,
            "polynomial needs coefficients_us, constant term first",
        ),
        Rule(
            "table_us",
            lambda s: s.kind != "table" or 0 < len(s.g_us) == len(s.table_us),
            "table needs g_us and table_us of the same length",
        ),
        Rule("g_us", lambda s: increasing(s.g_us), "must be strictly increasing"),
        Rule(
            "shift_us",
            lambda s: not s.shift_us or len(s.shift_us) == len(s.g_us),
            "must be as long as g_us",
        ),
        _needs("proportional", "relative"),
        _needs("lognormal", "ln_sigma"),
        _needs("write_verify", "tolerance_us", "max_pulses", "pulse_coefficients_us"),
        _needs("plugin", "plugin"),
    )

    kind: str = setting("constant", "str", "form of σ(G)", choices=tuple(_KINDS))
    fraction_of_range: float | None = setting(
        None, "float", "constant: σ as a fraction of g_max − g_min", low=0, high=1
    )
    constant_us: float | None = setting(None, "float", "constant: σ in µS", low=0)
    relative: float | None = setting(None, "float", "proportional: σ over G", low=0, high=10)
    ln_sigma: float | None = setting(None, "float", "lognormal: σ of ln G", low=0, high=5)
    coefficients_us: tuple[float, ...] = setting(
        (), "floats", "polynomial: σ in µS by powers of the variable, constant first"
    )
    variable: str = setting(
        "g_us", "str", "of coefficients: G in µS, or x = G/g_max", choices=("g_us", "x")
    )
    g_us: tuple[float, ...] = setting(
        (), "floats", "table: conductances measured at, increasing", low=0
    )
    table_us: tuple[float, ...] = setting(
        (), "floats", "table: σ at g_us, linear in between", low=0
    )
    shift_us: tuple[float, ...] = setting(
        (), "floats", "table: mean of (conductance after a write − target) at g_us"
    )
    tolerance_us: float | None = setting(
        None, "float", "write_verify: largest accepted distance from the target, µS", above=0
    )
    max_pulses: int | None = setting(
        None, "int", "write_verify: pulses after which a cell is given up", low=1, high=1_000_000
    )
    pulse_coefficients_us: tuple[float, ...] = setting(
        (), "floats", "write_verify: σ of where a pulse lands, as for coefficients_us"
    )
    relaxation_coefficients_us: tuple[float, ...] = setting(
        (), "floats", "write_verify: σ of the relaxation after the last pulse, likewise"
    )
    plugin: str | None = setting(
        None, "str", "plugin: entry point `programming.…` of the group `pimc.physics`"
    )
    parameters: tuple[float, ...] = setting((), "floats", "plugin: what its class is made of")
    g_min_us: float = 0.0
    g_max_us: float = 0.0

    @functools.cached_property
    def model(self) -> WriteModel:
        """The kind of error with its numbers.

        Raises:
            ChipError: σ is relative to the range of a cell, and this is not a cell's sigma; or a
                plugin cannot be used.
        """
        if self.g_max_us <= 0 and (self.fraction_of_range is not None or self.variable == "x"):
            raise ChipError("sigma relative to a range has no cell", where="Sigma")
        return _KINDS[self.kind].model(self)

    def sigma_us(self, g_us: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Standard deviation of the programming error in µS, never negative.

        Args:
            g_us: target conductances in µS, any shape.

        Returns:
            float64 of the same shape. Tables are held constant beyond their ends.

        Raises:
            ChipError: as for :attr:`model`.
        """
        return self.model.sigma_us(np.asarray(g_us, dtype=np.float64))


@dataclass(frozen=True)
class Variation(Section):
    """Deviation of a die that no write redraws: G (1 + δ_cell + δ_row + δ_column)."""

    cell_relative: float = setting(
        0.0, "float", "σ of the share that is each cell's own", low=0, high=1
    )
    row_relative: float = setting(
        0.0, "float", "σ of the share that the cells of a row have in common", low=0, high=1
    )
    col_relative: float = setting(
        0.0, "float", "σ of the share that the cells of a column have in common", low=0, high=1
    )


_RETENTION_KEYS: MappingType[str, frozenset[str]] = {
    "none": frozenset(),
    "log": frozenset(
        {"log_shift_us", "log_sigma_us", "sigma_1s_us", "least_age_s", "within_range"}
    ),
    "sigma_at": frozenset({"at_s", "coefficients_us", "within_range"}),
}


def _only_own_retention(retention: Any) -> bool:
    others = frozenset().union(*_RETENTION_KEYS.values()) - _RETENTION_KEYS[retention.kind]
    return all(getattr(retention, name) in (None, ()) for name in others)


@dataclass(frozen=True)
class Retention(Section):
    """What time does to a written cell; nothing at the moment of the write, if not said else."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("kind", _only_own_retention, "keys of another kind of retention are set"),
        Rule(
            "kind",
            lambda r: (
                r.kind != "log" or None not in (r.log_shift_us, r.log_sigma_us, r.sigma_1s_us)
            ),
            "log needs log_shift_us, log_sigma_us and sigma_1s_us",
        ),
        Rule("at_s", lambda r: increasing(r.at_s), "must be strictly increasing"),
        Rule(
            "coefficients_us",
            lambda r: r.kind != "sigma_at" or 2 <= len(r.at_s) == len(r.coefficients_us),
            "sigma_at needs two instants in at_s or more, and one list for each",
        ),
        Rule("coefficients_us", lambda r: all(r.coefficients_us), "must hold no empty list"),
    )

    kind: str = setting("none", "str", "form of the change", choices=tuple(_RETENTION_KEYS))
    log_shift_us: float | None = setting(
        None, "float", "log: mean shift over ln(t/s), µS", low=-1e6, high=1e6
    )
    log_sigma_us: float | None = setting(None, "float", "log: growth of σ over ln(t/s), µS", low=0)
    sigma_1s_us: float | None = setting(None, "float", "log: σ one second after the write", low=0)
    least_age_s: float | None = setting(
        None, "float", "log: the age that younger cells are taken to have, s", above=0
    )
    within_range: bool | None = setting(
        None, "bool", "cells that time has moved are cut off at g_min and g_max"
    )
    at_s: tuple[float, ...] = setting(
        (), "floats", "sigma_at: seconds after the write at which σ(G) is known", above=0
    )
    coefficients_us: tuple[tuple[float, ...], ...] = setting(
        (), "rows", "sigma_at: σ(G) at each of at_s by powers of the variable"
    )
    variable: str = setting(
        "g_us", "str", "sigma_at: G in µS, or x = G/g_max", choices=("g_us", "x")
    )

    @property
    def youngest_s(self) -> float:
        """The least age that any written cell has, s: 0 if ``least_age_s`` does not say else."""
        return self.least_age_s or 0.0

    @property
    def youngest_sigma_us(self) -> float:
        """Standard deviation in µS of the change at that age."""
        if self.least_age_s is None:
            return 0.0
        growth = (self.log_sigma_us or 0.0) * math.log(self.least_age_s)
        return max(growth + (self.sigma_1s_us or 0.0), 0.0)

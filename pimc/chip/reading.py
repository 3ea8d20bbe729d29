"""The tables of a chip file that say what reads add to cells, and what they do to them.

Conductances are in µS, times in s, voltages in V. Import these names from
:mod:`pimc.chip.design`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pimc.chip.section import Section
from pimc.files.strict import Rule, setting


@dataclass(frozen=True)
class ReadNoise(Section):
    """What a read adds to a cell: white noise, redrawn at every read, and telegraph noise.

    White: σ² = (relative·G)² + sigma_us² + (log_us·log10 G)²·ln((t + t_r)/(2·t_r)).
    """

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "log_time_s",
            lambda n: n.log_time_s >= n.log_t_r_s,
            "must not be below log_t_r_s",
        ),
    )

    relative: float = setting(0.01, "float", "white: σ of one read over G", low=0, high=1)
    sigma_us: float = setting(0.0, "float", "white: part of σ that does not depend on G", low=0)
    log_us: float = setting(
        0.0, "float", "white: factor of the part of σ that grows with log10 G", low=0
    )
    log_time_s: float = setting(
        1.0, "float", "least time t after the write that log_us is taken at", above=0
    )
    log_t_r_s: float = setting(1e-6, "float", "time constant t_r that belongs to log_us", above=0)
    rtn_share: float = setting(
        0.0, "float", "telegraph noise: share of cells with a trap; 0 = none", low=0, high=1
    )
    rtn_amplitude: float = setting(
        0.05, "float", "telegraph noise: distance of the two states over G", low=0, high=1
    )
    rtn_duty: float = setting(
        0.5, "float", "telegraph noise: share of time in the upper state", low=0, high=1
    )
    rtn_dwell_samples: int = setting(
        256,
        "int",
        "telegraph noise: network inputs until the states are redrawn",
        low=1,
        high=10**9,
    )


@dataclass(frozen=True)
class Disturb(Section):
    """Reads move cells: G(n) = G₀ + (g_sat − G₀)·(1 − exp(−(n·t_read/τ)^beta)).

    τ = tau0·exp(−V/v0). Phenomenological: there is no accepted formula.
    """

    tau0_s: float = setting(0.0, "float", "time constant τ₀; 0 = reads disturb nothing", low=0)
    v0_v: float = setting(0.05, "float", "voltage that shortens τ by a factor e", above=0)
    beta: float = setting(0.5, "float", "exponent of time", above=0, high=1)
    g_sat_us: float | None = setting(
        None, "float", "conductance that reads move cells to; g_max_us if not given", low=0
    )
    net_stress: float = setting(
        1.0, "float", "share of the stress that alternating polarity leaves", low=0, high=1
    )
    every_samples: int = setting(
        256, "int", "network inputs after which a run takes the drift anew", low=1, high=10**9
    )

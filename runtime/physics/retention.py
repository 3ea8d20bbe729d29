"""Retention: how far a cell has moved since it was written.

One small class a kind; ``[retention]`` of a chip file chooses one. Formulas and sources stand
in ``docs/physics.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pimc.chip.cell.programming_error import Polynomial
from pimc.chip.cell.tables import Retention
from pimc.chip.design import Chip
from pimc.runtime.physics.streams import Stream, normals, own_seed

__all__ = [
    "CELL",
    "REFERENCE",
    "Logarithmic",
    "RetentionModel",
    "RetentionStreams",
    "SigmaAt",
    "aged_us",
    "changes",
    "moved_us",
    "retention_of",
]

Array64 = npt.NDArray[np.float64]


class RetentionModel(Protocol):
    """A change since the write: normal, of this mean and spread, drawn once a write."""

    def shift_us(self, target_us: Array64, age_s: Array64) -> Array64:
        """Mean change in µS of cells written to ``target_us``, ``age_s`` > 0 seconds ago."""
        ...

    def sigma_us(self, target_us: Array64, age_s: Array64) -> Array64:
        """Standard deviation of the change in µS."""
        ...


@dataclass(frozen=True)
class Logarithmic:
    """Mean and spread that grow with the logarithm of time, whatever the conductance."""

    shift: float
    growth: float
    sigma_1s: float

    def shift_us(self, target_us: Array64, age_s: Array64) -> Array64:
        """Grows as a ln(t/s); 0 in the first second, for which nothing is published."""
        return self.shift * np.log(np.maximum(age_s, 1.0))

    def sigma_us(self, target_us: Array64, age_s: Array64) -> Array64:
        """σ = b ln(t/s) + c, 0 where that is negative."""
        return np.maximum(self.growth * np.log(age_s) + self.sigma_1s, 0.0)


@dataclass(frozen=True)
class SigmaAt:
    """Spread known at some instants; the first is that of the programming error.

    Attributes:
        at_s: seconds after the write, increasing.
        sigmas: σ(G) at each of them.
    """

    at_s: tuple[float, ...]
    sigmas: tuple[Polynomial, ...]

    def shift_us(self, target_us: Array64, age_s: Array64) -> Array64:
        """No change of the mean."""
        return np.zeros(target_us.shape)

    def sigma_us(self, target_us: Array64, age_s: Array64) -> Array64:
        """√(σ²(t) − σ²(t₀)): variances in between are linear in ln t, constant after the last."""
        variances = np.stack([sigma.sigma_us(target_us) ** 2 for sigma in self.sigmas])
        instants = np.log(self.at_s)
        at = np.interp(np.log(age_s), instants, np.arange(len(instants), dtype=np.float64))
        before = np.minimum(at.astype(np.int64), len(instants) - 2)
        share = at - before
        low, high = (np.take_along_axis(variances, n[None], 0)[0] for n in (before, before + 1))
        gained = np.maximum(low + share * (high - low) - variances[0], 0.0)
        return np.asarray(np.sqrt(gained))


def _logarithmic(retention: Retention, g_max_us: float) -> RetentionModel:
    return Logarithmic(
        retention.log_shift_us or 0.0, retention.log_sigma_us or 0.0, retention.sigma_1s_us or 0.0
    )


def _sigma_at(retention: Retention, g_max_us: float) -> RetentionModel:
    unit = g_max_us if retention.variable == "x" else 1.0
    return SigmaAt(retention.at_s, tuple(Polynomial(c, unit) for c in retention.coefficients_us))


_MODELS: Mapping[str, Callable[[Retention, float], RetentionModel | None]] = {
    "none": lambda retention, g_max_us: None,
    "log": _logarithmic,
    "sigma_at": _sigma_at,
}


def retention_of(chip: Chip) -> RetentionModel | None:
    """How the chip's cells change with time; None where they do not."""
    return _MODELS[chip.retention.kind](chip.retention, chip.cell.g_max_us)


def changes(chip: Chip) -> bool:
    """Whether time does anything to the chip's cells."""
    return retention_of(chip) is not None or bool(chip.physics.of_time)


class RetentionStreams(NamedTuple):
    """Random streams of one kind of cell: the chip's retention, a laboratory's own terms."""

    retention: Stream
    own: Stream


CELL = RetentionStreams(Stream.RETENTION, Stream.OWN)
REFERENCE = RetentionStreams(Stream.RETENTION_REFERENCE, Stream.OWN_REFERENCE)


def aged_us(
    chip: Chip,
    seed: int,
    streams: RetentionStreams,
    cells: npt.NDArray[np.int64],
    g_us: npt.NDArray[np.floating],
    target_us: Array64,
    age_s: npt.NDArray[np.floating],
    write: npt.NDArray[np.integer] | int = 0,
) -> Array64:
    """Conductances now in µS, 0 or more, of cells that held ``g_us`` right after their write.

    Every draw belongs to a write and is the same at every age. Where the chip says so, what the
    chip's own retention leaves is cut off at the ends of the range.

    Args:
        chip: the design.
        seed: of the die.
        cells: addresses, or numbers of wordlines for their reference cells.
        g_us: conductances after the write.
        target_us: what the cells were asked to hold.
        age_s: seconds since the write, above 0.
        write: number of each cell's last write.
    """
    age, model = age_s.astype(np.float64), retention_of(chip)
    drawn = None if model is None else normals(1, seed, streams.retention, cells, write)[0]
    own = (
        normals(term.draws, own_seed(seed, term.name), streams.own, cells, write)
        for term in chip.physics.of_time
    )
    return moved_us(chip, g_us.astype(np.float64), target_us, age, drawn, own)


def moved_us(
    chip: Chip,
    g_us: Array64,
    target_us: Array64,
    age_s: Array64,
    drawn: Array64 | None,
    own: Iterable[Array64],
) -> Array64:
    """:func:`aged_us` of given standard normal draws.

    Args:
        drawn: of the chip's own retention, as ``g_us``; None where it has none.
        own: (draws, *shape) of each of a laboratory's own terms.
    """
    held, model = g_us, retention_of(chip)
    if model is not None and drawn is not None:
        change = model.shift_us(target_us, age_s) + model.sigma_us(target_us, age_s) * drawn
        held = np.maximum(held + change, 0.0)
        if chip.retention.within_range:
            held = np.clip(held, chip.cell.g_min_us, chip.cell.g_max_us)
    for term, draws in zip(chip.physics.of_time, own, strict=True):
        held = np.maximum(term.aged_us(held, target_us, age_s, draws), 0.0)
    return held

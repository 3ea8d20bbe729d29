"""How a write lands: one small class a kind of programming error.

Each says with what standard deviation the conductance after a write differs from its target,
and makes such conductances of standard normal draws. ``cell.sigma`` of a chip file chooses one
(:mod:`pimc.chip.cell.tables`); formulas and sources stand in ``docs/physics.md``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

__all__ = [
    "Constant",
    "Lognormal",
    "Polynomial",
    "Proportional",
    "Table",
    "WriteModel",
]

Array64 = npt.NDArray[np.float64]


class WriteModel(Protocol):
    """A kind of programming error."""

    @property
    def draws(self) -> int:
        """Standard normal draws that one write takes."""
        ...

    def sigma_us(self, target_us: Array64) -> Array64:
        """Standard deviation of (conductance after a write − target) in µS, 0 or more.

        Args:
            target_us: targets in µS, any shape; the result has the same.
        """
        ...

    def sample(self, target_us: Array64, normals: Array64) -> Array64:
        """Conductances after a write in µS; what would be below 0 is cut by the die.

        Args:
            target_us: targets in µS, any shape; the result has the same.
            normals: (draws, *shape of the targets) standard normal draws.
        """
        ...


class _Gaussian(ABC):
    """Normal around the target: G' = G + σ(G) z."""

    draws: ClassVar[int] = 1

    @abstractmethod
    def sigma_us(self, target_us: Array64) -> Array64:
        """Standard deviation in µS."""

    def sample(self, target_us: Array64, normals: Array64) -> Array64:
        """Conductances after a write in µS."""
        landed: Array64 = target_us + normals[0] * self.sigma_us(target_us)
        return landed


@dataclass(frozen=True)
class Constant(_Gaussian):
    """The same error at every conductance."""

    constant_us: float

    def sigma_us(self, target_us: Array64) -> Array64:
        """σ = constant."""
        return np.full(target_us.shape, self.constant_us)


@dataclass(frozen=True)
class Proportional(_Gaussian):
    """An error in proportion to the conductance."""

    relative: float

    def sigma_us(self, target_us: Array64) -> Array64:
        """σ = f G."""
        return self.relative * target_us


@dataclass(frozen=True)
class Polynomial(_Gaussian):
    """A published fit: powers of G over a unit, constant term first."""

    coefficients_us: tuple[float, ...]
    unit_us: float = 1.0

    def sigma_us(self, target_us: Array64) -> Array64:
        """σ = Σ a_k (G / unit)^k, 0 where that is negative."""
        at = target_us / self.unit_us
        return np.maximum(np.polynomial.polynomial.polyval(at, self.coefficients_us), 0.0)


@dataclass(frozen=True)
class Table(_Gaussian):
    """Measured spread and, where given, mean shift; linear in between, constant beyond the ends."""

    g_us: tuple[float, ...]
    table_us: tuple[float, ...]
    shift_us: tuple[float, ...] = ()

    def sigma_us(self, target_us: Array64) -> Array64:
        """σ as measured at ``g_us``."""
        return np.asarray(np.interp(target_us, self.g_us, self.table_us), dtype=np.float64)

    def sample(self, target_us: Array64, normals: Array64) -> Array64:
        """G' = G + shift(G) + σ(G) z."""
        landed = super().sample(target_us, normals)
        return landed + np.interp(target_us, self.g_us, self.shift_us) if self.shift_us else landed


@dataclass(frozen=True)
class Lognormal:
    """ln G' is normal with standard deviation s; the mean of G' is the target."""

    ln_sigma: float
    draws: ClassVar[int] = 1

    def sigma_us(self, target_us: Array64) -> Array64:
        """σ = G √(exp(s²) − 1)."""
        return target_us * float(np.sqrt(np.expm1(self.ln_sigma**2)))

    def sample(self, target_us: Array64, normals: Array64) -> Array64:
        """G' = G exp(s z − s²/2)."""
        landed: Array64 = target_us * np.exp(self.ln_sigma * normals[0] - self.ln_sigma**2 / 2)
        return landed

"""Write-verify as a statistical model: pulse, read, accept or pulse again; then relaxation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from pimc.chip.cell.programming_error import Array64, Polynomial

__all__ = ["WriteVerify"]


@dataclass(frozen=True)
class WriteVerify:
    """Pulses until a cell lands within a tolerance of its target, then relaxation.

    Every pulse lands independently at target + σ_p z. It is accepted within ±tolerance, which
    happens with p = erf(a/√2), a = tolerance/σ_p. After ``max_pulses`` the cell keeps its last
    landing. Afterwards it relaxes by σ_r z', whether it was accepted or not.

    Attributes:
        tolerance_us: largest accepted distance from the target.
        max_pulses: pulses after which a cell is given up.
        pulse: σ_p(G) of where one pulse lands.
        relaxation: σ_r(G) of what happens after the last verify read.
    """

    tolerance_us: float
    max_pulses: int
    pulse: Polynomial
    relaxation: Polynomial
    draws: ClassVar[int] = 2

    def success(self, target_us: Array64) -> Array64:
        """Share of the cells that are accepted: 1 − (1 − p)^n with at most n pulses."""
        return self._ever(self._accepts(target_us))

    def pulses(self, target_us: Array64) -> Array64:
        """Mean number of pulses a cell takes: (1 − (1 − p)^n)/p."""
        accepts = self._accepts(target_us)
        certain = np.maximum(accepts, np.finfo(float).tiny)
        return np.where(accepts > 0, self._ever(accepts) / certain, float(self.max_pulses))

    def sigma_us(self, target_us: Array64) -> Array64:
        """√(S V_in + (1 − S) V_out + σ_r²), S the share that is accepted.

        V_in = σ_p² (1 − 2aφ(a)/p) and V_out = σ_p² (1 + 2aφ(a)/(1 − p)) are the variances of a
        normal inside and outside ±a standard deviations.
        """
        from scipy.special import erfcx

        spread, a = self.pulse.sigma_us(target_us), self._width(target_us)
        accepts, success = self._accepts(target_us), self.success(target_us)
        slope = np.sqrt(2 / np.pi) * a * np.exp(-(a**2) / 2)
        inside = 1 - slope / np.maximum(accepts, np.finfo(float).tiny)
        # φ(a)/(1 − p) by the scaled complement of erf, which does not run out of digits.
        outside = 1 + np.sqrt(2 / np.pi) * a / erfcx(a / np.sqrt(2))
        variance = success * np.maximum(inside, 0.0) + (1 - success) * outside
        total: Array64 = spread**2 * variance + self.relaxation.sigma_us(target_us) ** 2
        return np.asarray(np.sqrt(total))

    def accepted(self, target_us: Array64, normals: Array64) -> npt.NDArray[np.bool_]:
        """Whether the cells of these draws (as for :meth:`sample`) were accepted."""
        from scipy.special import ndtr

        return np.asarray(ndtr(normals[0]) < self.success(target_us))

    def sample(self, target_us: Array64, normals: Array64) -> Array64:
        """Conductances after relaxation in µS.

        The first draw decides, by its rank, whether a cell was accepted and where it landed: the
        accepted ones are a normal within ±tolerance, the others one beyond it.
        """
        from scipy.special import ndtr, ndtri

        rank, success = ndtr(normals[0]), self.success(target_us)
        tail = ndtr(-self._width(target_us))
        tiny = np.finfo(float).tiny
        inner = np.minimum(rank / np.maximum(success, tiny), 1.0)
        outer = np.clip((rank - success) / np.maximum(1 - success, tiny), 0.0, 1.0)
        below = ndtri(np.maximum(2 * tail * np.minimum(outer, 1 - outer), tiny))
        missed = np.where(outer < 0.5, below, -below)
        landed = np.where(rank < success, ndtri(tail + inner * (1 - 2 * tail)), missed)
        relaxed = normals[1] * self.relaxation.sigma_us(target_us)
        held: Array64 = target_us + landed * self.pulse.sigma_us(target_us) + relaxed
        return held

    def _ever(self, accepts: Array64) -> Array64:
        return np.asarray(-np.expm1(self.max_pulses * np.log1p(-np.minimum(accepts, _NEARLY))))

    def _accepts(self, target_us: Array64) -> Array64:
        from scipy.special import erf

        return np.asarray(erf(self._width(target_us) / np.sqrt(2)), dtype=np.float64)

    def _width(self, target_us: Array64) -> Array64:
        """The tolerance in standard deviations of a pulse."""
        spread = np.maximum(self.pulse.sigma_us(target_us), self.tolerance_us / _WIDEST)
        return self.tolerance_us / spread


#: The largest share below 1, and more standard deviations than any draw is away.
_NEARLY = float(np.nextafter(1.0, 0.0))
_WIDEST = 1e3

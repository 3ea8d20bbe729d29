"""What converters clipped: filled in from an estimate, which then learns nothing from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pimc.runtime.read.dac import driven_planes

__all__ = ["Clipping", "told"]


@dataclass(frozen=True)
class Clipping:
    """Fills in what converters clipped, by what an estimate says they would have given.

    Shapes: codes (repeats, blocks, columns, vectors); lsb (blocks, 1, columns); inputs
    (blocks, vectors, rows).
    """

    codes: torch.Tensor
    lsb: torch.Tensor
    inputs: torch.Tensor
    weights: tuple[int, ...]
    limits: tuple[int, int]

    def filled(self, found: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Currents (blocks, vectors, columns), and which of them are filled in.

        Args:
            found: (blocks, rows or more, columns) the estimate; its row after the last is that
                of the offsets.
        """
        current = self.codes.mean(dim=0).transpose(1, 2) * self.lsb
        return self._single(current, found) if len(self.weights) == 1 else self._sum(current, found)

    def _expected(self, driven: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
        rows = driven.shape[2]
        return driven @ found[:, :rows] + found[:, rows:].sum(dim=1, keepdim=True)

    def _single(
        self, current: torch.Tensor, found: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A code at a limit says on which side of it the current lies."""
        low, high = self.limits
        at_low = (self.codes <= low).any(dim=0).transpose(1, 2)
        at_high = (self.codes >= high).any(dim=0).transpose(1, 2)
        expected = self._expected(self.inputs, found)
        known = torch.where(at_high, torch.maximum(current, expected), current)
        known = torch.where(at_low, torch.minimum(known, expected), known)
        return known, at_low | at_high

    def _sum(self, current: torch.Tensor, found: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A sum of codes does not show which of them was at a limit: only the estimate does.

        Where a plane is expected beyond a limit the sum is taken to tell nothing.
        """
        low, high = self.limits
        clipped, total = torch.zeros_like(current, dtype=torch.bool), torch.zeros_like(current)
        for weight, driven in driven_planes(self.inputs, self.weights):
            expected = self._expected(driven, found)
            total += weight * expected
            clipped |= (expected < low * self.lsb) | (expected > high * self.lsb)
        return torch.where(clipped, total, current), clipped


def told(variance: torch.Tensor, spread: torch.Tensor, clipped: torch.Tensor) -> torch.Tensor:
    """The variance that is left when what was ``clipped`` told nothing.

    It was filled in from the estimate itself.

    Args:
        variance, spread: (blocks, rows, columns) before the capture, and if all had told.
        clipped: (blocks, vectors, columns).
    """
    share = 1.0 - clipped.double().mean(dim=1, keepdim=True)
    return 1.0 / (1.0 / variance + share * (1.0 / spread - 1.0 / variance))

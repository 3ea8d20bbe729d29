"""What non-linear cells add to the currents of arrays, behind wires that are taken exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch

from pimc.chip.converters import plane_full_scale
from pimc.chip.design import Chip
from pimc.runtime.die.bank import Bank
from pimc.runtime.die.site import DrivenArray
from pimc.runtime.physics.ir_drop import down_ohm
from pimc.runtime.physics.wires.curved import CurvedArray


@dataclass(frozen=True)
class _Part:
    """One array; its rows counted from the amplifiers, as in :class:`CurvedArray`."""

    driven: DrivenArray
    array: CurvedArray
    rows: torch.Tensor = field(repr=False)
    linear: torch.Tensor = field(repr=False)

    def beyond(self, drives: torch.Tensor) -> torch.Tensor:
        """(vectors, bitlines): currents less those of linear cells that get bent inputs."""
        alpha = self.array.alpha
        bent = torch.sinh(drives * alpha) / math.sinh(alpha)
        return self.array.currents(drives) - bent @ self.linear


@dataclass(frozen=True)
class CurvedWires:
    """The arrays of a bank whose answers depend on all inputs at once.

    A bank's own conductances take the wires around linear cells into account, and whatever has
    changed since, to first order; this is what that leaves out.

    Attributes:
        columns: of the bank.
        full_scale: what the full read voltage counts, DAC codes.
        subtracts: a reference column's current is taken off.
    """

    parts: tuple[_Part, ...]
    columns: int
    full_scale: int
    subtracts: bool

    @staticmethod
    def of(bank: Bank, chip: Chip, signed: bool, device: torch.device) -> CurvedWires | None:
        """Those of a bank; None where its conductances say all."""
        if not bank.curved:
            return None
        ohm, alpha = chip.array.wire_ohm, chip.cell.iv_alpha

        def part(driven: DrivenArray) -> _Part:
            g, linear = (
                torch.from_numpy(1e-6 * values[::-1].astype(np.float64)).to(device)
                for values in (driven.g_us, driven.linear_us)
            )
            below = down_ohm(driven.wordlines, chip.array.rows, ohm).tolist()
            rows = torch.from_numpy(driven.rows[::-1].copy()).to(device)
            return _Part(driven, CurvedArray(g.T.contiguous(), ohm, below, alpha), rows, linear)

        return CurvedWires(
            tuple(part(driven) for driven in bank.curved),
            bank.g_us.shape[2],
            plane_full_scale(chip, signed),
            chip.mapping.pedestal == "reference",
        )

    def beyond(self, inputs: torch.Tensor) -> torch.Tensor:
        """Currents less what the bank's conductances give, in µS times DAC code.

        Args:
            inputs: (batch, blocks, rows, positions) DAC codes, or a bit plane of them.

        Returns:
            (batch, blocks, columns, positions).

        Raises:
            DeviceError: the potentials of an array's wires do not come to rest.
        """
        batch, blocks, _, positions = inputs.shape
        found = inputs.new_zeros(batch, blocks, self.columns, positions)
        for part in self.parts:
            codes = inputs[:, part.driven.block, part.rows]
            drives = codes.permute(0, 2, 1).flatten(0, 1).double() / self.full_scale
            currents = part.beyond(drives) * (1e6 * self.full_scale)
            answer = currents[:, torch.from_numpy(part.driven.bitlines).to(currents.device)]
            if self.subtracts:
                answer = answer - currents[:, -1:]
            answer = answer.unflatten(0, (batch, positions)).permute(0, 2, 1)
            found[:, part.driven.block, part.driven.columns] = answer.to(found.dtype)
        return found

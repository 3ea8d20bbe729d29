"""The choice of writes for one layer as a least-squares problem, solved greedily.

The formulas are those of :mod:`pimc.passes.recover.write.choose`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pimc.image.image import Image, ImageLayer
from pimc.passes.recover.estimate import CellEstimate, reference_error, stuck
from pimc.passes.recover.write.greedy import Columns
from pimc.passes.recover.write.influence import Influence
from pimc.work.parts import parts

__all__ = ["Problem", "most_a_column"]

Array64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Number = TypeVar("Number", np.float64, np.int16, np.bool_)

#: A layer (of digital weights, a column) may get so many times the average share of a round.
_DEPTH = 4.0
#: Cells that are prepared at once: what it takes on the way is a hundred bytes each.
_AT_ONCE = 1 << 22


@dataclass(eq=False)
class Problem:
    """What the choice for one layer begins with; shapes (groups, rows, cols[, planes]).

    Attributes:
        fit: (groups, 1, cols) weight a µS that brings a column nearest to the float network's.
        unit: the same for each plane.
        residual_pull: H r.
        barred: the level each cell must not be written to; None where any will do.
    """

    held_us: Array64
    spread: Array64
    open_: npt.NDArray[np.bool_]
    address: Ints
    barred: Ints | None
    fit: Array64
    unit: Array64
    residual_pull: Array64
    moments: Array64
    levels_us: Array64
    sigma_us: Array64

    @staticmethod
    def of(
        image: Image,
        layer: ImageLayer,
        estimate: CellEstimate,
        influence: Influence,
        again: bool = True,
    ) -> Problem:
        """The layer as it is known to be.

        Args:
            again: cells may be written once more to the level they were asked to hold.
        """
        ((_, found),) = Problem.parts(image, layer, estimate, influence, again, whole=True)
        return found

    @staticmethod
    def parts(
        image: Image,
        layer: ImageLayer,
        estimate: CellEstimate,
        influence: Influence,
        again: bool = True,
        *,
        whole: bool = False,
    ) -> Iterator[tuple[slice, Problem]]:
        """The layer as it is known to be, some columns after others where it is large.

        Columns share H and nothing else. Those of several groups stay together.

        Args:
            again: as of :meth:`of`.
            whole: all columns together, however many.
        """
        book, chip = image.codebook_of(layer), image.chip
        common = reference_error(estimate, image, layer)
        sound = ~stuck(image, layer, estimate) & estimate.present
        teacher = layer.teacher_weight
        assert teacher is not None  # no recovery without it
        pedestal = book.pedestal_us(layer.zero).reshape(layer.groups, 1, layer.cols)
        scale = layer.scale.reshape(pedestal.shape)
        address, gain = layer.by_weight(image.cells(layer)), layer.scale * layer.gain
        sigma = chip.redrawn_us(np.asarray(chip.cell.g_levels_us))
        each = layer.rows * layer.planes
        most = each * layer.cols if whole or layer.groups > 1 else _AT_ONCE
        for some in parts(layer.cols, each, most):

            def chosen(values: npt.NDArray[Any], some: slice = some) -> npt.NDArray[Any]:
                return layer.by_weight(values)[:, :, some]

            held = chosen(estimate.mean_us) - chosen(common)
            effective = held @ book.coefficients - pedestal[:, :, some]
            if layer.residual is not None:
                effective = effective + layer.residual[:, :, some] / scale[:, :, some]
            wanted = np.asarray(teacher[:, :, some], np.float64)
            image_of = influence.moments @ effective
            power = np.einsum("gkn,gkn->gn", effective, image_of)
            match = np.einsum("gkn,gkn->gn", wanted, image_of)
            fallback = gain.astype(np.float64).reshape(layer.groups, layer.cols)[:, some]
            # A column that is stored with its sign turned has a negative gain.
            fits = match * np.sign(fallback) > 0
            fit = np.where(fits, match / np.where(power > 0, power, 1.0), fallback)[:, None, :]
            levels = image.levels.reshape(-1)
            yield (
                some,
                Problem(
                    held_us=held + book.reference_us,
                    spread=chosen(estimate.variance),
                    open_=chosen(sound).copy(),
                    address=address[:, :, some],
                    barred=None if again else levels[address[:, :, some]],
                    fit=fit,
                    unit=fit[..., None] * book.coefficients,
                    residual_pull=influence.moments @ (fit * effective - wanted),
                    moments=influence.moments,
                    levels_us=np.asarray(chip.cell.g_levels_us, np.float64),
                    sigma_us=sigma,
                ),
            )

    def best(self, sensitivity: Array64) -> float:
        """What the best write gains.

        Args:
            sensitivity: (groups, cols) of a column's outputs.
        """
        gain = self._gains() * sensitivity[:, None, :, None]
        return float(gain.max(initial=0.0))

    def columns(self, sensitivity: Array64) -> Columns:
        """The same for the greedy choice: a copy, so that nothing here follows it."""
        return Columns(
            moments=np.ascontiguousarray(self.moments),
            pull=_by_column(self.residual_pull),
            held_us=_by_column(self.held_us),
            spread=_by_column(self.spread),
            open_=_by_column(self.open_),
            barred=_by_column(np.full(self.address.shape, -1, np.int16) if self.barred is None
                              else self.barred.astype(np.int16)),
            unit=self.unit[:, 0].copy(),
            worth=sensitivity.copy(),
            levels_us=self.levels_us,
            middles_us=self._middles_us,
            landing=self.sigma_us**2,
        )  # fmt: skip

    @property
    def _middles_us(self) -> Array64:
        return (self.levels_us[1:] + self.levels_us[:-1]) / 2

    def _gains(self) -> Array64:
        """(groups, rows, cols, planes) expected gain of the best write of every cell."""
        pull = self.residual_pull[..., None]
        weight = np.einsum("gkk->gk", self.moments)[:, :, None, None]
        safe = np.where(weight > 0, weight, 1.0)
        level = np.searchsorted(self._middles_us, self.held_us - pull / safe / self.unit)
        move = self.unit * (self.levels_us[level] - self.held_us)
        landing = self.unit**2 * (self.sigma_us[level] ** 2 - self.spread)
        gain = -(2 * move * pull + (move**2 + landing) * weight)
        allowed = self.open_ if self.barred is None else self.open_ & (level != self.barred)
        return np.where(allowed, gain, 0.0)


def _by_column(values: npt.NDArray[Number]) -> npt.NDArray[Number]:
    """(groups, rows, cols, …) with the rows of a column together."""
    return np.array(values.swapaxes(1, 2), order="C")


def most_a_column(places: int, share: float) -> int:
    """Places a column that may be chosen where ``share`` of all of them may be."""
    return min(places, 1 + int(_DEPTH * share * places))

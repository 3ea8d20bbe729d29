"""The state of a recovery: all that its next step depends on, and what was done so far.

A step takes one state and returns the next. No state is ever changed, so one that was kept, in
memory or in a checkpoint, is what a recovery can go on from.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from pimc.image.image import Image
from pimc.passes.recover.estimate import CellEstimate, prior
from pimc.passes.recover.recovery import Stage
from pimc.passes.recover.train.trainer import Best

__all__ = ["NOT_TOLD", "NO_WRITES", "Kept", "Least", "State", "Writes"]


#: Losses of held-out samples that cannot be told apart.
NOT_TOLD = np.empty(0, np.float32)


class Writes(NamedTuple):
    """Writes that are to be done.

    Attributes:
        cells: (writes,) addresses, unique.
        levels: (writes,) the level each is to be asked for.
        round: number of the round, as the report tells it.
    """

    cells: npt.NDArray[np.int64]
    levels: npt.NDArray[np.uint16]
    round: int


NO_WRITES = Writes(np.empty(0, np.int64), np.empty(0, np.uint16), 0)


class Kept(NamedTuple):
    """An image to go back to.

    Attributes:
        stage: number of the stage that judged it.
        each: (samples,) losses of the held-out samples then; none where they cannot be told apart.
    """

    stage: int
    image: Image
    each: npt.NDArray[np.float32] = NOT_TOLD


class Least(NamedTuple):
    """The least loss so far, whatever the cells held then.

    Attributes:
        each: (samples,) of the held-out samples; none where they cannot be told apart.
    """

    loss: float
    each: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class State:
    """Where a recovery stands.

    Attributes:
        image: what the chip holds now, and the digital side as it is now.
        estimates: what is known of the cells, by layer number.
        random: state of the generator that the next step draws from.
        clock: when the last stage ended, seconds.
        learnt: captures that the estimates were learnt from.
        stages: what was judged so far.
        kept: the image that serves the present cells best; None right after writes, when nothing
            was judged yet.
        least: the least loss so far, by which it is judged whether writes pay.
        proposed: writes that are chosen and noted, and not done yet.
        writes: (writes, 4) cell, level before, level after, round; one array for each time that
            cells were written.
    """

    image: Image
    estimates: Mapping[int, CellEstimate] = field(repr=False)
    random: npt.NDArray[np.uint8] = field(repr=False)
    clock: float
    learnt: int = 0
    stages: tuple[Stage, ...] = ()
    kept: Best[Kept] | None = None
    least: Least | None = None
    proposed: Writes = NO_WRITES
    writes: tuple[npt.NDArray[np.int64], ...] = ()

    @staticmethod
    def first(image: Image, seed: int) -> State:
        """Nothing is known of the cells but what was asked of them.

        Args:
            seed: of all that is drawn.
        """
        random = torch.Generator().manual_seed(seed).get_state().numpy()
        estimates = {layer.index: prior(image, layer) for layer in image.layers}
        return State(image, estimates, random, time.perf_counter())

    def generator(self) -> torch.Generator:
        """A generator to draw from; hand it to :meth:`drawn` afterwards."""
        return torch.Generator().set_state(torch.from_numpy(self.random.copy()))

    def drawn(self, generator: torch.Generator) -> State:
        """The state after what was drawn from its generator."""
        return replace(self, random=generator.get_state().numpy())

    def judged(self, stage: Stage, each: npt.NDArray[np.float32] = NOT_TOLD) -> State:
        """The state with what its image was found to be worth.

        Args:
            each: (samples,) loss of every held-out sample.
        """
        number = len(self.stages)
        kept = Best.of(self.kept, stage.loss, lambda: Kept(number, self.image, each))
        clock, least = self.clock + stage.seconds, self.least
        if least is None or stage.loss < least.loss:
            least = Least(stage.loss, each)
        return replace(self, stages=(*self.stages, stage), kept=kept, least=least, clock=clock)

    def written(self) -> State:
        """The state after the proposed writes are done; digital sides so far fit no more."""
        cells, levels, number = self.proposed
        if not len(cells):
            return self
        before = self.image.levels.reshape(-1)[cells].astype(np.int64)
        columns = (cells, before, levels.astype(np.int64), np.full(len(cells), number, np.int64))
        return replace(
            self,
            image=self.image.updated(cells=cells, levels=levels),
            kept=None,
            proposed=NO_WRITES,
            writes=(*self.writes, np.stack(columns, axis=1)),
        )

    @property
    def stages_since_best(self) -> int:
        """How many stages came after the one whose digital side serves the present cells best."""
        return 0 if self.kept is None else self.kept.since

    def on_best(self) -> State:
        """The state with the digital side that serves the present cells best: to go on from."""
        return self if self.kept is None else replace(self, image=self.kept.value.image)

    def keeping_best(self) -> State:
        """The same as the result, with the stage told that it comes from."""
        if self.kept is None:
            return self
        best = self.kept.value.stage
        stages = [replace(s, kept=s.kept or n == best) for n, s in enumerate(self.stages)]
        return replace(self.on_best(), stages=tuple(stages))

    def paying(self, stage: int, paid: bool) -> State:
        """The state with its stage of this number told to have paid, or not."""
        stages = [replace(s, paid=paid) if n == stage else s for n, s in enumerate(self.stages)]
        return replace(self, stages=tuple(stages))

    def all_writes(self) -> npt.NDArray[np.int64]:
        """(writes, 4) address of the cell, level before, level after, round."""
        return np.concatenate([np.empty((0, 4), np.int64), *self.writes])

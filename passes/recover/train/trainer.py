"""One trainer for all that is trained.

Inputs come in batches in a drawn order, Adam follows a loss, its learning rate falls along a
cosine (I. Loshchilov, F. Hutter, arXiv 1608.03983), and epochs are judged. What is trained, on
which loss, and what becomes of the best epoch, those say who use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count, islice
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from pimc.data.dataset import Dataset
from pimc.passes.recover.watch.spill import spilling
from pimc.progress import Progress, silent
from pimc.runtime.feeds import Feed, tensors
from pimc.work.memory import UNLIMITED, Memory

__all__ = ["Batch", "Best", "Trainer"]

T = TypeVar("T")


class Batch(NamedTuple):
    """Inputs that are looked at together.

    Attributes:
        epoch: how often all inputs were gone through before.
        number: of the batch within its epoch.
        chosen: (samples,) places of the inputs among the data.
        feed: the inputs by name.
    """

    epoch: int
    number: int
    chosen: npt.NDArray[np.int64]
    feed: Feed

    @staticmethod
    def of(epoch: int, number: int, chosen: npt.NDArray[np.int64], data: Dataset) -> Batch:
        """These inputs among the data."""
        return Batch(epoch, number, chosen, tensors(data.subset(chosen).all_inputs()))


@dataclass(frozen=True)
class Trainer:
    """Lets Adam follow a loss, batch by batch.

    Attributes:
        parameters: groups with their learning rates, as torch's optimizers take them.
        loss_of: what is to fall.
        data: inputs; labels are not used.
        batch_size: inputs a batch, at most.
        generator: of the order of the inputs.
        annealed: the learning rate falls to zero along a cosine; else it stays.
        at_once: inputs whose gradients are worked out at once; those of a larger batch are the
            mean over parts of it, so the loss must be a mean over inputs then.
        memory: what is kept for gradients lies on the disk where it has no room.
    """

    parameters: Sequence[dict[str, Any]] = field(repr=False)
    loss_of: Callable[[Batch], torch.Tensor] = field(repr=False)
    data: Dataset = field(repr=False)
    batch_size: int
    generator: torch.Generator = field(repr=False)
    annealed: bool = True
    at_once: int | None = None
    memory: Memory = UNLIMITED

    def epochs(
        self,
        most: int,
        judge: Callable[[int], bool] = lambda epoch: True,
        *,
        what: str = "",
        progress: Progress = silent,
    ) -> None:
        """Go through all inputs again and again.

        Args:
            judge: called after every epoch with its number; training ends when it returns False.
            what: what is told of it while it lasts.
        """
        follow = self._follower(most * self._parts)
        for epoch in progress(range(most), what, most):
            follow(self._epoch(epoch))
            if not judge(epoch):
                break

    def steps(self, most: int, *, what: str = "", progress: Progress = silent) -> None:
        """Look at so many batches, however many inputs there are."""
        endless = chain.from_iterable(map(self._epoch, count()))
        self._follower(most)(progress(islice(endless, most), what, most))

    @property
    def _parts(self) -> int:
        """Batches an epoch."""
        return -(-len(self.data) // self.batch_size)

    def _epoch(self, epoch: int) -> Iterator[Batch]:
        order = torch.randperm(len(self.data), generator=self.generator).numpy()
        for number, chosen in enumerate(_even(order, self.batch_size)):
            yield Batch.of(epoch, number, chosen, self.data)

    def _backward(self, batch: Batch) -> None:
        """Gradients of the loss of a batch, part by part where it is large."""
        if self.at_once is None or len(batch.chosen) <= self.at_once:
            self._loss(batch).backward()
            return
        for chosen in _even(batch.chosen, self.at_once):
            part = Batch.of(batch.epoch, batch.number, chosen, self.data)
            (self._loss(part) * (len(chosen) / len(batch.chosen))).backward()

    def _loss(self, batch: Batch) -> torch.Tensor:
        with spilling(self.memory):
            return self.loss_of(batch)

    def _follower(self, steps: int) -> Callable[[Iterable[Batch]], None]:
        """What takes a step a batch; the learning rate reaches zero after so many."""
        optimizer = torch.optim.Adam(self.parameters)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))

        def follow(batches: Iterable[Batch]) -> None:
            for batch in batches:
                optimizer.zero_grad(set_to_none=True)
                self._backward(batch)
                optimizer.step()
                if self.annealed:
                    schedule.step()

        return follow


def _even(chosen: npt.NDArray[np.int64], most: int) -> list[npt.NDArray[np.int64]]:
    """Cut into even parts: a last one of a single sample would have no variance of errors."""
    return np.array_split(chosen, -(-len(chosen) // most))


@dataclass(frozen=True)
class Best(Generic[T]):
    """The best that was judged so far.

    Attributes:
        loss: its loss on held-out data.
        value: what had it.
        since: how many were judged after it.
    """

    loss: float
    value: T
    since: int = 0

    @staticmethod
    def of(before: Best[T] | None, loss: float, value: Callable[[], T]) -> Best[T]:
        """The better of what was judged ``before`` and what was judged now.

        Args:
            value: what was judged now; asked for only if it is better.
        """
        if before is None or loss < before.loss:
            return Best(loss, value())
        return replace(before, since=before.since + 1)

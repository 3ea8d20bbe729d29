"""Features: what the layers of the float network give, and how far a die is from it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
import torch

from pimc.passes.recover.watch.calls import Call
from pimc.passes.recover.watch.layers import Shelf
from pimc.plan.records import layer_of
from pimc.runtime.graph.executor import ArrayCall

__all__ = ["Features", "Noted", "Watch"]

_LEAST = 1e-12


@dataclass(frozen=True)
class Features:
    """What the float network's layers give for the first samples of a data set.

    Attributes:
        shelf: the first calls of every layer.
        spread: by layer name, the standard deviation of all of them.
    """

    shelf: Shelf = field(repr=False)
    spread: Mapping[str, float] = field(repr=False)

    def watch(self, array: ArrayCall) -> Watch:
        """``array``, looked at where there are features to compare it with."""
        return Watch(array, self)


@dataclass(eq=False)
class Noted:
    """The array function of the float network, whose first calls of every layer are kept."""

    array: ArrayCall
    calls: int
    _shelf: Shelf = field(default_factory=Shelf.empty)
    _done: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __call__(self, node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        """What the layer gives."""
        y, name = self.array(node, x), layer_of(node)
        if self._done[name] < self.calls:
            self._shelf.put((name, self._done[name]), [y])
            self._done[name] += 1
        return y

    def features(self) -> Features:
        """What was kept."""
        spread = {}
        for name, count in self._done.items():
            spread[name] = max(self._spread([(name, n) for n in range(count)]), _LEAST)
        return Features(self._shelf, spread)

    def _spread(self, calls: Sequence[Call]) -> float:
        """Standard deviation of all that some calls gave, call by call."""
        sizes, means, squares = [], [], []
        for call in calls:
            (value,) = self._shelf.take(call)
            mean = float(value.mean(dtype=torch.float64))
            sizes.append(value.numel())
            means.append(mean)
            squares.append(float(value.sub_(mean).square_().mean(dtype=torch.float64)))
        whole = float(np.average(means, weights=sizes))
        within = np.average(squares, weights=sizes)
        return math.sqrt(within + np.average((np.array(means) - whole) ** 2, weights=sizes))


@dataclass(eq=False)
class Watch:
    """An array function that is compared with the features, call by call."""

    array: ArrayCall
    features: Features
    _done: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    _squares: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    _values: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __call__(self, node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        """What the layer gives."""
        y = self.array(node, x)
        name = layer_of(node)
        call: Call = name, self._done[name]
        if call in self.features.shelf.places:
            (kept,) = self.features.shelf.take(call)
            away = y - kept
            self._squares[name] += float(away.square_().mean()) * away.numel()
            self._values[name] += away.numel()
            self._done[name] += 1
        return y

    def errors(self) -> dict[str, float]:
        """By layer name, how far off it is: root mean square over the features' spread."""
        return {
            name: math.sqrt(self._squares[name] / max(self._values[name], 1)) / spread
            for name, spread in self.features.spread.items()
        }

"""Features: what the layers of the float network give, and how far a die is from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir
import torch

from pimc.plan.records import layer_of
from pimc.runtime.graph.executor import ArrayCall

__all__ = ["Features", "Watch"]


Values = Mapping[str, Sequence[torch.Tensor]]


@dataclass(frozen=True)
class Features:
    """What the float network's layers give for the first samples of a data set.

    Attributes:
        values: by layer name, one tensor a batch.
    """

    values: Values = field(repr=False)

    def watch(self, array: ArrayCall) -> Watch:
        """``array``, looked at for as many batches as the features are of."""
        return Watch(array, max(map(len, self.values.values()), default=0))

    def errors(self, found: Values) -> dict[str, float]:
        """By layer name, how far ``found`` is away: root mean square over standard deviation."""
        return {name: _away(found[name], wanted) for name, wanted in self.values.items()}


@dataclass(eq=False)
class Watch:
    """An array function that keeps what each layer gives in its first calls."""

    array: ArrayCall
    calls: int
    seen: dict[str, list[torch.Tensor]] = field(default_factory=dict)

    def __call__(self, node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        """What the layer gives."""
        y = self.array(node, x)
        kept = self.seen.setdefault(layer_of(node), [])
        if len(kept) < self.calls:
            kept.append(y)
        return y


def _away(found: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]) -> float:
    ours, theirs = (torch.cat([part.flatten() for part in parts]) for parts in (found, wanted))
    return float((ours - theirs).square().mean().sqrt() / theirs.std(correction=0).clamp_min(1e-12))

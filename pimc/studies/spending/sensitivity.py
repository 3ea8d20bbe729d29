"""How the outputs of the float network move with what its layers give, and with their weights.

One run forward and a few backward tell it of all layers, see
:mod:`pimc.studies.spending.prediction`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from pimc.data.dataset import Dataset
from pimc.passes.recover.twin.goal import Goal
from pimc.passes.recover.twin.student import require_gradients
from pimc.plan.records import Layer, layer_of
from pimc.plan.vectors import sample, unfold
from pimc.progress import Progress, silent
from pimc.runtime.feeds import Feed, samples_of, tensors
from pimc.runtime.graph.executor import ArrayCall
from pimc.runtime.sequences import state_outputs
from pimc.runtime.session import Session
from pimc.tasks.task import Task

__all__ = ["Columns", "Sensitivity", "sensitivities"]

#: Slopes a sample; the first of them tells what weights do.
_SLOPES = 3
#: Values of all layers together that are held at once, and samples that are run at once, at most.
_VALUES, _SAMPLES = 1 << 24, 16
#: Input vectors of a layer that are kept: so many a row, within limits.
_VECTORS_A_ROW, _VECTORS = 4, (512, 2048)
#: Seed of all that is drawn: equal inputs give equal figures.
_SEED = 20221117


@dataclass(frozen=True)
class Columns:
    """What the weights of a row have in common.

    Attributes:
        scale: (groups, 1, cols) weight a µS.
        block: (cols,) which of the tiles side by side a column lies in.
    """

    scale: npt.NDArray[np.float64] = field(repr=False)
    block: npt.NDArray[np.int64] = field(repr=False)


@dataclass(eq=False)
class Sensitivity:
    """What is known of a layer; all figures are means over samples.

    Attributes:
        reading: E[(g · e)²], e being what a perfect chip is away from the float layer.
        weights: (groups, rows, cols) E[G²] of the gradient G = x gᵀ of each weight.
        common: (groups, rows, blocks) the same of what a row's reference cell adds to all of its
            weights, a µS; None where that is not asked for.
        vectors: (vectors, groups · rows) some of the layer's inputs.
    """

    reading: float = 0.0
    weights: torch.Tensor | None = field(default=None, repr=False)
    common: torch.Tensor | None = field(default=None, repr=False)
    vectors: list[torch.Tensor] = field(default_factory=list, repr=False)


@dataclass(frozen=True, eq=False)
class _Use:
    """A use of a layer in a run of the float network: its input, output, and the chip's error."""

    layer: Layer
    x: torch.Tensor
    y: torch.Tensor
    error: torch.Tensor


def sensitivities(
    session: Session,
    in_float: ArrayCall,
    layers: Sequence[Layer],
    data: Dataset,
    *,
    task: Task | None = None,
    columns: Mapping[str, Columns] | None = None,
    progress: Progress = silent,
) -> dict[str, Sensitivity]:
    """How much every layer that runs matters.

    Args:
        session: the network on a chip.
        in_float: the same network's layers in float.
        task: says what outputs are held to; judged by their shape if None.
        columns: where given, what reference cells do is told, too.

    Raises:
        ModelError: gradients cannot reach a layer.
    """
    run = _Runner(session, in_float, {layer.name: layer for layer in layers})
    require_gradients(session.executor, [layer.output for layer in layers], run.outputs)
    fit = _VALUES // max(run.values(tensors(data.feed(0, 1))), 1)
    size = min(_SAMPLES, max(1, fit))
    starts = range(0, len(data), size)
    found: dict[str, Sensitivity] = defaultdict(Sensitivity)
    generator = torch.Generator().manual_seed(_SEED)
    for start in progress(starts, "weighing layers", len(starts)):
        feed = tensors(data.feed(start, min(start + size, len(data))))
        uses, outputs = run(feed)
        wanted = [output.detach() for output in outputs]
        goal = Goal.of(task, wanted, states=state_outputs(session, data))
        for number in range(_SLOPES):
            gradients = torch.autograd.grad(
                goal.slope(outputs, wanted, generator),
                [use.y for use in uses],
                retain_graph=number < _SLOPES - 1,
                allow_unused=True,
            )
            pairs: dict[str, list[tuple[_Use, torch.Tensor]]] = defaultdict(list)
            for use, gradient in zip(uses, gradients, strict=True):
                if gradient is not None:
                    pairs[use.layer.name].append((use, gradient))
            for name, of_layer in pairs.items():
                moved = _moved(of_layer, samples_of(feed))
                found[name].reading += moved / (_SLOPES * len(data))
                if number == 0:
                    known = None if columns is None else columns[name]
                    _add_weights(found[name], of_layer, samples_of(feed), len(data), known)
        for use in uses:
            found[use.layer.name].vectors.append(_some(use, len(starts), generator))
    return dict(found)


@dataclass(frozen=True, eq=False)
class _Runner:
    session: Session
    in_float: ArrayCall
    layers: Mapping[str, Layer]

    @property
    def outputs(self) -> list[str]:
        return [arg.name for arg in self.session.get_outputs()]

    def values(self, one: Feed) -> int:
        """Of all layers' inputs and outputs together, for a sample."""
        count = 0

        def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
            nonlocal count
            y = self.in_float(node, x)
            count += x.numel() + y.numel()
            return y

        self.session.evaluate(one, array=array)
        return count

    def __call__(self, feed: Feed) -> tuple[list[_Use], list[torch.Tensor]]:
        """All uses of layers, and the outputs of the float network, with gradients."""
        uses: list[_Use] = []

        def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
            y = self.in_float(node, x)
            if not y.requires_grad:
                y = y + torch.zeros((), requires_grad=True)
            if y.numel():
                with torch.no_grad():
                    error = self.session.array(node, x.detach()) - y
                uses.append(_Use(self.layers[layer_of(node)], x.detach(), y, error))
            return y

        values = self.session.executor.run(feed, want=self.outputs, array=array)
        return uses, [values[name] for name in self.outputs]


def _rows(values: torch.Tensor, samples: int) -> int:
    """How many parts a value has that are of a sample each; 1 where that cannot be told."""
    return samples if values.dim() > 1 and values.shape[0] % samples == 0 else 1


def _moved(uses: Sequence[tuple[_Use, torch.Tensor]], samples: int) -> float:
    """Square of what the errors of a layer move a slope by, summed over samples."""
    rows = min(_rows(use.error, samples) for use, _ in uses)
    each = sum((use.error * g).reshape(rows, -1).double().sum(dim=1) for use, g in uses)
    return float(torch.as_tensor(each).square().sum())


def _add_weights(
    found: Sensitivity,
    uses: Sequence[tuple[_Use, torch.Tensor]],
    samples: int,
    of: int,
    columns: Columns | None,
) -> None:
    """Add squared gradients of a layer's weights, sample by sample."""
    rows = min(_rows(use.x, samples) for use, _ in uses)
    for number in range(rows):
        gradient = torch.stack([_of_weights(*pair, number, rows) for pair in uses]).sum(dim=0)
        squared = gradient.square() / of
        found.weights = squared if found.weights is None else found.weights.add_(squared)
        if columns is not None:
            scaled = gradient * torch.from_numpy(columns.scale).float()
            block = torch.from_numpy(columns.block)
            shape = (*scaled.shape[:2], int(block.max()) + 1)
            together = torch.zeros(shape).index_add_(2, block, scaled).square() / of
            found.common = together if found.common is None else found.common.add_(together)


def _of_weights(use: _Use, slope: torch.Tensor, number: int, parts: int) -> torch.Tensor:
    """(groups, rows, cols) gradient of a part of the samples."""
    layer = use.layer
    x, g = (value if parts == 1 else value.tensor_split(parts)[number] for value in (use.x, slope))
    lines = unfold(x, layer.window)
    columns = unfold(g, None) if layer.window is None else g.flatten(2)
    x, g = (
        values.transpose(0, 1).reshape(layer.groups, -1, values.shape[0] * values.shape[2])
        for values in (lines, columns)
    )
    return x @ g.transpose(1, 2)


def _some(use: _Use, batches: int, generator: torch.Generator) -> torch.Tensor:
    count = int(np.clip(_VECTORS_A_ROW * use.layer.rows, *_VECTORS))
    return sample(use.x, use.layer.window, -(-count // batches), generator)

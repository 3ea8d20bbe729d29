"""Influence: how much the outputs of each layer matter to the network's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from pimc.data.dataset import Dataset
from pimc.image.image import ImageLayer
from pimc.passes.recover.twin.goal import Goal, Outputs
from pimc.passes.recover.twin.student import Student
from pimc.passes.recover.twin.twin import Twin
from pimc.passes.recover.watch.spill import spilling
from pimc.plan.records import layer_of
from pimc.plan.vectors import sample
from pimc.progress import Progress, silent
from pimc.runtime.feeds import tensors

__all__ = ["Influence", "float_outputs", "influences"]

Array64 = npt.NDArray[np.float64]

#: Samples that are looked at together, where as many fit into memory.
_BATCH_SIZE = 32
#: Rows from which on half of a product is worth a call for each group.
_LARGE = 64


@dataclass(frozen=True)
class Influence:
    """What a layer's outputs matter.

    Attributes:
        moments: (groups, rows, rows) second moments of the layer's inputs about their mean.
        sensitivity: (groups, cols) squared gradient of the loss, summed over an image's
            positions, mean over images.
    """

    moments: Array64 = field(repr=False)
    sensitivity: Array64 = field(repr=False)


def influences(
    student: Student,
    goal: Goal,
    data: Dataset,
    generator: torch.Generator,
    *,
    batch_size: int = _BATCH_SIZE,
    vectors: int = 8192,
    known: Sequence[Outputs] | None = None,
    progress: Progress = silent,
) -> dict[int, Influence]:
    """How much each layer's outputs matter, and the moments of its inputs.

    Args:
        known: what :func:`float_outputs` gives for the data, where that is known.
    """
    student.check_gradients()
    batch_size, starts = _batches(student, data, batch_size)
    squared: dict[str, torch.Tensor] = {}
    moments = {name: _Moments.of(twin.layer) for name, twin in student.twin.layers.items()}
    share = -(-vectors // len(starts))

    def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        name = layer_of(node)
        window = student.twin.layers[name].layer.window
        moments[name].add(sample(x.detach(), window, share, generator))
        y = student.twin(node, x)
        return y if y.requires_grad else y.requires_grad_()

    outputs = known or float_outputs(student, data, batch_size)
    for start, wanted in progress(
        zip(starts, outputs, strict=True), "weighing layers", len(starts)
    ):
        feed = tensors(data.feed(start, min(start + batch_size, len(data))))
        with _of_outputs_alone(student.twin), spilling(student.memory):
            found, features = student.run(feed, array)
            probe = goal.probe(found, wanted, generator)
        calls = list(features)
        gradients = torch.autograd.grad(probe, [features[call] for call in calls])
        for (name, _), gradient in zip(calls, gradients, strict=True):
            last = student.twin.layers[name].layer.window is None
            columns = gradient.movedim(-1 if last else 1, 0).flatten(1)
            squared[name] = squared.get(name, torch.zeros(())) + columns.square().sum(dim=1)
    return {
        twin.layer.index: Influence(
            moments[name].centred(),
            (squared[name].double().numpy() / len(data)).reshape(twin.layer.groups, -1),
        )
        for name, twin in student.twin.layers.items()
    }


@contextmanager
def _of_outputs_alone(twin: Twin) -> Iterator[None]:
    """Runs keep nothing for the gradients of gains and biases, which nobody asks for here."""
    trained = [
        value
        for layer in twin.layers.values()
        for value in (layer.gain, layer.bias)
        if value.requires_grad
    ]
    for value in trained:
        value.requires_grad_(False)
    try:
        yield
    finally:
        for value in trained:
            value.requires_grad_(True)


def float_outputs(student: Student, data: Dataset, batch_size: int = _BATCH_SIZE) -> list[Outputs]:
    """The float network's outputs, a batch at a time, as the layers are weighed on them."""
    batch_size, starts = _batches(student, data, batch_size)
    return [
        student.teach(tensors(data.feed(start, min(start + batch_size, len(data)))))[0]
        for start in starts
    ]


def _batches(student: Student, data: Dataset, batch_size: int) -> tuple[int, range]:
    """How many samples are looked at together, and where each batch starts."""
    batch_size = min(batch_size, student.at_once)
    return batch_size, range(0, len(data), batch_size)


@dataclass(eq=False)
class _Moments:
    """Sums over a layer's input vectors.

    Attributes:
        total: (groups, rows) of the inputs.
        products: (groups, rows, rows) of the products of two; those below the diagonal may be
            missing.
    """

    total: Array64
    products: Array64
    count: int = 0

    @staticmethod
    def of(layer: ImageLayer) -> _Moments:
        groups, rows = layer.groups, layer.rows
        return _Moments(np.zeros((groups, rows)), np.zeros((groups, rows, rows)))

    def add(self, vectors: torch.Tensor) -> None:
        """Count (vectors, groups · rows) in."""
        from scipy.linalg.blas import dsyrk

        grouped = vectors.double().unflatten(1, self.total.shape).transpose(0, 1)
        self.count += len(vectors)
        self.total += grouped.sum(dim=1).numpy()
        if self.total.shape[1] < _LARGE:
            self.products += (grouped.transpose(1, 2) @ grouped).numpy()
            return
        for products, each in zip(self.products, grouped.numpy(), strict=True):
            # Half of a product that is symmetric, added where it stands.
            dsyrk(1.0, np.asfortranarray(each.T), 1.0, products.T, lower=1, overwrite_c=1)

    def centred(self) -> Array64:
        """(groups, rows, rows) second moments about the mean."""
        upper = np.triu(self.products)
        products = upper + np.triu(self.products, 1).swapaxes(1, 2)
        mean = self.total / self.count
        found: Array64 = products / self.count - mean[:, :, None] * mean[:, None]
        return found

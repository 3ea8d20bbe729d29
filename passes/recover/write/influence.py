"""Influence: how much the outputs of each layer matter to the network's."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from pimc.data.dataset import Dataset
from pimc.passes.recover.twin.goal import Goal
from pimc.passes.recover.twin.student import Student
from pimc.plan.records import layer_of
from pimc.plan.vectors import sample
from pimc.progress import Progress, silent
from pimc.runtime.feeds import tensors

__all__ = ["Influence", "influences"]

Array64 = npt.NDArray[np.float64]


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
    batch_size: int = 64,
    vectors: int = 8192,
    progress: Progress = silent,
) -> dict[int, Influence]:
    """How much each layer's outputs matter, and the moments of its inputs."""
    student.check_gradients()
    starts = range(0, len(data), batch_size)
    squared: dict[str, torch.Tensor] = {}
    inputs: dict[str, list[torch.Tensor]] = {}
    share = -(-vectors // len(starts))

    def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        name = layer_of(node)
        window = student.twin.layers[name].layer.window
        some = sample(x.detach(), window, share, generator)
        inputs.setdefault(name, []).append(some)
        return student.twin(node, x)

    for start in progress(starts, "weighing layers", len(starts)):
        feed = tensors(data.feed(start, min(start + batch_size, len(data))))
        wanted, _ = student.teach(feed)
        found, features = student.run(feed, array)
        calls = list(features)
        gradients = torch.autograd.grad(
            goal.probe(found, wanted, generator), [features[call] for call in calls]
        )
        for (name, _), gradient in zip(calls, gradients, strict=True):
            last = student.twin.layers[name].layer.window is None
            columns = gradient.movedim(-1 if last else 1, 0).flatten(1)
            squared[name] = squared.get(name, torch.zeros(())) + columns.square().sum(dim=1)
    return {
        twin.layer.index: Influence(
            _moments(torch.cat(inputs[name]), twin.layer.groups),
            (squared[name].double().numpy() / len(data)).reshape(twin.layer.groups, -1),
        )
        for name, twin in student.twin.layers.items()
    }


def _moments(vectors: torch.Tensor, groups: int) -> np.ndarray:
    grouped = vectors.double().reshape(len(vectors), groups, -1).transpose(0, 1)
    centred = grouped - grouped.mean(dim=1, keepdim=True)
    return (centred.transpose(1, 2) @ centred / len(vectors)).numpy()

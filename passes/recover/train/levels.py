"""Train the levels: which cells to write, and to what, found by gradients through the twin.

Every weight starts as what the die holds and is trained. One that moves far enough from there is
written: it is rounded to its code and meets a fresh write error whenever it is looked at, with
gradients straight through the rounding (Y. Bengio et al., arXiv 1308.3432). Cells that no write
moves stay what they are, and the others learn to make up for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from pimc.data.dataset import Dataset
from pimc.image.image import Image
from pimc.passes.recover.estimate import CellEstimate
from pimc.passes.recover.train.trainer import Batch, Trainer
from pimc.passes.recover.twin.goal import Goal
from pimc.passes.recover.twin.noisy import NoisyLayer, parameters_of
from pimc.passes.recover.twin.student import Student, distance
from pimc.plan.records import layer_of
from pimc.progress import Progress, silent

__all__ = ["LevelOptions", "train_levels"]


@dataclass(frozen=True)
class LevelOptions:
    """How levels are trained.

    Attributes:
        steps: batches looked at, however many calibration inputs there are.
        batch_size: inputs a batch.
        learning_rate: of weights, in units of their layer's standard deviation.
        stay: a weight is written only if it is to move by more than this many standard
            deviations of a write.
        features: weight of the layers' outputs beside the network's.
    """

    steps: int = 500
    batch_size: int = 64
    learning_rate: float = 3e-2
    stay: float = 3.0
    features: float = 1.0


def train_levels(
    image: Image,
    estimates: Mapping[int, CellEstimate],
    student: Student,
    goal: Goal,
    data: Dataset,
    options: LevelOptions,
    generator: torch.Generator,
    budget: int,
    *,
    progress: Progress = silent,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint16], Image]:
    """The cells to write, their levels, and the image with the biases that go with them.

    Args:
        data: inputs; labels are not used.
        budget: writes allowed; the weights that are to move furthest come first.

    Raises:
        ModelError: gradients cannot reach a layer.
    """
    student.check_gradients()
    layers = {
        layer.name: NoisyLayer.on(image, layer, estimates[layer.index], options.stay)
        for layer in image.layers
    }

    def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        return layers[layer_of(node)](x)

    def loss_of(batch: Batch) -> torch.Tensor:
        for layer in layers.values():
            layer.draw(generator)
        found = student.run(batch.feed, array)
        return distance(goal, found, student.teach(batch.feed), options.features)

    parameters = parameters_of(layers.values(), options.learning_rate)
    Trainer(
        parameters,
        loss_of,
        data,
        options.batch_size,
        generator,
        at_once=student.at_once,
        memory=student.memory,
    ).steps(options.steps, what="training levels", progress=progress)
    cells, levels = _chosen(image, layers, budget)
    biased = [
        replace(image.layers[noisy.layer.index], bias=noisy.bias.detach().numpy().copy())
        for noisy in layers.values()
    ]
    return cells, levels, image.with_layers(biased)


def _chosen(
    image: Image, layers: dict[str, NoisyLayer], budget: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint16]]:
    """Cells and levels of the weights that are to move, the furthest first."""
    far, cells, levels, planes = [], [], [], []
    for noisy in layers.values():
        assert noisy.held is not None
        layer, moved = noisy.layer, ~noisy.stays().numpy()
        way = (noisy.weight - noisy.held.us).detach().abs() / noisy.sigma_us.mean()
        far.append(way.numpy()[moved])
        cells.append(layer.by_weight(image.cells(layer))[moved].reshape(-1))
        levels.append(image.codebook_of(layer).levels[noisy.codes().numpy()][moved].reshape(-1))
        planes.append(np.full(int(moved.sum()), layer.planes))
    order, taken = np.argsort(-np.concatenate(far), kind="stable"), np.concatenate(planes)
    ends = np.cumsum(taken)
    order = order[np.cumsum(taken[order]) <= budget]
    # The cells of a weight follow each other.
    first = np.repeat(ends[order] - taken[order], taken[order])
    within = np.arange(len(first)) - np.repeat(np.cumsum(taken[order]) - taken[order], taken[order])
    return np.concatenate(cells)[first + within], np.concatenate(levels)[first + within]

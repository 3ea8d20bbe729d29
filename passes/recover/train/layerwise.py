"""Chip in the loop, layer by layer: later layers learn what the written ones really give.

The layers are gone through in the order in which they run. Those already written compute on the
chip; all that follow are trained, under write errors, to make up for it; then the next one is
written. Only outputs of layers are used, no cell is identified (Wan et al. 2022, DOI
10.1038/s41586-022-04992-8).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir
import torch

from pimc.data.dataset import Dataset
from pimc.passes.recover.train.trainer import Batch, Trainer
from pimc.passes.recover.twin.goal import Goal
from pimc.passes.recover.twin.noisy import NoisyLayer, parameters_of
from pimc.passes.recover.twin.student import Student, distance
from pimc.plan.records import layer_of
from pimc.runtime.crossbar import CrossbarLayer
from pimc.runtime.ops.parts import by_samples
from pimc.runtime.session import BATCH_SIZE

__all__ = ["LayerwiseOptions", "train_rest"]


@dataclass(frozen=True)
class LayerwiseOptions:
    """How the layers that follow are trained.

    Attributes:
        images: run for every layer that was written, drawn anew each time.
        batch_size: images a step.
        learning_rate: of weights, in units of their layer's standard deviation.
        features: weight of the layers' outputs beside the network's.
    """

    images: int = 1024
    batch_size: int = 64
    learning_rate: float = 2e-3
    features: float = 1.0


def train_rest(
    student: Student,
    rest: Mapping[str, NoisyLayer],
    chip: Mapping[str, CrossbarLayer],
    goal: Goal,
    data: Dataset,
    options: LayerwiseOptions,
    generator: torch.Generator,
) -> None:
    """Train the layers that are not yet written, in place, on what the chip gives before them.

    Args:
        rest: those layers, by name.
        chip: all layers on the chip, by name.
        data: inputs; labels are not used.
        generator: of the choice and order of the inputs, and of write errors.

    Raises:
        DeviceError: the chip failed.
    """

    def array(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        name = layer_of(node)
        if name in rest:
            return rest[name](x)
        with torch.no_grad():
            return by_samples(chip[name], x, BATCH_SIZE)

    def loss_of(batch: Batch) -> torch.Tensor:
        for layer in rest.values():
            layer.draw(generator)
        wanted, wanted_features = student.teach(batch.feed)
        kept = {call: value for call, value in wanted_features.items() if call[0] in rest}
        return distance(goal, student.run(batch.feed, array), (wanted, kept), options.features)

    count = min(options.images, len(data))
    some = data.subset(torch.randperm(len(data), generator=generator)[:count].numpy())
    parameters = parameters_of(rest.values(), options.learning_rate)
    trainer = Trainer(
        parameters,
        loss_of,
        some,
        options.batch_size,
        generator,
        annealed=False,
        at_once=student.at_once,
        memory=student.memory,
    )
    trainer.epochs(1)

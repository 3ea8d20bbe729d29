"""Distill: train the digital side of the twin toward the float network."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Literal

import torch

from pimc.data.dataset import Dataset
from pimc.passes.recover.train.trainer import Batch, Trainer
from pimc.passes.recover.twin.goal import TEMPERATURE, Goal
from pimc.passes.recover.twin.lessons import Lessons, lessons
from pimc.passes.recover.twin.student import Student, distance
from pimc.progress import Progress, silent
from pimc.runtime.feeds import tensors
from pimc.runtime.graph.executor import ArrayCall

__all__ = ["DistillOptions", "distill"]

#: Samples that spreads of layers are measured on.
_SAMPLES = 64


@dataclass(frozen=True)
class DistillOptions:
    """How the digital side is trained.

    Attributes:
        epochs, batch_size: over the training part of the calibration data.
        learning_rate: of gains, and of biases in units of their layer's spread.
        features: weight of the pre-activation features beside the outputs.
        temperature: at which the classes of both networks are compared.
        forward: what a layer gives while training: ``chip`` what the chip reads, or, without one,
            what the twin expects under the measured read noise; ``twin`` what the twin expects.
    """

    epochs: int = 6
    batch_size: int = 64
    learning_rate: float = 2e-3
    features: float = 1.0
    temperature: float = TEMPERATURE
    forward: Literal["twin", "chip"] = "twin"


def distill(
    student: Student,
    goal: Goal,
    data: Dataset,
    options: DistillOptions,
    generator: torch.Generator,
    *,
    array: ArrayCall | None = None,
    train: Container[str] = ("gain", "bias"),
    judge: Callable[[int], bool],
    known: Lessons | None = None,
    progress: Progress = silent,
) -> None:
    """Train gains and biases of the twin in place.

    Args:
        array: what the layers give, with gradients for the twin; the twin itself if None.
        train: which of them.
        judge: called after every epoch with its number; training ends when it returns False.
        known: what the float network gives for the data, where others train on it, too.
    """
    student.check_gradients()
    spread = _spread(student, data)
    units = {"gain": dict.fromkeys(spread, 1.0), "bias": spread}
    parameters = [
        {
            "params": [getattr(twin, name)],
            "lr": options.learning_rate * units[name][twin.layer.name],
        }
        for name in units
        if name in train
        for twin in student.twin.layers.values()
    ]

    taught = known or lessons(student, data)

    def loss_of(batch: Batch) -> torch.Tensor:
        found = student.run(batch.feed, array or student.twin)
        wanted = taught.teach(batch.feed, batch.chosen)
        return distance(goal, found, wanted, options.features)

    Trainer(
        parameters,
        loss_of,
        data,
        options.batch_size,
        generator,
        at_once=student.at_once,
        memory=student.memory,
    ).epochs(options.epochs, judge, what="distilling", progress=progress)


def _spread(student: Student, data: Dataset) -> dict[str, float]:
    """Standard deviation of each layer's output in the float network, the largest of its uses."""
    _, features = student.teach(tensors(data.feed(0, min(_SAMPLES, student.at_once, len(data)))))
    found: dict[str, float] = {}
    for (name, _), value in features.items():
        found[name] = max(found.get(name, 1e-6), float(value.std()))
    return found

"""Distill: train the digital side of the twin toward the float network."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir
import torch

from pimc.data.dataset import Dataset
from pimc.errors import ModelError
from pimc.passes.recover.calls import Call, next_call
from pimc.passes.recover.objective import TEMPERATURE, Goal, Outputs
from pimc.passes.recover.rewrite import Influence
from pimc.passes.recover.twin import Twin, TwinLayer
from pimc.plan.records import layer_of
from pimc.plan.vectors import sample
from pimc.progress import Progress, silent
from pimc.runtime.graph.executor import ArrayCall, Executor

#: What layers give, use by use.
Features = dict[Call, torch.Tensor]


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


#: The network's outputs, and those of all uses of array layers.
Run = tuple[Outputs, Features]


@dataclass(frozen=True)
class Student:
    """Twin and teacher on one graph.

    Attributes:
        feed, outputs: names of the network's input and of the outputs that are distilled.
    """

    executor: Executor
    twin: Twin
    teacher: ArrayCall
    feed: str
    outputs: tuple[str, ...]

    def check_gradients(self) -> None:
        """Make sure that every layer can be trained.

        Raises:
            ModelError: a node without gradient stands between a layer and the output.
        """
        outputs = [twin.layer.output for twin in self.twin.layers.values()]
        breaks = self.executor.gradient_breaks(outputs, self.outputs)
        if breaks:
            named = ", ".join(f"{node.op_type} ({node.outputs[0].name})" for node in breaks)
            raise ModelError(
                f"no gradient passes through {named}",
                where=", ".join(self.outputs),
                hint="these operators run in ONNX Runtime; replace them in the model",
            )

    def run(self, x: torch.Tensor, array: ArrayCall) -> Run:
        """Outputs and the outputs of all array layers."""
        features: Features = {}

        def keep(node: ir.Node, value: torch.Tensor) -> torch.Tensor:
            y = array(node, value)
            features[next_call(layer_of(node), features)] = y
            return y

        values = self.executor.run({self.feed: x}, want=self.outputs, array=keep)
        return [values[name] for name in self.outputs], features

    def teach(self, x: torch.Tensor) -> Run:
        """The teacher's outputs and features."""
        with torch.no_grad():
            return self.run(x, self.teacher)


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
    progress: Progress = silent,
) -> None:
    """Train gains and biases of the twin in place.

    Args:
        array: what the layers give, with gradients for the twin; the twin itself if None.
        train: which of them.
        judge: called after every epoch with its number; training ends when it returns False.
    """
    student.check_gradients()
    spread = _spread(student, data)
    units = {"gain": dict.fromkeys(spread, 1.0), "bias": spread}
    optimizer = torch.optim.Adam(
        [
            {
                "params": [getattr(twin, name)],
                "lr": options.learning_rate * units[name][twin.layer.name],
            }
            for name in units
            if name in train
            for twin in _twins(student)
        ]
    )
    steps = options.epochs * -(-len(data) // options.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    for epoch in progress(range(options.epochs), "distilling", options.epochs):
        for x in batches(data, options.batch_size, generator):
            loss = distance(
                goal, student.run(x, array or student.twin), student.teach(x), options.features
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        if not judge(epoch):
            break


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
        x = torch.from_numpy(data.batch(start, min(start + batch_size, len(data))))
        wanted, _ = student.teach(x)
        found, features = student.run(x, array)
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


def _twins(student: Student) -> Iterator[TwinLayer]:
    return iter(student.twin.layers.values())


def batches(data: Dataset, batch_size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Inputs of one epoch in a drawn order."""
    # Even parts: a last batch of one sample would have no variance to measure errors by.
    order = torch.randperm(len(data), generator=generator).numpy()
    for part in np.array_split(order, -(-len(order) // batch_size)):
        yield torch.from_numpy(data.subset(part).all())


def _spread(student: Student, data: Dataset) -> dict[str, float]:
    """Standard deviation of each layer's output in the float network, the largest of its uses."""
    _, features = student.teach(torch.from_numpy(data.batch(0, min(64, len(data)))))
    found: dict[str, float] = {}
    for (name, _), value in features.items():
        found[name] = max(found.get(name, 1e-6), float(value.std()))
    return found


def distance(goal: Goal, found: Run, wanted: Run, features: float) -> torch.Tensor:
    """What is trained on: distance from the teacher's outputs, and from its layers' outputs.

    Args:
        features: weight of the layers' outputs; those of ``wanted`` count.
    """
    loss = goal.loss(found[0], wanted[0])
    return loss + features * feature_loss(found[1], wanted[1]) if features else loss


def feature_loss(found: Features, wanted: Features) -> torch.Tensor:
    """Mean over all uses of layers of the squared error relative to the teacher's variance."""
    losses = [
        (found[call] - value).square().mean() / value.var(correction=0).clamp_min(1e-12)
        for call, value in wanted.items()
    ]
    return torch.stack(losses).mean()


def _moments(vectors: torch.Tensor, groups: int) -> np.ndarray:
    grouped = vectors.double().reshape(len(vectors), groups, -1).transpose(0, 1)
    centred = grouped - grouped.mean(dim=1, keepdim=True)
    return (centred.transpose(1, 2) @ centred / len(vectors)).numpy()

"""The student: twin and float network on one graph, and how far apart they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir
import torch

from pimc.errors import ModelError
from pimc.passes.recover.twin.goal import Goal, Outputs
from pimc.passes.recover.twin.straight import mean_square
from pimc.passes.recover.twin.twin import Twin
from pimc.passes.recover.watch.calls import Call, next_call
from pimc.plan.records import layer_of
from pimc.runtime.feeds import Feed
from pimc.runtime.graph.executor import ArrayCall, Executor
from pimc.work.memory import UNLIMITED, Memory

__all__ = ["LayerOutputs", "Run", "Student", "distance", "feature_loss", "require_gradients"]

#: Samples that are run at once where nobody says otherwise.
_AT_ONCE = 64

#: What layers give, use by use.
LayerOutputs = dict[Call, torch.Tensor]


#: The network's outputs, and those of all uses of array layers.
Run = tuple[Outputs, LayerOutputs]


@dataclass(frozen=True)
class Student:
    """Twin and teacher on one graph.

    Attributes:
        outputs: names of the outputs that are distilled.
        axes: where they have their batch axis, if not first.
        at_once: samples whose gradients are worked out at once.
        memory: what is kept for gradients lies on the disk where it has no room.
    """

    executor: Executor
    twin: Twin
    teacher: ArrayCall
    outputs: tuple[str, ...]
    axes: Mapping[str, int] = field(default_factory=dict)
    at_once: int = _AT_ONCE
    memory: Memory = UNLIMITED

    def check_gradients(self) -> None:
        """Make sure that every layer can be trained.

        Raises:
            ModelError: a node without gradient stands between a layer and the output.
        """
        require_gradients(
            self.executor,
            [twin.layer.output for twin in self.twin.layers.values()],
            self.outputs,
        )

    def run(self, feed: Feed, array: ArrayCall, also: Sequence[str] = ()) -> Run:
        """Outputs, samples first, and the outputs of all array layers.

        Args:
            also: values that are worked out even where no output needs them.
        """
        features: LayerOutputs = {}

        def keep(node: ir.Node, value: torch.Tensor) -> torch.Tensor:
            y = array(node, value)
            features[next_call(layer_of(node), features)] = y
            return y

        values = self.executor.run(feed, want=(*self.outputs, *also), array=keep)
        outputs = [
            values[name].movedim(self.axes[name], 0) if name in self.axes else values[name]
            for name in self.outputs
        ]
        return outputs, features

    def teach(self, feed: Feed, also: Sequence[str] = ()) -> Run:
        """The teacher's outputs and features; arguments as those of :meth:`run`."""
        with torch.no_grad():
            return self.run(feed, self.teacher, also)


def require_gradients(executor: Executor, layers: Sequence[str], outputs: Sequence[str]) -> None:
    """Make sure that gradients of ``outputs`` reach the layers, named by what they give.

    Raises:
        ModelError: a node without gradient stands between a layer and the output.
    """
    breaks = executor.gradient_breaks(layers, outputs)
    if breaks:
        named = ", ".join(f"{node.op_type} ({node.outputs[0].name})" for node in breaks)
        raise ModelError(
            f"no gradient passes through {named}",
            where=", ".join(outputs),
            hint="these operators run in ONNX Runtime; replace them in the model",
        )


def distance(goal: Goal, found: Run, wanted: Run, features: float) -> torch.Tensor:
    """What is trained on: distance from the teacher's outputs, and from its layers' outputs.

    Args:
        features: weight of the layers' outputs; those of ``wanted`` count.
    """
    loss = goal.loss(found[0], wanted[0])
    return loss + features * feature_loss(found[1], wanted[1]) if features else loss


def feature_loss(found: LayerOutputs, wanted: LayerOutputs) -> torch.Tensor:
    """Mean over all uses of layers of the squared error relative to the teacher's variance."""
    losses = [
        mean_square(found[call] - value) / value.var(correction=0).clamp_min(1e-12)
        for call, value in wanted.items()
    ]
    return torch.stack(losses).mean()

"""What layers give in a run, and how much of it fits into memory."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import torch

from pimc.passes.recover.watch.calls import Call, next_call
from pimc.plan.records import layer_of
from pimc.runtime.feeds import Feed
from pimc.runtime.graph.executor import ArrayCall
from pimc.runtime.session import BATCH_SIZE, Session

__all__ = ["images_in_memory", "layer_outputs", "read_in_parts"]

#: Largest total of the float network's features held in memory, in values.
_FEATURES = 64_000_000


def layer_outputs(session: Session, array: ArrayCall, inputs: Feed) -> dict[Call, torch.Tensor]:
    """What every layer gives for ``inputs``, use by use."""
    found: dict[Call, torch.Tensor] = {}

    def noted(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        found[next_call(layer_of(node), found)] = y = array(node, x)
        return y

    session.evaluate(inputs, array=noted)
    return found


def read_in_parts(read: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """What ``read`` gives for ``x``: all images at once would not fit a processor's caches."""
    return torch.cat([read(part) for part in x.split(BATCH_SIZE)])


def images_in_memory(session: Session, teacher: ArrayCall, one: Feed) -> int:
    """Of how many images the outputs of all layers fit into memory, judged by a single one."""
    values = 0

    def count(node: ir.Node, x: torch.Tensor) -> torch.Tensor:
        nonlocal values
        y = teacher(node, x)
        values += y.numel()
        return y

    session.evaluate(one, array=count)
    return max(1, _FEATURES // max(values, 1))

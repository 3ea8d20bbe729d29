"""Scales of activations that a network quantized elsewhere brings along."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from pimc.passes.graph.constants import constant_array
from pimc.plan.records import InputSteps

__all__ = ["input_steps"]


#: Ops that put values elsewhere, zeros between them.
_MOVING = frozenset(
    {"Flatten", "Identity", "Pad", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)


def input_steps(value: ir.Value | None) -> InputSteps | None:
    """The steps of what a DequantizeLinear with one scale gives; None of anything else.

    Operators that only move values may follow it.
    """
    node = None if value is None else value.producer()
    if node is None or node.domain:
        return None
    if node.op_type == "Concat":
        first, *others = [input_steps(each) for each in node.inputs]
        return first if all(steps == first for steps in others) else None
    if node.op_type in _MOVING:
        return input_steps(node.inputs[0]) if _adds_zeros(node) else None
    if node.op_type != "DequantizeLinear":
        return None
    scale = constant_array(node.inputs[1])
    zero = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    source = node.inputs[0]
    dtype = zero.dtype if zero is not None else _numpy_type(source)
    if scale is None or scale.size != 1 or dtype is None or dtype.kind not in "iu":
        return None
    if zero is None and len(node.inputs) > 2 and node.inputs[2] is not None:
        return None
    if zero is not None and zero.size != 1:
        return None
    middle = 0 if zero is None else int(zero.reshape(-1)[0])
    ends = np.iinfo(dtype)
    return InputSteps(float(scale.reshape(-1)[0]), int(ends.min) - middle, int(ends.max) - middle)


def _adds_zeros(node: ir.Node) -> bool:
    """Whether what a Pad adds, if anything, is zero, which is a step, or there already."""
    constant = node.attributes.get_string("mode", "constant") == "constant"
    given = node.inputs[2] if node.op_type == "Pad" and len(node.inputs) > 2 else None
    if not constant or given is None:
        return True
    added = constant_array(given)
    return added is not None and not np.any(added)


def _numpy_type(value: ir.Value | None) -> np.dtype | None:
    if value is None or value.dtype is None:
        return None
    return np.dtype(value.dtype.numpy())

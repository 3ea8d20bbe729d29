"""ConvTranspose: the products on the array, added up where they overlap by the digital side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from pimc.passes.graph.constants import constant_array, constant_tensor, is_float
from pimc.passes.lower.emitter import Emitter
from pimc.passes.lower.needs import weight_shape
from pimc.plan.kernels import kernels_of_matrix

__all__ = ["lower_conv_transpose", "whole_input_groups"]


def whole_input_groups(node: ir.Node) -> bool:
    """The number of input channels is a multiple of group.

    correct the group attribute
    """
    group = node.attributes.get_int("group", 1)
    return group >= 1 and weight_shape(node)[0] % group == 0


def lower_conv_transpose(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """Every input vector meets every weight once, in a convolution of kernel 1.

    What each position gives for each place of the kernel is then put there and added by a
    transposed convolution without weights to speak of: one-hot kernels, a group an output
    channel. It keeps the attributes of the node, so that all of ONNX's ways of stating strides,
    pads and sizes hold, and gradients pass.
    """
    weight = constant_array(node.inputs[1])
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    groups = node.attributes.get_int("group", 1)
    tensor = constant_tensor(node.inputs[1])
    if weight is None or tensor is None or not is_float(tensor.dtype) or not node.inputs[0]:
        return None
    if weight.ndim < 3 or weight.size == 0 or groups < 1 or weight.shape[0] % groups:
        return None
    channels, outputs, kernel = weight.shape[0], weight.shape[1], weight.shape[2:]
    taps, ones = math.prod(kernel), [1] * len(kernel)
    matrix = weight.reshape(groups, channels // groups, outputs * taps)
    first = kernels_of_matrix(matrix, ones)
    name = node.inputs[1].name if node.inputs[1] is not None else None
    products = emit.op(
        "Conv",
        node.inputs[0],
        emit.weight(first, name),
        group=groups,
        kernel_shape=ones,
    )
    places = np.tile(np.eye(taps, dtype=weight.dtype), (groups * outputs, 1))
    kept = {
        name: attribute.value
        for name, attribute in node.attributes.items()
        if name not in ("group", "kernel_shape")
    }
    return [
        emit.op(
            "ConvTranspose",
            products,
            emit.constant(places.reshape(-1, 1, *kernel)),
            bias,
            group=groups * outputs,
            kernel_shape=list(kernel),
            **kept,
        )
    ]

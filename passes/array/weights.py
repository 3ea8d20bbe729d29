"""Turn the weight of a Conv, Gemm or MatMul into a matrix of the array."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, cast

import numpy as np
import onnx_ir as ir

from pimc.errors import PlanError
from pimc.files.stored import Dequantized
from pimc.files.weight import Floats, Weight
from pimc.passes.graph.constants import Array, constant_array
from pimc.passes.simplify.deferred import Source, turned, weight_source
from pimc.plan.kernels import matrix_of_kernels
from pimc.plan.records import Window

AutoPad = Literal["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]


@dataclass(frozen=True)
class Matrix:
    """What the array holds for one node.

    Attributes:
        weight: (groups, rows, cols).
        bias: float32 (groups * cols,).
        window: how vectors are cut from the input, for convolutions.
        added: a third operand of Gemm that is no bias and is added digitally.
        added_scale: factor of ``added``.
        column_axis: axis of the output that counts columns, from the front or the back.
        output_rank: dimensions of the output, None where unknown.
    """

    weight: Weight = field(repr=False)
    bias: Floats = field(repr=False)
    window: Window | None = None
    added: ir.Value | None = None
    added_scale: float = 1.0
    column_axis: int = -1
    output_rank: int | None = None

    @property
    def columns(self) -> int:
        """Columns of all groups."""
        return int(self.bias.size)

    def as_bias(self, array: Array) -> Floats | None:
        """``array`` as (columns,) float32 if adding it to the output adds a bias, else None."""
        rank = self.output_rank if self.output_rank is not None else max(array.ndim, 1)
        if array.ndim > rank or (self.output_rank is None and array.ndim > 1):
            return None
        shape = [1] * (rank - array.ndim) + list(array.shape)
        along = shape.pop(self.column_axis)
        if any(dim != 1 for dim in shape) or along not in (1, self.columns):
            return None
        return _vector(np.broadcast_to(array.reshape(-1), (self.columns,)))

    def along_columns(self, vector: Floats) -> Floats:
        """(columns,) values in a shape that adds them to the output."""
        if self.window is None:
            return vector
        return vector.reshape(-1, *(1,) * len(self.window.kernel))


def matrix_of(node: ir.Node) -> Matrix:
    """The matrix of ``node``, which must meet all constraints of its op."""
    return _BUILDERS[node.op_type](node)


def _conv(node: ir.Node) -> Matrix:
    """Rows in order (channel in group, kernel position), as an unfolded input has them."""
    weight = _operand(node, 1)
    groups = node.attributes.get_int("group", 1)
    outputs, kernel = weight.shape[0], weight.shape[2:]
    matrix = matrix_of_kernels(weight, groups)
    bias = _operand(node, 2).reshape(-1) if _has(node, 2) else _zeros(outputs)
    auto_pad = cast(AutoPad, node.attributes.get_string("auto_pad", "NOTSET"))
    zeros, ones = (0,) * (2 * len(kernel)), (1,) * len(kernel)
    pads = node.attributes.get_ints("pads", zeros) if auto_pad == "NOTSET" else zeros
    window = Window(
        kernel=tuple(kernel),
        strides=tuple(node.attributes.get_ints("strides", ones)),
        dilations=tuple(node.attributes.get_ints("dilations", ones)),
        pads=tuple(pads),
        auto_pad=auto_pad,
    )
    return Matrix(Weight(matrix), _vector(bias), window, column_axis=1, output_rank=2 + len(kernel))


def _gemm(node: ir.Node) -> Matrix:
    """For alpha·x·B + beta·C; a C that is no constant vector is left to a digital Add."""
    source = _source(node)
    weight = Weight(turned(source) if node.attributes.get_int("transB", 0) else source)
    alpha = node.attributes.get_float("alpha", 1.0)
    beta = node.attributes.get_float("beta", 1.0)
    matrix = Matrix(replace(weight, factor=alpha), _zeros(weight.shape[2]), output_rank=2)
    if not _has(node, 2) or beta == 0.0:
        return matrix
    array = constant_array(node.inputs[2])
    bias = None if array is None else matrix.as_bias(array.astype(np.float64) * beta)
    if bias is None:
        return replace(matrix, added=node.inputs[2], added_scale=beta)
    return replace(matrix, bias=bias)


def _matmul(node: ir.Node) -> Matrix:
    weight, data = Weight(_source(node)), node.inputs[0]
    rank = len(data.shape) if data is not None and data.shape is not None else None
    return Matrix(weight, _zeros(weight.shape[2]), output_rank=rank)


_BUILDERS: dict[str, Callable[[ir.Node], Matrix]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
}


def _has(node: ir.Node, index: int) -> bool:
    return index < len(node.inputs) and node.inputs[index] is not None


def _source(node: ir.Node) -> Source:
    """(1, rows, cols) of a matrix that may have leading ones."""
    source = weight_source(node.inputs[1])
    if source is None:
        raise PlanError("operand 1 is no constant", where=node.outputs[0].name)
    if isinstance(source, Dequantized):
        return source
    return source.reshape(1, *source.shape[-2:])


def _operand(node: ir.Node, index: int) -> Array:
    array = constant_array(node.inputs[index])
    if array is None:
        raise PlanError(f"operand {index} is no constant", where=node.outputs[0].name)
    return array


def _zeros(columns: int) -> Floats:
    return np.zeros(columns, np.float32)


def _vector(array: Array) -> Floats:
    """A contiguous, writable float32 copy."""
    with np.errstate(over="ignore"):
        return np.array(array, dtype=np.float32, order="C")

"""Large weights behind DequantizeLinear, Cast, Transpose or Identity: folded without a copy.

A folding library computes the weight, in float32, and keeps it in memory; what stands here in
its place says how to work out any part of it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from pimc.files.memory_map import mapped
from pimc.files.weights.stored import Dequantized, Packed
from pimc.passes.graph.constants import (
    FLOAT_TYPES,
    Array,
    become_constant,
    constant_array,
    constant_tensor,
)

__all__ = [
    "DeferredTensor",
    "Source",
    "defer_weights",
    "deferrable",
    "dequantized",
    "turned",
    "weight_source",
]

#: Entries of a weight below which a copy does not matter.
_LARGE = 1 << 20
#: Types of codes; larger ones lose digits in float32.
_CODES = (ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT4, ir.DataType.UINT4)
_SCALES = (np.dtype(np.float32), np.dtype(np.float16))

Source = Array | Dequantized


class DeferredTensor(ir.LazyTensor):
    """A matrix that is worked out when it is asked for; ``source`` is (1, rows, cols)."""

    __slots__ = ("source",)

    def __init__(self, source: Source, dtype: ir.DataType) -> None:
        self.source = source
        super().__init__(self._all, dtype, ir.Shape(source.shape[1:]))

    def _all(self) -> ir.TensorProtocol:
        return ir.Tensor(self.source[0].astype(self.dtype.numpy(), copy=False), name=self.name)


def weight_source(value: ir.Value | None) -> Source | None:
    """(1, rows, cols) of a constant matrix, read where it lies; None if it is none."""
    tensor = constant_tensor(value)
    return None if tensor is None else _source(tensor)


def deferrable(tensor: ir.TensorProtocol) -> bool:
    """Whether a copy of this matrix would matter."""
    return len(tensor.shape) == 2 and tensor.size >= _LARGE


def defer_weights(model: ir.Model) -> bool:
    """Fold what large weights go through; returns whether anything changed."""
    changed = [_defer(model.graph, node) for node in list(model.graph)]
    return any(changed)


def _defer(graph: ir.Graph, node: ir.Node) -> bool:
    rule = _RULES.get(node.op_type) if not node.domain else None
    tensor = constant_tensor(node.inputs[0]) if rule is not None and node.inputs else None
    output = node.outputs[0]
    if rule is None or tensor is None or output.is_graph_output():
        return False
    if not deferrable(tensor):
        return False
    made = rule(node, tensor)
    if made is None:
        return False
    become_constant(graph, output, DeferredTensor(*made))
    graph.remove(node, safe=True)
    return True


def turned(source: Source) -> Source:
    """Rows as columns, where they lie."""
    return source.transposed() if isinstance(source, Dequantized) else source.swapaxes(1, 2)


def _source(tensor: ir.TensorProtocol) -> Source:
    return tensor.source if isinstance(tensor, DeferredTensor) else tensor.numpy()[None]


_Made = tuple[Source, ir.DataType] | None


def _identity(node: ir.Node, tensor: ir.TensorProtocol) -> _Made:
    return (_source(tensor), tensor.dtype) if tensor.dtype in FLOAT_TYPES else None


def _cast(node: ir.Node, tensor: ir.TensorProtocol) -> _Made:
    """To a wider type, which changes no number."""
    target = ir.DataType(node.attributes.get_int("to", 0))
    if {tensor.dtype, target} <= {*FLOAT_TYPES} and target.bitwidth > tensor.dtype.bitwidth:
        return _source(tensor), target
    return None


def _transpose(node: ir.Node, tensor: ir.TensorProtocol) -> _Made:
    if tensor.dtype not in FLOAT_TYPES or node.attributes.get_ints("perm", (1, 0)) != (1, 0):
        return None
    return turned(_source(tensor)), tensor.dtype


def _dequantize(node: ir.Node, tensor: ir.TensorProtocol) -> _Made:
    """One scale for all, for each index of ``axis``, or for each block of these."""
    scale, zero = (constant_array(value) for value in (*node.inputs, None)[1:3])
    open_zero = len(node.inputs) > 2 and node.inputs[2] is not None and zero is None
    if scale is None or open_zero or node.attributes.get_int("output_dtype", 0) != 0:
        return None
    axis, block = node.attributes.get_int("axis", 1), node.attributes.get_int("block_size", 0)
    source = dequantized(tensor, scale, zero, axis, block)
    return None if source is None else (source, ir.DataType.from_numpy(source.dtype))


def dequantized(
    tensor: ir.TensorProtocol, scale: Array, zero: Array | None, axis: int, block: int = 0
) -> Dequantized | None:
    """(code − zero point) · scale of a matrix of codes, in the type of ``scale``; None if that
    cannot be worked out part by part.

    Args:
        scale, zero: one number, one for each index of ``axis``, or a matrix of them, one for each
            ``block`` of these.
    """
    if tensor.dtype not in _CODES or scale.dtype not in _SCALES:
        return None
    shape = tensor.shape.numpy()
    if block and scale.ndim == 2:
        held, sizes = tuple(scale.shape), [1, 1]
        sizes[axis] = block
    else:
        # Each scale holds for all of the other axis, and one for all also for all of this one.
        held = tuple(scale.size if k == axis % 2 else 1 for k in (0, 1))
        sizes = [1 if count == size else size for count, size in zip(held, shape, strict=True)]
    covered = tuple(-(-size // each) for size, each in zip(shape, sizes, strict=True))
    if covered != held or (zero is not None and zero.size != scale.size):
        return None
    spread = (1, *held)
    return Dequantized(
        _codes(tensor),
        scale.reshape(spread),
        None if zero is None else zero.reshape(spread),
        (sizes[0], sizes[1]),
        scale.dtype,
    )


def _codes(tensor: ir.TensorProtocol) -> Array | Packed:
    """(1, rows, cols) codes; those of four bits in a file of their own stay in pairs."""
    rows, cols = tensor.shape.numpy()
    if not isinstance(tensor, ir.ExternalTensor) or tensor.dtype.bitwidth != 4 or cols % 2:
        return tensor.numpy()[None]
    data = np.frombuffer(mapped(tensor.path), np.uint8, rows * cols // 2, tensor.offset or 0)
    signed = tensor.dtype == ir.DataType.INT4
    return Packed(data.reshape(rows, cols // 2), 4, cols, by_column=False, signed=signed)


_RULES: dict[str, Callable[[ir.Node, ir.TensorProtocol], _Made]] = {
    "Cast": _cast,
    "DequantizeLinear": _dequantize,
    "Identity": _identity,
    "Transpose": _transpose,
}

"""Products with weights of few bits, scaled block by block: ONNX Runtime's MatMulNBits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from pimc.files.packing import unpack_levels
from pimc.files.stored import Dequantized, Packed
from pimc.passes.graph.constants import Array, constant_array, constant_tensor
from pimc.passes.lower.emitter import Emitter

__all__ = ["constant_blocks", "lower_matmul_nbits", "ordered_blocks"]

_BITS = (2, 4, 8)


def constant_blocks(node: ir.Node) -> bool:
    """Codes, scales and zero points are constants.

    export the model with its weights as initializers
    """
    given = [value for value in node.inputs[1:4] if value is not None]
    return len(given) >= 2 and all(constant_tensor(value) is not None for value in given)


def ordered_blocks(node: ir.Node) -> bool:
    """Codes have 2, 4 or 8 bits, and no indices say which block a row belongs to.

    quantize without reordering rows
    """
    indices = node.inputs[4] if len(node.inputs) > 4 else None
    return indices is None and node.attributes.get_int("bits", 4) in _BITS


def lower_matmul_nbits(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """Product and bias, with weight (code − zero point) · scale, the last two a block of rows.

    Codes lie column by column (cols, blocks, bytes), the first in the lowest bits; zero points
    as codes do, or as numbers; without them it is the middle code.
    """
    if not (constant_blocks(node) and ordered_blocks(node)):
        return None
    x, packed, scales, zeros, _, bias = (*node.inputs, None, None, None)[:6]
    rows, block = (node.attributes.get_int(key) for key in ("K", "block_size"))
    bits = node.attributes.get_int("bits", 4)
    key = ("blocks", packed, scales, zeros, rows, block, bits)
    weight = emit.once(key, lambda: _weight(node, emit))
    y = emit.op("MatMul", x, weight)
    return [y if bias is None else emit.op("Add", y, bias)]


def _weight(node: ir.Node, emit: Emitter) -> ir.Value:
    _, packed, scales, zeros = (*node.inputs, None)[:4]
    rows, cols, block = (node.attributes.get_int(key) for key in ("K", "N", "block_size"))
    bits, count = node.attributes.get_int("bits", 4), -(-rows // block)
    codes, scale = np.asarray(constant_array(packed)), np.asarray(constant_array(scales))
    weight = Dequantized(
        Packed(codes.reshape(cols, -1), bits, rows, by_column=True),
        scale.reshape(1, cols, count).swapaxes(1, 2),
        _zero_points(constant_array(zeros), bits, cols, count),
        (block, 1),
        scale.dtype,
    )
    return emit.deferred(weight, None if packed is None else packed.name)


def _zero_points(given: Array | None, bits: int, cols: int, count: int) -> Array:
    """(1, blocks, cols)."""
    if given is None:
        return np.broadcast_to(np.uint8(1 << (bits - 1)), (1, count, cols))
    if given.dtype == np.uint8:
        given = unpack_levels(given.reshape(cols, -1), bits, count)
    return given.reshape(1, cols, count).swapaxes(1, 2)

"""Multiply-accumulates of what is computed digitally."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import onnx_ir as ir

__all__ = ["digital_macs"]


def digital_macs(node: ir.Node) -> int | None:
    """Multiply-accumulates a sample of a node; None where shapes are not known.

    The first dimension of an activation is the batch. Ops that are no products have none.
    """
    rule = _RULES.get(node.op_type)
    return 0 if rule is None else rule(node)


def _product(node: ir.Node) -> int | None:
    """A sum over the last dimension of the first operand for every output."""
    rows = _dim(node.inputs[0], -2 if node.attributes.get_int("transA", 0) else -1)
    return _times(_sample_size(node.outputs[0]), rows)


def _conv(node: ir.Node) -> int | None:
    """Every output sums over the channels of a group and the kernel."""
    return _times(_sample_size(node.outputs[0]), _sizes(node.inputs[1], 1))


def _transposed_conv(node: ir.Node) -> int | None:
    """Every input meets all outputs of its group and the kernel."""
    return _times(_sample_size(node.inputs[0]), _sizes(node.inputs[1], 1))


def _unknown(node: ir.Node) -> int | None:
    return None


_RULES: Mapping[str, Callable[[ir.Node], int | None]] = {
    "Conv": _conv,
    "ConvInteger": _conv,
    "ConvTranspose": _transposed_conv,
    "DeformConv": _unknown,
    "Einsum": _unknown,
    "GRU": _unknown,
    "Gemm": _product,
    "LSTM": _unknown,
    "MatMul": _product,
    "MatMulInteger": _product,
    "RNN": _unknown,
}


def _times(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first * second


def _sample_size(value: ir.Value | None) -> int | None:
    """Elements of a sample."""
    return _sizes(value, 1)


def _sizes(value: ir.Value | None, first: int) -> int | None:
    """Product of the dimensions from ``first`` on."""
    if value is None or value.shape is None:
        return None
    dims = list(value.shape)[first:]
    sizes = [dim for dim in dims if isinstance(dim, int)]
    return prod(sizes) if len(sizes) == len(dims) else None


def _dim(value: ir.Value | None, index: int) -> int | None:
    if value is None or value.shape is None or len(value.shape) < -index:
        return None
    dim = value.shape[index]
    return dim if isinstance(dim, int) else None

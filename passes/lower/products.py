"""Products whose constant is not a matrix on the right: MatMul, Gemm, Einsum."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from pimc.passes.graph.constants import (
    Array,
    constant_array,
    constant_tensor,
    is_float,
)
from pimc.passes.lower.contract import Axes, contract
from pimc.passes.lower.emitter import Emitter

__all__ = ["einsum_of_two", "lower_einsum", "lower_gemm", "lower_matmul"]


@dataclass(frozen=True)
class Product:
    """An activation times a constant."""

    data: ir.Value
    weight: ir.Value
    axes: Axes

    @property
    def plain(self) -> bool:
        """Whether the constant is a matrix on the right, as the array takes it."""
        lead, core = self.axes.weight[:-2], self.axes.weight[-2:]
        tensor = constant_tensor(self.weight)
        ones = tensor is not None and all(int(dim) == 1 for dim in tensor.shape.numpy()[:-2])
        return core == "KN" and ones and set(lead) <= set(self.axes.data)

    def number(self, value: float) -> Array:
        """A number of the constant's type."""
        tensor = constant_tensor(self.weight)
        return np.asarray(value, None if tensor is None else tensor.dtype.numpy())


def matmul_product(node: ir.Node) -> Product | None:
    """The product that a MatMul is; None where it is none or its dimensions are not known."""
    return _product(node, _matmul_axes)


def gemm_product(node: ir.Node) -> Product | None:
    """The product in a Gemm, without alpha, beta and C; None where it is none."""
    left = "km" if node.attributes.get_int("transA", 0) else "mk"
    right = "nk" if node.attributes.get_int("transB", 0) else "kn"
    return _product(node, lambda data, weight, first: _sided(left, right, "mn", first))


def einsum_product(node: ir.Node) -> Product | None:
    """The product that an Einsum is; None where it is none, or has an ellipsis."""
    equation = node.attributes.get_string("equation", "").replace(" ", "")
    terms, arrow, out = equation.partition("->")
    both = terms.split(",")
    if len(node.inputs) != 2 or len(both) != 2 or "." in equation:
        return None
    if not arrow:
        joined = "".join(both)
        out = "".join(sorted(axis for axis in set(joined) if joined.count(axis) == 1))
    left, right = both
    found = _product(node, lambda data, weight, first: _sided(left, right, out, first))
    return found if found is not None and found.axes.fit else None


def lower_product(product: Product, emit: Emitter, factor: float = 1.0) -> ir.Value:
    """Emit a product, times ``factor``."""
    weight, axes = _squeezed(constant_array(product.weight), product.axes)
    if factor != 1.0:
        weight = (weight.astype(np.float64) * factor).astype(weight.dtype)
    return contract(emit, product.data, weight, axes, product.weight.name)


#: Axes for (activation, constant, whether the constant comes first).
_AxesOf = Callable[[ir.Value, ir.TensorProtocol, bool], Axes | None]


def _product(node: ir.Node, axes_of: _AxesOf) -> Product | None:
    left, right = node.inputs[:2]
    tensors = constant_tensor(left), constant_tensor(right)
    for tensor, weight, data in zip(tensors, (left, right), (right, left), strict=True):
        if tensor is None or weight is None or data is None or None not in tensors:
            continue
        if not is_float(tensor.dtype) or tensor.size == 0:
            return None
        axes = axes_of(data, tensor, weight is left)
        return None if axes is None else Product(data, weight, axes)
    return None


def _sided(left: str, right: str, out: str, constant_first: bool) -> Axes:
    return Axes(right, left, out) if constant_first else Axes(left, right, out)


def _matmul_axes(data: ir.Value, weight: ir.TensorProtocol, constant_first: bool) -> Axes | None:
    """Leading dimensions are aligned at their ends; None where they do not agree.

    A dimension of one is broadcast. In the constant it does not count; where the activation has
    one and the constant a longer one, it would have to be removed, which is left to others.
    """
    if data.shape is None:
        return None
    shape = tuple(int(dim) for dim in weight.shape.numpy())
    lead = string.ascii_lowercase[: max(len(data.shape), len(shape), 2) - 2]
    data_axes, weight_axes = (
        _operand_axes(lead, core, rank)
        for core, rank in zip(
            ("KN", "MK") if constant_first else ("MK", "KN"),
            (len(data.shape), len(shape)),
            strict=True,
        )
    )
    for axis in set(data_axes) & set(weight_axes) & set(lead):
        length = shape[weight_axes.index(axis)]
        if length not in (1, data.shape[data_axes.index(axis)]):
            return None
    out = lead + "".join(axis for axis in "MN" if axis in data_axes + weight_axes)
    return Axes(data_axes, weight_axes, out)


def _operand_axes(lead: str, core: str, rank: int) -> str:
    """Axes of an operand of MatMul; a vector is its summed axis alone."""
    return "K" if rank == 1 else lead[len(lead) - (rank - 2) :] + core


def _squeezed(weight: Array | None, axes: Axes) -> tuple[Array, Axes]:
    """The constant without the dimensions of one that the activation has too."""
    array = np.asarray(weight)
    gone = [
        index
        for index, axis in enumerate(axes.weight)
        if array.shape[index] == 1 and axis in axes.data and axis in axes.out
    ]
    kept = "".join(axis for index, axis in enumerate(axes.weight) if index not in gone)
    return np.squeeze(array, axis=tuple(gone)), Axes(axes.data, kept, axes.out)


def einsum_of_two(node: ir.Node) -> bool:
    """It multiplies one activation by one constant, names all axes and sums over at least one
    that both have.

    write the product as MatMul
    """
    return einsum_product(node) is not None


def lower_matmul(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """A constant on the left, a vector, or a matrix of its own for every group."""
    product = matmul_product(node)
    if product is None or product.plain:
        return None
    return [lower_product(product, emit)]


def lower_gemm(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """A transposed input, or a constant on the left: alpha · A B + beta · C."""
    product = gemm_product(node)
    if product is None or product.axes.data == "mk":
        return None
    alpha, beta = (node.attributes.get_float(key, 1.0) for key in ("alpha", "beta"))
    y = lower_product(product, emit, alpha)
    if len(node.inputs) > 2 and node.inputs[2] is not None and beta != 0.0:
        added = node.inputs[2]
        if beta != 1.0:
            added = emit.op("Mul", added, emit.constant(product.number(beta)))
        y = emit.op("Add", y, added)
    return [y]


def lower_einsum(node: ir.Node, emit: Emitter) -> Sequence[ir.Value | None] | None:
    """Any product of an activation and a constant."""
    product = einsum_product(node)
    return None if product is None else [lower_product(product, emit)]

"""The product of an activation and a constant, of whatever axes, as one for the array."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from pimc.passes.graph.constants import Array
from pimc.passes.lower.emitter import Emitter
from pimc.plan.kernels import kernels_of_matrix

__all__ = ["Axes", "contract"]


@dataclass(frozen=True)
class Axes:
    """The axes of a product's operands and of its result, a letter each, as in Einsum."""

    data: str
    weight: str
    out: str

    @property
    def fit(self) -> bool:
        """Whether :func:`contract` can compute it: no axis twice, sums over common axes only."""
        data, weight, out = set(self.data), set(self.weight), set(self.out)
        distinct = all(len(set(axes)) == len(axes) for axes in (self.data, self.weight, self.out))
        summed = (data | weight) - out
        return distinct and out <= data | weight and bool(summed) and summed <= data & weight


def contract(emit: Emitter, x: ir.Value, weight: Array, axes: Axes, name: str | None) -> ir.Value:
    """Emit the product of ``x`` and ``weight``.

    Axes of both that are kept make groups: a convolution of kernel 1 computes those. Sizes of
    axes that only ``x`` has need not be known.

    Args:
        name: of the weight.
    """
    x_axes, weight_axes, out_axes = axes.data, axes.weight, axes.out
    size = dict(zip(weight_axes, weight.shape, strict=True))
    groups = [axis for axis in weight_axes if axis in x_axes and axis in out_axes]
    summed = [axis for axis in weight_axes if axis not in out_axes]
    columns = [axis for axis in weight_axes if axis not in x_axes]
    free = [axis for axis in x_axes if axis not in weight_axes]
    order = [weight_axes.index(axis) for axis in (*groups, *summed, *columns)]
    shape = [_product(size, axes) for axes in (groups, summed, columns)]
    matrix = np.ascontiguousarray(weight.transpose(order)).reshape(shape)
    x = _transposed(emit, x, x_axes, "".join((*free, *groups, *summed)))
    made = [size[axis] for axis in (*groups, *columns)]
    if groups:
        y = _by_groups(emit, x, len(free), matrix, made, name)
    else:
        y = _plain(emit, x, (len(free), len(summed)), matrix[0], made, name)
    return _transposed(emit, y, "".join((*free, *groups, *columns)), out_axes)


def _plain(
    emit: Emitter,
    x: ir.Value,
    ranks: tuple[int, int],
    matrix: Array,
    made: Sequence[int],
    name: str | None,
) -> ir.Value:
    """(free, summed) · matrix → (free, made); a zero in a Reshape keeps that dimension."""
    free, summed = ranks
    if summed != 1:
        x = emit.op("Reshape", x, emit.integers([0] * free + [matrix.shape[0]]))
    y = emit.op("MatMul", x, emit.weight(matrix, name))
    if len(made) != 1:
        y = emit.op("Reshape", y, emit.integers([0] * free + list(made)))
    return y


def _by_groups(
    emit: Emitter,
    x: ir.Value,
    free: int,
    matrix: Array,
    made: Sequence[int],
    name: str | None,
) -> ir.Value:
    """(free, groups · summed) · matrix → (free, made)."""
    groups, rows, _ = matrix.shape
    flat = emit.op("Reshape", x, emit.integers([-1, groups * rows, 1]))
    kernel = kernels_of_matrix(matrix, (1,))
    y = emit.op("Conv", flat, emit.weight(kernel, name), group=groups, kernel_shape=[1])
    if free == 1:
        return emit.op("Reshape", y, emit.integers([-1, *made]))
    if free == 0:
        return emit.op("Reshape", y, emit.integers(made))
    kept = emit.op("Slice", emit.op("Shape", x), emit.integers([0]), emit.integers([free]))
    return emit.op("Reshape", y, emit.op("Concat", kept, emit.integers(made), axis=0))


def _transposed(emit: Emitter, value: ir.Value, axes: str, wanted: str) -> ir.Value:
    if axes != wanted:
        value = emit.op("Transpose", value, perm=[axes.index(axis) for axis in wanted])
    return value


def _product(size: dict[str, int], axes: Sequence[str]) -> int:
    return int(np.prod([size[axis] for axis in axes], dtype=np.int64))

"""Replicate: copies of the layers that take longest, each for a part of every sample.

A layer with copies is a layer with more groups: its inputs are cut into parts, which become
channels, and each group of weights is there once a part. So nothing behind this pass needs to
know of copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import onnx_ir as ir

from pimc.errors import PlanError
from pimc.passes.array.judge import judge
from pimc.passes.array.partition import Partition
from pimc.passes.array.weights import Matrix
from pimc.passes.graph.constants import Array, constant_array, names_in_use
from pimc.passes.layout.copies import pipeline_layers, share_out
from pimc.passes.layout.tile import Tiling
from pimc.passes.lower.emitter import LAYER, Emitter, finish
from pimc.plan.kernels import kernels_of_matrix
from pimc.plan.records import Plan

if TYPE_CHECKING:
    from pimc.chip.design import Chip

__all__ = ["Replicate"]


@dataclass(frozen=True)
class Replicate:
    """Copy the slowest layers as long as there are arrays for it.

    Attributes:
        budget: arrays of all layers, their copies included.
        digital, array_only, mapping: as of :class:`~pimc.passes.array.partition.Partition`.
    """

    name: ClassVar[str] = "replicate"
    budget: int
    digital: tuple[str, ...] = ()
    array_only: bool = False
    mapping: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, plan: Plan, chip: Chip) -> Plan:
        """Return ``plan`` with copies in its graph.

        Raises:
            UsageError: shapes are not known, or the budget does not hold one copy of each layer.
            ModelError: the network cannot be compiled.
        """
        partition = Partition(self.digital, self.array_only, self.mapping)
        layers = Tiling()(partition(plan, chip), chip)
        found = pipeline_layers(layers, chip)
        number = {
            stage.layer: count
            for stage, count in zip(found, share_out(found, self.budget).copies, strict=True)
        }
        model = plan.graph.clone()
        taken = names_in_use(model)
        emitters = []
        for entry in list(judge(model, self.digital, array_only=self.array_only)):
            count = number.get(entry.report.name, 1)
            if entry.matrix is not None and count > 1:
                emitters.append(Emitter(entry.node, model.graph, taken))
                _replicate(entry.matrix, count, emitters[-1])
                _named(emitters[-1], entry.report.name)
        finish(model, emitters)
        return replace(plan, graph=model, stage=self.name)


def _replicate(matrix: Matrix, count: int, emit: Emitter) -> None:
    weight = np.asarray(constant_array(emit.node.inputs[1]))
    make = _product if matrix.window is None else _convolution
    emit.replace([make(matrix, weight, count, emit)])


def _named(emit: Emitter, layer: str) -> None:
    """The layer keeps its name, and names of its new nodes keep nothing off the array."""
    for node in emit.nodes:
        if node.op_type == "Conv":
            node.metadata_props[LAYER] = layer


def _convolution(matrix: Matrix, weight: Array, count: int, emit: Emitter) -> ir.Value:
    """Lines of outputs shared out, each copy with the lines of inputs that its windows cover."""
    node, window, x = emit.node, matrix.window, emit.node.inputs[0]
    if window is None or x is None:
        raise PlanError("is no convolution", where=node.name)
    (length, *_), (lines, *rest) = _sizes(x)[1:], _sizes(node.outputs[0])[1:]
    pads = window.resolved_pads(tuple(_sizes(x)[1:]))
    before, after = pads[: len(rest) + 1], pads[len(rest) + 1 :]
    part = -(-lines // count)
    step = part * window.strides[0]
    covered = (part - 1) * window.strides[0] + (window.kernel[0] - 1) * window.dilations[0] + 1
    missing = max(0, (count - 1) * step + covered - before[0] - length)
    padded = _padded(x, (3 + len(rest), 2), before[0], missing, emit)
    parts = [
        emit.op("Slice", padded, *map(emit.integers, ([k * step], [k * step + covered], [2])))
        for k in range(count)
    ]
    inputs = [emit.op("Concat", *parts, axis=1), emit.weight(_repeated(weight, count), _name(node))]
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        bias = np.asarray(constant_array(node.inputs[2]))
        inputs.append(emit.constant(np.tile(bias.reshape(-1), count)))
    y = emit.op(
        "Conv",
        *inputs,
        group=count * node.attributes.get_int("group", 1),
        strides=window.strides,
        dilations=window.dilations,
        pads=(0, *before[1:], 0, *after[1:]),
    )
    channels, axes = len(weight), range(4, 4 + len(rest))
    y = emit.op("Reshape", y, emit.integers([0, count, channels, part, *rest]))
    y = emit.op("Transpose", y, perm=[0, 2, 1, 3, *axes])
    y = emit.op("Reshape", y, emit.integers([0, channels, count * part, *rest]))
    return _cut(y, 2, lines, count * part, emit)


def _product(matrix: Matrix, weight: Array, count: int, emit: Emitter) -> ir.Value:
    """Vectors shared out, each copy a group of a convolution of kernel 1."""
    node, x = emit.node, emit.node.inputs[0]
    if x is None:
        raise PlanError("is no product", where=node.name)
    *lead, rows = _sizes(x)
    columns, vectors = matrix.columns, prod(lead)
    part = -(-vectors // count)
    flat = emit.op("Reshape", x, emit.integers([0, vectors, rows]))
    flat = _padded(flat, (3, 1), 0, count * part - vectors, emit)
    grouped = emit.op("Reshape", flat, emit.integers([0, count, part, rows]))
    grouped = emit.op("Transpose", grouped, perm=[0, 1, 3, 2])
    grouped = emit.op("Reshape", grouped, emit.integers([0, count * rows, part]))
    kernels = kernels_of_matrix(weight.reshape(1, rows, columns), (1,))
    constant = emit.weight(_repeated(kernels, count), _name(node))
    y = emit.op("Conv", grouped, constant, group=count)
    y = emit.op("Reshape", y, emit.integers([0, count, columns, part]))
    y = emit.op("Transpose", y, perm=[0, 1, 3, 2])
    y = emit.op("Reshape", y, emit.integers([0, count * part, columns]))
    y = _cut(y, 1, vectors, count * part, emit)
    return emit.op("Reshape", y, emit.integers([0, *lead, columns]))


def _padded(
    x: ir.Value, place: tuple[int, int], before: int, after: int, emit: Emitter
) -> ir.Value:
    """Zeros in front of and behind what lies along an axis; ``place`` is the rank and that axis."""
    if not before and not after:
        return x
    rank, axis = place
    pads = np.zeros((2, rank), np.int64)
    pads[:, axis] = before, after
    return emit.op("Pad", x, emit.integers(pads.reshape(-1).tolist()))


def _cut(y: ir.Value, axis: int, length: int, given: int, emit: Emitter) -> ir.Value:
    """The first entries along an axis, of more than there are outputs."""
    if length == given:
        return y
    return emit.op("Slice", y, *map(emit.integers, ([0], [length], [axis])))


def _repeated(weight: Array, count: int) -> Array:
    return np.tile(weight, (count, *(1,) * (weight.ndim - 1)))


def _name(node: ir.Node) -> str | None:
    weight = node.inputs[1]
    return None if weight is None else weight.name


def _sizes(value: ir.Value) -> list[int]:
    """All dimensions but the batch, which are known of a layer that is copied."""
    sizes = [dim for dim in _shape(value)[1:] if isinstance(dim, int)]
    if len(sizes) != len(_shape(value)) - 1:
        raise PlanError("has dimensions that are not known", where=value.name)
    return sizes


def _shape(value: ir.Value) -> list[int | ir.SymbolicDim]:
    if value.shape is None:
        raise PlanError("has no known shape", where=value.name)
    return list(value.shape)

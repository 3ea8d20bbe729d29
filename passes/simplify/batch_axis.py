"""Where the samples of a batch lie after an operator: one rule an op."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from pimc.passes.graph.constants import constant_array

__all__ = ["RULES", "BatchAxes", "BatchRule", "Unproved", "free_target", "keeps_first"]

#: Value → the axis along which its samples lie. Values without an entry hold no sample.
BatchAxes = Mapping[ir.Value, int]
#: The samples' axis in the outputs of a node, one of whose inputs has samples.
BatchRule = Callable[[ir.Node, BatchAxes], int]

#: Ends of a slice from here on mean all there is.
_ALL = 2**31 - 1


class Unproved(Exception):  # noqa: N818  (control flow, not an error)
    """The samples cannot be followed further; the text says why."""


def _demand(holds: bool, reason: str) -> None:
    if not holds:
        raise Unproved(reason)


def _shape(value: ir.Value | None) -> ir.Shape:
    if value is None or value.shape is None:
        raise Unproved("a shape is unknown")
    return value.shape


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _first(node: ir.Node, axes: BatchAxes) -> tuple[int, int]:
    """Samples' axis and rank of the first input; the others must hold none."""
    first = node.inputs[0]
    others = [value for value in node.inputs[1:] if value is not None]
    _demand(not any(value in axes for value in others), "a parameter depends on the samples")
    if first is None:
        raise Unproved("no input")
    return axes[first], len(_shape(first))


def _integers(node: ir.Node, index: int, attribute: str = "") -> list[int] | None:
    """The constant whole numbers of an input, or of an attribute; None where there are none."""
    value = _input(node, index)
    if value is None:
        found = node.attributes.get(attribute)
        return None if found is None else list(found.as_ints())
    array = constant_array(value)
    if array is None:
        raise Unproved("a parameter is computed")
    return [int(entry) for entry in np.atleast_1d(array)]


def _aligned(node: ir.Node, axes: BatchAxes, core: int = 0) -> tuple[int, int]:
    """Broadcasting: the samples' axis counted from the end, and the rank of the result.

    The last ``core`` axes do not broadcast; samples there are for the caller to judge.
    """
    values = [value for value in node.inputs if value is not None]
    ranks = {value: len(_shape(value)) for value in values}
    ends = {ranks[value] - axes[value] for value in values if value in axes}
    _demand(len(ends) == 1, "operands have their samples along different axes")
    end = ends.pop()
    for value in values:
        if value not in axes and end > core and ranks[value] >= end:
            _demand(_shape(value)[ranks[value] - end] == 1, f"{value.name} has a value a sample")
    return end, max(ranks.values())


def _pointwise(node: ir.Node, axes: BatchAxes) -> int:
    end, rank = _aligned(node, axes)
    return rank - end


def _matmul(node: ir.Node, axes: BatchAxes) -> int:
    left, right = node.inputs[:2]
    _demand(min(len(_shape(left)), len(_shape(right))) >= 2, "a vector")
    end, rank = _aligned(node, axes, core=2)
    mixes = (left in axes and end == 1) or (right in axes and end == 2)
    _demand(not mixes and (end > 2 or not (left in axes and right in axes)), "sums over samples")
    return rank - end


def _gemm(node: ir.Node, axes: BatchAxes) -> int:
    axis, _ = _first(node, axes)
    _demand(axis == 0 and not node.attributes.get_int("transA", 0), "sums over samples")
    offset = _input(node, 2)
    if offset is not None:
        _demand(len(_shape(offset)) < 2 or _shape(offset)[0] == 1, "C has a value a sample")
    return 0


def _leading(node: ir.Node, axes: BatchAxes) -> int:
    """Ops that are defined sample by sample along axis 0."""
    axis, _ = _first(node, axes)
    _demand(axis == 0, "the samples are not first")
    _demand(not node.attributes.get_int("training_mode", 0), "it trains")
    _demand(len(node.outputs) == 1, "indices count over all samples")
    return 0


def _along(default: int) -> BatchRule:
    """Ops that work along the attribute ``axis`` and leave every other axis alone."""

    def rule(node: ir.Node, axes: BatchAxes) -> int:
        axis, rank = _first(node, axes)
        _demand(node.attributes.get_int("axis", default) % rank != axis, "goes along the samples")
        return axis

    return rule


def _normalized(node: ir.Node, axes: BatchAxes) -> int:
    axis, rank = _first(node, axes)
    _demand(axis < node.attributes.get_int("axis", -1) % rank, "goes along the samples")
    return axis


def _linear_quantize(node: ir.Node, axes: BatchAxes) -> int:
    scale = _shape(node.inputs[1])
    _demand(len(scale) <= 1, "scales block by block")
    return _along(1)(node, axes) if len(scale) else _first(node, axes)[0]


def _argument(node: ir.Node, axes: BatchAxes) -> int:
    axis, rank = _first(node, axes)
    along = node.attributes.get_int("axis", 0) % rank
    return _without(axis, [along], keep=bool(node.attributes.get_int("keepdims", 1)))


def _reduce(node: ir.Node, axes: BatchAxes) -> int:
    axis, rank = _first(node, axes)
    along = _integers(node, 1, "axes")
    if not along:
        _demand(bool(node.attributes.get_int("noop_with_empty_axes", 0)), "goes along the samples")
        return axis
    return _without(
        axis, [a % rank for a in along], keep=bool(node.attributes.get_int("keepdims", 1))
    )


def _without(axis: int, along: list[int], *, keep: bool) -> int:
    """The samples' axis when the axes ``along`` are used up."""
    _demand(axis not in along, "goes along the samples")
    return axis if keep else axis - sum(a < axis for a in set(along))


def _flatten(node: ir.Node, axes: BatchAxes) -> int:
    axis, rank = _first(node, axes)
    split = node.attributes.get_int("axis", 1)
    _demand(axis == 0 and (split if split >= 0 else split + rank) == 1, "joins samples")
    return 0


def _transpose(node: ir.Node, axes: BatchAxes) -> int:
    axis, rank = _first(node, axes)
    found = node.attributes.get("perm")
    order = list(reversed(range(rank))) if found is None else list(found.as_ints())
    return order.index(axis)


def _squeeze(node: ir.Node, axes: BatchAxes) -> int:
    axis, rank = _first(node, axes)
    along = _integers(node, 1)
    _demand(along is not None, "removes every axis of one entry")
    return _without(axis, [a % rank for a in along or []], keep=False)


def _unsqueeze(node: ir.Node, axes: BatchAxes) -> int:
    axis, rank = _first(node, axes)
    new = _integers(node, 1) or []
    added = {a % (rank + len(new)) for a in new}
    return [i for i in range(rank + len(new)) if i not in added][axis]


def _concat(node: ir.Node, axes: BatchAxes) -> int:
    found = {axes.get(value, -1) for value in node.inputs if value is not None}
    axis = found.pop()
    _demand(not found and axis >= 0, "joins samples with what is none")
    along = node.attributes.get_int("axis", 0) % len(_shape(node.inputs[0]))
    _demand(along != axis, "joins samples")
    return axis


def _slice(node: ir.Node, axes: BatchAxes) -> int:
    axis, rank = _first(node, axes)
    starts, ends = _integers(node, 1) or [], _integers(node, 2) or []
    along = _integers(node, 3) or list(range(len(starts)))
    steps = _integers(node, 4) or [1] * len(starts)
    for a, start, end, step in zip(along, starts, ends, steps, strict=True):
        whole = (start, step) == (0, 1) and end >= _ALL
        _demand(a % rank != axis or whole, "takes some samples")
    return axis


def _gather(node: ir.Node, axes: BatchAxes) -> int:
    data, indices = node.inputs[:2]
    along = node.attributes.get_int("axis", 0) % len(_shape(data))
    if data not in axes:
        return along + axes[indices] if indices is not None else 0
    axis, _ = _first(node, axes)
    _demand(along != axis, "takes some samples")
    return axis if axis < along else axis + len(_shape(indices)) - 1


def _pad(node: ir.Node, axes: BatchAxes) -> int:
    axis, rank = _first(node, axes)
    pads = _integers(node, 1) or []
    along = [a % rank for a in _integers(node, 3) or range(rank)]
    begins, ends = pads[: len(along)], pads[len(along) :]
    for a, begin, end in zip(along, begins, ends, strict=True):
        _demand(a != axis or (begin, end) == (0, 0), "adds samples")
    return axis


def _resize(node: ir.Node, axes: BatchAxes) -> int:
    axis, rank = _first(node, axes)
    found = node.attributes.get("axes")
    along = list(range(rank)) if found is None else [a % rank for a in found.as_ints()]
    if axis not in along:
        return axis
    crops = node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    _demand(not crops, "crops")
    scales = constant_array(_input(node, 2))
    _demand(scales is not None and scales.size == len(along), "sizes name the samples")
    _demand(scales is not None and scales[along.index(axis)] == 1, "goes along the samples")
    return axis


def _expand(node: ir.Node, axes: BatchAxes) -> int:
    axis, rank = _first(node, axes)
    target = _integers(node, 1) or []
    end = rank - axis
    _demand(len(target) < end or target[len(target) - end] == 1, "repeats samples")
    return max(rank, len(target)) - end


def _tile(node: ir.Node, axes: BatchAxes) -> int:
    axis, _ = _first(node, axes)
    _demand((_integers(node, 1) or [])[axis] == 1, "repeats samples")
    return axis


def _reshape(node: ir.Node, axes: BatchAxes) -> int:
    """Row by row: while the first dimension stays, a sample's values stay its own."""
    axis, _ = _first(node, axes)
    _demand(axis == 0, "the samples are not first")
    _demand(keeps_first(node) or free_target(node) is not None, "joins samples")
    return 0


def keeps_first(node: ir.Node) -> bool:
    """Whether a Reshape takes its first dimension over from its input, whatever it is."""
    first = (_integers(node, 1) or [-1])[0]
    return first == 0 and not node.attributes.get_int("allowzero", 0)


def free_target(node: ir.Node) -> list[int] | None:
    """The target with a free first dimension; None where the first one changes."""
    dims, target = list(_shape(node.inputs[0])), _integers(node, 1)
    allowzero = bool(node.attributes.get_int("allowzero", 0))
    sizes = [dim for dim in dims if isinstance(dim, int)]
    if not target or len(sizes) != len(dims) or min(sizes) < 1 or (allowzero and 0 in target):
        return None
    made = [sizes[i] if t == 0 else t for i, t in enumerate(target)]
    known = math.prod(t for t in made if t != -1)
    made = [math.prod(sizes) // known if t == -1 else t for t in made]
    if made[0] != sizes[0] or math.prod(made[1:]) != math.prod(sizes[1:]):
        return None
    return [-1 if allowzero else 0, *made[1:]]


def _rules(rule: BatchRule, ops: str) -> dict[str, BatchRule]:
    return dict.fromkeys(ops.split(), rule)


RULES: dict[str, BatchRule] = {
    **_rules(
        _pointwise,
        "Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr "
        "BitwiseXor Cast Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater "
        "GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log "
        "Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid "
        "Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor",
    ),
    **_rules(
        _leading,
        "AveragePool BatchNormalization Conv ConvInteger ConvTranspose DepthToSpace "
        "GlobalAveragePool GlobalLpPool GlobalMaxPool GroupNormalization InstanceNormalization "
        "LRN LpPool MaxPool QLinearConv SpaceToDepth",
    ),
    **_rules(_along(-1), "Hardmax LogSoftmax LpNormalization Softmax"),
    **_rules(_along(0), "Split"),
    **_rules(_normalized, "LayerNormalization RMSNormalization"),
    **_rules(_linear_quantize, "DequantizeLinear QuantizeLinear"),
    **_rules(_argument, "ArgMax ArgMin"),
    **_rules(
        _reduce,
        "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd "
        "ReduceSum ReduceSumSquare",
    ),
    "Concat": _concat,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}

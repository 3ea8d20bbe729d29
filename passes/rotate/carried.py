"""What an operator does to values whose last axis is rotated, block by block.

x becomes x·diag(Q, …, Q). An operator may be part of a rotated stream where it then gives what it
gave, rotated likewise, or where it gives what it gave: lengths of vectors do not change, nor do
means where Q leaves a vector of ones as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from pimc.passes.graph.constants import Array, constant_array, is_float

__all__ = ["BlockedError", "Carried", "affine_of", "carried", "over_last", "width"]


@dataclass(frozen=True)
class Carried:
    """How an operator takes part.

    Attributes:
        inputs: numbers of the inputs that are rotated.
        outputs: values that are.
        keeps_mean: the rotation must leave a vector of ones as it is.
    """

    inputs: tuple[int, ...]
    outputs: tuple[ir.Value, ...] = ()
    keeps_mean: bool = False


class BlockedError(Exception):
    """A stream cannot be rotated in blocks of this size.

    Attributes:
        width: of the axis that smaller blocks may fit into; None where the size is not to blame.
    """

    def __init__(self, node: ir.Node, why: str, width: int | None = None) -> None:
        name = node.name or (node.outputs[0].name if node.outputs else "")
        super().__init__(f"{node.op_type} `{name}` {why}")
        self.width = width


def carried(node: ir.Node, block: int) -> Carried:
    """How an operator takes part in a stream that is rotated in blocks of ``block`` channels.

    Raises:
        BlockedError: it cannot.
    """
    rule = _RULES.get((node.domain, node.op_type))
    found = None if rule is None else rule(node, block)
    if found is None:
        raise BlockedError(node, "does not pass rotations on")
    return found


def width(value: ir.Value | None) -> int | None:
    """Length of the last axis, 1 of a scalar; None where it is not known."""
    if value is None or value.shape is None:
        return None
    if len(value.shape) == 0:
        return 1
    last = value.shape[-1]
    return last if isinstance(last, int) else None


def _sums_up(node: ir.Node) -> bool:
    """Whether a sum or a mean goes over the last axis; over others, too, it may."""
    axes = _axes(node)
    return axes is not None and _last(node) in axes


def _even_norm(node: ir.Node) -> bool:
    """Whether a normalization of the last axis gives all channels one gain and no offset."""
    gain, offset = affine_of(node)
    flat = gain is not None and gain.size > 0 and bool((gain == gain.flat[0]).all())
    return flat and offset is not None and not offset.any() and over_last(node)


def affine_of(node: ir.Node) -> tuple[Array | None, Array | None]:
    """Gains and offsets of a normalization; None where they are no constants."""
    gain = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
    given = node.inputs[2] if len(node.inputs) > 2 else None
    return gain, np.zeros(1, np.float32) if given is None else constant_array(given)


def over_last(node: ir.Node) -> bool:
    """Whether a normalization is one of the last axis alone."""
    axis = node.attributes.get_int("axis", -1)
    return axis == -1 or axis == _last(node)


def _last(node: ir.Node) -> int | None:
    """Number of the last axis of the first input."""
    value = node.inputs[0] if node.inputs else None
    return None if value is None or value.shape is None else len(value.shape) - 1


def _axes(node: ir.Node) -> tuple[int, ...] | None:
    """The axes that an operator works on, from the front; None where they are not known."""
    last = _last(node)
    given = node.inputs[1] if len(node.inputs) > 1 else None
    axes = node.attributes.get_ints("axes", None) if given is None else constant_array(given)
    if last is None or axes is None:
        return None
    return tuple(int(axis) % (last + 1) for axis in np.ravel(axes))


def _fits(value: ir.Value | None, block: int) -> bool:
    size = width(value)
    return size is not None and size % block == 0


def _through(node: ir.Node, block: int) -> Carried | None:
    """One value in, one of the same channels out."""
    fits = _fits(node.inputs[0], block) and _fits(node.outputs[0], block)
    return Carried((0,), (node.outputs[0],)) if fits else None


def _cast(node: ir.Node, block: int) -> Carried | None:
    """To another type of real numbers."""
    return _through(node, block) if is_float(node.outputs[0].dtype) else None


def _reshaped(node: ir.Node, block: int) -> Carried | None:
    """Blocks that lie side by side stay so, however many of them an axis holds."""
    sizes = [width(node.inputs[0]), width(node.outputs[0])]
    smaller = [size for size in sizes if size is not None and size % block]
    if smaller:
        raise BlockedError(node, "cuts the channels up", min(smaller))
    return _through(node, block)


def _transposed(node: ir.Node, block: int) -> Carried | None:
    perm = node.attributes.get_ints("perm", None)
    if not perm or perm[-1] != len(perm) - 1:
        return None
    return _through(node, block)


def _sum(node: ir.Node, block: int) -> Carried | None:
    """Of two rotated values; or of one and a number for all of its channels."""
    widths = [width(value) for value in node.inputs]
    if 1 in widths:
        return _with_number(node, block, widths, keeps_mean=True)
    if widths[0] != widths[1] or not _fits(node.inputs[0], block):
        return None
    return Carried((0, 1), (node.outputs[0],))


def _product(node: ir.Node, block: int) -> Carried | None:
    if node.inputs[0] is node.inputs[1]:
        return _square(node)
    return _with_number(node, block, [width(value) for value in node.inputs])


def _quotient(node: ir.Node, block: int) -> Carried | None:
    widths = [width(value) for value in node.inputs]
    return _with_number(node, block, widths) if widths[1] == 1 else None


def _with_number(
    node: ir.Node, block: int, widths: list[int | None], *, keeps_mean: bool = False
) -> Carried | None:
    if 1 not in widths:
        return None
    place = 1 - widths.index(1)
    fits = _fits(node.inputs[place], block) and _fits(node.outputs[0], block)
    return Carried((place,), (node.outputs[0],), keeps_mean) if fits else None


def _square(node: ir.Node) -> Carried | None:
    """Squares, if they are summed up: the length of a vector stays."""
    uses = node.outputs[0].uses()
    lengths = all(u.node.op_type in ("ReduceMean", "ReduceSum") and _sums_up(u.node) for u in uses)
    if node.outputs[0].is_graph_output() or not lengths:
        return None
    return Carried((0,) if node.op_type == "Pow" else (0, 1))


def _power(node: ir.Node, block: int) -> Carried | None:
    exponent = constant_array(node.inputs[1])
    two = exponent is not None and exponent.size == 1 and float(exponent.reshape(-1)[0]) == 2.0
    return _square(node) if two else None


def _reduced(node: ir.Node, block: int) -> Carried | None:
    """Over the last axis, which gives the mean, or over others."""
    axes = _axes(node)
    if axes is None:
        return None
    return Carried((0,), (), keeps_mean=True) if _sums_up(node) else _through(node, block)


def _length(node: ir.Node, block: int) -> Carried | None:
    return Carried((0,)) if _sums_up(node) else None


def _layer_norm(node: ir.Node, block: int) -> Carried | None:
    """Means go off, then vectors get one length: the mean has to stay where it is."""
    if not _even_norm(node):
        raise BlockedError(
            node, "has gains or offsets that a value other than layers' inputs reads"
        )
    return Carried((0,), (node.outputs[0],), keeps_mean=True)


def _rms_norm(node: ir.Node, block: int) -> Carried | None:
    if not _even_norm(node):
        raise BlockedError(node, "has gains that a value other than layers' inputs reads")
    return Carried((0,), (node.outputs[0],))


def _unit_length(node: ir.Node, block: int) -> Carried | None:
    euclidean = node.attributes.get_int("p", 2) == 2 and over_last(node)
    return _through(node, block) if euclidean else None


def _indexed(node: ir.Node, block: int) -> Carried | None:
    """Entries of another axis than the last are picked."""
    last, axis = _last(node), node.attributes.get_int("axis", 0)
    if last is None or axis % (last + 1) == last:
        return None
    return _through(node, block)


def _sliced(node: ir.Node, block: int) -> Carried | None:
    last = _last(node)
    axes = constant_array(node.inputs[3]) if len(node.inputs) > 3 else None
    if last is None or axes is None or last in [int(axis) % (last + 1) for axis in axes]:
        return None
    return _through(node, block)


def _joined(node: ir.Node, block: int) -> Carried | None:
    last, axis = _last(node), node.attributes.get_int("axis", 0)
    fit = all(_fits(value, block) for value in (*node.inputs, *node.outputs))
    if last is None or axis % (last + 1) == last or not fit:
        return None
    return Carried(tuple(range(len(node.inputs))), tuple(node.outputs))


def _cut(node: ir.Node, block: int) -> Carried | None:
    found = _indexed(node, block)
    fit = all(_fits(value, block) for value in node.outputs)
    return Carried((0,), tuple(node.outputs)) if found is not None and fit else None


def _mixed(node: ir.Node, block: int) -> Carried | None:
    """Vectors are added up by weights, as attention does."""
    vectors = node.inputs[1]
    deep = vectors is not None and vectors.shape is not None and len(vectors.shape) >= 2
    return Carried((1,), (node.outputs[0],)) if deep and _fits(vectors, block) else None


def _asked(node: ir.Node, block: int) -> Carried | None:
    """What depends on the shape alone."""
    return Carried((0,))


_Rule = Callable[[ir.Node, int], Carried | None]
_RULES: Mapping[tuple[str, str], _Rule] = {
    ("", "Add"): _sum,
    ("", "Cast"): _cast,
    ("", "Concat"): _joined,
    ("", "Div"): _quotient,
    ("", "Expand"): _through,
    ("", "Flatten"): _reshaped,
    ("", "Gather"): _indexed,
    ("", "Identity"): _through,
    ("", "LayerNormalization"): _layer_norm,
    ("", "LpNormalization"): _unit_length,
    ("", "MatMul"): _mixed,
    ("", "Mul"): _product,
    ("", "Neg"): _through,
    ("", "Pow"): _power,
    ("", "RMSNormalization"): _rms_norm,
    ("", "ReduceL2"): _length,
    ("", "ReduceMean"): _reduced,
    ("", "ReduceSum"): _reduced,
    ("", "ReduceSumSquare"): _length,
    ("", "Reshape"): _reshaped,
    ("", "Shape"): _asked,
    ("", "SimplifiedLayerNormalization"): _rms_norm,
    ("", "Slice"): _sliced,
    ("", "Split"): _cut,
    ("", "Squeeze"): _through,
    ("", "Sub"): _sum,
    ("", "Transpose"): _transposed,
    ("", "Unsqueeze"): _through,
}

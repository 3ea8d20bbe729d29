"""Free a batch dimension that the exporter fixed, where the graph proves that it is one.

Exporters write the number of samples they were shown into the model. The proof that any other
number will do follows the samples from the inputs through every operator: they keep an axis
of their own, and no operator mixes them. It is a table, one rule an op; an op without a rule,
or a rule that does not apply, leaves the model as it is.
"""

from __future__ import annotations

import logging

import numpy as np
import onnx_ir as ir

from pimc.passes.graph.constants import add_constant, fresh
from pimc.passes.simplify.batch_axis import (
    RULES,
    BatchAxes,
    Unproved,
    free_target,
    keeps_first,
)

_log = logging.getLogger(__name__)

_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
     "RandomUniformLike"}
)  # fmt: skip


def free_batch(model: ir.Model) -> bool:
    """Make dimension 0 of all inputs and outputs free; returns whether it was and could be.

    Where it could, the constant targets of ``Reshape`` that name the fixed size are rewritten
    and the shapes of all values that depend on it are mended.
    """
    graph = model.graph
    try:
        axes = _samples(graph)
    except Unproved as reason:
        _log.debug("the batch dimension stays fixed: %s", reason)
        return False
    if not axes:
        return False
    taken = {str(name) for name in graph.initializers}
    for node in graph:
        if node.op_type == "Reshape" and node.inputs[0] in axes:
            _retarget(graph, node, taken)
    symbol = fresh("N", _symbols(axes))
    for value, axis in axes.items():
        if value.shape is not None:
            dims = list(value.shape)
            value.shape = ir.Shape([*dims[:axis], ir.SymbolicDim(symbol), *dims[axis + 1 :]])
    return True


def _symbols(axes: BatchAxes) -> set[str]:
    shapes = [value.shape for value in axes if value.shape is not None]
    return {str(dim.value) for shape in shapes for dim in shape if isinstance(dim, ir.SymbolicDim)}


def _samples(graph: ir.Graph) -> dict[ir.Value, int]:
    """The samples' axis of every value that holds samples; empty where no batch is fixed.

    Raises:
        Unproved: the samples cannot be followed to all outputs.
    """
    sizes = {value.shape[0] if value.shape else None for value in graph.inputs}
    if not any(isinstance(size, int) for size in sizes):
        return {}
    if len(sizes) != 1:
        raise Unproved("inputs have different dimensions 0")
    axes: dict[ir.Value, int] = dict.fromkeys(graph.inputs, 0)
    for node in graph:
        if any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
               for a in node.attributes.values()) or node.op_type in _RANDOM:  # fmt: skip
            raise Unproved(f"{node.op_type} {node.name}")
        if not any(value in axes for value in node.inputs if value is not None):
            continue
        rule = RULES.get(node.op_type) if not node.domain else None
        if rule is None:
            raise Unproved(f"{node.op_type} {node.name} has no rule")
        try:
            axis = rule(node, axes)
        except (Unproved, IndexError) as reason:  # IndexError: an input that must be there
            raise Unproved(f"{node.op_type} {node.name}: {reason}") from reason
        axes.update((value, axis) for value in node.outputs)
    for output in graph.outputs:
        if axes.get(output) != 0:
            raise Unproved(f"output {output.name} does not have its samples first")
    return axes


def _retarget(graph: ir.Graph, node: ir.Node, taken: set[str]) -> None:
    target = None if keeps_first(node) else free_target(node)
    if target is not None:
        old = node.inputs[1]
        name = fresh(f"{node.outputs[0].name}/shape", taken)
        node.replace_input_with(1, add_constant(graph, name, np.asarray(target, np.int64)))
        if old is not None and old.is_initializer() and not old.uses():
            graph.initializers.pop(str(old.name))

"""Constants of a graph: what is one, and what it holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

Array = npt.NDArray[Any]

#: Types a weight may have; all but the first are converted to it.
FLOAT_TYPES = (
    ir.DataType.FLOAT,
    ir.DataType.FLOAT16,
    ir.DataType.BFLOAT16,
    ir.DataType.DOUBLE,
)


def constant_tensor(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor behind ``value`` if nothing can override it, else None. Reads no data."""
    if value is None or value.is_graph_input():
        return None
    try:
        return ir.convenience.get_const_tensor(value)
    except ValueError:
        return None  # a Constant node of a kind onnx_ir does not know


def constant_array(value: ir.Value | None) -> Array | None:
    """The array behind ``value`` if nothing can override it, else None."""
    tensor = constant_tensor(value)
    return None if tensor is None else tensor.numpy()


def is_constant(value: ir.Value | None) -> bool:
    """Whether ``value`` is an initializer or a Constant that nothing can override."""
    return constant_tensor(value) is not None


def is_float(dtype: ir.DataType | None) -> bool:
    """Whether weights of ``dtype`` can be converted to float32."""
    return dtype in FLOAT_TYPES


def add_constant(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    """Register ``array`` as initializer ``name``, a name not yet taken."""
    return add_tensor(graph, ir.tensor(np.asarray(array, order="C"), name=name))


def add_tensor(graph: ir.Graph, tensor: ir.TensorProtocol) -> ir.Value:
    """Register ``tensor`` as initializer of its name, which is not yet taken."""
    value = ir.Value(
        name=tensor.name,
        type=ir.TensorType(tensor.dtype),
        shape=ir.Shape(tensor.shape.numpy()),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def become_constant(graph: ir.Graph, value: ir.Value, tensor: ir.TensorProtocol) -> None:
    """Let ``tensor`` stand for ``value`` wherever that is read, under its name."""
    tensor.name, value.name = value.name or "", None
    ir.convenience.replace_all_uses_with(value, add_tensor(graph, tensor))


def fresh(name: str, taken: set[str]) -> str:
    """``name``, or ``name#2``, ``name#3``… where it is taken; the result is taken then."""
    free, number = name, 2
    while free in taken:
        free, number = f"{name}#{number}", number + 1
    taken.add(free)
    return free


def names_in_use(model: ir.Model) -> set[str]:
    """Names of all values, bodies of control flow included."""
    taken = set(ir.convenience.create_value_mapping(model.graph))
    for graph in model.graphs():
        taken.update(value.name or "" for value in graph.inputs)
        if isinstance(graph, ir.Graph):
            taken.update(graph.initializers)
    for node in model.graph.all_nodes():
        taken.update(value.name or "" for value in node.outputs)
    return taken

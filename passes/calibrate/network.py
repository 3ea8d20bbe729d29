"""A network run node by node in NumPy, real numbers in float64."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from pimc.errors import ModelError
from pimc.passes.calibrate.operators import OPERATORS, Function
from pimc.passes.calibrate.types import as_number, known_type, number_type
from pimc.plan.records import is_array_node

__all__ = ["ArrayCall", "run", "unknown_in"]

Values = npt.NDArray[Any]
#: The layer of an array node, and its input → its output.
ArrayCall = Callable[[ir.Node, Values], Values]

#: What NumPy raises for values that an operator cannot take.
_FAILURES = (ValueError, IndexError, TypeError, OverflowError, FloatingPointError)


def unknown_in(model: ir.Model) -> str | None:
    """The first operator or type of a network that is not computed here; None if all are.

    It depends on the network alone, and so the same network is run the same way wherever it is
    compiled.
    """
    if model.functions:
        return "functions of its own"
    for value in (*model.graph.inputs, *model.graph.initializers.values()):
        if not known_type(value.dtype):
            return f"values of type {ir.DataType(value.dtype or 0).name}"
    for node in model.graph:
        if not is_array_node(node) and _function(node, model) is None:
            return f"the operator {node.op_type}"
    return None


def run(model: ir.Model, inputs: Mapping[str, Values], array: ArrayCall) -> None:
    """Run a network of which :func:`unknown_in` says None.

    Args:
        inputs: by name; whole numbers may come as floats, which data files give.
        array: computes the nodes that stand for layers on the array.

    Raises:
        ModelError: an operator fails on its inputs.
    """
    values = {
        name: as_number(value.const_value.numpy())
        for name, value in model.graph.initializers.items()
        if value.const_value is not None
    }
    declared = {value.name: value.dtype for value in model.graph.inputs}
    for name, given in inputs.items():
        dtype = declared.get(name)
        values[name] = given.astype(number_type(dtype)) if dtype else as_number(given)
    steps = _steps(model, array)
    kept = {value.name for value in model.graph.outputs}
    last = {name: number for number, step in enumerate(steps) for name in step.inputs}
    for number, step in enumerate(steps):
        arguments = [None if name is None else values[name] for name in step.inputs]
        values.update(zip(step.outputs, step(arguments), strict=False))
        del arguments
        for used in {*step.inputs, *step.outputs} - kept:
            if used is not None and last.get(used, number) == number:
                values.pop(used, None)


@dataclass(frozen=True)
class _Step:
    node: ir.Node
    call: Function
    inputs: tuple[str | None, ...]
    outputs: tuple[str, ...]

    def __call__(self, arguments: list[Values | None]) -> tuple[Any, ...]:
        if is_array_node(self.node):
            return (self.call(self.node, arguments[0]),)
        try:
            with np.errstate(all="ignore"):
                result = self.call(*arguments)
        except _FAILURES as error:
            shapes = ", ".join(
                "none" if value is None else str(list(value.shape)) for value in arguments
            )
            raise ModelError(
                f"operator {self.node.op_type} failed on inputs of shape {shapes}: {error}",
                where=self.outputs[0],
                hint="check the input shapes against the model's",
            ) from error
        return result if isinstance(result, tuple) else (result,)


def _steps(model: ir.Model, array: ArrayCall) -> list[_Step]:
    steps = []
    for node in model.graph:
        call = array if is_array_node(node) else _function(node, model)
        assert call is not None  # of a network that unknown_in has looked through
        inputs = tuple(None if value is None else value.name for value in node.inputs)
        outputs = tuple(value.name or "" for value in node.outputs)
        steps.append(_Step(node, call, inputs, outputs))
    return steps


def _function(node: ir.Node, model: ir.Model) -> Function | None:
    """The function of a node with its attributes; None where it is not known."""
    if node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type == "Constant":
        return _constant(node)
    if sum(value.name != "" for value in node.outputs) != 1 or any(
        not known_type(value.dtype) for value in node.outputs
    ):
        return None
    opset = model.opset_imports.get("", onnx.defs.onnx_opset_version())
    known = OPERATORS.get(node.op_type, ())
    function = next((one for one, since in known if since <= opset), None)
    given = {name: attribute.value for name, attribute in node.attributes.items()}
    if node.op_type in _NEUTRAL:
        given = {n: v for n, v in given.items() if _NEUTRAL[node.op_type].get(n, ...) != v}
    if function is None or not given.keys() <= _keywords(function):
        return None
    if len(node.inputs) > _most_inputs(function):
        return None
    if node.op_type == "Cast" and not known_type(given["to"]):
        return None
    return partial(function, **given) if given else function


#: Attributes that functions do not take, where they have these values.
_NEUTRAL: Mapping[str, Mapping[str, Any]] = {
    "AveragePool": {"ceil_mode": 0},
    "BatchNormalization": {"training_mode": 0},
    "Cast": {"saturate": 1, "round_mode": "up"},
    "MaxPool": {"ceil_mode": 0, "storage_order": 0},
}


def _constant(node: ir.Node) -> Function | None:
    tensor = ir.convenience.get_const_tensor(node.outputs[0])
    if tensor is None or not known_type(tensor.dtype):
        return None
    value = as_number(tensor.numpy())
    return lambda: value


def _most_inputs(function: Function) -> float:
    if isinstance(function, np.ufunc):
        return function.nin
    kinds = [p.kind for p in inspect.signature(function).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return inf
    return kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _keywords(function: Function) -> set[str]:
    if isinstance(function, np.ufunc):  # takes none of ONNX's
        return set()
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}

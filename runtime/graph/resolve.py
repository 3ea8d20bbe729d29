"""How each node is executed: torch function, ONNX function body or ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx_ir as ir
import torch

from pimc.errors import ModelError
from pimc.runtime.graph.fallback import (
    RUNTIME_DOMAINS,
    Fallback,
    output_name,
    type_key,
    type_proto,
)
from pimc.runtime.graph.functions import (
    Schema,
    body_of,
    domain_of,
    has_body,
    node_proto,
    schema_of,
    with_defaults,
)
from pimc.runtime.graph.gradient import is_flat, passes_gradient, selecting
from pimc.runtime.graph.native import Setting, native_call, statically_native
from pimc.runtime.graph.steps import (
    Plan,
    Scope,
    Step,
    StepCall,
    schedule,
)
from pimc.runtime.ops.registry import NotNative, lookup
from pimc.runtime.ops.values import from_onnx, torch_dtype_of

ARRAY_DOMAIN = "pimc"
ARRAY_OP = "Array"


def key_of(value: ir.Value) -> str:
    """The name a value goes by."""
    return value.name or f"%{id(value):x}"


def build(graph: ir.Graph | ir.Function, setting: Setting) -> Plan:
    """Resolve every node of a graph, subgraph or function body.

    Raises:
        ModelError: for an operator that nobody knows.
    """
    constants = _initializers(graph, setting)
    steps: list[Step] = []
    for node in graph:
        value = _constant(node, setting)
        if value is not None:
            constants[key_of(node.outputs[0])] = value
        else:
            steps.append(_step(node, setting))
    _lay_out(constants, steps)
    inputs = tuple(key_of(value) for value in graph.inputs)
    outputs = tuple(key_of(value) for value in graph.outputs)
    defined = {*inputs, *constants} | {o for step in steps for o in step.outputs if o}
    used = {name for step in steps for name in step.uses} | set(outputs)
    captured = tuple(sorted(used - defined))
    scheduled = schedule(steps, outputs, {*inputs, *constants, *captured})
    return Plan(inputs, outputs, constants, tuple(steps), captured, scheduled)


def _lay_out(constants: dict[str, Any], steps: Sequence[Step]) -> None:
    """Image convolutions run about twice as fast with channels innermost; the weight decides."""
    for step in steps:
        if step.node.op_type != "Conv" or step.inputs[1] not in constants:
            continue
        weight = constants[step.inputs[1]]
        if isinstance(weight, torch.Tensor) and weight.ndim == 4:
            constants[step.inputs[1]] = weight.to(memory_format=torch.channels_last)


def _initializers(graph: ir.Graph | ir.Function, setting: Setting) -> dict[str, Any]:
    if isinstance(graph, ir.Function):
        return {}
    return {
        name: from_onnx(value.const_value, setting.device, setting.dtype)
        for name, value in graph.initializers.items()
        if value.const_value is not None
    }


_CONSTANT_ARRAYS: dict[str, Callable[[ir.Attr], ir.TensorProtocol]] = {
    "value": lambda attribute: attribute.as_tensor(),
    "value_float": lambda attribute: ir.tensor(attribute.as_float(), ir.DataType.FLOAT),
    "value_floats": lambda attribute: ir.tensor(list(attribute.as_floats()), ir.DataType.FLOAT),
    "value_int": lambda attribute: ir.tensor(attribute.as_int(), ir.DataType.INT64),
    "value_ints": lambda attribute: ir.tensor(list(attribute.as_ints()), ir.DataType.INT64),
}


def _constant(node: ir.Node, setting: Setting) -> Any:
    """Value of a Constant node; None for other nodes and rare kinds of constants."""
    if node.op_type != "Constant" or domain_of(node) != "":
        return None
    for name, attribute in setting.resolve(node).items():
        if name in _CONSTANT_ARRAYS:
            return from_onnx(_CONSTANT_ARRAYS[name](attribute), setting.device, setting.dtype)
    return None


def _step(node: ir.Node, setting: Setting) -> Step:
    inputs = tuple(None if value is None else key_of(value) for value in node.inputs)
    outputs = tuple(key_of(v) if v.name != "" else None for v in node.outputs)
    if node.domain == ARRAY_DOMAIN and node.op_type == ARRAY_OP:
        return Step(
            node, _array_call(node), inputs, (), outputs, True, frozenset, list, foreign=True
        )
    attributes = setting.resolve(node)
    plans = {
        name: build(attribute.as_graph(), setting)
        for name, attribute in attributes.items()
        if attribute.type == ir.AttributeType.GRAPH
    }
    captured = tuple(sorted({name for plan in plans.values() for name in plan.captured}))
    tiers = list(_tiers(node, attributes, plans, setting))
    if not tiers:
        raise _unknown(node)
    return Step(
        node,
        _chain(tiers),
        inputs,
        captured,
        outputs,
        gradient=passes_gradient(node, attributes, setting),
        selecting=lambda: selecting(node, setting),
        broken=(lambda: [node]) if is_flat(node, attributes) else tiers[0].broken,
    )


def _array_call(node: ir.Node) -> StepCall:
    def call(arguments: Sequence[Any], scope: Scope) -> tuple[Any]:
        if scope.array is None:
            raise ModelError(
                "the model has a layer on the array, but no array was given to the executor",
                where=output_name(node),
                hint="pass array=... to Executor or to run",
            )
        return (scope.array(node, arguments[0]),)

    return call


def _unknown(node: ir.Node) -> ModelError:
    domain = f" of domain {node.domain!r}" if domain_of(node) else ""
    return ModelError(
        f"unknown operator {node.op_type}{domain}",
        where=output_name(node),
        hint="export the model with standard ONNX operators, or define it as a model function",
    )


@dataclass(frozen=True)
class Tier:
    """One way to execute a node; ``call`` raises NotNative to pass on to the next."""

    call: StepCall
    broken: Callable[[], list[ir.Node]]


def _chain(tiers: Sequence[Tier]) -> StepCall:
    calls = [tier.call for tier in tiers]
    if len(calls) == 1:
        return calls[0]

    def call(arguments: Sequence[Any], scope: Scope) -> Sequence[Any]:
        for attempt in calls[:-1]:
            try:
                return attempt(arguments, scope)
            except NotNative:
                continue
        return calls[-1](arguments, scope)

    return call


def _tiers(
    node: ir.Node, attributes: Mapping[str, ir.Attr], plans: Mapping[str, Plan], setting: Setting
) -> Iterator[Tier]:
    domain = domain_of(node)
    local = setting.functions.get((node.domain, node.op_type, node.overload))
    if local is not None:
        plan = _function_plan(local, attributes, setting)
        yield Tier(plan.run, lambda: [node] if plan.broken() else [])
        return
    opset = setting.opset(domain)
    spec = lookup(domain, node.op_type, opset)
    if spec is not None and spec.knows(attributes) and statically_native(node, spec):
        yield Tier(native_call(node, spec, attributes, plans, setting), _broken_in(plans))
    schema = schema_of(domain, node.op_type, opset)
    if schema is not None and has_body(schema):
        composite = Composite(node, schema, opset, attributes, setting)
        yield Tier(composite, composite.broken)
    if schema is not None or domain in RUNTIME_DOMAINS:
        fallback = Fallback(node, list(attributes.values()), opset, setting.device, setting.dtype)
        yield Tier(lambda arguments, _: fallback(arguments), lambda: [node])


def _broken_in(plans: Mapping[str, Plan]) -> Callable[[], list[ir.Node]]:
    return lambda: [node for plan in plans.values() for node in plan.broken()]


def _function_plan(
    function: ir.Function, attributes: Mapping[str, ir.Attr], setting: Setting
) -> Plan:
    bindings = dict(function.attributes) | dict(attributes)
    inner = replace(setting, opsets=function.opset_imports, bindings=bindings)
    return build(function, inner)


class Composite:
    """A node executed through ONNX's function body, built once for every set of input types."""

    def __init__(
        self,
        node: ir.Node,
        schema: Schema,
        opset: int,
        attributes: Mapping[str, ir.Attr],
        setting: Setting,
    ) -> None:
        self._node = node
        self._schema = schema
        self._opset = opset
        self._attributes = with_defaults(schema, attributes)
        self._setting = setting
        self._plans: dict[tuple[Any, ...], Plan | None] = {}

    def __call__(self, arguments: Sequence[Any], scope: Scope) -> Sequence[Any]:
        """Outputs of the body.

        Raises:
            NotNative: when ONNX has no body for these inputs.
        """
        typed = self._schema.has_context_dependent_function
        key = tuple(type_key(value) for value in arguments) if typed else ()
        if key not in self._plans:
            self._plans[key] = self._plan(arguments)
        plan = self._plans[key]
        if plan is None:
            raise NotNative
        return plan.run(arguments, scope)

    def broken(self) -> list[ir.Node]:
        """The node itself if its body, for declared or float inputs, needs ONNX Runtime."""
        plan = self._plan([_declared(value) for value in self._node.inputs])
        return [self._node] if plan is None or plan.broken() else []

    def _plan(self, arguments: Sequence[Any]) -> Plan | None:
        present = [value is not None for value in arguments]
        proto = node_proto(self._node, self._attributes.values(), present)
        types = [type_proto(value) for value in arguments]
        try:
            function = body_of(self._schema, self._opset, proto, types)
        except (RuntimeError, ValueError):  # ONNX has no body for this combination
            return None
        if function is None:
            return None
        return _function_plan(function, self._attributes, self._setting)


def _declared(value: ir.Value | None) -> Any:
    """An empty value of the declared type, float32 of rank 1 when nothing is declared."""
    if value is None:
        return None
    dtype = torch_dtype_of(value.dtype) if value.dtype is not None else None
    rank = len(value.shape) if value.shape is not None else 1
    return torch.empty([0] * rank, dtype=dtype or torch.float32)

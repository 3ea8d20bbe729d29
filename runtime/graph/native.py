"""A node executed by its torch function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
import onnx_ir as ir
import torch

from pimc.runtime.graph.steps import Plan, Scope, StepCall
from pimc.runtime.ops.registry import NotNative, OpContext, OpSpec
from pimc.runtime.ops.values import ARITHMETIC_DTYPES, from_onnx, torch_dtype_of

FunctionKey = tuple[str, str, str]


@dataclass(frozen=True)
class Setting:
    """What all steps of a graph share.

    Args:
        device: where tensors live.
        dtype: the torch type that stands for ONNX's FLOAT.
        opsets: opset version by domain.
        functions: the model's own functions.
        bindings: values of the attribute references of a function body.
    """

    device: torch.device
    dtype: torch.dtype
    opsets: Mapping[str, int]
    functions: Mapping[FunctionKey, ir.Function]
    bindings: Mapping[str, ir.Attr] = field(default_factory=dict)

    def opset(self, domain: str) -> int:
        """Version of a domain; where the model imports none, the newest one (1 if foreign)."""
        if domain == "":
            newest = onnx.defs.onnx_opset_version()
            return self.opsets.get("", self.opsets.get("ai.onnx", newest))
        return self.opsets.get(domain, 1)

    def resolve(self, node: ir.Node) -> dict[str, ir.Attr]:
        """The node's attributes with references replaced by what they refer to."""
        resolved: dict[str, ir.Attr] = {}
        for name, attribute in node.attributes.items():
            if not attribute.is_ref():
                resolved[name] = attribute
                continue
            bound = self.bindings.get(attribute.ref_attr_name or "")
            if bound is not None and bound.value is not None:
                resolved[name] = ir.Attr(name, bound.type, bound.value)
        return resolved


def statically_native(node: ir.Node, spec: OpSpec) -> bool:
    """Whether no input is declared to have a type that the torch function refuses."""
    if spec.opaque:
        return True
    declared = [v.dtype for v in node.inputs if v is not None and v.dtype is not None]
    kinds = [torch_dtype_of(dtype) for dtype in declared if dtype != ir.DataType.UNDEFINED]
    return all(k is not None and (spec.exotic or k in ARITHMETIC_DTYPES) for k in kinds)


def native_call(
    node: ir.Node,
    spec: OpSpec,
    attributes: Mapping[str, ir.Attr],
    plans: Mapping[str, Plan],
    setting: Setting,
) -> StepCall:
    """The registered function with the node's attributes and bodies filled in."""
    options = {
        name: _attribute(attribute, setting)
        for name, attribute in attributes.items()
        if name not in plans
    }
    if spec.needs_context:
        named = tuple(value.name != "" for value in node.outputs)
        options["ctx"] = OpContext(setting.device, setting.dtype, named)
    function = spec.function
    accepts_all, exotic, host = spec.opaque, spec.exotic, spec.host
    moves = setting.device.type != "cpu" and not spec.opaque

    def call(arguments: Sequence[Any], scope: Scope) -> Sequence[Any]:
        if not accepts_all:
            for value in arguments:
                if not _accepted(value, exotic):
                    raise NotNative
        if moves:
            arguments = _together(arguments, host, setting.device)
        bodies = {name: _BoundBody(plan, scope) for name, plan in plans.items()}
        result = function(*arguments, **options, **bodies)
        return result if isinstance(result, tuple) else (result,)

    return call


def _accepted(value: Any, exotic: bool) -> bool:
    if isinstance(value, torch.Tensor):
        return exotic or value.dtype in ARITHMETIC_DTYPES
    return value is None or (exotic and isinstance(value, list))


def _together(
    arguments: Sequence[Any], host: frozenset[int], device: torch.device
) -> Sequence[Any]:
    """All data inputs on the device as soon as one is; shapes and axes stay where they are."""
    data = [
        value
        for place, value in enumerate(arguments)
        if place not in host and isinstance(value, torch.Tensor)
    ]
    where = {value.device.type for value in data}
    if len(where) < 2:
        return arguments
    return [
        value.to(device) if place not in host and isinstance(value, torch.Tensor) else value
        for place, value in enumerate(arguments)
    ]


class _BoundBody:
    """A body whose outer values are at hand, called with its inputs."""

    def __init__(self, plan: Plan, scope: Scope) -> None:
        self._plan = plan
        self._scope = scope
        self.n_outputs = len(plan.outputs)

    def __call__(self, *arguments: Any) -> list[Any]:
        return self._plan.run(arguments, self._scope)


def _attribute(attribute: ir.Attr, setting: Setting) -> Any:
    if attribute.type == ir.AttributeType.TENSOR:
        return from_onnx(attribute.as_tensor(), setting.device, setting.dtype)
    return attribute.value

"""Composite operators: the function bodies that ONNX's own schemas carry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

import onnx
import onnx_ir as ir
from onnx import defs

# What the installed ONNX names "ai.onnx" and "" is one domain.
_DEFAULT_DOMAINS = frozenset({"", "ai.onnx"})


class Schema(Protocol):
    """The part of ``onnx.defs.OpSchema`` used here; the type stubs of onnx lack half of it."""

    since_version: int
    attributes: Mapping[str, Any]
    inputs: Sequence[Any]
    has_function: bool
    has_context_dependent_function: bool
    function_opset_versions: Sequence[int]
    context_dependent_function_opset_versions: Sequence[int]

    def get_function_with_opset_version(self, version: int) -> bytes:
        """Serialized body for an opset version."""

    def get_context_dependent_function_with_opset_version(
        self, version: int, node: bytes, input_types: Sequence[bytes]
    ) -> bytes:
        """Serialized body for an opset version, a node and its input types."""


def domain_of(node: ir.Node) -> str:
    """The node's domain, the default one spelled ``""``."""
    return "" if node.domain in _DEFAULT_DOMAINS else node.domain


def schema_of(domain: str, op_type: str, opset: int) -> Schema | None:
    """ONNX's description of an operator, None when ONNX does not know it."""
    try:
        return cast(Schema, defs.get_schema(op_type, opset, domain))
    except defs.SchemaError:
        return None


def with_defaults(schema: Schema, attributes: Mapping[str, ir.Attr]) -> dict[str, ir.Attr]:
    """The given attributes and the schema's defaults for the others."""
    full = {
        name: ir.serde.deserialize_attribute(attribute.default_value)
        for name, attribute in schema.attributes.items()
        if attribute.default_value.name
    }
    return full | dict(attributes)


def node_proto(
    node: ir.Node, attributes: Iterable[ir.Attr], present: Sequence[bool] | None = None
) -> onnx.NodeProto:
    """The node alone, inputs named i0, i1, … and outputs o0, o1, …; missing ones are empty.

    Args:
        node: the node.
        attributes: its attributes, free of references.
        present: which inputs are there (default: those the node names).
    """
    given = present if present is not None else [value is not None for value in node.inputs]
    proto = onnx.NodeProto(op_type=node.op_type, domain=node.domain)
    proto.input.extend(f"i{k}" if there else "" for k, there in enumerate(given))
    proto.output.extend(f"o{k}" if value.name else "" for k, value in enumerate(node.outputs))
    proto.attribute.extend(ir.serde.serialize_attribute(attribute) for attribute in attributes)
    return proto


def has_body(schema: Schema) -> bool:
    """Whether the schema carries a function body of either kind."""
    return bool(schema.has_function or schema.has_context_dependent_function)


def body_of(
    schema: Schema,
    opset: int,
    proto: onnx.NodeProto,
    input_types: Sequence[onnx.TypeProto],
) -> ir.Function | None:
    """The body for the given opset and input types, None when ONNX has none for them."""
    text = _static_body(schema, opset) or _typed_body(schema, opset, proto, input_types)
    if not text:
        return None
    function = onnx.FunctionProto()
    function.ParseFromString(text)
    made = {name for node in function.node for name in node.output} | set(function.input)
    # an optional output that the body leaves out becomes an input nobody gives: None
    function.input.extend(name for name in function.output if name not in made)
    return ir.serde.deserialize_function(function)


def _version(versions: Sequence[int], opset: int) -> int | None:
    return max((v for v in versions if v <= opset), default=min(versions, default=None))


def _static_body(schema: Schema, opset: int) -> bytes:
    version = _version(schema.function_opset_versions, opset)
    return b"" if version is None else schema.get_function_with_opset_version(version)


def _typed_body(
    schema: Schema,
    opset: int,
    proto: onnx.NodeProto,
    input_types: Sequence[onnx.TypeProto],
) -> bytes:
    version = _version(schema.context_dependent_function_opset_versions, opset)
    if version is None:
        return b""
    types = [kind.SerializeToString() for kind in input_types]
    return schema.get_context_dependent_function_with_opset_version(
        version, proto.SerializeToString(), types
    )

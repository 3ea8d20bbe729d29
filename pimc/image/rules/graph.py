"""The rule of the graph: what the digital part of the network must be."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pimc.image.content import ImageContent
from pimc.plan.records import array_nodes, bodies, layer_of
from pimc.plan.rules import undefined_values

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["graph_is_the_networks"]

#: More than any operator set will reach; libraries count in 32 bits.
_NEWEST = 2**31 - 1


def graph_is_the_networks(image: ImageContent) -> Iterator[str]:
    """The graph can be run: its values are defined, its array nodes are the layers."""
    with _quiet():
        model = image.graph()
    for problem in (
        *_names(model.graph),
        *_versions(model),
        *_ends(model.graph),
        *_undefined(model.graph),
        *_nodes(model, [layer.name for layer in image.layers]),
        *_constants(model.graph),
    ):
        yield f"tensor graph: {problem}"


@contextmanager
def _quiet() -> Iterator[None]:
    """What the library says on the way about a graph that is none, the rule says."""
    logger = logging.getLogger("onnx_ir")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _names(graph: ir.Graph) -> Iterator[str]:
    """Names are text; the library hands on what is not UTF-8 as bytes."""
    found: list[object] = [value.name for value in (*graph.inputs, *graph.outputs)]
    for node in graph.all_nodes():
        values = (value for value in (*node.inputs, *node.outputs) if value is not None)
        found += [node.op_type, node.domain, *(value.name for value in values), *node.attributes]
    strange = [name for name in found if not isinstance(name, str | None)]
    if strange:
        yield f"the name {strange[0]!r} is no text"


def _versions(model: ir.Model) -> Iterator[str]:
    """Operator sets are told by whole numbers from 1 on, those of ONNX itself among them."""
    versions = model.opset_imports
    if not {"", "ai.onnx"} & versions.keys():
        yield "it names no version of ONNX's operators"
    for domain, version in versions.items():
        if not 1 <= version <= _NEWEST:
            yield f"no operator set {domain or 'ai.onnx'!r} has version {version}"


def _ends(graph: ir.Graph) -> Iterator[str]:
    if not graph.outputs:
        yield "it gives no output"
    if any(not value.name for value in (*graph.inputs, *graph.outputs)):
        yield "an input or output has no name"


def _undefined(graph: ir.Graph) -> Iterator[str]:
    for name in undefined_values(graph):
        yield f"nothing before makes the value {name!r}"
        return


def _nodes(model: ir.Model, layers: Sequence[str]) -> Iterator[str]:
    """Array nodes are the manifest's layers, first used in the same order."""
    nodes = array_nodes(model)
    for node in nodes:
        named = "layer" in node.attributes and isinstance(node.attributes["layer"].value, str)
        if not named or [len(node.inputs), len(node.outputs)] != [1, 1] or not node.inputs[0]:
            yield "a node Array needs one input, one output and the text attribute layer"
            return
    used = list(dict.fromkeys(map(layer_of, nodes)))
    if used != [*layers]:
        strange = sorted(set(used) ^ set(layers)) or used
        yield f"its nodes Array are not the layers of the manifest, see {strange[0]!r}"


def _constants(graph: ir.Graph) -> Iterator[str]:
    """Constants lie in the graph, and hold as much as their type and shape say."""
    for value in graph.initializers.values():
        if value.const_value is None or not _whole(value.const_value):
            yield f"its constant {value.name!r} does not hold what type and shape say"
    for node in graph:
        for attribute in node.attributes.values():
            if attribute.type.name == "TENSOR" and not _whole(attribute.value):
                yield f"a constant of operator {node.op_type} does not hold what its shape says"
        for body in bodies(node):
            yield from _constants(body)


def _whole(tensor: ir.TensorProtocol) -> bool:
    """Whether a constant can be read; the large ones were looked at when the graph was read."""
    import onnx_ir as ir

    if isinstance(tensor, ir.LazyTensor):
        return True
    if isinstance(tensor, ir.ExternalTensor):
        return False  # another file than the image
    try:
        return bool(tensor.numpy().shape == tensor.shape.numpy())
    except (ValueError, TypeError, AttributeError):
        return False

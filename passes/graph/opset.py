"""Bring a model to an opset the passes know."""

from __future__ import annotations

import onnx
import onnx.inliner
import onnx.shape_inference
import onnx.version_converter

from pimc.errors import ModelError

#: Older models are converted: from here on axes and splits are inputs, as the passes expect.
OLDEST_OPSET = 13
#: What older models are converted to: the last opset before ReduceX changed its inputs.
CONVERTED_OPSET = 17
#: What the converter, the inliner and the shape inference inside them end with.
_FAILURES = (
    RuntimeError,
    ValueError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
    onnx.version_converter.ConvertError,
)
#: Tensors above this stay out of the conversion, which copies what it is given.
_SMALL_TENSOR_BYTES = 1024


def upgraded(proto: onnx.ModelProto, where: str) -> onnx.ModelProto:
    """``proto`` with domain names normalized and its opset at 13 or newer.

    Args:
        proto: taken over; may be changed or returned.
        where: the model's name for messages.

    Raises:
        ModelError: the opset or IR version is unknown, or the conversion failed.
    """
    for entry in proto.opset_import:
        entry.domain = "" if entry.domain == "ai.onnx" else entry.domain
    versions = {entry.domain: entry.version for entry in proto.opset_import}
    _check_versions(proto, versions, where)
    if versions.get("", OLDEST_OPSET) >= OLDEST_OPSET:
        return proto
    try:
        _refuse_unconvertible(proto, versions[""])
        return _converted(proto)
    except _FAILURES as error:
        reason = str(error).strip().splitlines()
        raise ModelError(
            f"cannot be converted from opset {versions['']} to {CONVERTED_OPSET}: "
            f"{reason[-1].rstrip('.') if reason else type(error).__name__}",
            where=where,
            hint=f"export the model at opset {OLDEST_OPSET} or newer",
        ) from error


def _check_versions(proto: onnx.ModelProto, versions: dict[str, int], where: str) -> None:
    if not versions:
        raise ModelError(
            "truncated: the model states no opset", where=where, hint="export or copy it again"
        )
    newest = onnx.defs.onnx_opset_version()
    if not 1 <= versions.get("", newest) <= newest:
        raise ModelError(
            f"opset {versions['']} is unknown; 1 to {newest} are known",
            where=where,
            hint="export the model at a known opset, or install a newer onnx",
        )
    if proto.ir_version > onnx.IR_VERSION:
        raise ModelError(
            f"IR version {proto.ir_version} is unknown; up to {onnx.IR_VERSION} is known",
            where=where,
            hint="save the model with an older IR version, or install a newer onnx",
        )


def _refuse_unconvertible(proto: onnx.ModelProto, opset: int) -> None:
    """Stop at what the converter would pass on unchanged though its meaning changed."""
    if opset < 9 and any(node.op_type == "Scan" for node in proto.graph.node):
        raise ValueError("Scan had a batch dimension before opset 9")


def _converted(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Convert the structure alone; large tensors are put back afterwards."""
    if proto.functions:
        proto = onnx.inliner.inline_local_functions(proto)
    inputs = {value.name for value in proto.graph.input}
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    large = {
        t.name: t
        for t in tensors.values()
        if t.ByteSize() > _SMALL_TENSOR_BYTES or t.data_location == t.EXTERNAL
    }
    skeleton = onnx.ModelProto()
    skeleton.CopyFrom(proto)
    del skeleton.graph.initializer[:]
    skeleton.graph.initializer.extend(t for t in tensors.values() if t.name not in large)
    skeleton.graph.input.extend(
        onnx.helper.make_tensor_value_info(t.name, t.data_type, t.dims)
        for t in tensors.values()
        if t.name not in inputs
    )
    skeleton.ir_version = max(skeleton.ir_version, 3)
    result = onnx.version_converter.convert_version(skeleton, CONVERTED_OPSET)
    result.graph.initializer.extend(large.values())
    kept = [value for value in result.graph.input if value.name not in tensors]
    del result.graph.input[:]
    result.graph.input.extend(kept)
    result.ir_version = max(result.ir_version, 8)
    return result

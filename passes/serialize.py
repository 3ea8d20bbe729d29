"""A graph as the bytes of an ONNX file that needs no other file."""

from __future__ import annotations

import onnx_ir as ir

from pimc.errors import ModelError


def graph_bytes(model: ir.Model) -> bytes:
    """``model`` as a ``ModelProto``; external data, which may be mapped until now, is inside.

    Raises:
        ModelError: the result is larger than protobuf can write, or the data is gone.
    """
    whole = model.clone()  # the clone's values are its own; tensors are shared, not copied
    try:
        ir.external_data.load_to_model(whole)
        for node in whole.graph.all_nodes():
            _load_attributes(node)
        data: bytes = ir.to_proto(whole).SerializeToString(deterministic=True)
    except OSError as error:
        raise ModelError(
            f"the external data can no longer be read: {error.strerror or error}",
            where=model.graph.name,
            hint="keep the data file in place until the command is done",
        ) from error
    except ValueError as error:
        raise ModelError(
            f"the network without its layers cannot be written: {error}",
            where=model.graph.name,
            hint="what stays digital must be smaller than protobuf's limit of 2 GB",
        ) from error
    return data


def _load_attributes(node: ir.Node) -> None:
    for name, attribute in list(node.attributes.items()):
        if attribute.is_ref() or attribute.type != ir.AttributeType.TENSOR:
            continue
        tensor = attribute.as_tensor()
        if isinstance(tensor, ir.ExternalTensor):
            loaded = ir.external_data.convert_tensors_from_external([tensor])[0]
            node.attributes[name] = ir.AttrTensor(name, loaded)

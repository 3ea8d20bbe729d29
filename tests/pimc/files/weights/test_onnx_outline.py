"""Outlines of models: everything but the content of large weights, which is where they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # no stubs
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from pimc.errors import ModelError
from pimc.files.weights.onnx_outline import (
    ITSELF,
    model_in,
    outline,
    segments,
)
from pimc.passes.graph.frontend import load_model

#: Entries that make a tensor large, whatever its type.
LARGE = 1 << 16
Array = np.ndarray[Any, Any]


def model(tensors: list[onnx.TensorProto]) -> onnx.ModelProto:
    """A network that has ``tensors`` as initializers, and one in a node."""
    inside = numpy_helper.from_array(np.arange(LARGE, dtype=np.float32), "inside")
    nodes = [
        helper.make_node("Identity", ["x"], ["y"], doc_string="größer"),
        helper.make_node("Constant", [], ["unused"], value=inside),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        tensors,
        doc_string="text " * LARGE,
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="test")


def put_back(found: onnx.ModelProto, data: bytes) -> int:
    """Read every tensor that lies in ``data``; how many there were."""
    count = 0
    for tensor in found.graph.initializer:
        facts = {entry.key: entry.value for entry in tensor.external_data}
        if facts.get("location") == ITSELF:
            start = int(facts["offset"])
            tensor.raw_data = data[start : start + int(facts["length"])]
            del tensor.external_data[:]
            tensor.ClearField("data_location")
            count += 1
    return count


TYPES = (np.float32, np.float16, np.float64, np.int8, np.uint8, np.int64, np.bool_)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from(TYPES), st.booleans(), st.booleans()), max_size=5))
def test_an_outline_is_the_model_but_for_large_weights(
    entries: list[tuple[Any, bool, bool]],
) -> None:
    tensors = []
    for number, (dtype, large, raw) in enumerate(entries):
        values = (np.arange(LARGE if large else 3) % 100).astype(dtype)
        tensors.append(
            numpy_helper.from_array(values, f"t{number}")
            if raw or not large or dtype != np.float32
            else helper.make_tensor(f"t{number}", TensorProto.FLOAT, values.shape, values)
        )
    whole = model(tensors)
    data = whole.SerializeToString()
    found = outline(data)
    expected = sum(t.HasField("raw_data") and len(t.raw_data) >= LARGE for t in tensors)
    assert put_back(found, data) == expected
    assert found == whole


def test_types_of_less_than_a_byte_and_strings_stay() -> None:
    packed = TensorProto(
        name="packed", data_type=TensorProto.INT4, dims=(2 * LARGE,), raw_data=bytes(LARGE)
    )
    text = TensorProto(
        name="text", data_type=TensorProto.STRING, dims=(2,), string_data=[b"a" * LARGE, b"b"]
    )
    whole = model([packed, text])
    assert outline(whole.SerializeToString()) == whole


@pytest.mark.parametrize("cut", [1, 100, LARGE // 2, LARGE, 5 * LARGE])
def test_a_truncated_model_is_no_model(cut: int) -> None:
    data = model([numpy_helper.from_array(np.ones(LARGE, np.float32), "w")]).SerializeToString()
    with pytest.raises(DecodeError):
        outline(data[:-cut])


@given(st.binary(max_size=200))
def test_other_bytes_are_refused_or_parsed_as_protobuf_would(data: bytes) -> None:
    try:
        expected = onnx.ModelProto.FromString(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            outline(data)
    else:
        assert outline(data) == expected


@pytest.mark.parametrize("missing", [4, -4])
def test_a_large_weight_of_the_wrong_size_is_refused(missing: int) -> None:
    weight = numpy_helper.from_array(np.ones((LARGE, 2), np.float32), "w")
    raw = weight.raw_data
    weight.raw_data = raw[:-missing] if missing > 0 else raw + bytes(-missing)
    with pytest.raises(ModelError, match=r"damaged tensors:\n  w: \d+ bytes are there"):
        load_model(model([weight]).SerializeToString())


def test_large_weights_are_mapped(tmp_path) -> None:
    values = np.random.default_rng(0).standard_normal((LARGE, 2)).astype(np.float32)
    path = tmp_path / "net.onnx"
    onnx.save(model([numpy_helper.from_array(values, "w")]), path)
    weight = load_model(path).graph.graph.initializers["w"].const_value
    assert weight is not None
    assert not weight.numpy().flags.owndata
    np.testing.assert_array_equal(weight.numpy(), values)


def test_segments_put_contents_back() -> None:
    rng = np.random.default_rng(0)
    tensors = [
        numpy_helper.from_array(rng.standard_normal(size).astype(np.float32), f"t{number}")
        for number, size in enumerate((3, LARGE, 5, 2 * LARGE))
    ]
    tensors[1].doc_string = "behind the content"
    whole = model(tensors)
    data = whole.SerializeToString(deterministic=True)
    contents = {number: ir.tensor(numpy_helper.to_array(tensors[number])) for number in (1, 3)}
    for number in contents:
        whole.graph.initializer[number].ClearField("raw_data")
    parts = segments(whole.SerializeToString(deterministic=True), contents)
    assert sum(not isinstance(part, bytes) for part in parts) == 2
    assert b"".join(p if isinstance(p, bytes) else p.tobytes() for p in parts) == data


def test_a_model_read_in_place_is_the_same() -> None:
    values = np.random.default_rng(0).standard_normal((LARGE, 2)).astype(np.float32)
    whole = model([numpy_helper.from_array(values, "w")])
    found = model_in(whole.SerializeToString())
    weight = found.graph.initializers["w"].const_value
    assert weight is not None
    assert weight.numpy().flags.aligned
    np.testing.assert_array_equal(weight.numpy(), values)
    assert ir.to_proto(found).graph.initializer[0].raw_data == values.tobytes()

"""The registry of operators, and values on their way to torch and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from pimc.runtime.ops import NotNative, lookup, registered
from pimc.runtime.ops.registry import OpContext
from pimc.runtime.ops.values import from_numpy, from_onnx, to_numpy


class TestRegistry:
    def test_the_newest_variant_not_newer_than_the_opset_is_taken(self) -> None:
        old, new = lookup("", "Softmax", 12), lookup("", "Softmax", 13)
        assert old is not None
        assert new is not None
        assert (old.since, new.since) == (1, 13)

    def test_too_old_an_opset_finds_nothing(self) -> None:
        assert lookup("", "LayerNormalization", 16) is None
        assert lookup("", "Add", 6) is None  # broadcasting by attribute

    def test_all_entries_are_operators_of_onnx(self) -> None:
        for domain, name, since in registered():
            newest = onnx.defs.get_schema(name, onnx.defs.onnx_opset_version(), domain)
            assert since <= newest.since_version, name

    def test_attributes_of_every_entry_exist_in_onnx(self) -> None:
        history: dict[str, set[str]] = {}
        for schema in onnx.defs.get_all_schemas_with_history():
            history.setdefault(schema.name, set()).update(schema.attributes)
        for domain, name, since in registered():
            spec = lookup(domain, name, since)
            assert spec is not None
            assert set(spec.attributes or ()) <= history[name], name

    def test_an_attribute_nobody_knows_is_not_ignored(self) -> None:
        spec = lookup("", "Relu", 18)
        assert spec is not None
        assert not spec.knows(["alpha"])

    def test_a_type_torch_does_not_have_is_passed_on(self) -> None:
        context = OpContext(torch.device("cpu"), torch.float32, (True,))
        with pytest.raises(NotNative):
            context.torch_dtype(int(ir.DataType.INT4))


@pytest.mark.parametrize(
    "kind", ["bool", "uint8", "int16", "uint32", "int64", "uint64", "float16", "float64"]
)
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_arrays_survive_the_way_to_torch_and_back(kind: str, shape: tuple[int, ...]) -> None:
    array = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape).astype(kind)
    back = to_numpy(from_numpy(array))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize("kind", [ir.DataType.BFLOAT16, ir.DataType.FLOAT8E4M3FN])
def test_types_numpy_does_not_have_survive_too(kind: ir.DataType) -> None:
    array = np.array([[0.5, -2.0], [1.0, 8.0]], np.float32).astype(kind.numpy())
    value = from_numpy(array)
    assert isinstance(value, torch.Tensor)
    assert value.float().tolist() == [[0.5, -2.0], [1.0, 8.0]]
    np.testing.assert_array_equal(to_numpy(value), array)


def test_strings_and_four_bit_numbers_stay_numpy() -> None:
    assert from_numpy(np.array(["a", "b"])).dtype == object
    four = np.array([1, -2], np.int8).astype(ir.DataType.INT4.numpy())
    assert from_numpy(four) is four


def test_a_constant_shares_no_memory_with_a_read_only_array() -> None:
    array = np.ones(3, np.float32)
    array.setflags(write=False)
    value = from_onnx(ir.tensor(array), torch.device("cpu"))
    value += 1
    assert array.tolist() == [1.0, 1.0, 1.0]


def test_ops_that_take_no_gradient_are_marked() -> None:
    marked: list[Callable[..., Any]] = []
    for name in ["Shape", "ArgMax", "Equal", "NonZero", "IsNaN", "Not"]:
        spec = lookup("", name, 18)
        assert spec is not None
        if spec.gradient:
            marked.append(spec.function)
    assert marked == []

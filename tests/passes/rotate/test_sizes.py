"""Axes whose size other axes settle."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from pimc.passes.rotate.sizes import settle_sizes


def reshaped(before: list[int | str], after: list[int | str]) -> list[int | str | None]:
    x = ir.Value(name="x", shape=ir.Shape(before), type=ir.TensorType(ir.DataType.FLOAT))
    shape = ir.Value(name="s", shape=ir.Shape([len(after)]))
    cut = ir.Node("", "Reshape", [x, shape])
    cut.outputs[0].shape = ir.Shape(after)
    turned = ir.Node("", "Identity", [cut.outputs[0]])
    turned.outputs[0].shape = ir.Shape(after[::-1])
    graph = ir.Graph([x, shape], [turned.outputs[0]], nodes=[cut, turned])
    settle_sizes(graph)
    found = turned.outputs[0].shape
    assert found is not None
    return [dim if isinstance(dim, int) else dim.value for dim in found][::-1]


@pytest.mark.parametrize(
    ("before", "after", "settled"),
    [
        (["N", "S", 16], ["N", "S", 2, "a"], ["N", "S", 2, 8]),
        (["N", "S", 2, 8], ["N", "S", "a"], ["N", "S", 16]),
        (["N", "S", 16], ["N", 2, "a"], ["N", 2, "a"]),
        (["N", 16], ["M", 2, "a"], ["M", 2, "a"]),
        (["N", 15], ["N", 2, "a"], ["N", 2, "a"]),
        (["N", 16], ["N", "a", "a"], ["N", "a", "a"]),
    ],
)
def test_what_is_left_is_the_size(
    before: list[int | str], after: list[int | str], settled: list[int | str]
) -> None:
    assert reshaped(before, after) == settled

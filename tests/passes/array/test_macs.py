"""Multiply-accumulates of digital products, counted from their shapes."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
import pytest

from pimc.passes.array.macs import digital_macs

Shape = tuple[int | str, ...] | None


def value(shape: Shape) -> ir.Value:
    return ir.Value(name="v", shape=None if shape is None else ir.Shape(shape))


def node(op: str, inputs: list[Shape], output: Shape, **attributes: Any) -> ir.Node:
    made = ir.Node(
        "", op, [value(s) for s in inputs], ir.convenience.convert_attributes(attributes)
    )
    made.outputs[0].shape = None if output is None else ir.Shape(output)
    return made


@pytest.mark.parametrize(
    ("made", "macs"),
    [
        (node("MatMul", [("N", 7, 5), (5, 3)], ("N", 7, 3)), 7 * 3 * 5),
        (node("MatMulInteger", [("N", 5), (5, 3)], ("N", 3)), 3 * 5),
        (node("Gemm", [("N", 5), (5, 3)], ("N", 3)), 3 * 5),
        (node("Gemm", [(5, 9), (5, 3)], (9, 3), transA=1), 3 * 5),
        (node("Conv", [("N", 4, 9, 9), (6, 2, 3, 3)], ("N", 6, 7, 7), group=2), 294 * 18),
        (node("ConvTranspose", [("N", 4, 5), (4, 3, 2)], ("N", 3, 10)), 20 * 6),
        (node("Relu", [("N", 4)], ("N", 4)), 0),
        (node("LSTM", [("T", "N", 4)], ("T", 1, "N", 5)), None),
        (node("Einsum", [("N", 4), (4, 3)], ("N", 3)), None),
        (node("MatMul", [("N", "T", 5), (5, 3)], ("N", "T", 3)), None),
        (node("MatMul", [None, (5, 3)], ("N", 3)), None),
        (node("MatMul", [("N", 5), (5, 3)], None), None),
        (node("Conv", [("N", 4, 9), None], ("N", 6, 7)), None),
    ],
    ids=lambda made: f"{made.op_type}" if isinstance(made, ir.Node) else str(made),
)
def test_macs_of_a_sample(made: ir.Node, macs: int | None) -> None:
    assert digital_macs(made) == macs

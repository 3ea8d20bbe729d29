"""Products in all their forms become layers that compute the same."""

from __future__ import annotations

from typing import Any

import onnx
import pytest

from tests.passes.lowered_nets import (
    compared,
    drawn,
    model_of,
    node,
)

PRODUCTS: dict[str, tuple[onnx.NodeProto, list[Any], tuple[int, ...], tuple[int, ...]]] = {
    "left": (node("MatMul", ["w", "x"], ["y"]), ["N", 5, 7], (6, 5), (4, 5, 7)),
    "left vector": (node("MatMul", ["w", "x"], ["y"]), ["N", 5, 7], (5,), (4, 5, 7)),
    "right vector": (node("MatMul", ["x", "w"], ["y"]), ["N", 3, 5], (5,), (4, 3, 5)),
    "groups": (node("MatMul", ["x", "w"], ["y"]), ["N", 3, "M", 5], (3, 5, 6), (4, 3, 2, 5)),
    "groups on the left": (
        node("MatMul", ["w", "x"], ["y"]), ["N", 3, 5, "M"], (3, 6, 5), (4, 3, 5, 2),
    ),
    "two groups": (
        node("MatMul", ["x", "w"], ["y"]), ["N", 2, 3, "M", 5], (2, 3, 5, 6), (4, 2, 3, 2, 5),
    ),
    "some groups of one": (
        node("MatMul", ["x", "w"], ["y"]), ["N", 2, "K", "M", 5], (2, 1, 5, 6), (4, 2, 3, 2, 5),
    ),
    "more dimensions than the input": (
        node("MatMul", ["x", "w"], ["y"]), ["N", 5], (3, 5, 6), (4, 5),
    ),
    "a one more than the input": (
        node("MatMul", ["x", "w"], ["y"]), ["N", 5], (1, 5, 6), (4, 5),
    ),
    "transposed input": (node("Gemm", ["x", "w"], ["y"], transA=1), [5, "N"], (5, 6), (5, 4)),
    "transposed Gemm on the left": (
        node("Gemm", ["w", "x"], ["y"], transA=1, transB=1, alpha=0.5), ["N", 5], (5, 6), (4, 5),
    ),
    "Einsum": (
        node("Einsum", ["x", "w"], ["y"], equation="bqhd,hde->bqe"),
        ["N", "Q", 2, 3], (2, 3, 5), (4, 6, 2, 3),
    ),
    "Einsum with groups": (
        node("Einsum", ["w", "x"], ["y"], equation="hde, bhqd"),
        [3, 2, 4, 3], (2, 3, 5), (3, 2, 4, 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PRODUCTS)
def test_products(case) -> None:
    product, declared, shape, size = PRODUCTS[case]
    compared(model_of([product], {"x": declared}, {"w": drawn(*shape)}), x=drawn(*size))


@pytest.mark.parametrize("beta", [0.0, 1.0, 2.0])
def test_gemm_keeps_what_it_adds(beta) -> None:
    gemm = node("Gemm", ["w", "x", "c"], ["y"], transA=1, alpha=0.5, beta=beta)
    model = model_of([gemm], {"x": [5, "N"], "c": [6, "N"]}, {"w": drawn(5, 6)})
    compared(model, x=drawn(5, 4), c=drawn(6, 4))

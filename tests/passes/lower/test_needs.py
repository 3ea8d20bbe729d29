"""Constraints say what must hold and how to mend a model; of an operator the weight is known."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import pytest

from pimc.passes.array.constraints import ARRAY_OPS
from pimc.passes.lower.lowering import LOWERINGS
from pimc.passes.lower.needs import (
    WEIGHTED,
    constant_weights,
    data_operand,
    fix,
    says,
    weight_index,
    weight_rank,
    weight_shape,
)
from tests.passes.lowered_nets import drawn, model_of, node

EVERY = {says(check): check for checks in ARRAY_OPS.values() for check in checks}


def first(op: str, *inputs: str) -> ir.Node:
    """A node on an activation ``x`` and constants ``w`` (4, 4) and ``v`` (4, 4, 1)."""
    weights = {"w": drawn(4, 4), "v": drawn(4, 4, 1)}
    return ir.from_proto(model_of([node(op, inputs, ["y"])], {"x": ["N", 4]}, weights)).graph[0]


@pytest.mark.parametrize("check", EVERY.values(), ids=EVERY)
def test_a_constraint_says_what_and_how(check: Callable[..., bool]) -> None:
    what, how = says(check), fix(check)
    assert what
    assert how
    assert not what.endswith(".")
    assert not how.endswith(".")
    assert "\n" not in what + how
    assert what[0].islower() or not what[0].isalpha()


def test_all_weights_of_all_families_are_held_to_something() -> None:
    told = {key for key, family in LOWERINGS.items() if family.needs}
    assert len(told) > 15
    assert set(ARRAY_OPS) == {"Conv", "Gemm", "MatMul"} | {
        f"{domain}::{op}" if domain else op for domain, op in told
    }
    assert list(ARRAY_OPS) == sorted(ARRAY_OPS)


@pytest.mark.parametrize(
    ("made", "index"),
    [
        (first("MatMul", "x", "w"), 1),
        (first("MatMul", "w", "x"), 0),
        (first("MatMul", "x", "x"), 1),
        (first("Gemm", "w", "w"), 1),
        (first("Conv", "x", "v"), 1),
        (first("QLinearMatMul", "x", "w", "w", "w"), 3),
    ],
    ids=str,
)
def test_which_operand_is_the_weight(made: ir.Node, index: int) -> None:
    assert weight_index(made) == index


def test_shapes_of_weights() -> None:
    assert (weight_shape(first("Conv", "x", "v")), weight_rank(first("Conv", "x", "v"))) == (
        (4, 4, 1), 3,
    )  # fmt: skip
    assert (weight_shape(first("MatMul", "x", "x")), weight_rank(first("MatMul", "x", "x"))) == (
        (), 0,
    )  # fmt: skip


def test_one_operand_is_data() -> None:
    assert data_operand(first("MatMul", "x", "w"))
    assert data_operand(first("MatMul", "w", "x"))
    assert not data_operand(first("MatMul", "w", "w"))
    assert WEIGHTED[1] is data_operand


def test_all_weights_are_constants() -> None:
    assert constant_weights(first("LSTM", "x", "v", "v"))
    assert constant_weights(first("LSTM", "x", "v", "v", "w"))
    assert not constant_weights(first("LSTM", "x", "v"))
    assert not constant_weights(first("LSTM", "x", "v", "x"))

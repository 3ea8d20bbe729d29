"""Norms lose their gains and offsets to the layers behind them, and outputs stay."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pimc import api
from pimc.chip.design import Chip
from pimc.passes.rotate.absorb import absorbed
from pimc.plan.records import Plan
from tests.passes.lowered_nets import golden, in_float
from tests.passes.rotate.transformer_nets import (
    WIDTH,
    Net,
    bert_like,
    gpt_like,
    llama_like,
    tokens,
)

CHIP = Chip.default().with_array(64, 64)


def partitioned(model: onnx.ModelProto) -> Plan:
    return api.plan(model, CHIP, stop_after="partition")


def off(plan: Plan, model: onnx.ModelProto) -> float:
    """Distance from ONNX Runtime's outputs, over the largest."""
    ids = tokens()
    image = api.compile(plan, CHIP)
    ((wanted,), (ours,)) = golden(model, {"ids": ids}), in_float(image, {"ids": ids})
    return float(np.abs(ours - wanted).max() / np.abs(wanted).max())


def affine_ops(plan: Plan) -> int:
    """Operators with a constant of one entry a channel."""
    constants = [
        v for n in plan.graph.graph for v in n.inputs if v is not None and v.const_value is not None
    ]
    return sum(v.shape is not None and list(v.shape) == [WIDTH] for v in constants)


@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 99))
@pytest.mark.parametrize("net", [llama_like, gpt_like, bert_like])
def test_outputs_stay(net: Callable[[int], onnx.ModelProto], seed: int) -> None:
    model = net(seed)
    assert off(absorbed(partitioned(model)), model) < 1e-5  # float32: up to 3.2e-6 of 40 seeds


def test_gains_of_operators_go_where_layers_alone_read_them() -> None:
    plan = partitioned(llama_like())
    assert affine_ops(plan) == 5
    assert affine_ops(absorbed(plan)) == 0


def test_offsets_go_along() -> None:
    plan = partitioned(gpt_like(form="nodes"))
    before, after = affine_ops(plan), affine_ops(absorbed(plan))
    assert before - after == 10  # five norms


def test_norms_of_onnx_keep_gains_of_one() -> None:
    (norms,) = [
        [n for n in plan.graph.graph if n.op_type == "LayerNormalization"]
        for plan in [absorbed(partitioned(gpt_like(form="op")))]
    ]
    assert len(norms) == 5
    for norm in norms:
        assert len(norm.inputs) == 2
        gain = norm.inputs[1]
        assert gain is not None
        assert gain.const_value is not None
        assert (gain.const_value.numpy() == 1).all()


def test_what_a_sum_reads_too_stays() -> None:
    plan = partitioned(bert_like())
    kept = [n for n in absorbed(plan).graph.graph if n.op_type == "LayerNormalization"]
    # Behind the last one stands a layer alone.
    assert [len(n.inputs) for n in kept] == [3, 3, 3, 3, 2]


def test_a_product_of_what_is_no_norm_stays() -> None:
    net = Net()
    x = net.op("Mul", net.embedded(), net.gain())
    plan = partitioned(net.model(net.linear(x, WIDTH, 5)))
    assert affine_ops(absorbed(plan)) == 1


def test_a_gain_that_adds_an_axis_stays() -> None:
    net = Net()
    x = net.op("Reshape", net.embedded(), net.axes(-1, WIDTH))
    unit = net.op("Div", x, net.op("ReduceL2", x, axes=[-1]))
    unit = net.op("Mul", unit, net.drawn(1, 1, WIDTH))
    model = net.model(net.linear(unit, WIDTH, 5))
    assert off(absorbed(partitioned(model)), model) < 1e-5  # float32: up to 3.2e-6 of 40 seeds

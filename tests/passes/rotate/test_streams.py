"""Which streams the graph proves free, and what is in the way of others."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest

from pimc import api
from pimc.chip.design import Chip
from pimc.passes.rotate.absorb import absorbed
from pimc.passes.rotate.sizes import settle_sizes
from pimc.passes.rotate.streams import Stream, streams_of
from tests.passes.rotate.transformer_nets import (
    HEADS,
    WIDTH,
    Net,
    bert_like,
    gpt_like,
    llama_like,
)

CHIP = Chip.default().with_array(64, 64)
HEAD = WIDTH // HEADS


def found(model: onnx.ModelProto) -> tuple[list[Stream], list[str]]:
    plan = api.plan(model, CHIP, stop_after="partition")
    settle_sizes(plan.graph.graph)
    return streams_of(absorbed(plan))


def test_a_residual_stream_behind_rms_norms_is_free() -> None:
    streams, _ = found(llama_like())
    (whole,) = [s for s in streams if s.block == WIDTH]
    assert (len(whole.writers), len(whole.readers)) == (4, 11)
    assert [(o.node.op_type, o.rows) for o in whole.operands.values()] == [("Gather", False)]
    assert not whole.keeps_mean
    assert [s.block for s in streams if s is not whole] == [HEAD] * 2  # values, head by head


@pytest.mark.parametrize("form", ["op", "nodes"])
def test_behind_layer_norms_it_is_free_for_what_keeps_the_mean(form: str) -> None:
    streams, _ = found(gpt_like(form=form))
    (whole,) = [s for s in streams if s.block == WIDTH]
    assert whole.keeps_mean
    assert [o.node.op_type for o in whole.operands.values()].count("Gather") == 1
    assert [o.node.op_type for o in whole.operands.values()].count("Add") == 1


@pytest.mark.parametrize("form", ["op", "nodes"])
def test_with_norms_behind_the_sums_it_is_not(form: str) -> None:
    streams, refused = found(bert_like(form=form))
    assert [s.block for s in streams] == [HEAD] * 2
    assert any("gains or offsets" in why or "Mul" in why for why in refused)


#: What stands between the table and a norm, and stops the stream of the table.
STOPS: dict[str, Callable[[Net, str], str]] = {
    "relu": lambda net, x: net.op("Relu", x),
    "product": lambda net, x: net.op("Mul", x, net.gain()),
    "softmax": lambda net, x: net.op("Softmax", x, axis=-1),
    "part": lambda net, x: net.op(
        "Concat",
        *net.halves(x)[::-1],
        axis=-1,
    ),
    "scores": lambda net, x: net.op(
        "MatMul", net.op("MatMul", x, net.op("Transpose", x, perm=[0, 2, 1])), x
    ),
    "largest": lambda net, x: net.op("Sub", x, net.op("ReduceMax", x, axes=[-1])),
    "cubes": lambda net, x: net.op(
        "Div", x, net.op("ReduceMean", net.op("Pow", x, net.number(3)), axes=[-1])
    ),
    "whole numbers": lambda net, x: net.op("Cast", net.op("Cast", x, to=7), to=1),
    "squares read": lambda net, x: net.op("Add", x, net.op("Mul", x, x)),
}
#: What lets it pass.
PASSES: dict[str, Callable[[Net, str], str]] = {
    "number": lambda net, x: net.op("Div", net.op("Mul", x, net.number(3)), net.number(2)),
    "negative": lambda net, x: net.op("Neg", x),
    "axes": lambda net, x: net.op("Squeeze", net.op("Unsqueeze", x, net.axes(1)), net.axes(1)),
    "sum": lambda net, x: net.op("Add", x, net.drawn(1, WIDTH)),
    "last token": lambda net, x: net.op("Gather", x, net.axes(0), axis=1),
    "mean": lambda net, x: net.op("ReduceMean", x, axes=[1], keepdims=1),
    "joined": lambda net, x: net.op("Concat", x, x, axis=1),
    "unit": lambda net, x: net.op("LpNormalization", x, axis=-1, p=2),
    "length": lambda net, x: net.op("Div", x, net.op("ReduceL2", x, axes=[-1])),
    "squares": lambda net, x: net.op(
        "Div", x, net.op("Sqrt", net.op("ReduceSum", net.op("Mul", x, x), net.axes(-1)))
    ),
}


def middle(put: Callable[[Net, str], str]) -> tuple[bool, onnx.ModelProto]:
    net = Net()
    x = put(net, net.linear(net.embedded(), WIDTH, WIDTH))
    model = net.model(net.linear(net.rms(x), WIDTH, 5))
    return any(s.writers and s.block == WIDTH for s in found(model)[0]), model


@pytest.mark.parametrize("name", sorted(PASSES))
def test_these_let_it_pass(name: str) -> None:
    assert middle(PASSES[name])[0]


@pytest.mark.parametrize("name", sorted(STOPS))
def test_these_stop_it(name: str) -> None:
    assert not middle(STOPS[name])[0]


def test_an_output_of_the_network_is_not_rotated() -> None:
    net = Net()
    x = net.linear(net.embedded(), WIDTH, WIDTH)
    assert not found(net.model(net.linear(x, WIDTH, WIDTH)))[0][1:]

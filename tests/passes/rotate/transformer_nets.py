"""Small transformers, node by node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.passes.lowered_nets import node

Floats = npt.NDArray[np.float32]

#: Channels, heads, inner channels, tokens in the table.
WIDTH, HEADS, INNER, WORDS = 16, 2, 24, 11


@dataclass
class Net:
    """A network that grows node by node; weights are drawn.

    Attributes:
        form: how norms are written: ``op`` or ``nodes``.
    """

    seed: int = 0
    form: str = "nodes"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, Any] = field(default_factory=dict)

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, values: Any) -> str:
        name = f"c{len(self.weights)}"
        self.weights[name] = np.asarray(values)
        return name

    def drawn(self, *shape: int, scale: float = 0.4, offset: float = 0.0) -> str:
        rng = np.random.default_rng([self.seed, len(self.weights)])
        return self.constant((offset + scale * rng.standard_normal(shape)).astype(np.float32))

    def linear(self, x: str, rows: int, cols: int, *, bias: bool = False) -> str:
        y = self.op("MatMul", x, self.drawn(rows, cols))
        return self.op("Add", y, self.drawn(cols)) if bias else y

    def number(self, value: float) -> str:
        return self.constant(np.float32(value))

    def axes(self, *axes: int) -> str:
        return self.constant(np.array(axes))

    def halves(self, x: str) -> list[str]:
        half = WIDTH // 2
        bounds = [(0, half), (half, WIDTH)]
        return [self.op("Slice", x, self.axes(a), self.axes(b), self.axes(-1)) for a, b in bounds]

    def gain(self) -> str:
        return self.drawn(WIDTH, offset=1.0)

    def rms(self, x: str) -> str:
        """RMSNorm, with gains."""
        two, eps, one = (self.constant(np.float32(v)) for v in (2, 1e-5, 1))
        mean = self.op("ReduceMean", self.op("Pow", x, two), axes=[-1])
        root = self.op("Sqrt", self.op("Add", mean, eps))
        return self.op("Mul", self.op("Mul", x, self.op("Div", one, root)), self.gain())

    def layer_norm(self, x: str) -> str:
        """LayerNorm, with gains and offsets."""
        gain, offset = self.gain(), self.drawn(WIDTH)
        if self.form == "op":
            return self.op("LayerNormalization", x, gain, offset, axis=-1)
        two, eps = (self.constant(np.float32(v)) for v in (2, 1e-5))
        centred = self.op("Sub", x, self.op("ReduceMean", x, axes=[-1]))
        mean = self.op("ReduceMean", self.op("Pow", centred, two), axes=[-1])
        unit = self.op("Div", centred, self.op("Sqrt", self.op("Add", mean, eps)))
        return self.op("Add", self.op("Mul", unit, gain), offset)

    def attention(self, x: str, *, bias: bool = False) -> str:
        """Without positions; queries, keys and values are layers of their own."""
        head = WIDTH // HEADS
        cut = self.constant(np.array([0, 0, HEADS, -1 if self.form == "op" else head]))
        parts = []
        for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
            part = self.op("Reshape", self.linear(x, WIDTH, WIDTH, bias=bias), cut)
            parts.append(self.op("Transpose", part, perm=perm))
        scale = self.constant(np.float32(head**-0.5))
        scores = self.op("Mul", self.op("MatMul", parts[0], parts[1]), scale)
        mixed = self.op("MatMul", self.op("Softmax", scores, axis=-1), parts[2])
        joined = self.constant(np.array([0, 0, WIDTH]))
        mixed = self.op("Reshape", self.op("Transpose", mixed, perm=[0, 2, 1, 3]), joined)
        return self.linear(mixed, WIDTH, WIDTH, bias=bias)

    def embedded(self) -> str:
        return self.op("Gather", self.drawn(WORDS, WIDTH), "ids", axis=0)

    def model(self, y: str) -> onnx.ModelProto:
        self.nodes[-1].output[0] = "y" if self.nodes[-1].output[0] == y else y
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", "S"])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(a, name) for name, a in self.weights.items()],
        )
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opset, ir_version=9)


def llama_like(seed: int = 0, blocks: int = 2) -> onnx.ModelProto:
    """Norms before the layers, RMSNorm, a gated inner layer: all of the stream is free."""
    net = Net(seed)
    x = net.embedded()
    for _ in range(blocks):
        x = net.op("Add", x, net.attention(net.rms(x)))
        h = net.rms(x)
        gate = net.linear(h, WIDTH, INNER)
        inner = net.op(
            "Mul", net.op("Mul", gate, net.op("Sigmoid", gate)), net.linear(h, WIDTH, INNER)
        )
        x = net.op("Add", x, net.linear(inner, INNER, WIDTH))
    return net.model(net.linear(net.rms(x), WIDTH, 5))


def gpt_like(seed: int = 0, form: str = "nodes") -> onnx.ModelProto:
    """Norms before the layers, LayerNorm: free for rotations that keep the mean."""
    net = Net(seed, form)
    x = net.op("Add", net.embedded(), net.drawn(1, WIDTH))
    for _ in range(2):
        x = net.op("Add", x, net.attention(net.layer_norm(x), bias=True))
        inner = net.op("Relu", net.linear(net.layer_norm(x), WIDTH, INNER, bias=True))
        x = net.op("Add", x, net.linear(inner, INNER, WIDTH, bias=True))
    return net.model(net.linear(net.layer_norm(x), WIDTH, 5))


def bert_like(seed: int = 0, form: str = "op") -> onnx.ModelProto:
    """Norms behind the sums, whose gains the next sum reads, too: the stream is not free."""
    net = Net(seed, form)
    x = net.layer_norm(net.embedded())
    for _ in range(2):
        x = net.layer_norm(net.op("Add", x, net.attention(x, bias=True)))
        inner = net.op("Relu", net.linear(x, WIDTH, INNER, bias=True))
        x = net.layer_norm(net.op("Add", x, net.linear(inner, INNER, WIDTH, bias=True)))
    return net.model(net.linear(x, WIDTH, 5))


def tokens(samples: int = 3, length: int = 7, seed: int = 0) -> npt.NDArray[np.int64]:
    return np.random.default_rng([seed, 1]).integers(0, WORDS, (samples, length))

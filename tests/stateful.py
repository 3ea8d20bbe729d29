"""Small networks with a state: a recurrent voice detector, and a language model with a KV cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as Type
from onnx import helper, numpy_helper

HIDDEN, FRAME = 6, 576
#: What the language model's states are called in ``data.toml``.
CACHE = {"past.*": "present.*"}


class _Network:
    """Nodes and weights, one after the other."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, *shape: int, fan: int | None = None) -> str:
        values = self.rng.standard_normal(shape) / np.sqrt(fan or shape[0])
        return self.constant(name, values, np.float32)

    def constant(self, name: str, value: Any, dtype: Any = np.int64) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add(self, op: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, outputs, **attributes))
        return outputs[-1]

    def model(self, inputs: Sequence[Any], outputs: Sequence[Any]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info(*one) for one in inputs],
            [helper.make_tensor_value_info(*one) for one in outputs],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        onnx.checker.check_model(model)
        return model


def detector(seed: int = 0, *, batch: str = "batch") -> onnx.ModelProto:
    """Input (batch, 576), state (2, batch, 6) and a sampling rate → output, stateN: as silero-vad.

    Args:
        batch: name of the batch axis; none if empty.
    """
    net = _Network(seed)
    free: Any = batch or None
    for name, value in (("zero", [0]), ("one", [1]), ("two", [2])):
        net.constant(name, value)
    net.constant("rate", 16000.0, np.float32)
    net.add("Cast", ["sr"], "hz", to=Type.FLOAT)
    net.add("Div", ["hz", "rate"], "gain")
    net.add("Mul", ["input", "gain"], "loud")
    net.add("Unsqueeze", ["loud", "one"], "sound")
    net.weight("basis", 8, 1, 64, fan=16)
    net.add("Conv", ["sound", "basis"], "bands", strides=[64])
    net.add("Relu", ["bands"], "strong")
    net.add("ReduceMean", ["strong"], "mean", axes=[2], keepdims=0)
    net.add("Unsqueeze", ["mean", "zero"], "step")
    net.add("Slice", ["state", "zero", "one", "zero"], "h")
    net.add("Slice", ["state", "one", "two", "zero"], "c")
    net.weight("w", 1, 4 * HIDDEN, 8, fan=4)
    net.weight("r", 1, 4 * HIDDEN, HIDDEN, fan=HIDDEN)
    net.weight("b", 1, 8 * HIDDEN, fan=4)
    net.add("LSTM", ["step", "w", "r", "b", "", "h", "c"], "", "hn", "cn", hidden_size=HIDDEN)
    net.add("Concat", ["hn", "cn"], "stateN", axis=0)
    net.add("Squeeze", ["hn", "zero"], "last")
    net.weight("head", HIDDEN, 1, fan=1)
    net.add("MatMul", ["last", "head"], "score")
    net.add("Sigmoid", ["score"], "output")
    state = [2, free, HIDDEN]
    return net.model(
        [
            ("input", Type.FLOAT, [free, FRAME]),
            ("sr", Type.INT64, []),
            ("state", Type.FLOAT, state),
        ],
        [("output", Type.FLOAT, [free, 1]), ("stateN", Type.FLOAT, state)],
    )


def language_model(
    vocabulary: int = 12, width: int = 8, heads: int = 2, layers: int = 2, seed: int = 0
) -> onnx.ModelProto:
    """Ids (batch, tokens) and past.N.key, past.N.value → logits, present.N.key, present.N.value."""
    net, depth = _Network(seed), width // heads
    for name, value in (("zero", 0), ("one", 1), ("axis0", [0]), ("axis1", [1])):
        net.constant(name, value)
    net.add("Shape", ["ids"], "new1", start=1, end=2)
    net.add("Shape", ["past.0.key"], "old1", start=2, end=3)
    net.add("Squeeze", ["new1", "axis0"], "new")
    net.add("Squeeze", ["old1", "axis0"], "old")
    net.add("Add", ["new", "old"], "all")
    net.add("Range", ["old", "all", "one"], "at")
    net.add("Range", ["zero", "all", "one"], "keys")
    net.add("Unsqueeze", ["at", "axis1"], "rows")
    net.add("LessOrEqual", ["keys", "rows"], "seen")
    net.constant("low", -1e4, np.float32)
    net.constant("nil", 0, np.float32)
    net.add("Where", ["seen", "nil", "low"], "mask")
    net.weight("tokens", vocabulary, width, fan=1)
    net.weight("places", 32, width, fan=4)
    net.add("Gather", ["tokens", "ids"], "token")
    net.add("Gather", ["places", "at"], "place")
    x = net.add("Add", ["token", "place"], "x")
    net.constant("split", [0, 0, heads, depth])
    net.constant("join", [0, 0, width])
    net.constant("root", depth**-0.5, np.float32)
    caches: list[str] = []
    for number in range(layers):
        p = f"b{number}."
        net.constant(f"{p}scale", np.ones(width), np.float32)
        h = net.add("LayerNormalization", [x, f"{p}scale"], f"{p}h")
        for name in "qkv":
            net.weight(f"{p}w{name}", width, width)
            net.add("MatMul", [h, f"{p}w{name}"], f"{p}{name}0")
            net.add("Reshape", [f"{p}{name}0", "split"], f"{p}{name}1")
            net.add("Transpose", [f"{p}{name}1"], f"{p}{name}", perm=[0, 2, 1, 3])
        for name, kind in (("k", f"{number}.key"), ("v", f"{number}.value")):
            net.add("Concat", [f"past.{kind}", f"{p}{name}"], f"present.{kind}", axis=2)
            caches.append(kind)
        net.add("Transpose", [f"present.{number}.key"], f"{p}kt", perm=[0, 1, 3, 2])
        net.add("MatMul", [f"{p}q", f"{p}kt"], f"{p}s0")
        net.add("Mul", [f"{p}s0", "root"], f"{p}s1")
        net.add("Add", [f"{p}s1", "mask"], f"{p}s")
        net.add("Softmax", [f"{p}s"], f"{p}p", axis=-1)
        net.add("MatMul", [f"{p}p", f"present.{number}.value"], f"{p}o0")
        net.add("Transpose", [f"{p}o0"], f"{p}o1", perm=[0, 2, 1, 3])
        net.add("Reshape", [f"{p}o1", "join"], f"{p}o")
        net.weight(f"{p}wo", width, width)
        net.add("MatMul", [f"{p}o", f"{p}wo"], f"{p}y")
        x = net.add("Add", [x, f"{p}y"], f"{p}x")
    net.weight("out", width, vocabulary)
    net.add("MatMul", [x, "out"], "logits")

    def cached(side: str, length: str) -> list[tuple[str, int, list[Any]]]:
        shape = ["batch", heads, length, depth]
        return [(f"{side}.{kind}", Type.FLOAT, shape) for kind in caches]

    return net.model(
        [("ids", Type.INT64, ["batch", "tokens"]), *cached("past", "past")],
        [
            ("logits", Type.FLOAT, ["batch", "tokens", vocabulary]),
            *cached("present", "past + tokens"),
        ],
    )


def by_hand(run: Any, frames: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    """(sequences, steps) what the detector gives, its state fed back by hand.

    Args:
        run: of a session.
        start: (2, sequences, 6) the state at the start; zeros if None.
    """
    state = np.zeros((2, len(frames), HIDDEN), np.float32) if start is None else start
    found = []
    for step in range(frames.shape[1]):
        feed = {"input": frames[:, step], "sr": np.array(16000), "state": state}
        output, state = run(["output", "stateN"], feed)
        found.append(output[:, 0])
    return np.stack(found, axis=1)


def golden(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """The model in ONNX Runtime."""
    return onnxruntime.InferenceSession(model.SerializeToString())


def sounds(sequences: int, steps: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(sequences, steps, 576) noise that is loud now and then, and whether it is, a step."""
    rng = np.random.default_rng(seed)
    loud = rng.integers(0, 2, (sequences, steps))
    frames = rng.standard_normal((sequences, steps, FRAME)) * (0.2 + loud[..., None])
    return frames.astype(np.float32), loud.astype(np.int64)


def windows(count: int, tokens: int = 10, seed: int = 0) -> np.ndarray:
    """(count, tokens) token numbers in which each follows from the one before, mostly."""
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 12, (count, tokens))
    for place in range(1, tokens):
        follows = rng.random(count) < 0.8
        found[:, place] = np.where(follows, (found[:, place - 1] * 5 + 1) % 12, found[:, place])
    return found.astype(np.int64)

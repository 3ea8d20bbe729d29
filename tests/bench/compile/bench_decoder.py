"""Compile time and memory of a decoder of seven billion weights, written as external data.

    python tests/bench/compile/bench_decoder.py FOLDER [--weights int4] [--layers 32] [--keep]

The architecture is that of LLaMA, DOI 10.48550/arXiv.2302.13971, with a KV cache: tokens, their
positions and the cache go in, logits and the longer cache come out. Weights are random: float16,
13.5 GB of them; int8 behind DequantizeLinear; or int4 in MatMulNBits, scaled 32 by 32. The image
takes 3.6 GB. FOLDER must have room for both.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HEAD, EPSILON = 128, 1e-5
#: Values drawn at a time.
DRAWN = 1 << 24
#: Weights that share a scale where they have four bits.
BLOCK = 32


class Decoder:
    """A network put together node by node; large weights go to a file of their own at once."""

    def __init__(self, stream: BinaryIO, location: str, weights: str) -> None:
        self._product = {
            "float16": self._float_product, "int8": self._int8_product, "int4": self._int4_product,
        }[weights]  # fmt: skip
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._stream, self._location = stream, location
        self._rng = np.random.default_rng(0)

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """A node; returns its output, or all of them where it has several."""
        names = [f"v{len(self.nodes)}.{k}" for k in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, values: Any, dtype: Any = np.float16) -> str:
        """A small constant."""
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def product(self, x: str, name: str, rows: int, cols: int) -> str:
        """``x`` times random weights, in the format asked for."""
        return self._product(x, name, rows, cols)

    def _float_product(self, x: str, name: str, rows: int, cols: int) -> str:
        return str(self.op("MatMul", x, self.weight(name, rows, cols)))

    def _int8_product(self, x: str, name: str, rows: int, cols: int) -> str:
        codes = self._stored(name, (rows, cols), TensorProto.INT8, rows * cols, self._codes)
        scale = self.constant(np.full(cols, rows**-0.5 / 32))
        return str(self.op("MatMul", x, self.op("DequantizeLinear", codes, scale, axis=1)))

    def _int4_product(self, x: str, name: str, rows: int, cols: int) -> str:
        shape, count = (cols, rows // BLOCK, BLOCK // 2), rows * cols // 2
        codes = self._stored(name, shape, TensorProto.UINT8, count, self._codes)
        scale = self.constant(np.full((cols, rows // BLOCK), rows**-0.5 / 4))
        sizes = {"K": rows, "N": cols, "bits": 4, "block_size": BLOCK}
        return str(self.op("MatMulNBits", x, codes, scale, domain="com.microsoft", **sizes))

    def weight(self, name: str, rows: int, cols: int) -> str:
        """Random float16."""

        def values(count: int) -> Any:
            drawn = self._rng.standard_normal(count, np.float32) * np.float32(rows**-0.5)
            return drawn.astype(np.float16)

        return self._stored(name, (rows, cols), TensorProto.FLOAT16, rows * cols, values)

    def _codes(self, count: int) -> Any:
        return self._rng.integers(0, 256, count, np.uint8)

    def _stored(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: int,
        count: int,
        values: Callable[[int], Any],
    ) -> str:
        """An initializer whose ``count`` values go to the file."""
        tensor = onnx.TensorProto(
            name=name,
            dims=shape,
            data_type=kind,
            data_location=onnx.TensorProto.EXTERNAL,
        )
        start = self._stream.tell()
        for done in range(0, count, DRAWN):
            self._stream.write(values(min(DRAWN, count - done)).tobytes())
        facts = {
            "location": self._location, "offset": start, "length": self._stream.tell() - start,
        }  # fmt: skip
        for key, value in facts.items():
            tensor.external_data.add(key=key, value=str(value))
        self.weights.append(tensor)
        return name

    def norm(self, x: str, width: int) -> str:
        """Root-mean-square norm, in float32."""
        wide = self.op("Cast", x, to=TensorProto.FLOAT)
        square = self.op("Mul", wide, wide)
        mean = self.op("ReduceMean", square, self.constant([-1], np.int64))
        floor = self.op("Add", mean, self.constant(EPSILON, np.float32))
        scaled = self.op("Div", wide, self.op("Sqrt", floor))
        narrow = self.op("Cast", scaled, to=TensorProto.FLOAT16)
        return str(self.op("Mul", narrow, self.constant(np.ones(width))))

    def split(self, x: str, heads: int) -> str:
        """(batch, tokens, width) as (batch, heads, tokens, HEAD)."""
        apart = self.op("Reshape", x, self.constant([0, 0, heads, HEAD], np.int64))
        return str(self.op("Transpose", apart, perm=[0, 2, 1, 3]))

    def rotated(self, x: str, cos: str, sin: str) -> str:
        """Rotary position embedding, DOI 10.48550/arXiv.2104.09864."""
        first, second = self.op("Split", x, outputs=2, axis=-1, num_outputs=2)
        turned = self.op("Concat", self.op("Neg", second), first, axis=-1)
        return str(self.op("Add", self.op("Mul", x, cos), self.op("Mul", turned, sin)))


def build(path: Path, weights: str, layers: int, width: int, hidden: int, words: int) -> None:
    """Write the model to ``path`` and its weights beside it."""
    location, heads = path.with_suffix(".bin").name, width // HEAD
    with (path.parent / location).open("wb") as stream:
        net = Decoder(stream, location, weights)
        x = net.op("Gather", net.weight("words", words, width), "ids")
        speed = net.constant(10000.0 ** (-np.arange(0, HEAD, 2) / HEAD), np.float32)
        steps = net.op("Cast", "positions", to=TensorProto.FLOAT)
        angle = net.op("Mul", net.op("Unsqueeze", steps, net.constant([-1], np.int64)), speed)
        angle = net.op("Concat", angle, angle, axis=-1)
        cos, sin = (
            net.op("Cast", net.op(kind, angle), to=TensorProto.FLOAT16) for kind in ("Cos", "Sin")
        )
        caches: list[tuple[str, str]] = []
        for number in range(layers):
            x = block(net, x, number, width, hidden, (cos, sin), caches)
        x = net.product(net.norm(x, width), "head", width, words)
        net.nodes[-1].output[0] = "logits"
    half = TensorProto.FLOAT16
    ids = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", "T"])]
    places = [helper.make_tensor_value_info("positions", TensorProto.INT64, ["T"])]
    old, new = (
        [helper.make_tensor_value_info(name, half, ["N", heads, length, HEAD]) for name in names]
        for names, length in (([c[0] for c in caches], "P"), ([c[1] for c in caches], "P+T"))
    )
    logits = helper.make_tensor_value_info("logits", half, ["N", "T", words])
    graph = helper.make_graph(
        net.nodes, "decoder", [*ids, *places, *old], [logits, *new], net.weights
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.save(model, path)


def block(
    net: Decoder,
    x: str,
    number: int,
    width: int,
    hidden: int,
    turn: tuple[str, str],
    caches: list[tuple[str, str]],
) -> str:
    """Attention and a gated feed-forward network; tokens see all that came before this run."""
    heads = width // HEAD
    y = net.norm(x, width)
    q, k, v = (net.split(net.product(y, f"{number}.{part}", width, width), heads) for part in "qkv")
    q, k = (net.rotated(value, *turn) for value in (q, k))
    parts = []
    for value, name in ((k, "k"), (v, "v")):
        whole = net.op("Concat", f"past.{number}.{name}", value, axis=2)
        net.nodes[-1].output[0] = whole = f"present.{number}.{name}"
        caches.append((f"past.{number}.{name}", whole))
        parts.append(whole)
    scores = net.op("MatMul", q, net.op("Transpose", parts[0], perm=[0, 1, 3, 2]))
    scores = net.op("Mul", scores, net.constant(HEAD**-0.5))
    seen = net.op("MatMul", net.op("Softmax", scores, axis=-1), parts[1])
    seen = net.op("Transpose", seen, perm=[0, 2, 1, 3])
    seen = net.op("Reshape", seen, net.constant([0, 0, width], np.int64))
    x = net.op("Add", x, net.product(seen, f"{number}.o", width, width))
    y = net.norm(x, width)
    gate, up = (net.product(y, f"{number}.{part}", width, hidden) for part in ("gate", "up"))
    gated = net.op("Mul", net.op("Mul", gate, net.op("Sigmoid", gate)), up)
    down = net.product(gated, f"{number}.down", hidden, width)
    return str(net.op("Add", x, down))


def main() -> None:
    """Build, compile and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", choices=["float16", "int8", "int4"], default="float16")
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--hidden", type=int, default=11008)
    parser.add_argument("--words", type=int, default=32000)
    parser.add_argument("--keep", action="store_true", help="Leave the model and the image there.")
    parser.add_argument("--build", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    model, image = options.folder / "decoder.onnx", options.folder / "decoder.pimc"
    if options.build:
        sizes = options.layers, options.width, options.hidden, options.words
        build(model, options.weights, *sizes)
        return
    # In a process of its own: a child's peak memory counts what its parent held.
    subprocess.run([sys.executable, __file__, *sys.argv[1:], "--build"], check=True)
    start = time.perf_counter()
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("pimc")), "compile", str(model), "--no-teacher",
            "--set", "hierarchy.cores=100000", "-o", str(image), "--json",
        ],
        check=True,
        capture_output=True,
        text=True,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    found = json.loads(done.stdout)
    weights = sum(e["groups"] * e["rows"] * e["cols"] for e in found["layers"])
    largest = 4 * max(e["rows"] * e["cols"] for e in found["layers"]) / 2**20
    print(f"{weights:,} weights on {found['arrays_used']:,} arrays in {seconds:.0f} s")
    print(f"peak {found['peak_rss_mb']:,.0f} MiB; the largest layer takes {largest:,.0f} MiB")
    print(", ".join(f"{name} {took:.1f} s" for name, took in found["passes"].items()))
    if not options.keep:
        for path in (model, model.with_suffix(".bin"), image):
            path.unlink()


if __name__ == "__main__":
    main()

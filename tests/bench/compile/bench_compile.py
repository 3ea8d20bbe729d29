"""Compile time and memory without calibration, against one NumPy pass over the same weights.

    python tests/bench/compile/bench_compile.py [--network NAME ...] [--runs 3] [--pimcomp BUILD]

Every run is a process of its own. The pass reads the weights, scales and rounds every column and
writes the codes, four bits each. Networks are those of the papers with random weights.

The last column is the next image after a recovery that wrote to so many arrays: a copy and a hash
of the packed levels, whatever their number, and the packing of those arrays.

BUILD is the folder where PIMCOMP-NN (Sun et al. 2023, DOI 10.48550/arXiv.2307.01475) has been
built: its back end then compiles the same networks from the shapes that come with it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from pimc.image.image import Image

IMAGE = 224
#: Arrays that a recovery has written to, and cells in each.
TOUCHED, CELLS = (1, 100, 1000), 100


class Net:
    """A network put together layer by layer."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.rng = np.random.default_rng(0)

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """A node; returns its output."""
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def weight(self, *shape: int) -> str:
        """Random numbers as wide as He et al. start with."""
        spread = (2 / np.prod(shape[1:])) ** 0.5
        values = self.rng.standard_normal(shape, np.float32) * np.float32(spread)
        self.weights.append(numpy_helper.from_array(values, f"w{len(self.weights)}"))
        return self.weights[-1].name

    def conv(self, x: str, into: int, out: int, kernel: int, stride: int = 1) -> str:
        """A convolution that keeps the size but for its stride."""
        pads = [kernel // 2] * 4
        weight = self.weight(out, into, kernel, kernel)
        return self.add("Conv", x, weight, self.weight(out), pads=pads, strides=[stride] * 2)

    def gemm(self, x: str, into: int, out: int) -> str:
        """A fully connected layer."""
        return self.add("Gemm", x, self.weight(out, into), self.weight(out), transB=1)

    def save(self, output: str, path: Path) -> None:
        """Write the network whose last value is ``output``."""
        self.nodes[-1].output[0] = "y"
        graph = helper.make_graph(
            self.nodes,
            path.stem,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, IMAGE, IMAGE])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1000])],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, path)


def resnet(net: Net, blocks: Sequence[int], bottleneck: bool) -> str:
    """He et al. 2015, DOI 10.1109/CVPR.2016.90."""
    x = net.add("Relu", net.conv("x", 3, 64, 7, 2))
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for stage, count in enumerate(blocks):
        width = 64 << stage
        out = width * (4 if bottleneck else 1)
        for block in range(count):
            stride = 2 if stage and not block else 1
            if bottleneck:
                y = net.add("Relu", net.conv(x, channels, width, 1))
                y = net.add("Relu", net.conv(y, width, width, 3, stride))
                y = net.conv(y, width, out, 1)
            else:
                y = net.add("Relu", net.conv(x, channels, width, 3, stride))
                y = net.conv(y, width, out, 3)
            if channels != out:
                x = net.conv(x, channels, out, 1, stride)
            x, channels = net.add("Relu", net.add("Add", x, y)), out
    x = net.add("Flatten", net.add("GlobalAveragePool", x))
    return net.gemm(x, channels, 1000)


def vgg(net: Net, stages: Sequence[Sequence[int]]) -> str:
    """Simonyan and Zisserman 2014, DOI 10.48550/arXiv.1409.1556."""
    x, channels = "x", 3
    for stage in stages:
        for width in stage:
            x, channels = net.add("Relu", net.conv(x, channels, width, 3)), width
        x = net.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.add("Flatten", x)
    for into, out in ((channels * 49, 4096), (4096, 4096)):
        x = net.add("Relu", net.gemm(x, into, out))
    return net.gemm(x, 4096, 1000)


NETWORKS = {
    "resnet18": lambda net: resnet(net, (2, 2, 2, 2), bottleneck=False),
    "resnet50": lambda net: resnet(net, (3, 4, 6, 3), bottleneck=True),
    "vgg16": lambda net: vgg(net, ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)),
}

#: The pass, as a program of its own that gets the model's and the output's path.
NUMPY_PASS = """
import sys
import numpy as np, onnx
from onnx import numpy_helper
with open(sys.argv[2], "wb") as out:
    for tensor in onnx.load(sys.argv[1]).graph.initializer:
        if len(tensor.dims) < 2:
            continue
        weight = numpy_helper.to_array(tensor)
        weight = weight.reshape(len(weight), -1)
        scale = np.abs(weight).max(axis=1, keepdims=True) / 7.5
        codes = np.clip(np.rint(weight / scale + 7.5), 0, 15).astype(np.uint8).reshape(-1)
        out.write((codes[0::2] | codes[1::2] << 4).tobytes())
"""


def _seconds(command: list[str]) -> tuple[float, str]:
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - start, done.stdout


def _recompiled(path: Path, runs: int) -> str:
    """Median milliseconds of the next image where TOUCHED arrays have new levels."""
    image, rng, found = Image.load(path), np.random.default_rng(0), []
    size = image.chip.array.rows * image.chip.array.cols
    for touched in (min(count, image.arrays) for count in TOUCHED):
        arrays = rng.choice(image.arrays, touched, replace=False)
        places = rng.choice(size, CELLS, replace=False)
        cells = (arrays[:, None] * size + places).reshape(-1)
        levels = rng.integers(0, image.chip.cell.levels, len(cells)).astype(np.uint16)
        seconds = []
        for _ in range(runs):
            start = time.perf_counter()
            image.updated(cells=cells, levels=levels)
            seconds.append(time.perf_counter() - start)
        found.append(f"{median(seconds) * 1000:.0f}")
    return " / ".join(found)


def _pimcomp(name: str, build: Path, runs: int) -> str:
    """Median time and peak memory of PIMCOMP-NN, or how it ended."""
    seconds, peak = [], 0
    for _ in range(runs):
        start = time.perf_counter()
        command = [str(build.absolute() / "PIMCOMP-NN"), f"-m={name}"]
        process = subprocess.Popen(command, cwd=build, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds.append(time.perf_counter() - start)
        if status:
            return f"ended with {os.waitstatus_to_exitcode(status)}"
        peak = max(peak, usage.ru_maxrss)  # KiB
    return f"{median(seconds):.2f} s, {peak / 1024:,.0f} MiB"


def measure(name: str, folder: Path, runs: int, pimcomp: Path | None) -> str:
    """One line of the table."""
    model = folder / f"{name}.onnx"
    # In a process of its own: a child's peak memory counts what its parent held.
    subprocess.run([sys.executable, __file__, "--build", name, str(model)], check=True)
    image, packed = str(folder / "out.pimc"), str(folder / "packed.bin")
    compile_ = [
        str(Path(sys.executable).with_name("pimc")), "compile", str(model), "--array", "128x128",
        "--set", "hierarchy.cores=4096", "-o", image, "--json",
    ]  # fmt: skip
    plain = [sys.executable, "-c", NUMPY_PASS, str(model), packed]
    ours, theirs, memory, arrays = [], [], 0.0, 0
    for _ in range(runs):
        # In turn, so that both meet the same machine.
        seconds, text = _seconds(compile_)
        found = json.loads(text)
        memory, arrays = max(memory, found["peak_rss_mb"]), found["arrays_used"]
        ours.append(seconds)
        theirs.append(_seconds(plain)[0])
    first, second = median(ours), median(theirs)
    size = model.stat().st_size / 1e6
    cells = (f"{size:,.0f} MB", f"{arrays:,}", f"{first:.2f} s", f"{second:.2f} s")
    again = f"{_recompiled(Path(image), runs)} ms"
    peer = "" if pimcomp is None else f" {_pimcomp(name, pimcomp, runs)} |"
    ratio = f"{first / second:.1f}"
    return f"| {name} | {' | '.join(cells)} | {ratio} | {memory:,.0f} MiB | {again} |{peer}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", action="append", choices=[*NETWORKS], default=[])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--pimcomp", type=Path, metavar="BUILD")
    parser.add_argument("--build", nargs=2, metavar=("NAME", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.build:
        name, path = options.build
        net = Net()
        net.save(NETWORKS[name](net), Path(path))
        return
    peer = options.pimcomp is not None
    columns = ["weights", "arrays", "pimc compile", "NumPy pass", "ratio", "peak memory"]
    columns += [f"next image, {' / '.join(map(str, TOUCHED))} arrays"]
    columns += ["PIMCOMP-NN"] if peer else []
    print(f"| network | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.network or NETWORKS:
            print(measure(name, Path(folder), options.runs, options.pimcomp), flush=True)


if __name__ == "__main__":
    main()

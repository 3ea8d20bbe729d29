"""Peak memory of calibration and evaluation on a folder of generated 224×224 images.

    python tests/bench/data/bench_image_folder.py                  # 2,000 images
    python tests/bench/data/bench_image_folder.py --images 100000  # 60 GB of float32

The images, of noise, are written once to a temporary folder, ten classes in sub-folders. Then
``pimc compile --calib`` and ``pimc eval`` run, each in a process of its own, whose peak
(``ru_maxrss``) must stay below 2 GiB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

CLASSES, SIDE = 10, 224
LIMIT_BYTES = 2 << 30


def model() -> onnx.ModelProto:
    """Patches of 16×16, an average over them, ten classes."""
    rng = np.random.default_rng(0)
    patches = (rng.normal(size=(32, 3, 16, 16)) / 28).astype(np.float32)
    classes = rng.normal(size=(32, CLASSES)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], strides=[16, 16]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "v"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "patches",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(patches, "w"), numpy_helper.from_array(classes, "v")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_images(folder: Path, count: int) -> None:
    """Coarse noise of each class's own colours, as JPEG."""
    rng = np.random.default_rng(1)
    (folder / "data.toml").write_text("scale = 255.0\n", encoding="utf-8")
    for number in range(count):
        kind = folder / f"class{number % CLASSES}"
        kind.mkdir(exist_ok=True)
        coarse = rng.integers(0, 256, (14, 14, 3), dtype=np.uint8)
        coarse[..., number % 3] //= 1 + number % CLASSES
        picture = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        picture.save(kind / f"{number:06}.jpg", quality=60)


def measured(folder: Path, *words: object) -> tuple[float, int]:
    """Seconds and peak bytes of one command."""
    program = (
        "import json, resource, sys\n"
        "from pimc.cli.main import run\n"
        "code = run(sys.argv[1:])\n"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "print(json.dumps([code, peak]))"
    )
    start = time.perf_counter()
    command = [sys.executable, "-c", program, *map(str, words)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    code, peak = json.loads(done.stdout.splitlines()[-1])
    if code:
        raise SystemExit(done.stderr)
    return seconds, peak << (0 if sys.platform == "darwin" else 10)


def main() -> None:
    """Generate, compile, evaluate, and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    count = parser.parse_args().images
    with tempfile.TemporaryDirectory(prefix="pimc-bench-") as name:
        folder = Path(name)
        (folder / "data").mkdir()
        write_images(folder / "data", count)
        onnx.save(model(), str(folder / "m.onnx"))
        print(f"{count:,} images, {count * SIDE * SIDE * 3 / 1e9:.1f} GB as bytes, "
              f"{count * SIDE * SIDE * 12 / 1e9:.1f} GB as float32")  # fmt: skip
        worst = 0
        for title, words in {
            "compile": ("compile", "m.onnx", "--calib", "data", "--quiet"),
            "eval": ("eval", "m.pimc", "--data", "data", "--ideal", "--quiet"),
        }.items():
            seconds, peak = measured(folder, *words)
            worst = max(worst, peak)
            print(f"{title}: {seconds:.0f} s, peak {peak / 2**20:,.0f} MiB")
    if worst >= LIMIT_BYTES:
        raise SystemExit(f"the peak is beyond {LIMIT_BYTES >> 20} MiB")


if __name__ == "__main__":
    main()

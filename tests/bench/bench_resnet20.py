"""ResNet-20 on CIFAR-10: compiling, accuracy on perfect and imprecise dies, recovery.

Needs the folder named by ``--data`` (default: ``shared/data/cifar10`` beside the checkout) with
``resnet20.onnx``, ``calib.npz``, ``test.npz`` and ``data.toml``; says so and ends where it is
missing. Prints a Markdown table. Figures are only as good as the machine is idle.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

DEFAULT = Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10"
NEEDED = ("resnet20.onnx", "calib.npz", "test.npz", "data.toml")


def pimc(*arguments: object) -> tuple[dict[str, Any], float]:
    """Run one command in a fresh process: its JSON and the wall time in seconds.

    A check that fails (exit code 1) is a result, not a failure.
    """
    command = [str(Path(sys.executable).with_name("pimc")), *map(str, arguments), "--json"]
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"pimc {arguments[0]} ended with exit code {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result, time.perf_counter() - start


def mean_and_spread(values: list[float]) -> str:
    """Per cent, mean ± standard deviation."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.mean(values):.2f} ± {100 * spread:.2f} %"


def compiling(data: Path, work: Path) -> Path:
    """Compile twice with and once without calibration data; print what it takes."""
    images = [work / "first.pimc", work / "second.pimc"]
    for image in images:
        facts, seconds = pimc(
            "compile", data / "resnet20.onnx", "--array", "128x128",
            "--calib", data / "calib.npz", "-o", image,
        )  # fmt: skip
        print(
            f"compile: {facts['arrays_used']} arrays, {seconds:.2f} s wall in a fresh process, "
            f"{facts['peak_rss_mb']:.0f} MB"
        )
    same = images[0].read_bytes() == images[1].read_bytes()
    print(f"same bytes twice: {'yes' if same else 'NO'}")
    print(f"verify: {'ok' if pimc('verify', images[0])[0]['ok'] else 'FAILED'}")
    dynamic = work / "dynamic.pimc"
    pimc("compile", data / "resnet20.onnx", "--array", "128x128", "-o", dynamic)
    for name, image in (("calibrated", images[0]), ("dynamic ranges", dynamic)):
        found, _ = pimc("eval", image, "--data", data / "test.npz", "--ideal")
        print(
            f"perfect cells, {name}: {100 * found['accuracy_mean']:.2f} % "
            f"(float {100 * found['float_accuracy']:.2f} %)"
        )
    return images[0]


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT)
    parser.add_argument("--dies", type=int, default=5)
    options = parser.parse_args()
    missing = [name for name in NEEDED if not (options.data / name).is_file()]
    if missing:
        print(f"skipped: {', '.join(missing)} not found in {options.data}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        image = compiling(options.data, work)
        before: list[float] = []
        after: list[float] = []
        print("\n| die | before | after | cells rewritten | seconds |\n|---|---:|---:|---:|---:|")
        for seed in range(options.dies):
            found, seconds = pimc(
                "recover", image, "--calib", options.data / "calib.npz",
                "--data", options.data / "test.npz", "--seed", seed, "-o", work / f"{seed}.pimc",
            )  # fmt: skip
            before += found["accuracy_before"]
            after += found["accuracy_after"]
            share = found["cells_rewritten"] / found["cells_total"]
            print(
                f"| {seed} | {100 * before[-1]:.2f} % | {100 * after[-1]:.2f} % "
                f"| {100 * share:.1f} % | {seconds:.0f} |",
                flush=True,
            )
        print(f"| mean | {mean_and_spread(before)} | {mean_and_spread(after)} | | |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Peak memory of a recovery under several budgets, each in a process of its own.

    python tests/bench/recovery/bench_memory.py IMAGE --calib DATA [--memory 1G ...] [-- OPTION ...]
    python tests/bench/recovery/bench_memory.py --network resnet50 [--memory 8G ...] [-- OPTION ...]

The second builds a network of ``bench_compile.py`` with random weights, and 16 random images of
224×224 for it, one of which it is compiled with. Prints peak, seconds and the hash of the next
image, which must be the same under all budgets.
Without ``--memory`` the default is measured. Options after ``--`` go to ``pimc recover``. Peaks
are taken to be in KiB, as Linux tells them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from pimc.files.writing.atomic import sha256_file

#: The command, by the interpreter that runs this.
PIMC = (sys.executable, "-c", "import sys; from pimc.cli import main; sys.exit(main())")


#: Builds networks with random weights.
BUILDER = Path(__file__).resolve().parents[1] / "compile" / "bench_compile.py"


def built(name: str, folder: Path) -> tuple[Path, Path]:
    """Image and calibration data of a network with random weights."""
    model, image, calib = (folder / f"{name}.{end}" for end in ("onnx", "pimc", "npz"))
    subprocess.run([sys.executable, BUILDER, "--build", name, model], check=True)
    images = np.random.default_rng(7).standard_normal((16, 3, 224, 224), np.float32)
    np.savez(calib, x=images)
    np.savez(folder / "first.npz", x=images[:1])
    options = ["--no-feedback", "--no-equalize", "--set", "hierarchy.cores=4096", "-q"]
    words = [*PIMC, "compile", str(model), "--calib", str(folder / "first.npz"), *options]
    subprocess.run([*words, "-o", str(image)], check=True, stdout=subprocess.DEVNULL)
    return image, calib


def measured(image: Path, calib: Path, memory: str, more: list[str]) -> tuple[float, float, str]:
    """Peak in MB, seconds, and the hash of the next image."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "next.pimc"
        words = [
            *PIMC, "recover", str(image), "--calib", str(calib),
            "-o", str(output), "--seed", "900", "-q", *more,
        ]  # fmt: skip
        words += ["--memory", memory] if memory else []
        start = time.perf_counter()
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"recover ended with {process.returncode}")
        seconds = time.perf_counter() - start
        return usage.ru_maxrss * 1024 / 1e6, seconds, sha256_file(output)


def main() -> None:
    """One line a budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", type=Path, nargs="?")
    parser.add_argument("--calib", type=Path)
    parser.add_argument("--network", help="build this one instead")
    parser.add_argument("--memory", action="append")
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    given, more = parser.parse_args(words[:end]), words[end + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        image, calib = given.image, given.calib
        if given.network:
            image, calib = built(given.network, Path(folder))
        if image is None or calib is None:
            parser.error("name an image and its calibration data, or a network")
        for memory in given.memory or [""]:
            peak, seconds, digest = measured(image, calib, memory, more)
            told = f"{peak:7.0f} MB {seconds:6.0f} s  {digest[:16]}"
            print(f"{memory or 'default':8} {told}", flush=True)


if __name__ == "__main__":
    main()

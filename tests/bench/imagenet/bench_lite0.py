"""EfficientNet-Lite0 with digital first layers and pairs where they pay, on perfect cells and dies.

    python tests/bench/imagenet/bench_lite0.py --data DIR [--dies 5] [--keep DIR] [-- OPTION ...]

DIR holds ``efficientnet_lite0.onnx``, ``calib.npz`` and ``test.npz``; without it nothing is
measured. Options after ``--`` go to ``pimc recover``. What layers are comes from two fronts of
``pimc layouts --calib``: the first ``--digital`` (12 or 22) to become digital, and of the others
those that get differential pairs up to 1.45 cells a weight.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_FIRST = (911, 914, 917, 920, 923, 926, 932, 935, 938, 941, 944, 962)
_LATER = (929, 950, 953, 956, 959, 968, 977, 986, 989, 1016)
_PAIRS = (
    947, 965, 971, 974, 980, 983, 992, 995, 998, 1001, 1004, 1007, 1010, 1013, 1022, 1031, 1034,
    1040, 1043, 1046, 1049, 1052,
)  # fmt: skip
#: By how many are digital: those, and those that have pairs.
LAYERS = {12: (_FIRST, _LATER + _PAIRS), 22: (_FIRST + _LATER, (*_PAIRS, 1025, 1037))}


def pimc(*arguments: str | Path) -> dict[str, Any]:
    """What a command prints as JSON."""
    pimc = "import sys; from pimc.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", pimc, *map(str, arguments), "--json", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def mappings(count: int) -> list[str]:
    """Options of ``compile``, with so many digital layers."""
    digital, pairs = LAYERS[count]
    kinds = dict.fromkeys(digital, "digital") | dict.fromkeys(pairs, "differential")
    return [word for n, kind in kinds.items() for word in ("--mapping", f"onnx::Conv_{n}={kind}")]


def main() -> None:
    """Compile, measure perfect cells, then recover die after die."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--dies", type=int, default=5)
    parser.add_argument("--digital", type=int, default=12, choices=LAYERS)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("recover", nargs="*", help="options of recover")
    given = parser.parse_args()
    if given.data is None:
        print("EfficientNet-Lite0: give its folder with --data")
        return
    calib, test = given.data / "calib.npz", given.data / "test.npz"
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        image = folder / "lite0.pimc"
        model = given.data / "efficientnet_lite0.onnx"
        options = (*mappings(given.digital), "--split-rows", "-o", image)
        made = pimc("compile", model, "--calib", calib, *options)
        perfect = pimc("eval", image, "--ideal", "--data", test)
        print(
            f"float {perfect['float_accuracy']:.2%}  perfect cells {perfect['accuracy_mean']:.2%}"
            f"  {made['cells_a_weight']:.2f} cells a weight on the array"
        )
        for seed in range(given.dies):
            found = pimc(
                "recover", image, "--calib", calib, "--data", test, "--seed", str(seed),
                "-o", folder / f"lite0.die{seed}.pimc", *given.recover,
            )  # fmt: skip
            (before,), (after,) = found["accuracy_before"], found["accuracy_after"]
            print(f"die {seed}  {before:.2%} as programmed  {after:.2%} recovered", flush=True)


if __name__ == "__main__":
    main()

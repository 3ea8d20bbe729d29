"""MLPerf Tiny, closed division: four networks on simulated dies, as programmed and recovered.

Needs the folder ``mlperf-tiny`` (``--data``, default ``shared/data/mlperf-tiny`` beside the
checkout) with ``kws``, ``ic``, ``vww`` and ``ad``: ``model.onnx``, ``calib.npz`` and ``test.npz``,
of ``ad`` ``test_clips.npz``; says so and ends where it is missing. Everything goes through the
command line. What ``--output`` already holds is not measured again, so a run that was cut goes on
where it stopped, and more dies are added to those that are there. Prints a Markdown table: float
network, perfect cells, and over the dies the mean and the worst one as programmed and recovered,
against the target of the benchmark.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DEFAULT = Path(__file__).resolve().parents[4] / "shared" / "data" / "mlperf-tiny"
HEAD = (
    "| network | metric | samples | dies | float | perfect cells | as programmed | recovered | "
    "worst die | target | reached | cells rewritten |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|---:|\n"
)


@dataclass(frozen=True)
class Benchmark:
    """A network of the closed division.

    Attributes:
        target: that the benchmark sets, in the metric's own unit.
        task: of ``pimc eval`` and ``pimc recover``.
    """

    title: str
    target: float
    task: str = "classification"
    test: str = "test.npz"


BENCHMARKS = {
    "kws": Benchmark("keyword spotting", 0.90),
    "ic": Benchmark("image classification", 0.85),
    "vww": Benchmark("visual wake words", 0.80),
    "ad": Benchmark("anomaly detection", 0.85, "anomaly", "test_clips.npz"),
}


def pimc(*arguments: object) -> dict[str, Any]:
    """Run one command in a fresh process: its JSON."""
    program = str(Path(sys.executable).with_name("pimc"))
    command = [program, *map(str, arguments), "--json", "--quiet"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"pimc {arguments[0]} ended with exit code {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def kept(path: Path, *arguments: object) -> dict[str, Any]:
    """The JSON of a command, noted in a file when it is done; read where it is there."""
    if not path.exists():
        found = pimc(*arguments)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(found))
        part.replace(path)
    result: dict[str, Any] = json.loads(path.read_text())
    return result


def windows_of(clips: Path, output: Path) -> Path:
    """Clips (N, windows, values) as samples that a network takes: windows, each with its clip."""
    path = output / "windows.npz"
    if not path.exists():
        with np.load(clips) as stored:
            x, y = stored["x"], stored["y"]
        count, windows, width = x.shape
        part = path.with_suffix(".part.npz")
        np.savez(
            part,
            x=x.reshape(count * windows, width),
            y=np.repeat(y, windows),
            clip=np.repeat(np.arange(count), windows),
        )
        part.replace(path)
    return path


def measured(name: str, data: Path, output: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What one network reaches: float, perfect cells, and every die before and after recovery."""
    benchmark, folder = BENCHMARKS[name], output / name
    folder.mkdir(parents=True, exist_ok=True)
    calib, test = data / name / "calib.npz", data / name / benchmark.test
    preprocess = options_of(data / name / "data.toml")
    if benchmark.task == "anomaly":
        test = windows_of(test, folder)
    image = folder / "model.pimc"
    kept(
        folder / "compile.json", "compile", data / name / "model.onnx", "--calib", calib,
        *preprocess, *options.compile, "-o", image,
    )  # fmt: skip
    judged = ("--data", test, "--task", benchmark.task, *preprocess)
    key = "accuracy" if benchmark.task == "classification" else "metric"
    perfect = kept(folder / "perfect.json", "eval", image, *judged, "--ideal")
    dies = []
    for seed in range(options.seed, options.seed + options.dies):
        start = time.perf_counter()
        found = kept(
            folder / f"die{seed}.json", "recover", image, "--calib", calib, *judged,
            "--dies", 1, "--seed", seed, *options.recover, "-o", folder / f"die{seed}.pimc",
        )  # fmt: skip
        (die,) = found["dies"]
        dies.append({**die, "before": die[f"{key}_before"], "after": die[f"{key}_after"]})
        told = f"{name} die {seed}: {die[f'{key}_before']:.4f} → {die[f'{key}_after']:.4f}"
        print(f"{told}, {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return {
        "metric": perfect["metric"],
        "unit": perfect["metric_unit"],
        "samples": perfect["judged"],
        "float": perfect[f"float_{key}"],
        "perfect": perfect[f"{key}_mean"],
        "dies": dies,
    }


def options_of(table: Path) -> list[object]:
    """The preprocessing beside the data, as options: the windows lie in another folder."""
    if not table.is_file():
        return []
    import tomllib

    found: list[object] = []
    for key, value in tomllib.loads(table.read_text()).items():
        listed = ",".join(map(str, value)) if isinstance(value, list) else value
        found += [f"--{key}", listed]
    return found


def line(name: str, found: dict[str, Any]) -> str:
    """A row of the table."""
    benchmark, dies = BENCHMARKS[name], found["dies"]
    scale, digits = (100, 1) if found["unit"] == "%" else (1, 3)

    def shown(values: Sequence[float]) -> str:
        spread = statistics.stdev(values) if len(values) > 1 else None
        text = f"{scale * statistics.mean(values):.{digits}f}"
        return text if spread is None else f"{text} ± {scale * spread:.{digits}f}"

    after = [die["after"] for die in dies]
    reached = sum(value >= benchmark.target for value in after)
    rewritten = statistics.mean(die["cells_rewritten"] / die["cells_total"] for die in dies)
    cells = [
        benchmark.title, found["metric"] + (", %" if found["unit"] == "%" else ""),
        f"{found['samples']:,}", str(len(dies)), shown([found["float"]]),
        shown([found["perfect"]]), shown([die["before"] for die in dies]), shown(after),
        f"{scale * min(after):.{digits}f}", f"{scale * benchmark.target:g}",
        f"{reached} of {len(dies)}", f"{100 * rewritten:.1f} %",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |\n"


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NETWORK", help=", ".join(BENCHMARKS))
    parser.add_argument("--data", type=Path, default=DEFAULT)
    parser.add_argument("--dies", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the first die")
    parser.add_argument("--output", type=Path, default=Path("mlperf-tiny"), help="kept results")
    parser.add_argument(
        "--compile", action="append", default=[], help="an option of pimc compile, as --compile=-x"
    )
    parser.add_argument(
        "--recover", action="append", default=[], help="an option of pimc recover, likewise"
    )
    options = parser.parse_args()
    if unknown := set(options.names) - BENCHMARKS.keys():
        parser.error(f"no such network: {', '.join(sorted(unknown))}")
    table = HEAD
    for name in options.names or BENCHMARKS:
        files = ("model.onnx", "calib.npz", BENCHMARKS[name].test)
        missing = [file for file in files if not (options.data / name / file).is_file()]
        if missing:
            print(f"skipped {name}: {', '.join(missing)} not found in {options.data / name}")
            continue
        table += line(name, measured(name, options.data, options.output, options))
    print(table, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())

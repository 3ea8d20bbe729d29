"""Recovery by every strategy, on many chips: the same dies, the same data.

For each chip of the table below the network is compiled and ``pimc recover --compare`` is run, in
a process of its own. Networks: the shipped Fashion-MNIST network, and ResNet-20 on CIFAR-10 where
the folder ``--cifar`` (default: ``shared/data/cifar10`` beside the checkout) is there. A chip that
``--output`` already holds a result of is not measured again. Prints a Markdown table; with
``--docs`` the table and the pictures go into ``docs/recovery.md`` and ``docs/images``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pimc.pictures.plots import lines_picture

ROOT = Path(__file__).resolve().parents[3]
CIFAR = ROOT.parent / "shared" / "data" / "cifar10"

FIRST_SILICON = ("faults.stuck_gmax_rate=0.0175", "faults.stuck_gmin_rate=0.0904")


def _sigma(fraction: float) -> tuple[str, ...]:
    return (f"cell.sigma.fraction_of_range={fraction}",)


#: Chip by name: options of ``pimc compile``.
CHIPS: Mapping[str, Sequence[str]] = {
    "sigma2": ("--set", *_sigma(0.02)),
    "sigma5": (),
    "sigma7": ("--set", *_sigma(0.07)),
    "sigma10": ("--set", *_sigma(0.10)),
    "levels8": ("--levels", "8"),
    "stuck": tuple(part for key in FIRST_SILICON for part in ("--set", key)),
    "neurram": ("--chip", "neurram", "--array", "128x128"),
    "cmo": ("--chip", "cmo", "--array", "128x128"),
    "ihp": ("--chip", "ihp", "--array", "128x128"),
}
#: Options of ``pimc recover`` where a chip needs others than the defaults.
RECOVER: Mapping[str, Sequence[object]] = {
    "sigma10": ("--budget", 50, "--rounds", 4, "--epochs", 4),
    "stuck": ("--residual", 12),
}
#: Chips that differ in their programming error alone, per cent of the range.
SIGMAS: Mapping[str, int] = {"sigma2": 2, "sigma5": 5, "sigma7": 7, "sigma10": 10}

#: Chip whose comparison is shown, and what it draws, by the end of the file's name.
SHOWN = "sigma5"
PICTURES: Mapping[str, str] = {
    ".png": "Accuracy against the cells rewritten, 5 % programming error",
    ".layers.png": "Error of every layer's outputs before and after, 5 % programming error",
}
DOCS = ROOT / "docs"
BEGIN, END = "<!-- benchmark: begin -->\n", "<!-- benchmark: end -->\n"
HEAD = (
    "| chip | strategy | dies | before | after | cells rewritten | array reads | seconds a die |\n"
    "|---|---|---:|---:|---:|---:|---:|---:|\n"
)


@dataclass(frozen=True)
class Network:
    """A network and its data; ``data`` holds calib.npz, test.npz and data.toml."""

    model: Path
    data: Path

    @property
    def missing(self) -> list[str]:
        """Files that are not there."""
        needed = [self.model, *(self.data / name for name in ("calib.npz", "test.npz"))]
        return [str(path) for path in needed if not path.is_file()]


def pimc(*arguments: object) -> dict[str, Any]:
    """Run one command in a fresh process; its JSON."""
    command = [str(Path(sys.executable).with_name("pimc")), *map(str, arguments), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"pimc {arguments[0]} ended with exit code {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measured(
    network: Network, chip: str, output: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """The comparison of one network on one chip; kept in a file of ``output``."""
    path = output / f"{network.model.stem}.{chip}.json"
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    image = path.with_suffix(".pimc")
    pimc(
        "compile", network.model, "--calib", network.data / "calib.npz",
        *CHIPS[chip], "-o", image,
    )  # fmt: skip
    chosen = [part for name in options.strategy for part in ("--strategy", name)]
    return pimc(
        "recover", image, "--compare", "--calib", network.data / "calib.npz",
        "--data", network.data / "test.npz", "--dies", options.dies, "--jobs", options.jobs,
        *RECOVER.get(chip, ()), *chosen, "-o", path,
    )  # fmt: skip


def lines(chip: str, found: Mapping[str, Any]) -> list[str]:
    """Rows of the table for one chip; one that is not as it is shipped says its array."""
    options = CHIPS[chip]
    size = options[options.index("--array") + 1] if "--array" in options else ""
    label = f"{chip}, {size.replace('x', '×')}" if size else chip
    rows = []
    for name in dict.fromkeys(one["strategy"] for one in found["outcomes"]):
        dies = [one for one in found["outcomes"] if one["strategy"] == name]
        share = statistics.mean(one["cells_rewritten"] for one in dies) / found["cells_total"]
        seconds = statistics.mean(one["seconds"] for one in dies)
        rows.append(
            f"| {label} | {name} | {len(dies)} | {over_dies(dies, 'accuracy_before')} "
            f"| {over_dies(dies, 'accuracy_after')} | {100 * share:.1f} % "
            f"| {statistics.mean(one['reads'] for one in dies):.2g} | {seconds:.0f} |"
        )
    return rows


def over_dies(dies: Sequence[Mapping[str, Any]], key: str) -> str:
    """Per cent, mean ± standard deviation."""
    values = [100 * die[key] for die in dies]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def write_docs(results: Mapping[str, Mapping[str, Mapping[str, Any]]], output: Path) -> None:
    """Put tables and pictures into the documentation.

    Args:
        results: by network and chip.
        output: where the comparisons left their pictures.
    """
    parts = [BEGIN]
    for network, by_chip in results.items():
        reached = {
            SIGMAS[chip]: [one for one in found["outcomes"] if one["strategy"] == "selective"]
            for chip, found in by_chip.items()
            if chip in SIGMAS
        }
        one = next(iter(by_chip.values()))
        parts.append(
            f"\n{network}, float {100 * one['float_accuracy']:.2f} %, "
            f"{one['calibration_samples']:,} calibration images, {one['samples']:,} test images; "
            f"mean ± standard deviation over the dies:\n\n{HEAD}"
        )
        parts += [f"{line}\n" for chip, found in by_chip.items() for line in lines(chip, found)]
        if len(reached) > 1:
            name = f"recovery-{network}-sigma.png"
            lines_picture(
                DOCS / "images" / name,
                "programming error in % of the range",
                {
                    label: {at: [die[key] for die in dies] for at, dies in reached.items()}
                    for label, key in (
                        ("as programmed", "accuracy_before"),
                        ("recovered", "accuracy_after"),
                    )
                },
                one["samples"],
                in_float=one["float_accuracy"],
            )
            parts.append(f"\n![Accuracy against the programming error](images/{name})\n")
        if SHOWN in by_chip:
            for suffix, text in PICTURES.items():
                name = f"recovery-{network}-{SHOWN}{suffix}"
                shutil.copy(output / f"{network}.{SHOWN}{suffix}", DOCS / "images" / name)
                parts.append(f"\n![{text}](images/{name})\n")
    page = DOCS / "recovery.md"
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(before + "".join([*parts, END]) + rest.partition(END)[2])


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cifar", type=Path, default=CIFAR)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "recovery")
    parser.add_argument("--dies", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--chip", action="append", choices=[*CHIPS], default=[])
    parser.add_argument("--strategy", action="append", default=[])
    parser.add_argument("--docs", action="store_true", help="write docs/recovery.md, too")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    fashion = ROOT / "models" / "fashion"
    networks = (
        Network(fashion / "resnet8.onnx", fashion),
        Network(options.cifar / "resnet20.onnx", options.cifar),
    )
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for network in networks:
        if network.missing:
            print(f"skipped: {', '.join(network.missing)} not found")
            continue
        print(f"\n{network.model.stem}\n\n{HEAD}", end="")
        by_chip = results[network.model.stem] = {}
        for chip in options.chip or CHIPS:
            by_chip[chip] = found = measured(network, chip, options.output, options)
            print("\n".join(lines(chip, found)), flush=True)
    if options.docs:
        write_docs(results, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())

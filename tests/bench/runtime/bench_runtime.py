"""Speed and memory of simulated inference, side by side with float inference and with peers.

The trained network is ResNet-20 on CIFAR-10 from ``--data`` (default: ``shared/data/cifar10``
beside the checkout), or, where that is missing, the Fashion-MNIST network of this repository.

Peers run in ``--peers-python``, best an environment of their own: torch as in ``constraints.txt``,
``pip install --no-deps aihwkit==1.1.0`` (its torchvision would bring another torch) and
``pip install --no-deps aihwkit-lightning==2.1.0``; CrossSim is on no package index. What cannot be
imported there is skipped, and the table says so.

Prints Markdown tables. Figures are only as good as the machine is idle.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import breakdown
import many_dies
import numpy as np
from contenders import CONTENDERS, OURS
from networks import FASHION, SHARED, Network, prepare, resnet18, trained
from race import THREADS, race, table

LARGE_BATCH = 8


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """What the user chose."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of the trained network")
    parser.add_argument("--peers-python", default=sys.executable, metavar="PATH")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, nargs="*", default=[64, 256], metavar="N")
    parser.add_argument("--rounds", type=int, default=5, help="turns of every contender")
    parser.add_argument("--seconds", type=float, default=1.0, help="time of a turn")
    parser.add_argument("--dies", type=int, default=20, help="Monte Carlo; 0 leaves it out")
    parser.add_argument("--limit", type=int, default=846, help="Monte Carlo: images a die")
    parser.add_argument(
        "--jobs", type=int, default=1, help="Monte Carlo: also on that many workers"
    )
    parser.add_argument("--no-large", action="store_true", help="leave ResNet-18 out")
    parser.add_argument(
        "--only", nargs="*", default=list(CONTENDERS), choices=list(CONTENDERS), metavar="NAME"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    return parser.parse_args(argv)


def measure(network: Network, batches: list[int], folder: Path, options: Any) -> Iterator[Any]:
    """Race and profile one network; prints a table a batch size, yields its figures."""
    prepare(network, folder, options.only)
    np.save(folder / "x.npy", network.inputs)
    for batch in batches:
        print(f"\n## {network.name}, batch {batch}, {options.threads} threads\n", flush=True)
        results = race(
            options.only,
            folder,
            batch,
            threads=options.threads,
            rounds=options.rounds,
            seconds=options.seconds,
            peers_python=options.peers_python,
        )
        print(table(results), flush=True)
        figures = {
            "network": network.name,
            "batch": batch,
            "results": [asdict(result) for result in results],
        }
        if OURS in options.only:
            seconds = measured(breakdown.__file__, options.threads, folder, batch)
            print(f"\n{breakdown.table(seconds)}", flush=True)
            figures["profile_s"] = seconds
        yield figures


def measured(script: str, threads: int, *arguments: object) -> dict[str, Any]:
    """What a script that prints JSON measures in a fresh process."""
    command = ["env", *(f"{name}={threads}" for name in THREADS), sys.executable, script]
    done = subprocess.run([*command, *map(str, arguments)], stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    options = arguments(argv)
    data = options.data
    if not data.is_dir():
        print(f"{data} is missing: the network is Fashion-MNIST's, from {FASHION.name}")
        data = FASHION
    figures: dict[str, Any] = {"threads": options.threads, "cases": []}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        if options.batch:
            network = trained(data, max(options.batch))
            folder = work / network.name
            figures["cases"] += measure(network, options.batch, folder, options)
            if options.dies and OURS in options.only and network.labelled is not None:
                print(f"\n## {network.name}, {options.dies} dies\n", flush=True)
                image, count = folder / f"{OURS}.pimc", (options.dies, options.limit, options.jobs)
                figures["dies"] = measured(
                    many_dies.__file__, options.threads, image, network.labelled, *count
                )
                print(many_dies.table(figures["dies"]))
        if not options.no_large:
            large = resnet18(work, LARGE_BATCH)
            figures["cases"] += measure(large, [LARGE_BATCH], work / "large", options)
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

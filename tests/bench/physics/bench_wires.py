"""Time and memory of the exact solution of wires: ours, a sparse factorization, badcrossbar.

    python tests/bench/physics/bench_wires.py [--sizes 128 256] [--large 512 2048] [--runs 5]

Arrays are square, cells 1–40 µS, wires 1 Ω; each solution is all that the array can answer: a volt
at one driver after the other. ``--sizes`` are for all contenders, ``--large`` for ours alone. The
sparse factorization is what pimc used before (``tests/runtime/physics/kirchhoff.py``). badcrossbar
(Joksas and Mehonic 2020, DOI 10.1016/j.softx.2020.100617) runs in ``--peers-python``, an
environment of its own: ``pip install badcrossbar``; where it cannot be imported the table says so.

Every contender has a process of its own for each size, and ``--runs`` runs after a first one that
does not count (large arrays: one run, after one of 64×64): the best on the clock, the mean of user
time, and the peak of memory above what its imports take. The last column is the largest difference
from ours, relative to each entry.

Prints a Markdown table. Figures are only as good as the machine is idle.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array64 = npt.NDArray[np.float64]
Solver = Callable[[Array64], Array64]

ROOT = Path(__file__).parents[3]
WIRE_OHM = 1.0
#: From here on one run has to do.
LARGE = 400


def ours() -> Solver:
    """What ``--ir-drop exact`` uses."""
    from pimc.runtime.physics.ir_drop import nodal_us

    return lambda g_us: nodal_us(g_us, np.arange(len(g_us)), len(g_us), WIRE_OHM)


def sparse() -> Solver:
    """What it used before."""
    from tests.runtime.physics.kirchhoff import sparse_us

    return lambda g_us: sparse_us(g_us, np.arange(len(g_us)), len(g_us), WIRE_OHM)


def badcrossbar() -> Solver:
    """Unit vectors as inputs."""
    import logging

    import badcrossbar as peer

    logging.disable()

    def solve(g_us: Array64) -> Array64:
        found = peer.compute(
            np.eye(len(g_us)), 1e6 / g_us, r_i=WIRE_OHM, node_voltages=False, all_currents=False
        )
        return 1e6 * np.asarray(found.currents.output)

    return solve


CONTENDERS: dict[str, Callable[[], Solver]] = {
    "ours": ours,
    "sparse": sparse,
    "badcrossbar": badcrossbar,
}


def worker(name: str, size: int, runs: int, output: Path) -> None:
    """One contender, one size: prints its figures and writes its last solution."""
    g_us = np.random.default_rng(0).uniform(1, 40, (size, size))
    solve = CONTENDERS[name]()
    before = _peak_mb()
    # What a first run takes beyond the others is no part of the time: of large ones, a small one.
    found = solve(g_us if size < LARGE else g_us[:64, :64])
    wall_s, before_s = [], _user_s()
    for _ in range(1 if size >= LARGE else runs):
        start = time.perf_counter()
        found = solve(g_us)
        wall_s.append(time.perf_counter() - start)
    user_s = (_user_s() - before_s) / len(wall_s)
    np.save(output, found)
    print(json.dumps({"wall_s": min(wall_s), "user_s": user_s, "mb": _peak_mb() - before}))


def _user_s() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(python: str, name: str, size: int, runs: int, output: Path) -> dict[str, Any] | str:
    """A contender's figures, or why there are none."""
    call = [python, __file__, "--worker", name, str(size), str(runs), str(output)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(call, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def rows(arguments: argparse.Namespace, folder: Path) -> None:
    """Print the table, row by row."""
    print("| array | contender | seconds | user seconds | peak MB | times ours (user) | differs |")
    print("|---|---|---|---|---|---|---|")
    plan = [(size, name) for size in arguments.sizes for name in CONTENDERS]
    plan += [(size, "ours") for size in arguments.large]
    for size, name in plan:
        python = arguments.peers_python if name == "badcrossbar" else sys.executable
        output = folder / f"{name}-{size}.npy"
        found = measured(python, name, size, arguments.runs, output)
        if isinstance(found, str):
            print(f"| {size}×{size} | {name} | {found} |")
            continue
        if name == "ours":
            own = found
        solution, wanted = np.load(output), np.load(folder / f"ours-{size}.npy")
        differs = float(np.max(np.abs(solution / wanted - 1.0)))
        times = found["user_s"] / max(own["user_s"], 1e-6)
        print(
            f"| {size}×{size} | {name} | {found['wall_s']:.3g} | {found['user_s']:.3g} "
            f"| {found['mb']:.0f} | {times:.1f} | {differs:.0e} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", type=int, nargs="*", default=[128, 256])
    parser.add_argument("--large", type=int, nargs="*", default=[512])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peers-python", default=sys.executable)
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        name, size, runs, output = arguments.worker
        worker(name, int(size), int(runs), Path(output))
        return
    with tempfile.TemporaryDirectory() as folder:
        rows(arguments, Path(folder))


if __name__ == "__main__":
    main()

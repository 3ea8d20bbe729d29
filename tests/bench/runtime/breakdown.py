"""Where the time of our run goes: ``python breakdown.py FOLDER BATCH`` prints seconds as JSON.

One run of the image under cProfile, after a run to warm up. A part's time is what its functions
and all they call take; what is left is the network's other operators and the executor.
"""

from __future__ import annotations

import cProfile
import json
import pstats
import sys
from pathlib import Path
from typing import Any

import numpy as np
from contenders import CONTENDERS, OURS

#: Functions of ``runtime/crossbar.py`` that make up each part; none calls another.
PARTS: dict[str, tuple[str, ...]] = {
    "DAC, windows": ("convert", "blocks"),
    "array read, ADC": ("_read",),
    "digital sum": ("_sum", "refold"),
}
REST = "other operators"


def seconds_by_part(profile: cProfile.Profile) -> dict[str, float]:
    """Seconds of each part of a profiled run, the rest last."""
    stats: Any = pstats.Stats(profile)
    found = dict.fromkeys(PARTS, 0.0)
    for (_, _, function), (_, _, _, cumulative, callers) in stats.stats.items():
        called_there = any(Path(file).name == "crossbar.py" for file, _, _ in callers)
        for part, functions in PARTS.items():
            if called_there and function in functions:
                found[part] += cumulative
    return {**found, REST: stats.total_tt - sum(found.values())}


def table(seconds: dict[str, float]) -> str:
    """Markdown: a row a part."""
    total = sum(seconds.values())
    lines = ["| part | ms | share |", "|---|---:|---:|"]
    lines += [f"| {n} | {1000 * s:.1f} | {100 * s / total:.0f} % |" for n, s in seconds.items()]
    return "\n".join(lines)


def main(folder: Path, batch: int) -> None:
    """Profile and print."""
    x = np.load(folder / "x.npy")[:batch]
    run = CONTENDERS[OURS].build(folder, x, 1)
    run(x)
    profile = cProfile.Profile()
    profile.runcall(run, x)
    print(json.dumps(seconds_by_part(profile)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

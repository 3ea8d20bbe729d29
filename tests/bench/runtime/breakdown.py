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

#: What ``runtime/crossbar.py`` calls for a layer, in the functions that run one.
LAYER = ("record", "_read_layer")
PARTS: dict[str, tuple[str, ...]] = {
    "fused read: DAC, array, ADC": ("read_layer",),
    "DAC, windows": ("convert", "blocks"),
    "array, ADC": ("_read",),
    "digital sum": ("_sum", "_products", "_outputs", "refold"),
}
REST = "other operators"


def seconds_by_part(profile: cProfile.Profile) -> dict[str, float]:
    """Seconds of each part of a profiled run, the rest last."""
    stats: Any = pstats.Stats(profile)
    found = dict.fromkeys(PARTS, 0.0)
    for (_, _, function), (*_, callers) in stats.stats.items():
        seconds = sum(
            cumulative
            for (file, _, caller), (_, _, _, cumulative) in callers.items()
            if Path(file).name == "crossbar.py" and caller in LAYER
        )
        for part, functions in PARTS.items():
            if function in functions:
                found[part] += seconds
    return {**found, REST: stats.total_tt - sum(found.values())}


def table(seconds: dict[str, float]) -> str:
    """Markdown: a row a part that took any time."""
    total = sum(seconds.values())
    lines = ["| part | ms | share |", "|---|---:|---:|"]
    lines += [
        f"| {name} | {1000 * part:.1f} | {100 * part / total:.0f} % |"
        for name, part in seconds.items()
        if part > 0
    ]
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

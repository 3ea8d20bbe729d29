"""One contender in a process of its own: ``python worker.py NAME FOLDER BATCH THREADS``.

Speaks JSON, a line a message. First, once warm, ``{"classes": […]}`` or ``{"skip": REASON}``; then
for every line ``SECONDS`` on stdin the seconds of each run that fits into them, one at least; at
the end of stdin the peak of its memory.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from adapter import SkippedError
from contenders import CONTENDERS

CALIBRATION = 32


def main(name: str, folder: Path, batch: int, threads: int) -> None:
    """Serve until stdin ends."""
    # Libraries print; only messages may go to the real stdout.
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    sys.stdout = sys.stderr
    warnings.simplefilter("ignore")

    def send(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=channel, flush=True)

    x = np.load(folder / "x.npy")[:batch]
    try:
        run = CONTENDERS[name].build(folder, x[:CALIBRATION], threads)
    except SkippedError as reason:
        send({"skip": str(reason)})
        return
    run(x)
    send({"classes": run(x).argmax(axis=1).tolist()})
    for line in sys.stdin:
        end = time.perf_counter() + float(line)
        seconds: list[float] = []
        while not seconds or time.perf_counter() + seconds[-1] < end:
            start = time.perf_counter()
            run(x)
            seconds.append(time.perf_counter() - start)
        send({"seconds": seconds})
    send({"peak_rss_mb": peak_rss_mb()})


def peak_rss_mb() -> float:
    """Largest memory of this process; ``getrusage`` would count that of its parent before exec."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))

"""Many dies in one process against as many processes: what preparing once is worth.

``python many_dies.py IMAGE DATA DIES LIMIT JOBS`` prints what it measured as JSON. It is a process
of its own, because the memory that Linux reports of a child includes that of its parent when it
was started.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Evaluation:
    """One ``pimc eval`` in a fresh process.

    Attributes:
        wall_s: from start to end of the process.
        work_s: of these the time that dies took to run the images.
        peak_rss_mb: largest memory of the process.
        accuracy: mean over the dies.
    """

    wall_s: float
    work_s: float
    peak_rss_mb: float
    accuracy: float


@dataclass(frozen=True)
class ManyDies:
    """N dies at once against one die.

    Attributes:
        ratio: time of N dies over N times that of one die, the start of a process counted once
            in both.
        jobs: worker processes of ``parallel``.
        parallel: the same dies on several workers, its memory without theirs; None for one worker.
    """

    dies: int
    samples: int
    single: Evaluation
    several: Evaluation
    ratio: float
    jobs: int = 1
    parallel: Evaluation | None = None


def evaluate(
    image: Path, data: Path, dies: int, limit: int, jobs: int = 1
) -> tuple[Evaluation, int]:
    """Evaluate some dies on at most ``limit`` samples: what it took, and the samples."""
    command = [
        str(Path(sys.executable).with_name("pimc")), "eval", str(image), "--data", str(data),
        "--dies", str(dies), "--limit", str(limit), "--json", "--quiet",
    ]  # fmt: skip
    if jobs > 1:
        command += ["--jobs", str(jobs)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    result: dict[str, Any] = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    work = dies * result["samples"] / result["images_per_second"]
    peak = usage.ru_maxrss / 1024
    return Evaluation(wall, work, peak, result["accuracy_mean"]), result["samples"]


def compare(image: Path, data: Path, dies: int, limit: int, jobs: int) -> ManyDies:
    """Measure one die, then several, then those on several workers."""
    single, samples = evaluate(image, data, 1, limit)
    several, _ = evaluate(image, data, dies, limit)
    parallel = evaluate(image, data, dies, limit, jobs)[0] if jobs > 1 else None
    start = single.wall_s - single.work_s
    ratio = several.wall_s / (start + dies * single.work_s)
    return ManyDies(dies, samples, single, several, ratio, jobs, parallel)


def table(found: dict[str, Any]) -> str:
    """Markdown: a row a process, for :class:`ManyDies` as JSON."""
    lines = [
        "| dies | workers | wall s | running s | peak MB | accuracy |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    dies, ratio = found["dies"], found["ratio"]
    rows = [(1, 1, "single"), (dies, 1, "several"), (dies, found["jobs"], "parallel")]
    for count, jobs, name in rows:
        if (e := found[name]) is None:
            continue
        lines.append(
            f"| {count} | {jobs} | {e['wall_s']:.1f} | {e['work_s']:.1f} | {e['peak_rss_mb']:,.0f} "
            f"| {100 * e['accuracy']:.1f} % |"
        )
    lines.append(
        f"\n{dies} dies × {found['samples']} images take {ratio:.2f} times {dies} single runs, "
        "the start of a process counted once."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    print(
        json.dumps(asdict(compare(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:]))))
    )

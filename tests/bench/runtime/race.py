"""Contenders side by side: each in a fresh process, timed in turns, over several rounds."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contenders import CONTENDERS, LIMIT, OURS

WORKER = Path(__file__).with_name("worker.py")
#: Variables that the libraries take their number of threads from.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Result:
    """One row of the table: what was measured, or why it was not.

    Attributes:
        contender: key of ``CONTENDERS``.
        seconds: median over the rounds of a round's median time of one batch.
        images_per_second: batch / seconds.
        peak_rss_mb: largest memory of its process, imports and building included.
        agreement: share of the batch with the class that the float network gives.
        skip: reason, where it did not run.
    """

    contender: str
    seconds: float | None = None
    images_per_second: float | None = None
    peak_rss_mb: float | None = None
    agreement: float | None = None
    skip: str | None = None


class Worker:
    """A contender's process; ``skip`` says why there is none."""

    def __init__(self, name: str, python: str, folder: Path, batch: int, threads: int) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [python, str(WORKER), name, str(folder), str(batch), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **dict.fromkeys(THREADS, str(threads))},
        )
        first = self.receive()
        self.skip: str | None = first.get("skip")
        self.classes: list[int] = first.get("classes", [])
        self.medians: list[float] = []

    def receive(self) -> dict[str, Any]:
        """The next message; says in its place that the process ended, and how."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        message: dict[str, Any] = json.loads(line) if line else {"skip": self._ended()}
        return message

    def time(self, seconds: float) -> None:
        """Measure for some seconds; a process that fails in between is noted as skipped."""
        assert self.process.stdin is not None
        try:
            print(seconds, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            self.skip = self._ended()
            return
        message = self.receive()
        self.skip = message.get("skip")
        if self.skip is None:
            self.medians.append(statistics.median(message["seconds"]))

    def end(self) -> float:
        """Stop the process: its peak memory in MB."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        peak = float(self.receive().get("peak_rss_mb", 0.0))
        self.process.wait()
        return peak

    def _ended(self) -> str:
        return f"its process ended with exit code {self.process.wait()}"


def race(
    names: Iterable[str],
    folder: Path,
    batch: int,
    *,
    threads: int,
    rounds: int,
    seconds: float,
    peers_python: str,
) -> list[Result]:
    """Time contenders on the first ``batch`` inputs of ``folder/x.npy``."""
    workers = []
    for name in names:
        python = peers_python if CONTENDERS[name].peer else sys.executable
        workers.append(Worker(name, python, folder, batch, threads))
    for _ in range(rounds):
        for worker in workers:
            if worker.skip is None:
                worker.time(seconds)
    classes = {w.name: w.classes for w in workers}.get(LIMIT, [])
    return [_result(worker, classes, batch) for worker in workers]


def _result(worker: Worker, reference: list[int], batch: int) -> Result:
    peak = worker.end()
    if worker.skip is not None:
        return Result(worker.name, skip=worker.skip)
    same = [a == b for a, b in zip(worker.classes, reference, strict=False)]
    seconds = statistics.median(worker.medians)
    return Result(
        worker.name,
        seconds,
        batch / seconds,
        peak,
        sum(same) / len(same) if same else None,
    )


def table(results: Iterable[Result]) -> str:
    """Markdown: a row a contender, times as multiples of ONNX Runtime's and of ours."""
    results = list(results)
    seconds = {r.contender: r.seconds for r in results}
    lines = [
        "| contender | ms | images/s | peak MB | × ONNX Runtime | × pimc | class as float |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [_row(result, seconds) for result in results]
    return "\n".join(lines)


def _row(result: Result, seconds: Mapping[str, float | None]) -> str:
    label = CONTENDERS[result.contender].label
    if result.seconds is None:
        return f"| {label} | skipped: {result.skip} | | | | | |"
    ratios = [_ratio(result.seconds, seconds.get(other)) for other in (LIMIT, OURS)]
    agreement = "" if result.agreement is None else f"{100 * result.agreement:.0f} %"
    cells = [
        label,
        f"{1000 * result.seconds:.1f}",
        f"{result.images_per_second:,.1f}",
        f"{result.peak_rss_mb:,.0f}",
        *ratios,
        agreement,
    ]
    return f"| {' | '.join(cells)} |"


def _ratio(seconds: float, other: float | None) -> str:
    return "" if other is None else f"{seconds / other:.2f}"

"""Metrics of steps go where the project or ``--metrics`` says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pimc.cli.project.given import Use
from pimc.cli.project.keys import NEVER
from pimc.project.metrics import Done, figures_of
from pimc.project.sinks import Sink, open_sink

__all__ = ["measuring"]


class _Report(Protocol):
    @property
    def data(self) -> Mapping[str, Any]: ...
    @property
    def exit_code(self) -> int: ...


Told = TypeVar("Told", bound=_Report)


def measuring(
    command: str, use: Use | None, given_sinks: Sequence[str], given: Mapping[str, Any]
) -> Callable[[Callable[[], Told]], Told]:
    """What runs a command and sends its figures to the sinks.

    Sinks are opened before the work begins, so that a missing package and a file that is no table
    of metrics are told at once.

    Raises:
        UsageError: a sink cannot be opened.
    """
    sinks = _sinks(use, given_sinks)

    def run(work: Callable[[], Told]) -> Told:
        start = time.perf_counter()
        report = work()
        done = Done(
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            command=command,
            ok=report.exit_code == 0,
            seconds=round(time.perf_counter() - start, 3),
            figures=figures_of(report.data),
            options={
                name: str(value)
                for name, value in given.items()
                if name not in NEVER and value not in (None, (), False)
            },
        )
        for sink in sinks:
            sink.log(done)
        return report

    return run


def _sinks(use: Use | None, given: Sequence[str]) -> list[Sink]:
    """Those of the command line, else of the file; and a project's own table."""
    if use is None:
        return [open_sink(one, Path()) for one in given]
    named = [open_sink(one, Path()) for one in given] or [
        open_sink(one, use.project.folder) for one in use.project.shared.metrics
    ]
    return [open_sink("metrics.csv", use.project.records), *named]

"""Figures of steps, a row each, in a CSV file; other places are sinks (:mod:`.sinks`)."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pimc.errors import UsageError
from pimc.files.writing.alone import alone
from pimc.files.writing.atomic import replacing

__all__ = ["CsvSink", "Done", "figures_of"]

#: Columns that every row has.
_FIRST = ("time", "command", "ok", "seconds")
#: How names of intervals end.
_INTERVAL = "_interval_95"
#: Seconds that a row waits for another process's.
_PATIENCE_S = 20.0


@dataclass(frozen=True)
class Done:
    """A step that was done.

    Attributes:
        time: when it ended, in ISO 8601.
        ok: whether its exit code is 0.
        figures: numbers of its report by name.
        options: its options by name, as text.
    """

    time: str
    command: str
    ok: bool
    seconds: float
    figures: Mapping[str, float]
    options: Mapping[str, str] = field(default_factory=dict)


def figures_of(data: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a report: those at its top, means of lists, and the ends of intervals."""
    found = {}
    ends = {
        f"{name}_{end}": one
        for name, value in data.items()
        if name.endswith(_INTERVAL) and isinstance(value, list | tuple)
        for end, one in zip(("low", "high"), value, strict=False)
    }
    for name, value in {**data, **ends}.items():
        if f"{name}_low" in ends:
            continue  # the middle of an interval is no figure
        numbers = value if isinstance(value, list) else [value]
        known = [float(one) for one in numbers if isinstance(one, int | float)]
        if known and len(known) == sum(one is not None for one in numbers):
            mean = sum(known) / len(known)
            if math.isfinite(mean):
                found[name] = mean
    return found


@dataclass(frozen=True)
class CsvSink:
    """A table with a row a step; columns that are new are added to all rows."""

    path: Path

    def require(self) -> None:
        """Make sure, before long work, that a row can be added to what is there.

        Raises:
            UsageError: the file is no such table.
        """
        for _ in self._rows():
            pass

    def log(self, done: Done) -> None:
        """Add a row.

        Raises:
            UsageError: the file is no such table, or cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                with alone(self.path, UsageError):
                    self._add(done)
                return
            except UsageError as cause:
                if "another process" not in cause.message or time.monotonic() > until:
                    raise

    def _add(self, done: Done) -> None:
        rows = list(self._rows())
        seconds = f"{done.seconds:g}"
        row = {"time": done.time, "command": done.command, "ok": str(done.ok), "seconds": seconds}
        row |= {name: f"{value:.10g}" for name, value in done.figures.items() if name not in row}
        columns = list(dict.fromkeys([*_FIRST, *(name for one in rows for name in one), *row]))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows([*rows, row])
        with replacing(self.path) as stream:
            stream.write(text.getvalue().encode())

    def _rows(self) -> Iterator[dict[str, str]]:
        if not self.path.exists():
            return
        try:
            with self.path.open(newline="", encoding="utf-8") as stream:
                reader = csv.DictReader(stream, strict=True)
                if not set(_FIRST) <= set(reader.fieldnames or ()):
                    raise ValueError(f"the columns {', '.join(_FIRST)} are not there")
                for row in reader:
                    if None in row or None in row.values():
                        raise ValueError(f"line {reader.line_num} has another number of columns")
                    yield row
        except (OSError, ValueError, csv.Error) as cause:
            message = f"cannot be read as a table of metrics: {cause}"
            raise UsageError(message, str(self.path), "name another file with --metrics") from cause

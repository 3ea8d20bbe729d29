"""The table of many recoveries: one row a die."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pimc.errors import UsageError
from pimc.files.kinds.reading import read_as
from pimc.files.strict import Key
from pimc.studies.tables.row_file import Row, RowFile
from pimc.tasks.classification import CLASSIFICATION
from pimc.tasks.task import Task

__all__ = [
    "IDENTITY",
    "KEYS",
    "columns_for",
    "empty_row",
    "figure_key",
    "read_rows",
    "require_same",
    "write_rows",
]

_SHARE = Key("float", "", low=0, high=1)
_VALUE = Key("float", "")
_COUNT = Key("int", "", low=0)
_TEXT = Key("str", "")

_FIGURES = ("{}_before", "{}_after", "float_{}", "quantized_{}")
#: What was measured on labelled data: accuracy, or the metric of another task.
_ACCURACY = {name.format("accuracy"): _SHARE for name in _FIGURES}
_METRIC = {name.format("metric"): _VALUE for name in _FIGURES}
_FIRST: Mapping[str, Key] = {
    "die": _TEXT,
    "source": _TEXT,
    "x": _VALUE,
    "y": _VALUE,
    "error": _TEXT,
    "exit_code": _COUNT,
}
_LAST: Mapping[str, Key] = {
    **dict.fromkeys(("loss_before", "loss_after"), _VALUE),
    **dict.fromkeys(("agreement_before", "agreement_after"), _SHARE),
    "gained": Key("bool", ""),
    **dict.fromkeys(("cells_total", "cells_rewritten", "residual_weights", "rounds"), _COUNT),
    **dict.fromkeys(("strategy", "output", "die_file"), _TEXT),
    **dict.fromkeys(("seed", "samples", "held_out"), _COUNT),
    **dict.fromkeys(("image_sha256", "parent_sha256", "options_sha256"), _TEXT),
    **dict.fromkeys(("calib_sha256", "data_sha256"), _TEXT),
}
#: The columns and what they hold.
KEYS: Mapping[str, Key] = {**_FIRST, **_ACCURACY, **_METRIC, "task": _TEXT, **_LAST}
#: Columns that all rows of a file share, and what they stand for.
IDENTITY: Mapping[str, str] = {
    "parent_sha256": "image",
    "options_sha256": "options",
    "calib_sha256": "calibration data",
    "data_sha256": "labelled data",
}
_HINT = "choose another --table"


def columns_for(task: Task) -> list[str]:
    """The columns of a table whose dies were measured by a task."""
    if task.metric.key == "metric":
        return [*_FIRST, *_METRIC, "task", *_LAST]
    named = [] if task.name == CLASSIFICATION.name else ["task"]
    return [*_FIRST, *_ACCURACY, *named, *_LAST]


def empty_row(task: Task) -> dict[str, Any]:
    """A row of a die of which nothing is known."""
    row: dict[str, Any] = {
        name: "" if KEYS[name].kind == "str" else None for name in columns_for(task)
    }
    return {**row, "exit_code": 0, **({"task": task.name} if "task" in row else {})}


def figure_key(row: Row) -> str:
    """What stands for the figure in the names of a row's columns."""
    return "metric" if "metric_after" in row else "accuracy"


@read_as("recoveries")
def read_rows(path: Path) -> list[Row]:
    """The rows of a file and of the journal beside it; none where there is neither.

    Raises:
        UsageError: the file is not one of recoveries, or the journal is damaged; the column is
            named that holds what it cannot.
    """
    return _FILE.read(path)


def require_same(path: Path, rows: Sequence[Row], row: Row) -> None:
    """Make sure that rows belong to the same image, options and data as ``row``.

    Raises:
        UsageError: they belong to others.
    """
    differing = [
        what for column, what in IDENTITY.items() if any(one[column] != row[column] for one in rows)
    ]
    if any(one.get("task") != row.get("task") for one in rows):
        differing.append("task")
    if differing:
        raise UsageError(
            f"holds recoveries with another {differing[0]}"
            if differing[0] != "options"
            else "holds recoveries with other options",
            where=str(path),
            hint=f"{_HINT}, or recover without --resume",
        )


def write_rows(path: Path, rows: Sequence[Row], task: Task) -> None:
    """Write all rows, whole or not at all; the journal has done its duty.

    Raises:
        UsageError: the file cannot be written.
    """
    _FILE.write(path, columns_for(task), rows)


def _missing(names: Collection[str]) -> set[str]:
    figures = _METRIC if "metric_after" in names else _ACCURACY
    return {*_FIRST, *figures, *_LAST} - set(names)


def _key_of(row: Row) -> object:
    return row["source"]


_FILE = RowFile("recoveries", _HINT, KEYS, ("exit_code", "seed"), _missing, _key_of)

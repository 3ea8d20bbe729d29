"""The file of a sweep: one row a point, as CSV or Parquet, with a journal while it grows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pimc.chip.grid import Value
from pimc.errors import UsageError
from pimc.files.container import canonical_json
from pimc.files.kinds.reading import read_as
from pimc.studies.sweep_columns import (
    ACCURACY,
    COLUMNS,
    COMMON,
    KEYS,
    METRIC,
    Row,
    columns_for,
    key_of_figures,
    task_of,
)
from pimc.studies.tables.row_file import RowFile, recording, require_suffix

__all__ = [
    "COLUMNS",
    "IDENTITY",
    "KEYS",
    "Row",
    "key_of",
    "parameters_of",
    "read_rows",
    "recording",
    "require_same",
    "require_suffix",
    "write_rows",
]

#: Columns that every row fills; others of numbers are empty where a point was not measured.
_FILLED = ("dies", "seed", "age_s")
#: Columns that all rows of a file share, and what they stand for.
IDENTITY: Mapping[str, str] = {
    "model_sha256": "model",
    "chip_sha256": "chip",
    "calib_sha256": "calibration data",
    "data_sha256": "data",
}


def key_of(row: Row) -> tuple[object, ...]:
    """What tells rows apart: the chip (the parameters where they make none), dies, reading."""
    point = row["point_sha256"] or canonical_json(dict(parameters_of(row)))
    return point, *(row[name] for name in ("dies", "seed", "age_s", "ir_drop"))


def parameters_of(row: Row) -> dict[str, Value]:
    """The parameters of a row."""
    return {name: v for name, v in row.items() if name not in KEYS and v is not None}


@read_as("sweep")
def read_rows(path: Path) -> list[Row]:
    """The rows of a file and of the journal beside it; none where there is neither.

    Raises:
        UsageError: the file is not one of a sweep, or the journal is damaged; the column is
            named that holds what it cannot.
    """
    return _FILE.read(path)


def require_same(path: Path, rows: Sequence[Row], identity: Row) -> None:
    """Make sure that rows belong to the same model, chip and data.

    Raises:
        UsageError: they belong to others.
    """
    differing = [
        what
        for column, what in IDENTITY.items()
        if any(row[column] != identity[column] for row in rows)
    ]
    if any(task_of(row) != task_of(identity) for row in rows):
        differing.append("task")
    if differing:
        raise UsageError(
            f"holds a sweep with another {differing[0]}", where=str(path), hint="choose another -o"
        )


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write all rows, whole or not at all; the journal has done its duty.

    Raises:
        UsageError: the file cannot be written.
    """
    parameters = dict.fromkeys(name for row in rows for name in parameters_of(row))
    names = [*parameters, *columns_for(key_of_figures(rows[0]), task_of(rows[0]))]
    _FILE.write(path, names, rows)


def _missing(names: Collection[str]) -> set[str]:
    figures = METRIC if "metric_mean" in names else ACCURACY
    return {*figures, *COMMON} - set(names)


_FILE = RowFile("a sweep", "choose another -o", KEYS, _FILLED, _missing, key_of, free=True)

"""The file of a sweep: one row a point, as CSV or Parquet, with a journal while it grows."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pimc.chip.grid import Value, as_text, parse_value
from pimc.errors import UsageError
from pimc.files.container import canonical_json
from pimc.files.kinds.reading import read_as
from pimc.files.strict import check_value
from pimc.files.writing.atomic import replacing
from pimc.files.writing.journal import appending, entries_of
from pimc.studies.sweep_columns import (
    ACCURACY,
    COLUMNS,
    COMMON,
    KEYS,
    KINDS,
    METRIC,
    Row,
    columns_for,
    key_of_figures,
    task_of,
)

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
#: How a file ends that is none of a sweep: the reading, CSV's, JSON's, Parquet's.
_MALFORMED = (
    OSError, ValueError, TypeError, AttributeError, LookupError, NotImplementedError, MemoryError,
    csv.Error,
)  # fmt: skip
#: Columns that all rows of a file share, and what they stand for.
IDENTITY: Mapping[str, str] = {
    "model_sha256": "model",
    "chip_sha256": "chip",
    "calib_sha256": "calibration data",
    "data_sha256": "data",
}


def require_suffix(path: Path) -> None:
    """Make sure that a file's name says what it is, and that it can be written.

    Raises:
        UsageError: it says neither CSV nor Parquet, or Parquet without pyarrow.
    """
    if path.suffix not in _FORMATS:
        raise UsageError(
            "is neither .csv nor .parquet", where=str(path), hint=f"for example {path.stem}.csv"
        )
    if path.suffix == ".parquet":
        _parquet()


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
    stored: list[Row] = []
    try:
        if path.exists():
            stored += _FORMATS[path.suffix][0](path)
        journal = _journal(path)
        if journal.exists():
            noted = entries_of(journal)
            for row in noted:
                _check_columns(row.keys())
            stored += noted
    except _MALFORMED as cause:
        raise UsageError(
            "is not the file of a sweep", where=str(path), hint="choose another -o"
        ) from cause
    rows = [_checked(row, f"{path}, row {number}") for number, row in enumerate(stored, 1)]
    return list({key_of(row): row for row in rows}.values())


def _checked(row: Row, where: str) -> Row:
    """The row with plain values.

    Raises:
        UsageError: a column holds what it cannot.
    """
    values: dict[str, Any] = {}
    for name, value in row.items():
        found, problem = value, None
        if name not in KEYS:
            problem = None if _is_parameter(value) else f"must be one value, not {value!r}"
        elif value is not None or KEYS[name].kind == "str" or name in _FILLED:
            found, problem = check_value(KEYS[name], value)
        if problem is not None:
            raise UsageError(f"{name}: {problem}", where=where, hint="choose another -o")
        values[name] = list(found) if isinstance(found, tuple) else found
    return values


def _is_parameter(value: object) -> bool:
    finite = not isinstance(value, float) or math.isfinite(value)
    return value is None or (isinstance(value, bool | int | float | str) and finite)


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


@contextmanager
def recording(path: Path) -> Iterator[Callable[[Row], None]]:
    """Gives the function that notes a row in the journal of a file, safely on the disk.

    Raises:
        UsageError: the journal cannot be written.
    """
    journal = _journal(path)
    with appending(journal, resume=True) as note:
        try:
            yield note
        finally:
            if journal.stat().st_size == 0:
                journal.unlink()


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write all rows, whole or not at all; the journal has done its duty.

    Raises:
        UsageError: the file cannot be written.
    """
    parameters = dict.fromkeys(name for row in rows for name in parameters_of(row))
    names = [*parameters, *columns_for(key_of_figures(rows[0]), task_of(rows[0]))]
    content = _FORMATS[path.suffix][1](names, rows)
    with replacing(path) as stream:
        stream.write(content)
    _journal(path).unlink(missing_ok=True)


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.name}.journal")


def _check_columns(names: Collection[str]) -> None:
    figures = METRIC if "metric_mean" in names else ACCURACY
    missing = {*figures, *COMMON} - set(names)
    if missing:
        raise ValueError(f"columns are missing: {', '.join(sorted(missing))}")


def _read_csv(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream, strict=True)
        _check_columns(reader.fieldnames or ())
        return [{name: _from_text(name, text) for name, text in row.items()} for row in reader]


def _csv_bytes(names: Sequence[str], rows: Sequence[Row]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_to_text(row.get(name)) for name in names] for row in rows)
    return text.getvalue().encode()


def _to_text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else as_text(value)


def _from_text(name: str, text: str) -> Any:
    kind = KINDS.get(name)
    if kind is list:
        return [parse_value(part) for part in text.split()]
    if kind is str:
        return text
    # What is no number is for the check of the column to tell.
    return None if text == "" else parse_value(text)


def _read_parquet(path: Path) -> list[Row]:
    parquet = _parquet()
    from pyarrow.lib import ArrowException

    try:
        table = parquet.read_table(path)
        _check_columns(table.column_names)
        rows: list[dict[str, Any]] = table.to_pylist()
    except ArrowException as cause:
        raise ValueError("not a table") from cause
    # A column of several kinds of values is stored as text.
    return [
        {n: parse_value(v) if n not in KEYS and isinstance(v, str) else v for n, v in r.items()}
        for r in rows
    ]


def _parquet_bytes(names: Sequence[str], rows: Sequence[Row]) -> bytes:
    import pyarrow as pa

    kinds = {float: pa.float64(), int: pa.int64(), str: pa.string(), list: pa.list_(pa.float64())}
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        if name in KEYS:
            columns[name] = pa.array(values, kinds[KINDS[name]])
        else:
            columns[name] = pa.array(_of_one_kind(values))
    stream = io.BytesIO()
    _parquet().write_table(pa.table(columns), stream)
    return stream.getvalue()


def _of_one_kind(values: Sequence[Value | None]) -> list[Value | None]:
    """The values as they are, all as floats, or all as text."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1:
        return list(values)
    kind = float if kinds == {int, float} else as_text
    return [None if value is None else kind(value) for value in values]


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError as cause:
        raise UsageError(
            "Parquet needs the package pyarrow", hint="pip install 'pimc[parquet]', or use .csv"
        ) from cause
    return pyarrow.parquet


_FORMATS: Mapping[
    str,
    tuple[Callable[[Path], list[Row]], Callable[[Sequence[str], Sequence[Row]], bytes]],
] = {".csv": (_read_csv, _csv_bytes), ".parquet": (_read_parquet, _parquet_bytes)}
